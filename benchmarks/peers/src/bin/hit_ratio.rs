//! The hit ratio of stores that are too small for all entries: the memory store, an LRU, moka and quick_cache.
//!
//! - `hit_ratio ENTRIES`: on generated traces. They have fixed seeds
//! - `hit_ratio ENTRIES FILE`: on a recorded trace, with a number on each line: the key that is read
//!
//! Every cache reads the same keys in the same order, and stores the keys that it misses. Two runs print the same
//! figures, except for moka, which works in batches.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashMap};
use std::{env, fs};

use bytes::Bytes;
use cache_core::{Backend, Namespace, Prefix, SetOptions, Ttl};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;
use peers::Figures;
use peers::zipf::Zipf;

const READS: usize = 1_000_000;
const KEYS: usize = 100_000;
/// Keys from here on do not occur in a Zipf trace.
const OTHERS: u64 = 1 << 40;

fn zipf(exponent: f64) -> Vec<u64> {
    let mut zipf = Zipf::new(KEYS, exponent);
    (0..READS).map(|_| zipf.draw()).collect()
}

/// A Zipf trace with scans: after five times as many reads as there are entries, as many keys as entries are read once.
fn zipf_with_scans(entries: usize) -> Vec<u64> {
    let mut zipf = Zipf::new(KEYS, 1.0);
    let mut scanned = OTHERS..;
    let mut trace = Vec::new();
    while trace.len() < READS {
        trace.extend((0..5 * entries).map(|_| zipf.draw()));
        trace.extend(scanned.by_ref().take(entries));
    }
    trace.truncate(READS);
    trace
}

/// A loop over twice as many keys as there are entries.
fn repeated(entries: usize) -> Vec<u64> {
    (0..READS).map(|read| (read % (2 * entries)) as u64).collect()
}

/// A Zipf trace in which every `reads_per_step` reads each key rises by one rank, and the first key leaves.
fn shifting(reads_per_step: usize) -> Vec<u64> {
    let mut zipf = Zipf::new(KEYS, 1.0);
    (0..READS)
        .map(|read| zipf.draw() + (read / reads_per_step) as u64)
        .collect()
}

trait Cache {
    /// Reads `key`, and stores it on a miss. Returns whether it was a hit.
    fn read(&mut self, key: u64) -> bool;
}

struct Lru {
    entries: usize,
    used: HashMap<u64, u64>,
    by_use: BTreeMap<u64, u64>,
    reads: u64,
}

impl Cache for Lru {
    fn read(&mut self, key: u64) -> bool {
        self.reads += 1;
        let before = self.used.insert(key, self.reads);
        if let Some(before) = before {
            self.by_use.remove(&before);
        }
        self.by_use.insert(self.reads, key);
        if self.used.len() > self.entries {
            let (_, oldest) = self.by_use.pop_first().unwrap();
            self.used.remove(&oldest);
        }
        before.is_some()
    }
}

struct Moka {
    cache: moka::sync::Cache<u64, ()>,
    reads: u64,
}

impl Cache for Moka {
    fn read(&mut self, key: u64) -> bool {
        let hit = self.cache.get(&key).is_some();
        if !hit {
            self.cache.insert(key, ());
        }
        self.reads += 1;
        if self.reads.is_multiple_of(16) {
            self.cache.run_pending_tasks();
        }
        hit
    }
}

struct QuickCache(quick_cache::sync::Cache<u64, ()>);

impl Cache for QuickCache {
    fn read(&mut self, key: u64) -> bool {
        let hit = self.0.get(&key).is_some();
        if !hit {
            self.0.insert(key, ());
        }
        hit
    }
}

struct Memory {
    backend: MemoryBackend,
    namespace: Namespace,
}

impl Cache for Memory {
    fn read(&mut self, key: u64) -> bool {
        let key = self.namespace.key(key.to_string());
        let hit = self.backend.get(&key).now_or_never().unwrap().unwrap().is_some();
        if !hit {
            let options = SetOptions::new(Ttl::FOREVER);
            let set = self.backend.set(&key, Bytes::from_static(b"value").into(), options);
            let _ = set.now_or_never().unwrap().unwrap();
        }
        hit
    }
}

const NAMES: [&str; 4] = ["memory store", "LRU", "moka", "quick_cache"];

fn caches(entries: usize) -> [Box<dyn Cache>; 4] {
    [
        Box::new(Memory {
            backend: MemoryBackend::builder().max_entries(entries).build(),
            namespace: Prefix::new("shop").namespace("products"),
        }),
        Box::new(Lru {
            entries,
            used: HashMap::new(),
            by_use: BTreeMap::new(),
            reads: 0,
        }),
        Box::new(Moka {
            cache: moka::sync::Cache::new(entries as u64),
            reads: 0,
        }),
        Box::new(QuickCache(quick_cache::sync::Cache::new(entries))),
    ]
}

/// Returns the share of the reads that are hits, for each cache.
fn ratios(entries: usize, reads: &[u64]) -> impl Iterator<Item = (&'static str, f64)> {
    NAMES.into_iter().zip(caches(entries)).map(|(name, mut cache)| {
        let hits = reads.iter().filter(|key| cache.read(**key)).count();
        (name, hits as f64 / reads.len() as f64)
    })
}

fn recorded(path: &str) -> Vec<u64> {
    let text = fs::read_to_string(path).expect("the trace is a file");
    text.lines()
        .map(|line| line.parse().expect("a line of the trace is a number"))
        .collect()
}

fn main() {
    let mut arguments = env::args().skip(1);
    let entries: usize = arguments
        .next()
        .and_then(|entries| entries.parse().ok())
        .expect("hit_ratio ENTRIES [FILE]");
    let mut figures = Figures::default();
    if let Some(path) = arguments.next() {
        for (cache, ratio) in ratios(entries, &recorded(&path)) {
            figures.note(cache, ratio);
        }
        figures.print();
        return;
    }
    let traces = [
        ("Zipf 0.8", zipf(0.8)),
        ("Zipf 1.0", zipf(1.0)),
        ("Zipf 1.2", zipf(1.2)),
        ("Zipf with scans", zipf_with_scans(entries)),
        ("loop", repeated(entries)),
        ("shifting Zipf, slowly", shifting(100)),
        ("shifting Zipf", shifting(30)),
        ("shifting Zipf, quickly", shifting(10)),
    ];
    for (trace, reads) in traces {
        for (cache, ratio) in ratios(entries, &reads) {
            figures.note(&format!("{trace}/{cache}"), ratio);
        }
    }
    figures.print();
}
