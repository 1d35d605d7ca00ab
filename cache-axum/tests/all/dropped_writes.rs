//! Writes whose caller is cancelled, in the handler or during the invalidation: what they have changed is invalidated.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{get, idle, request, send};
use axum::Router;
use axum::body::Body;
use axum::routing::{get as get_route, put};
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::{Backend, Error, Key, Record, SetOptions, SetOutcome, Value, async_trait};
use cache_axum::{CacheLayer, InvalidateLayer, StoreFor};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, service_fn};

/// A store that takes its time to change anything once it is told to.
#[derive(Debug, Clone)]
struct Slow {
    inner: MemoryBackend,
    is_slow: Arc<AtomicBool>,
    /// One for each change that has begun to wait.
    waiting: Arc<Semaphore>,
    /// One for each that may go on.
    gate: Arc<Semaphore>,
}

impl Slow {
    fn new() -> Self {
        Self {
            inner: MemoryBackend::default(),
            is_slow: Arc::default(),
            waiting: Arc::new(Semaphore::new(0)),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    fn slow_down(&self) {
        self.is_slow.store(true, Ordering::SeqCst);
    }

    fn go_on(&self) {
        self.is_slow.store(false, Ordering::SeqCst);
        self.gate.add_permits(100);
    }

    async fn pass(&self) {
        if self.is_slow.load(Ordering::SeqCst) {
            self.waiting.add_permits(1);
            self.gate.acquire().await.unwrap().forget();
        }
    }
}

#[async_trait]
impl Backend for Slow {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.inner.get(key).await
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        self.pass().await;
        self.inner.set(key, value, options).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.pass().await;
        self.inner.delete(key).await
    }
}

const READS: [&str; 5] = ["/w", "/items", "/tagged", "/list", "/other"];

/// A write at `/w` and what it makes outdated, all but `/other`.
struct Shop {
    app: Router,
    cache: Cache,
    store: Slow,
    /// One for each write that has been made.
    written: Arc<Semaphore>,
    /// One for each handler that may answer.
    gate: Arc<Semaphore>,
}

impl Shop {
    async fn new() -> Self {
        let store = Slow::new();
        let cache = Cache::builder(store.clone()).build();
        let layer = CacheLayer::new(cache.clone());
        let also = InvalidateLayer::new(&layer)
            .url("/items")
            .tags(["shelf:1"])
            .namespace("lists");
        let (written, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let write = {
            let (written, gate) = (Arc::clone(&written), Arc::clone(&gate));
            move || async move {
                written.add_permits(1);
                gate.acquire().await.unwrap().forget();
                StatusCode::NO_CONTENT
            }
        };
        let app = Router::new()
            .route("/items", get_route(|| async { "…" }))
            .route(
                "/list",
                get_route(|| async { (StoreFor::as_usual().namespace("lists"), "…") }),
            )
            .route("/other", get_route(|| async { "…" }))
            .route("/w", get_route(|| async { "…" }).merge(put(write).layer(also)))
            .layer(layer.clone())
            .route("/tagged", get_route(|| async { "…" }).layer(layer.tags(["shelf:1"])));
        for url in READS {
            // The second is the first that is stored in its namespace.
            get(&app, url).await;
            get(&app, url).await;
            assert_eq!(get(&app, url).await.x_cache(), "HIT", "{url}");
        }
        Self {
            app,
            cache,
            store,
            written,
            gate,
        }
    }

    /// A write that has been made and not answered yet.
    async fn write(&self, method: Method) -> tokio::task::JoinHandle<crate::support::Reply> {
        let app = self.app.clone();
        let write = tokio::spawn(async move { send(&app, request(method, "/w", &[])).await });
        self.written.acquire().await.unwrap().forget();
        write
    }

    async fn hits(&self) -> Vec<&'static str> {
        let mut hits = Vec::new();
        for url in READS {
            if get(&self.app, url).await.x_cache() == "HIT" {
                hits.push(url);
            }
        }
        hits
    }
}

async fn drop_it(write: tokio::task::JoinHandle<crate::support::Reply>) {
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    idle().await;
}

#[tokio::test]
async fn at_the_handler() {
    let shop = Shop::new().await;
    let write = shop.write(Method::PUT).await;
    idle().await;
    assert_eq!(shop.hits().await, READS, "nothing goes before the write has ended");
    drop_it(write).await;
    assert_eq!(shop.hits().await, ["/other"]);
}

#[tokio::test]
async fn at_each_change_of_the_store() {
    // As many changes as one write makes.
    let shop = Shop::new().await;
    shop.store.slow_down();
    let write = shop.write(Method::PUT).await;
    shop.gate.add_permits(1);
    let mut changes = 0;
    while !write.is_finished() {
        tokio::select! {
            permit = shop.store.waiting.acquire() => {
                permit.unwrap().forget();
                changes += 1;
                shop.store.gate.add_permits(1);
            }
            () = idle() => {}
        }
    }
    assert_eq!(write.await.unwrap().status, StatusCode::NO_CONTENT);
    assert!(changes >= 4, "{changes}");

    for dropped_at in 1..=changes {
        let shop = Shop::new().await;
        shop.store.slow_down();
        let write = shop.write(Method::PUT).await;
        shop.gate.add_permits(1);
        for change in 1..=dropped_at {
            shop.store.waiting.acquire().await.unwrap().forget();
            if change < dropped_at {
                shop.store.gate.add_permits(1);
            }
        }
        drop_it(write).await;
        shop.store.go_on();
        idle().await;
        assert_eq!(
            shop.hits().await,
            ["/other"],
            "dropped at change {dropped_at} of {changes}"
        );
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_what_a_dropped_write_has_changed() {
    let shop = Shop::new().await;
    shop.store.slow_down();
    drop_it(shop.write(Method::PUT).await).await;
    let cache = shop.cache.clone();
    let shutdown = tokio::spawn(async move { cache.shutdown().await });
    idle().await;
    shop.store.waiting.try_acquire().unwrap().forget();
    assert!(!shutdown.is_finished());
    shop.store.go_on();
    shutdown.await.unwrap();
}

/// A service around which the layer alone stands, since a router never fails.
async fn failing<E: std::fmt::Debug + Send + 'static>(
    method: Method,
    write: impl Fn() -> Result<(), E> + Clone + Send + 'static,
) -> String {
    let inner = service_fn(move |request: Request<Body>| {
        let result = if request.method() == Method::GET {
            Ok(())
        } else {
            write()
        };
        async move { result.map(|()| Response::new(Body::from("…"))) }
    });
    let service = CacheLayer::new(crate::support::cache().0).layer(inner);
    let ask = |method| service.clone().oneshot(request(method, "/", &[]));
    ask(Method::GET).await.unwrap();
    // It fails, or panics, or neither: what counts is what it has done.
    let _ = AssertUnwindSafe(ask(method)).catch_unwind().await;
    idle().await;
    let after = ask(Method::GET).await.unwrap();
    after.headers()["x-cache"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_write_that_panics_or_fails_without_an_answer_may_have_been_made() {
    assert_eq!(failing::<Infallible>(Method::PUT, || panic!("after it")).await, "MISS");
    assert_eq!(failing(Method::PUT, || Err("timed out")).await, "MISS");
    assert_eq!(failing(Method::OPTIONS, || Err("timed out")).await, "HIT");
}
