//! The engine's guarantees between two processes that share a table.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dynamodb_support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cache_engine::Cache;
use tokio::sync::Semaphore;

use crate::dynamodb_support::{fresh_table, patient};

/// Makes two caches that share only the table.
async fn two_caches() -> (Cache, Cache) {
    let (server, table) = fresh_table("engine").await;
    let cache = async || {
        let backend = patient(server.endpoint(), &table).connect().await.unwrap();
        Cache::builder(backend)
            .prefix("shop")
            .ttl(Duration::from_secs(600))
            // Long, since the server shares two processors with the tests.
            .backend_timeout(Duration::from_secs(30))
            .lease_time(Duration::from_secs(60))
            .build()
    };
    (cache().await, cache().await)
}

/// A load that waits until the test lets it go on.
#[derive(Clone)]
struct Gate {
    reached: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn closed() -> Self {
        Self {
            reached: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }

    async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }
}

#[tokio::test]
async fn two_processes_load_once() {
    let (here, there) = two_caches().await;
    let loads = Arc::new(AtomicU32::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..20 {
        let users = [&here, &there][number % 2].with_namespace("users");
        let loads = Arc::clone(&loads);
        callers.spawn(async move {
            let load = || async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok::<_, Infallible>(loads.fetch_add(1, Ordering::SeqCst) + 1)
            };
            *users.get_or_load("42", load).await.unwrap()
        });
    }
    assert_eq!(callers.join_all().await, [1; 20]);
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

/// Begins a load of `old`, runs `meanwhile`, ends the load, and returns what both caches find then.
async fn found_after<F: Future<Output = ()>>(here: &Cache, there: &Cache, meanwhile: impl FnOnce(Cache) -> F) -> u32 {
    let gate = Gate::closed();
    let old = tokio::spawn({
        let (users, gate) = (here.with_namespace("users"), gate.clone());
        async move {
            let load = || async move {
                gate.pass().await;
                Ok::<_, Infallible>(1_u32)
            };
            *users.get_or_load("42", load).await.unwrap()
        }
    });
    gate.reached().await;
    meanwhile(there.clone()).await;
    gate.open.add_permits(1);
    assert_eq!(old.await.unwrap(), 1, "its own caller is answered");
    here.shutdown().await;

    let load = || async { Ok::<_, Infallible>(2_u32) };
    let there = *there.with_namespace("users").get_or_load("42", load).await.unwrap();
    let again = || async { Ok::<_, Infallible>(3_u32) };
    let here = *here.with_namespace("users").get_or_load("42", again).await.unwrap();
    assert_eq!(here, there, "both find the same");
    there
}

#[tokio::test]
async fn an_invalidation_fences_a_load_that_is_under_way_elsewhere() {
    let (here, there) = two_caches().await;
    let found = found_after(&here, &there, async |there: Cache| {
        there.with_namespace("users").invalidate("42").await.unwrap();
    })
    .await;
    assert_eq!(found, 2);
}

#[tokio::test]
async fn clearing_a_namespace_fences_loads_that_are_under_way_elsewhere() {
    let (here, there) = two_caches().await;
    here.with_namespace("users").set("1", 7_u32).await.unwrap();
    here.with_namespace("user").set("1", 8_u32).await.unwrap();
    let found = found_after(&here, &there, async |there: Cache| {
        // The table does not report how many records there were.
        assert_eq!(there.clear("users").await.unwrap(), None);
    })
    .await;
    assert_eq!(found, 2);
    for cache in [&here, &there] {
        assert!(cache.with_namespace("users").get::<u32>("1").await.unwrap().is_none());
        let other = cache.with_namespace("user").get::<u32>("1").await.unwrap();
        assert_eq!(other.as_deref(), Some(&8));
    }
}

#[tokio::test]
async fn without_an_invalidation_the_load_is_stored() {
    let (here, there) = two_caches().await;
    let found = found_after(&here, &there, async |there: Cache| {
        there.with_namespace("users").invalidate("43").await.unwrap();
        there.clear("user").await.unwrap();
    })
    .await;
    assert_eq!(found, 1);
}
