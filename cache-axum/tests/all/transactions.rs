//! Handlers that write in a transaction: what they change is invalidated after the commit, also if the client leaves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{get, request, send};
use axum::Router;
use axum::routing::get as get_route;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::testing::Gate;
use cache_axum::{CacheHandle, CacheLayer, InvalidateLayer};
use cache_memory::MemoryBackend;
use http::{Method, StatusCode};

/// A page that shows a row, and writes that commit it when a gate is open.
struct Shop {
    app: Router,
    cache: Cache,
    row: Arc<Mutex<&'static str>>,
    commit: Gate,
}

#[derive(Clone, Copy)]
enum Write {
    /// With `CacheHandle::deferred`.
    Deferred,
    /// The handler leaves the invalidation to the layer.
    Layer,
}

impl Shop {
    fn new(how: Write) -> Self {
        let cache = Cache::builder(MemoryBackend::default()).build();
        let layer = CacheLayer::new(cache.clone()).ttl(Duration::from_secs(60));
        let (row, commit) = (Arc::new(Mutex::new("old")), Gate::closed());
        let read = {
            let row = Arc::clone(&row);
            move || async move { *row.lock().unwrap() }
        };
        let write = {
            let (row, commit) = (Arc::clone(&row), commit.clone());
            move |handle: CacheHandle| async move {
                let committing = async move {
                    commit.pass().await;
                    *row.lock().unwrap() = "new";
                    Ok::<_, std::io::Error>(())
                };
                match how {
                    Write::Deferred => {
                        let deferred = handle.deferred();
                        deferred.add(handle.invalidation_of_url("/list").unwrap());
                        deferred.commit(committing).await.unwrap();
                    }
                    // As a library that finishes what was sent, though nobody waits for it.
                    Write::Layer => tokio::spawn(committing).await.unwrap().unwrap(),
                }
                StatusCode::NO_CONTENT
            }
        };
        let app = Router::new()
            .route("/row", get_route(async || "a row").put(write))
            .layer(InvalidateLayer::new(&layer).url("/list"))
            .route("/list", get_route(read))
            .layer(layer);
        Self {
            app,
            cache,
            row,
            commit,
        }
    }

    async fn list(&self) -> String {
        get(&self.app, "/list").await.text().to_owned()
    }

    /// Writes, and leaves during the commit.
    async fn write_and_leave(&self) {
        let app = self.app.clone();
        let write = tokio::spawn(async move { send(&app, request(Method::PUT, "/row", &[])).await });
        self.commit.reached().await;
        write.abort();
        assert!(write.await.unwrap_err().is_cancelled());
        // Another client reads before the commit, and after what the layer has invalidated.
        assert_eq!(self.list().await, "old");
        self.commit.open();
        while *self.row.lock().unwrap() != "new" {
            tokio::task::yield_now().await;
        }
        self.cache.shutdown().await;
    }
}

#[tokio::test]
async fn a_transaction_that_is_committed_invalidates_before_the_response() {
    let shop = Shop::new(Write::Deferred);
    assert_eq!(shop.list().await, "old");
    shop.commit.open();
    send(&shop.app, request(Method::PUT, "/row", &[])).await;
    assert_eq!(shop.list().await, "new");
}

#[tokio::test]
async fn a_client_that_leaves_during_the_commit_leaves_nothing_old() {
    let shop = Shop::new(Write::Deferred);
    shop.write_and_leave().await;
    assert_eq!(shop.list().await, "new");
}

/// The negative control: the layer cannot know when the commit took place.
#[tokio::test]
async fn the_layer_alone_is_too_early() {
    let shop = Shop::new(Write::Layer);
    shop.write_and_leave().await;
    assert_eq!(shop.list().await, "old", "outdated");
}
