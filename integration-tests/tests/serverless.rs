//! A process that is frozen between requests, on real Redis: it leaves nothing undone, and holds up no other process.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_engine::Cache;
use cache_redis::RedisBackend;
use futures_util::{StreamExt, stream};
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use integration_tests::Redis;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const SEC: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A process whose runtime is polled only during a request.
struct Process {
    runtime: Runtime,
    app: Router,
    calls: Arc<AtomicUsize>,
}

impl Process {
    fn start(url: &str, prefix: &str, foreground: bool, ttl: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let store = runtime.block_on(RedisBackend::connect(url)).unwrap();
        let cache = Cache::builder(store)
            .prefix(prefix)
            .backend_timeout(MINUTE)
            // Whoever waits for the lease of a frozen process waits for as long as the test can bear.
            .lease_time(MINUTE)
            .foreground(foreground)
            .build();
        let layer = CacheLayer::new(cache)
            .ttl(ttl)
            .stale_while_revalidate(MINUTE)
            .max_wait(MINUTE);
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let handler = move || {
            let call = counter.fetch_add(1, Ordering::SeqCst) + 1;
            // The handler knows that it has ended only a moment after the last piece.
            let pieces = [format!("call {call}"), ", streamed".to_owned(), String::new()];
            let len: usize = pieces.iter().map(String::len).sum();
            async move {
                let body = Body::from_stream(stream::iter(pieces).then(|piece| async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok::<_, std::io::Error>(Bytes::from(piece))
                }));
                ([(CONTENT_LENGTH, len)], body)
            }
        };
        Self {
            runtime,
            app: Router::new().fallback(handler).layer(layer),
            calls,
        }
    }

    fn run<F: Future>(&self, request: F) -> F::Output {
        self.runtime.block_on(request)
    }

    /// Handles a request, and returns the text and how it was handled; `None` if that takes longer than `limit`.
    fn get(&self, limit: Duration) -> Option<(String, String)> {
        self.run(async {
            let request = Request::get("/").header("host", "test").body(Body::empty()).unwrap();
            let answering = async {
                let response = self.app.clone().oneshot(request).await.unwrap();
                let status = response.headers()["cache-status"].to_str().unwrap().to_owned();
                let len: usize = response.headers()[CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
                // A client that has everything reads no further.
                let (mut body, mut text) = (response.into_body(), Vec::new());
                while text.len() < len {
                    text.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
                }
                (String::from_utf8(text).unwrap(), status)
            };
            tokio::time::timeout(limit, answering).await.ok()
        })
    }
}

/// Returns the URL of a server, and the runtime that its fixture needs.
fn server() -> (Runtime, String) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let url = runtime.block_on(async { Redis::shared().await.url().to_owned() });
    (runtime, url)
}

fn prefix(name: &str) -> String {
    format!("serverless-{name}-{}", fastrand::u64(..))
}

#[test]
fn a_streamed_response_is_stored_before_the_process_is_frozen() {
    let (_server, url) = server();
    for foreground in [true, false] {
        let prefix = prefix("stored");
        let frozen = Process::start(&url, &prefix, foreground, MINUTE);
        let (text, status) = frozen.get(MINUTE).unwrap();
        assert_eq!((&*text, &*status), ("call 1, streamed", "cache; fwd=uri-miss; stored"));
        let other = Process::start(&url, &prefix, foreground, MINUTE);
        let limit = if foreground { MINUTE } else { 5 * SEC };
        let answer = other.get(limit);
        if foreground {
            let (text, status) = answer.unwrap();
            assert!(
                text == "call 1, streamed" && status.starts_with("cache; hit; ttl="),
                "{status}"
            );
        } else {
            // The negative control: it waits for the lease of the frozen process.
            assert_eq!(answer, None);
        }
        assert_eq!(other.calls.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_stale_response_is_refreshed_before_the_process_is_frozen() {
    let (_server, url) = server();
    for foreground in [true, false] {
        let prefix = prefix("refreshed");
        let process = Process::start(&url, &prefix, foreground, SEC);
        // The first process stores it in any case, as it is given the time.
        process.get(MINUTE).unwrap();
        process.run(async { tokio::time::sleep(2 * SEC).await });
        let (text, status) = process.get(MINUTE).unwrap();
        if foreground {
            assert_eq!((&*text, &*status), ("call 2, streamed", "cache; fwd=stale; stored"));
        } else {
            assert!(
                text == "call 1, streamed" && status.starts_with("cache; hit; ttl=-"),
                "{status}"
            );
        }
        // What the other process finds is what the first one has stored, however old it is by now.
        let other = Process::start(&url, &prefix, false, MINUTE);
        let (text, _) = other.get(MINUTE).unwrap();
        let expected = if foreground {
            "call 2, streamed"
        } else {
            "call 1, streamed"
        };
        assert_eq!(text, expected);
    }
}
