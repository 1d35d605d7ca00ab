//! The memory that a cache takes: `footprint entries CACHE ENTRIES` and `footprint bound VALUE_BYTES MAX_BYTES`.
//!
//! `entries` fills a cache with small entries, and prints how many bytes an entry takes in addition to its key and its
//! value, by the resident memory of the process and by the requests to the allocator. `bound` writes three times as many
//! bytes as the memory store may take, and prints the resident memory over that bound.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::env;
use std::fs;
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use cache_core::{Backend, Prefix, SetOptions, Ttl};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;
use peers::Figures;

const VALUE: usize = 100;
const HOUR: Duration = Duration::from_secs(3_600);

/// A cache is asked for its number of entries, and is alive until then.
type Len = Box<dyn Fn() -> usize>;

fn key(number: usize) -> String {
    format!("shop:products:product-{number:07}")
}

fn value() -> Bytes {
    Bytes::from(vec![7; VALUE])
}

fn memory_store(entries: usize, ttl: Ttl) -> Len {
    let backend = MemoryBackend::builder()
        .max_bytes(1 << 40)
        .max_entries(room(entries))
        .build();
    write(&backend, entries, VALUE, ttl);
    Box::new(move || backend.len())
}

fn write(backend: &MemoryBackend, entries: usize, size: usize, ttl: Ttl) {
    let products = Prefix::new("shop").namespace("products");
    for number in 0..entries {
        let key = products.key(format!("product-{number:07}"));
        let set = backend.set(&key, Bytes::from(vec![7; size]).into(), SetOptions::new(ttl));
        let _ = set.now_or_never().unwrap().unwrap();
    }
}

fn moka(entries: usize, ttl: Option<Duration>) -> Len {
    let mut builder = moka::sync::Cache::builder().max_capacity(room(entries) as u64);
    if let Some(ttl) = ttl {
        builder = builder.time_to_live(ttl);
    }
    let cache = builder.build();
    for number in 0..entries {
        cache.insert(key(number), value());
    }
    cache.run_pending_tasks();
    Box::new(move || cache.entry_count() as usize)
}

fn quick_cache(entries: usize) -> Len {
    let cache = quick_cache::sync::Cache::new(room(entries));
    for number in 0..entries {
        cache.insert(key(number), value());
    }
    Box::new(move || cache.len())
}

/// No cache may evict anything.
fn room(entries: usize) -> usize {
    2 * entries
}

fn fill(cache: &str, entries: usize) -> Len {
    match cache {
        "memory store" => memory_store(entries, Ttl::FOREVER),
        "memory store, with a lifetime" => memory_store(entries, Ttl::from(HOUR)),
        "moka" => moka(entries, None),
        "moka, with a lifetime" => moka(entries, Some(HOUR)),
        "quick_cache" => quick_cache(entries),
        _ => panic!("{cache:?} is none of the caches"),
    }
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

fn per_entry(cache: &str, entries: usize) -> Figures {
    let beside = (key(0).len() + VALUE) as f64;
    let before = resident();
    let mut filled = None;
    let taken = measure(|| filled = Some(fill(cache, entries)));
    let resident = resident() - before;
    assert_eq!(filled.unwrap()(), entries, "{cache} has not kept everything");
    let each = |bytes: f64| bytes / entries as f64 - beside;
    let mut figures = Figures::default();
    figures.note("resident", each(resident as f64));
    figures.note("requested", each(taken.bytes_current as f64));
    figures
}

fn bound(size: usize, max_bytes: usize) -> Figures {
    let before = resident();
    let backend = MemoryBackend::builder().max_bytes(max_bytes as u64).build();
    write(&backend, 3 * max_bytes / size, size, Ttl::from(HOUR));
    let mut figures = Figures::default();
    figures.note(
        "resident over max_bytes",
        (resident() - before) as f64 / max_bytes as f64,
    );
    figures
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let figures = match arguments[..] {
        ["entries", cache, entries] => per_entry(cache, entries.parse().unwrap()),
        ["bound", size, max_bytes] => bound(size.parse().unwrap(), max_bytes.parse().unwrap()),
        _ => panic!("footprint entries CACHE ENTRIES, or footprint bound VALUE_BYTES MAX_BYTES"),
    };
    figures.print();
}
