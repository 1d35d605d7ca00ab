//! A property test: the store behaves like a map for any sequence of operations.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::time::Duration;

use cache_core::{Backend, Clock, Key, ManualClock, Prefix, SetOptions, SetOutcome, Timestamp, Ttl, Version};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;
use proptest::prelude::*;

use crate::support::bytes;

#[derive(Debug, Clone)]
enum Mode {
    Always,
    IfAbsent,
    /// With the version of the current record.
    IfCurrent,
    /// With the version of the n-th write.
    IfEarlier(usize),
}

#[derive(Debug, Clone)]
enum Operation {
    Get(u8),
    Set(u8, u8, Option<u8>, Mode),
    Delete(u8),
    DeleteIf(u8, usize),
    Clear(u8),
    GetMany(Vec<u8>),
    DeleteMany(Vec<u8>),
    Advance(u8),
    Purge,
}

const KEYS: u8 = 12;

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let key = 0..KEYS;
    let keys = prop::collection::vec(0..KEYS, 0..6);
    let mode = prop_oneof![
        2 => Just(Mode::Always),
        2 => Just(Mode::IfAbsent),
        2 => Just(Mode::IfCurrent),
        1 => any::<prop::sample::Index>().prop_map(|index| Mode::IfEarlier(index.index(64))),
    ];
    prop_oneof![
        4 => key.clone().prop_map(Get),
        8 => (key.clone(), any::<u8>(), prop::option::of(1..40_u8), mode)
            .prop_map(|(key, value, ttl, mode)| Set(key, value, ttl, mode)),
        2 => key.clone().prop_map(Delete),
        2 => (key, 0..64_usize).prop_map(|(key, version)| DeleteIf(key, version)),
        1 => (0..4_u8).prop_map(Clear),
        1 => keys.clone().prop_map(GetMany),
        1 => keys.prop_map(DeleteMany),
        3 => (0..20_u8).prop_map(Advance),
        1 => Just(Purge),
    ]
}

fn key(n: u8) -> Key {
    let namespace = ["a", "ab", "a:b"][usize::from(n) % 3];
    Prefix::new("p").namespace(namespace).key(n.to_string())
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    value: u8,
    version: Version,
    deadline: Option<Timestamp>,
}

#[derive(Debug)]
struct Pair {
    backend: MemoryBackend,
    clock: ManualClock,
    model: HashMap<u8, Entry>,
    versions: Vec<Version>,
    /// Whether the store may evict records.
    evicts: bool,
}

impl Pair {
    fn new(evicts: bool) -> Self {
        let clock = ManualClock::new();
        let builder = MemoryBackend::builder().clock(clock.clone()).shards(4);
        let builder = if evicts {
            builder.max_entries(6).max_bytes(3_000)
        } else {
            builder
        };
        Self {
            backend: builder.build(),
            clock,
            model: HashMap::new(),
            versions: vec![Version::from_u128(1)],
            evicts,
        }
    }

    fn record(&self, n: u8) -> Option<Entry> {
        let record = self.backend.get(&key(n)).now_or_never().unwrap().unwrap()?;
        let value = std::str::from_utf8(record.value.as_bytes().unwrap()).unwrap();
        Some(Entry {
            value: value.trim_end_matches('.').parse().unwrap(),
            version: record.version,
            deadline: record.remaining.map(|remaining| self.clock.now() + remaining),
        })
    }

    /// Updates the model: expired records must be absent from the store, and evicted ones may be.
    fn settle(&mut self) {
        let now = self.clock.now();
        self.model
            .retain(|_, entry| entry.deadline.is_none_or(|deadline| deadline > now));
        for n in 0..KEYS {
            let record = self.record(n);
            if self.evicts && record.is_none() {
                self.model.remove(&n);
            }
            assert_eq!(record.as_ref(), self.model.get(&n));
        }
    }

