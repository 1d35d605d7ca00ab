//! The memory of a million small entries: the memory store, moka and quick_cache, with and without a lifetime.
//!
//! Each cache is filled in a process of its own. The table shows how many bytes an entry takes in addition to its key
//! and its value, by the resident memory of the process (on Linux) and by the requests to the allocator.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use cache_core::{Backend, Prefix, SetOptions, Ttl};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;

const ENTRIES: usize = 1_000_000;
const VALUE: usize = 100;
const HOUR: Duration = Duration::from_secs(3_600);
/// No cache may evict anything.
const ROOM: usize = 2 * ENTRIES;
const CACHES: [&str; 5] = [
    "memory store",
    "memory store, with a lifetime",
    "moka",
    "moka, with a lifetime",
    "quick_cache",
];

/// A cache is asked for its number of entries, and is alive until then.
type Len = Box<dyn Fn() -> usize>;

fn key(number: usize) -> String {
    format!("shop:products:product-{number:07}")
}

fn value() -> Bytes {
    Bytes::from(vec![7; VALUE])
}

fn memory_store(ttl: Ttl) -> Len {
    let backend = MemoryBackend::builder().max_bytes(1 << 40).max_entries(ROOM).build();
    let products = Prefix::new("shop").namespace("products");
    for number in 0..ENTRIES {
        let key = products.key(format!("product-{number:07}"));
        let set = backend.set(&key, value().into(), SetOptions::new(ttl));
        let _ = set.now_or_never().unwrap().unwrap();
    }
    Box::new(move || backend.len())
}

fn moka(ttl: Option<Duration>) -> Len {
    let mut builder = moka::sync::Cache::builder().max_capacity(ROOM as u64);
    if let Some(ttl) = ttl {
        builder = builder.time_to_live(ttl);
    }
    let cache = builder.build();
    for number in 0..ENTRIES {
        cache.insert(key(number), value());
    }
    cache.run_pending_tasks();
    Box::new(move || cache.entry_count() as usize)
}

fn quick_cache() -> Len {
    let cache = quick_cache::sync::Cache::new(ROOM);
    for number in 0..ENTRIES {
        cache.insert(key(number), value());
    }
    Box::new(move || cache.len())
}

fn fill(cache: &str) -> Len {
    match cache {
        "memory store" => memory_store(Ttl::FOREVER),
        "memory store, with a lifetime" => memory_store(Ttl::from(HOUR)),
        "moka" => moka(None),
        "moka, with a lifetime" => moka(Some(HOUR)),
        "quick_cache" => quick_cache(),
        _ => panic!("{cache:?} is none of the caches"),
    }
}

/// Returns the resident memory of this process in bytes, where the system tells.
fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

/// Fills `cache` in this process and prints a row of the table.
fn measured(cache: &str) {
    let beside = key(0).len() + VALUE;
    let before = resident();
    let mut filled = None;
    let taken = measure(|| filled = Some(fill(cache)));
    let resident = before.zip(resident()).map_or("–".to_owned(), |(before, after)| {
        ((after - before) / ENTRIES - beside).to_string()
    });
    assert_eq!(filled.unwrap()(), ENTRIES, "{cache} has not kept everything");
    let requested = taken.bytes_current as usize / ENTRIES - beside;
    println!("| {cache} | {resident} | {requested} |");
}

fn main() {
    if let Ok(cache) = env::var("FOOTPRINT_OF") {
        return measured(&cache);
    }
    println!("| cache | resident, bytes per entry | requested, bytes per entry |");
    println!("|---|---|---|");
    for cache in CACHES {
        let program = env::current_exe().unwrap();
        let status = Command::new(program).env("FOOTPRINT_OF", cache).status().unwrap();
        assert!(status.success(), "{cache} failed");
    }
}
