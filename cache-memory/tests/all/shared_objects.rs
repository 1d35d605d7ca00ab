//! Objects of this process are stored as they are.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use cache_core::{Backend, SharedValue, Value};
use cache_memory::MemoryBackend;

use crate::support::{forever, key, stored};

#[tokio::test]
async fn a_hit_hands_out_the_object_that_was_set() {
    let backend = MemoryBackend::default();
    assert!(backend.capabilities().shared_objects);
    let object: Arc<dyn Any + Send + Sync> = Arc::new(vec![1, 2, 3]);
    let value = Value::Shared(SharedValue::new(Arc::clone(&object), 5_000));
    stored(&backend, &key("k"), value, forever()).await;

    for _ in 0..3 {
        let Value::Shared(shared) = backend.get(&key("k")).await.unwrap().unwrap().value else {
            panic!("not the object");
        };
        assert!(Arc::ptr_eq(shared.object(), &object));
    }
    assert!(backend.weight() > 5_000, "it counts for the weight it was given");
    assert_eq!(Arc::strong_count(&object), 2);
    backend.delete(&key("k")).await.unwrap();
    assert_eq!(Arc::strong_count(&object), 1);
}

#[tokio::test]
async fn bytes_are_handed_out_without_a_copy() {
    let backend = MemoryBackend::default();
    let body = Bytes::from(vec![7; 65_536]);
    stored(&backend, &key("k"), Value::Bytes(body.clone()), forever()).await;
    let record = backend.get(&key("k")).await.unwrap().unwrap();
    assert_eq!(record.value.as_bytes().unwrap().as_ptr(), body.as_ptr());
}

#[tokio::test]
async fn an_object_that_is_too_heavy_is_refused_by_the_weight_it_claims() {
    let backend = MemoryBackend::builder().max_bytes(10_000).build();
    let value = Value::Shared(SharedValue::new(Arc::new(()), usize::MAX));
    assert!(backend.set(&key("k"), value, forever()).await.is_err());
    assert_eq!(backend.weight(), 0);
}
