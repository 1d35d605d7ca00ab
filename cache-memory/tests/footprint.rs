//! `max_bytes` bounds the memory of the process, as the allocator counts it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use cache_core::{Backend, SetOptions, Ttl, Value};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;

use support::{key, sized};

fn put(backend: &MemoryBackend, name: impl ToString, value: Value, options: SetOptions) {
    let _ = backend.set(&key(name), value, options).now_or_never().unwrap().unwrap();
}

/// Fills a store of `max_bytes` by `fill`, and returns it with its allocations.
fn built(max_bytes: u64, fill: impl FnOnce(&MemoryBackend)) -> (MemoryBackend, AllocationInfo) {
    let mut backend = None;
    let taken = measure(|| {
        let built = MemoryBackend::builder().max_bytes(max_bytes).build();
        fill(&built);
        backend = Some(built);
    });
    (backend.unwrap(), taken)
}

/// Returns the memory of the allocations in bytes: what was asked for, and what allocators use for each of them. They
/// keep notes of eight bytes and round up to sixteen, of which `ROUNDED` is the average here.
fn allocated(taken: &AllocationInfo) -> f64 {
    const NOTE: i64 = 8;
    const ROUNDED: i64 = 4;
    (taken.bytes_current + taken.count_current * (NOTE + ROUNDED)) as f64
}

#[test]
fn what_a_full_store_takes_is_within_a_tenth_of_max_bytes() {
    const MAX_BYTES: u64 = 8 << 20;
    let lasting = SetOptions::new(Ttl::FOREVER);
    let ending = SetOptions::new(Ttl::from(Duration::from_secs(60)));
    for (size, count) in [
        (0, 120_000),
        (10, 120_000),
        (100, 80_000),
        (500, 40_000),
        (4_096, 6_000),
        (100_000, 300),
    ] {
        for options in [lasting, ending] {
            let (backend, taken) = built(MAX_BYTES, |backend| {
                for i in 0..count {
                    put(backend, i, sized(size), options);
                }
            });
            assert!(backend.stats().evicted > 0, "not full with {size}");
            let share = allocated(&taken) / MAX_BYTES as f64;
            println!(
                "{size} bytes: {share:.3} of the bound, peak {:.3}",
                taken.bytes_max as f64 / MAX_BYTES as f64
            );
            assert!((0.9..1.1).contains(&share), "{share} with {size}");
        }
    }
}

#[test]
fn the_bound_holds_when_small_entries_give_way_to_large_ones_and_back() {
    const MAX_BYTES: u64 = 8 << 20;
    let options = SetOptions::new(Ttl::from(Duration::from_secs(60)));
    for sizes in [[10, 50_000, 10], [50_000, 10, 50_000]] {
        let (backend, taken) = built(MAX_BYTES, |backend| {
            for (round, size) in sizes.into_iter().enumerate() {
                for i in 0..MAX_BYTES as usize * 2 / (size + 150) {
                    put(backend, format!("{round} {i}"), sized(size), options);
                }
            }
        });
        let share = allocated(&taken) / backend.weight() as f64;
        println!("{sizes:?}: {share:.3}");
        assert!((0.9..1.1).contains(&share), "{share} with {sizes:?}");
    }
}

#[test]
fn what_is_removed_is_given_back() {
    let options = SetOptions::new(Ttl::from(Duration::from_secs(60)));
    let (backend, taken) = built(256 << 20, |backend| {
        for i in 0..100_000 {
            put(backend, i, sized(100), options);
        }
        for i in 0..99_000 {
            backend.delete(&key(i)).now_or_never().unwrap().unwrap();
        }
    });
    assert_eq!(backend.len(), 1_000);
    // Each shard keeps some slots for the next entries.
    assert!(taken.bytes_current < 1_000_000, "{} bytes", taken.bytes_current);
}

/// Vectors that grew have room for more.
#[test]
fn what_a_buffer_has_room_for_beyond_its_length_is_given_back() {
    for size in [1_000, 100_000] {
        let (backend, taken) = built(64 << 20, |backend| {
            for i in 0..100 {
                let mut vector = Vec::with_capacity(2 * size);
                vector.resize(size, 7);
                put(backend, i, Value::Bytes(vector.into()), SetOptions::new(Ttl::FOREVER));
            }
        });
        let share = allocated(&taken) / backend.weight() as f64;
        assert!((0.8..1.1).contains(&share), "{share} with {size}");
        assert_eq!(backend.len(), 100);
    }
}

/// A small slice of a large buffer does not keep the buffer alive.
#[test]
fn a_small_slice_takes_its_own_length_only() {
    let (backend, taken) = built(8 << 20, |backend| {
        for i in 0..100 {
            let Value::Bytes(large) = sized(1_000_000) else {
                unreachable!()
            };
            put(
                backend,
                i,
                Value::Bytes(large.slice(..100)),
                SetOptions::new(Ttl::FOREVER),
            );
        }
    });
    assert_eq!(backend.len(), 100);
    assert!(taken.bytes_current < 200_000, "{} bytes", taken.bytes_current);
}