    fn apply(&mut self, operation: Operation) {
        self.settle();
        let backend = self.backend.clone();
        match operation {
            Operation::Get(n) => assert_eq!(self.record(n), self.model.get(&n).cloned()),
            Operation::Set(n, value, ttl, mode) => {
                let current = self.model.get(&n).map(|entry| entry.version);
                let ttl = ttl.map_or(Ttl::FOREVER, |ttl| Ttl::from_millis(u64::from(ttl)));
                let options = SetOptions::new(ttl);
                let earlier = |index: usize| self.versions[index % self.versions.len()];
                let (options, holds) = match mode {
                    Mode::Always => (options, true),
                    Mode::IfAbsent => (options.if_absent(), current.is_none()),
                    Mode::IfCurrent => {
                        let version = current.unwrap_or(self.versions[0]);
                        (options.if_version(version), current.is_some())
                    }
                    Mode::IfEarlier(index) => (options.if_version(earlier(index)), current == Some(earlier(index))),
                };
                let padding = ".".repeat(usize::from(value));
                let key = key(n);
                let outcome = backend.set(&key, bytes(format!("{value}{padding}")), options);
                match outcome.now_or_never().unwrap().unwrap() {
                    SetOutcome::Stored(version) => {
                        assert!(holds);
                        assert!(!self.versions.contains(&version));
                        self.versions.push(version);
                        let deadline = ttl.as_duration().map(|ttl| self.clock.now() + ttl);
                        self.model.insert(
                            n,
                            Entry {
                                value,
                                version,
                                deadline,
                            },
                        );
                    }
                    SetOutcome::Refused => assert!(!holds),
                }
            }
            Operation::Delete(n) => {
                let deleted = backend.delete(&key(n)).now_or_never().unwrap().unwrap();
                assert_eq!(deleted, self.model.remove(&n).is_some());
            }
            Operation::DeleteIf(n, index) => {
                let version = self.versions[index % self.versions.len()];
                let deleted = backend.delete_if(&key(n), version).now_or_never().unwrap().unwrap();
                assert_eq!(
                    deleted,
                    self.model.get(&n).is_some_and(|entry| entry.version == version)
                );
                if deleted {
                    self.model.remove(&n);
                }
            }
            Operation::Clear(n) => {
                let scope = if n < 3 {
                    key(n).namespace().scope()
                } else {
                    Prefix::new("p").scope()
                };
                // `clear` yields between the shards.
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let cleared = runtime.block_on(backend.clear(&scope)).unwrap();
                let before = self.model.len();
                self.model.retain(|n, _| !scope.contains(&key(*n)));
                assert_eq!(cleared, (before - self.model.len()) as u64);
            }
            Operation::GetMany(names) => {
                let keys: Vec<_> = names.iter().map(|n| key(*n)).collect();
                let records = backend.get_many(&keys).now_or_never().unwrap().unwrap();
                let versions: Vec<_> = records.iter().map(|r| r.as_ref().map(|r| r.version)).collect();
                let expected: Vec<_> = names.iter().map(|n| self.model.get(n).map(|e| e.version)).collect();
                assert_eq!(versions, expected);
            }
            Operation::DeleteMany(names) => {
                let keys: Vec<_> = names.iter().map(|n| key(*n)).collect();
                let deleted = backend.delete_many(&keys).now_or_never().unwrap().unwrap();
                let before = self.model.len();
                self.model.retain(|n, _| !names.contains(n));
                assert_eq!(deleted, (before - self.model.len()) as u64);
            }
            Operation::Advance(millis) => self.clock.advance(Duration::from_millis(u64::from(millis))),
            Operation::Purge => {
                self.backend.purge_expired();
                assert_eq!(
                    self.backend.len(),
                    self.model.len(),
                    "expired records were left, or live ones freed"
                );
            }
        }
        let (len, weight) = (self.backend.len(), self.backend.weight());
        if self.evicts {
            assert!(len <= 6 && weight <= 3_000);
        }
        assert_eq!(len == 0, weight == 0);
    }
}

proptest! {
    #[test]
    fn a_roomy_store_is_a_map(operations in prop::collection::vec(operation(), 1..150)) {
        let mut pair = Pair::new(false);
        for operation in operations {
            pair.apply(operation);
        }
        pair.settle();
    }

    #[test]
    fn a_small_store_is_a_map_that_forgets(operations in prop::collection::vec(operation(), 1..150)) {
        let mut pair = Pair::new(true);
        for operation in operations {
            pair.apply(operation);
        }
        pair.settle();
    }
}
