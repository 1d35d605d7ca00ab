//! A value is decoded only if its tags permit its use.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cache_engine::Cache;
use cache_engine::cache_core::{Coder, Error, Json};

use support::{Count, Log, Remote, TokioClock, memory, over};

/// Counts what it decodes.
#[derive(Debug, Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Coder<u32> for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn encode(&self, value: &u32) -> Result<Bytes, Error> {
        Json.encode(value)
    }

    fn decode(&self, bytes: &Bytes) -> Result<u32, Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Json.decode(bytes)
    }
}

#[tokio::test(start_paused = true)]
async fn what_its_tags_have_invalidated_is_not_decoded() {
    let coder = Counting::default();
    let cache = over(&Remote::new()).coder(coder.clone()).build().with_tags(["tag"]);
    cache.set("a", 1_u32).await.unwrap();
    cache.set("b", 2_u32).await.unwrap();
    assert!(cache.get::<u32>("a").await.unwrap().is_some());
    assert_eq!(coder.0.load(Ordering::SeqCst), 1, "the control");

    cache.invalidate_tag("tag").await.unwrap();
    assert!(cache.get::<u32>("a").await.unwrap().is_none());
    assert_eq!(cache.get_many::<u32, _>(["a", "b"]).await.unwrap(), [None, None]);
    assert_eq!(coder.0.load(Ordering::SeqCst), 1);
}

/// A coder with a bug, as of a value whose `Serialize` or `Deserialize` panics.
#[derive(Debug, Clone, Copy)]
struct Panics {
    encodes: bool,
    decodes: bool,
}

impl Coder<u32> for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn encode(&self, value: &u32) -> Result<Bytes, Error> {
        assert!(!self.encodes, "a bug");
        Json.encode(value)
    }

    fn decode(&self, bytes: &Bytes) -> Result<u32, Error> {
        assert!(!self.decodes, "a bug");
        Json.decode(bytes)
    }

    fn weight(&self, value: &u32) -> Result<usize, Error> {
        self.encode(value).map(|bytes| bytes.len())
    }
}

#[tokio::test(start_paused = true)]
async fn a_coder_that_panics_costs_loads_and_fails_none() {
    for decodes in [false, true] {
        let coder = Panics {
            encodes: !decodes,
            decodes,
        };
        let log = Log::new();
        let remote = over(&Remote::new()).coder(coder).observer(log.clone()).build();
        let loads = Count::new();
        for number in 1..=2 {
            assert_eq!(*remote.get_or_load("key", loads.loading(7_u32)).await.unwrap(), 7);
            assert_eq!(loads.get(), number);
        }
        assert_eq!(remote.get::<u32>("key").await.unwrap(), None);
        let failure = if decodes { "decode_failed" } else { "encode_failed" };
        assert!(log.count(failure) >= 2, "{failure}");
        assert_eq!(remote.set("key", 7_u32).await.is_err(), coder.encodes);

        // Memory stores the value itself, whose weight is counted.
        let memory = Cache::builder(memory(TokioClock::new())).coder(coder).build();
        assert_eq!(*memory.get_or_load("key", loads.loading(7_u32)).await.unwrap(), 7);
    }
}
