//! A lookup allocates its boxed future and nothing else, whatever the size of the value, and a look at an object nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use cache_core::{Backend, SetOptions, SharedValue, Ttl, Value};
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
    let object = Value::Shared(SharedValue::new(Arc::new("object"), 100));
    stored(&backend, &key("object"), object, options)
        .now_or_never()
        .unwrap();
    let name = key("object");
    let mut is_shown = false;
    let look = measure(|| {
        backend.view(&name, &mut |_| {
            is_shown = true;
            true
        });
    });
    assert_eq!((is_shown, look.count_total), (true, 0));
    let name = key("absent");
    let miss = measure(|| assert!(backend.get(&name).now_or_never().unwrap().unwrap().is_none()));
    assert_eq!(miss.count_total, 1);
}
