//! `clear` removes exactly one namespace, and a load that began before it cannot store its value afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Barrier;
use std::thread;

use cache_core::{Backend, Prefix, SetOutcome};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;

use crate::support::{bytes, forever, has, key, stored};

#[tokio::test]
async fn a_namespace_ends_at_its_boundary() {
    let backend = MemoryBackend::default();
    let prefix = Prefix::new("shop");
    let cleared = prefix.namespace("user");
    let others = [
        prefix.namespace("users"),
        prefix.namespace("use"),
        prefix.namespace("user:admin"),
        prefix.namespace(""),
        cleared.reserved("lease"),
        Prefix::new("shop2").namespace("user"),
        Prefix::new("").namespace("user"),
    ];
    for i in 0..100 {
        stored(&backend, &cleared.key(i.to_string()), bytes(i), forever()).await;
        for other in &others {
            stored(&backend, &other.key(i.to_string()), bytes(i), forever()).await;
        }
    }
    assert_eq!(backend.clear(&cleared.scope()).await.unwrap(), 100);
    assert_eq!(backend.clear(&cleared.scope()).await.unwrap(), 0);
    for i in 0..100 {
        assert!(!has(&backend, &cleared.key(i.to_string())).await);
        for other in &others {
            assert!(has(&backend, &other.key(i.to_string())).await);
        }
    }
    assert_eq!(backend.clear(&prefix.scope()).await.unwrap(), 500);
    assert_eq!(backend.len(), 200);
}

#[tokio::test]
async fn names_are_literal() {
    let backend = MemoryBackend::default();
    let prefix = Prefix::new("p");
    for name in ["*", "?", "[a]", "a*", ".*", "%", "\\", "' OR 1", "a\r\nb", "", "é"] {
        let namespace = prefix.namespace(name);
        stored(&backend, &prefix.namespace("a").key("k"), bytes("v"), forever()).await;
        stored(&backend, &namespace.key("k"), bytes("v"), forever()).await;
        assert_eq!(backend.clear(&namespace.scope()).await.unwrap(), 1, "{name:?}");
        assert!(has(&backend, &prefix.namespace("a").key("k")).await, "{name:?}");
    }
}

#[tokio::test]
async fn all_of_ten_thousand_entries_in_all_shards() {
    let backend = MemoryBackend::builder().shards(16).build();
    let other = Prefix::new("app").namespace("other").key("k");
    stored(&backend, &other, bytes("v"), forever()).await;
    for i in 0..10_000 {
        stored(&backend, &key(i), bytes(i), forever()).await;
    }
    assert_eq!(backend.clear(&key("").namespace().scope()).await.unwrap(), 10_000);
    assert_eq!(backend.len(), 1);
    assert!(has(&backend, &other).await);
}

#[tokio::test]
async fn a_fill_begun_before_cannot_land_after() {
    let backend = MemoryBackend::default();
    let lease = stored(&backend, &key("k"), bytes("lease"), forever().if_absent()).await;
    backend.clear(&key("k").namespace().scope()).await.unwrap();
    let fill = async || backend.set(&key("k"), bytes("old"), forever().if_version(lease)).await;
    assert_eq!(fill().await.unwrap(), SetOutcome::Refused);
    // It does not replace another loader's lease either.
    stored(&backend, &key("k"), bytes("lease"), forever().if_absent()).await;
    assert_eq!(fill().await.unwrap(), SetOutcome::Refused);
}

#[test]
fn fills_that_race_with_clear_are_cleared_or_refused() {
    // A small table, so that fills evict and so move records while `clear` visits the table.
    let backend = MemoryBackend::builder().max_entries(64).max_bytes(40_000).build();
    for _ in 0..200 {
        let leases: Vec<_> = (0..48)
            .filter_map(|i| {
                let key = key(i);
                let lease = backend.set(&key, bytes(""), forever().if_absent());
                let version = lease.now_or_never().unwrap().unwrap().version()?;
                Some((key, version))
            })
            .collect();
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                for (key, version) in &leases {
                    let fill = backend.set(key, crate::support::sized(500), forever().if_version(*version));
                    let _ = fill.now_or_never().unwrap().unwrap();
                }
            });
            barrier.wait();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(backend.clear(&key("").namespace().scope())).unwrap();
        });
        for (key, _) in &leases {
            assert!(backend.get(key).now_or_never().unwrap().unwrap().is_none());
        }
    }
}
