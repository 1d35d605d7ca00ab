//! A lookup allocates its boxed future and nothing else, whatever the size of the value.
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
        // The first clone of `Bytes` made from a vector allocates the reference count.
        backend.get(&name).now_or_never().unwrap().unwrap();
        let hit = measure(|| assert!(backend.get(&name).now_or_never().unwrap().unwrap().is_some()));
        assert_eq!(hit.count_total, 1);
        assert!(hit.bytes_total < 200, "{} bytes", hit.bytes_total);
    }
    let name = key("absent");
    let miss = measure(|| assert!(backend.get(&name).now_or_never().unwrap().unwrap().is_none()));
    assert_eq!(miss.count_total, 1);
}
