//! The entries that are worth most stay, whether the same keys stay popular or others become so.
//!
//! Each test has a cache that lacks what it shows, and that fails it: an LRU does not tell popular keys from the latest,
//! and quick_cache does not adapt.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashMap};

use cache_memory::MemoryBackend;
use futures_util::FutureExt;

use crate::support::{forever, has, key, sized, stored};

const ENTRIES: usize = 1_000;
const KEYS: usize = 20_000;
const READS: usize = 200_000;
/// How far behind the best the store may be.
const TOLERANCE: f64 = 0.005;

/// Numbers below one, the same in each run.
fn random() -> impl FnMut() -> f64 {
    let mut state = 7_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Draws ranks: the n-th is 1/n times as likely as the first.
fn zipf() -> impl FnMut() -> u64 {
    let mut sum = 0.0;
    let cumulated: Vec<f64> = (1..=KEYS)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let mut random = random();
    move || {
        let drawn = random() * sum;
        cumulated.partition_point(|share| *share < drawn) as u64
    }
}

/// The same keys stay popular.
fn stable() -> Vec<u64> {
    let mut zipf = zipf();
    (0..READS).map(|_| zipf()).collect()
}

/// Every four reads, each key becomes one rank more popular, and the most popular one is read no more.
fn shifting() -> Vec<u64> {
    let mut zipf = zipf();
    (0..READS).map(|read| zipf() + (read / 4) as u64).collect()
}

/// A loop over `keys`.
fn repeated(keys: usize) -> Vec<u64> {
    (0..READS).map(|read| (read % keys) as u64).collect()
}

/// The size of the value of a key, from 10 to 6,000 bytes.
fn size(key: u64) -> usize {
    [10, 100, 10, 700, 100, 6_000, 10][(key % 7) as usize]
}

/// Returns the share of reads that hit. `read` stores what it misses.
fn hit_ratio(trace: &[u64], mut read: impl FnMut(u64) -> bool) -> f64 {
    trace.iter().filter(|key| read(**key)).count() as f64 / trace.len() as f64
}

fn store(backend: MemoryBackend, size: impl Fn(u64) -> usize) -> impl FnMut(u64) -> bool {
    move |name| {
        let name_of = key(name);
        let hit = has(&backend, &name_of).now_or_never().unwrap();
        if !hit {
            let set = stored(&backend, &name_of, sized(size(name)), forever());
            set.now_or_never().unwrap();
        }
        hit
    }
}

fn store_of_entries() -> impl FnMut(u64) -> bool {
    store(MemoryBackend::builder().max_entries(ENTRIES).build(), |_| 1)
}

/// An LRU with room for a total of `room`.
fn lru(mut room: u64, weight: impl Fn(u64) -> u64) -> impl FnMut(u64) -> bool {
    let mut used: HashMap<u64, u64> = HashMap::new();
    let mut by_use = BTreeMap::new();
    let mut reads = 0;
    move |key| {
        reads += 1;
        let before = used.insert(key, reads);
        by_use.insert(reads, key);
        match before {
            Some(before) => {
                by_use.remove(&before);
            }
            None => {
                let weight_of = weight(key);
                while room < weight_of {
                    let (_, oldest) = by_use.pop_first().unwrap();
                    used.remove(&oldest);
                    room += weight(oldest);
                }
                room -= weight_of;
            }
        }
        before.is_some()
    }
}

fn lru_of_entries() -> impl FnMut(u64) -> bool {
    lru(ENTRIES as u64, |_| 1)
}

fn quick_cache() -> impl FnMut(u64) -> bool {
    let cache = quick_cache::sync::Cache::new(ENTRIES);
    move |key| {
        let hit = cache.get(&key).is_some();
        if !hit {
            cache.insert(key, ());
        }
        hit
    }
}

#[test]
fn keys_that_stay_popular_stay() {
    let trace = stable();
    let best = hit_ratio(&trace, quick_cache());
    let ours = hit_ratio(&trace, store_of_entries());
    assert!(ours > best - TOLERANCE, "{ours}, and {best} without adaptation");
    let control = hit_ratio(&trace, lru_of_entries());
    assert!(control < best - 10.0 * TOLERANCE, "{control} in an LRU");
}

#[test]
fn keys_that_become_popular_replace_those_that_were() {
    let trace = shifting();
    let best = hit_ratio(&trace, lru_of_entries());
    let ours = hit_ratio(&trace, store_of_entries());
    assert!(ours > best - TOLERANCE, "{ours}, and {best} in an LRU");
    let control = hit_ratio(&trace, quick_cache());
    assert!(control < best - 10.0 * TOLERANCE, "{control} without adaptation");
}

#[test]
fn a_loop_over_more_keys_than_there_is_room_for_finds_many_of_them() {
    // What no policy can exceed is 0.95, 0.83 and 0.5.
    for (keys, least) in [(ENTRIES * 21 / 20, 0.85), (ENTRIES * 6 / 5, 0.68), (ENTRIES * 2, 0.48)] {
        let trace = repeated(keys);
        let ours = hit_ratio(&trace, store_of_entries());
        assert!(ours > least, "{ours} of {keys} keys");
        let control = hit_ratio(&trace, lru_of_entries());
        assert!(control < least, "{control} in an LRU");
    }
}

/// The policy counts bytes where they are the bound.
#[test]
fn the_same_holds_for_entries_of_mixed_sizes() {
    const MAX_BYTES: u64 = 1_000_000;
    let weight = |key: u64| size(key) as u64 + 200;
    for (name, trace, least) in [("stable", stable(), 0.03), ("shifting", shifting(), -0.01)] {
        let backend = MemoryBackend::builder().max_bytes(MAX_BYTES).build();
        let mut read = store(backend.clone(), size);
        let ours = hit_ratio(&trace, |key| {
            let hit = read(key);
            assert!(backend.weight() <= MAX_BYTES);
            hit
        });
        let control = hit_ratio(&trace, lru(MAX_BYTES, weight));
        assert!(ours > control + least, "{name}: {ours}, and {control} in an LRU");
    }
}
