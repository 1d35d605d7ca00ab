//! A value is decoded only if its tags permit its use.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cache_engine::cache_core::{Coder, Error, Json};

use support::{Remote, over};

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
