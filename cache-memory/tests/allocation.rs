//! The look-up allocates its boxed future and nothing else, whatever the size of the value.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use allocation_counter::measure;
use cache_core::{Backend, SetOptions, Ttl};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;

use support::{key, sized, stored};

#[test]
fn a_hit_and_a_miss_allocate_their_future_only() {
    let backend = MemoryBackend::default();
    let options = SetOptions::new(Ttl::from(Duration::from_secs(60)));
    for size in [0, 1_000_000] {
        stored(&backend, &key(size), sized(size), options)
            .now_or_never()
            .unwrap();
        let name = key(size);
        // The first clone of `Bytes` that were made from a vector allocates their reference count.
        backend.get(&name).now_or_never().unwrap().unwrap();
        let hit = measure(|| assert!(backend.get(&name).now_or_never().unwrap().unwrap().is_some()));
        assert_eq!(hit.count_total, 1);
        assert!(hit.bytes_total < 200, "{} bytes", hit.bytes_total);
    }
    let name = key("absent");
    let miss = measure(|| assert!(backend.get(&name).now_or_never().unwrap().unwrap().is_none()));
    assert_eq!(miss.count_total, 1);
}

/// What an entry really takes is close to what it counts for, so that the bound in bytes is worth something.
#[test]
fn the_overhead_that_is_counted_covers_the_overhead_that_there_is() {
    const ENTRIES: u32 = 50_000;
    for options in [
        SetOptions::new(Ttl::FOREVER),
        SetOptions::new(Ttl::from(Duration::from_secs(60))),
    ] {
        let mut backend = None;
        let taken = measure(|| {
            let built = MemoryBackend::default();
            for i in 0..ENTRIES {
                stored(&built, &key(i), sized(100), options).now_or_never().unwrap();
            }
            backend = Some(built);
        });
        let taken = taken.bytes_current as f64 / f64::from(ENTRIES);
        let counted = backend.unwrap().weight() as f64 / f64::from(ENTRIES);
        println!("an entry counts for {counted} bytes and takes {taken}");
        assert!((0.5..1.15).contains(&(taken / counted)), "{taken} of {counted}");
    }
}
