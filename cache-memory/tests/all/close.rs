//! After `close`, every use is an error, and the records are gone.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::thread;

use cache_core::{Backend, Error, ErrorKind, Prefix, SharedValue, Value, Version};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;

use crate::support::{bytes, forever, has, key, stored};

fn assert_closed<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    assert_eq!(error.backend(), Some("memory"));
}

#[tokio::test]
async fn every_use_of_a_closed_store_is_an_error() {
    let backend = MemoryBackend::default();
    let clone = backend.clone();
    stored(&backend, &key("k"), bytes("v"), forever()).await;
    clone.close().await.unwrap();
    clone.close().await.unwrap();

    assert_closed(backend.get(&key("k")).await);
    assert_closed(backend.set(&key("k"), bytes("v"), forever()).await);
    assert_closed(backend.delete(&key("k")).await);
    assert_closed(backend.delete_if(&key("k"), Version::from_u128(0)).await);
    assert_closed(backend.get_many(&[]).await);
    assert_closed(backend.get_many(&[key("k")]).await);
    assert_closed(backend.set_many(Vec::new()).await);
    assert_closed(backend.delete_many(&[]).await);
    assert_closed(backend.clear(&Prefix::new("app").scope()).await);
    assert_closed(backend.ping().await);
    assert_eq!(backend.purge_expired(), 0);
}

#[tokio::test]
async fn the_records_are_freed_although_handles_remain() {
    let backend = MemoryBackend::default();
    let object = Arc::new(());
    let listener = Arc::clone(&object);
    backend.on_eviction(Box::new(move |_| drop(Arc::clone(&listener))));
    for i in 0..100 {
        let value = Value::Shared(SharedValue::new(object.clone(), 100));
        stored(&backend, &key(i), value, forever()).await;
    }
    assert!(has(&backend, &key(0)).await);
    assert_eq!(Arc::strong_count(&object), 102);
    backend.close().await.unwrap();
    assert_eq!(Arc::strong_count(&object), 1);
    assert_eq!((backend.len(), backend.weight()), (0, 0));
    assert!(format!("{backend:?}").contains("closed: true"));
}

#[test]
fn writes_that_race_with_close_leave_nothing_behind() {
    for _ in 0..50 {
        let backend = MemoryBackend::builder().shards(8).build();
        thread::scope(|scope| {
            for i in 0..4 {
                let backend = &backend;
                scope.spawn(move || {
                    for j in 0.. {
                        let key = key(format!("{i} {j}"));
                        let set = backend.set(&key, bytes("v"), forever());
                        if let Err(error) = set.now_or_never().unwrap() {
                            assert_eq!(error.kind(), ErrorKind::Unavailable);
                            break;
                        }
                    }
                });
            }
            backend.close().now_or_never().unwrap().unwrap();
        });
        assert!(backend.is_empty());
    }
}
