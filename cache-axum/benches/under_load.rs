//! What handlers that hang, stream, fail or are abandoned cost, with the layer and without it, as one table.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_memory::MemoryBackend;
use futures_util::future::join_all;
use futures_util::stream;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use tower::ServiceExt;

const MIB: usize = 1024 * 1024;

/// Counts something that a handler does.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn add(&self, number: usize) -> usize {
        self.0.fetch_add(number, Ordering::SeqCst) + number
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Running(Count);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The handler alone, or with the layer around it.
fn app<F, Fut>(layered: bool, handler: F) -> Router
where
    F: Fn(Uri, HeaderMap) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    let router = Router::new().fallback(handler);
    if !layered {
        return router;
    }
    let cache = Cache::builder(MemoryBackend::default()).build();
    router.layer(CacheLayer::new(cache).ttl(Duration::from_secs(60)))
}

async fn ask(app: &Router, uri: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::get(uri).header("host", "bench");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// Asks, and reads the answer to its end.
async fn get(app: &Router, uri: &str, headers: &[(&str, &str)]) -> (StatusCode, usize) {
    let response = ask(app, uri, headers).await;
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes().len())
}

/// The first call of each URL hangs for good. Ten clients ask at once, then one more.
async fn hung(layered: bool) -> String {
    let calls = Count::default();
    let counter = calls.clone();
    let app = app(layered, move |_, _| {
        let call = counter.add(1);
        async move {
            if call == 1 {
                pending::<()>().await;
            }
            call.to_string().into_response()
        }
    });
    let hung = tokio::spawn({
        let app = app.clone();
        async move { get(&app, "/", &[]).await }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    join_all((0..10).map(|_| get(&app, "/", &[]))).await;
    let waited = began.elapsed();
    let began = Instant::now();
    get(&app, "/", &[]).await;
    let later = began.elapsed();
    hung.abort();
    format!(
        "{} ms, later {} ms; {} calls",
        waited.as_millis(),
        later.as_millis(),
        calls.get()
    )
}

/// Lines that come one at a time. How long after the first client the second one has its first line.
async fn slow_body(layered: bool) -> String {
    let calls = Count::default();
    let counter = calls.clone();
    let app = app(layered, move |_, _| {
        counter.add(1);
        async move {
            let lines = stream::unfold(0, |line| async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                (line < 20).then(|| (Ok::<_, std::io::Error>(Bytes::from_static(b"{}\n")), line + 1))
            });
            ([("content-type", "application/x-ndjson")], Body::from_stream(lines)).into_response()
        }
    });
    let began = Instant::now();
    let first_line = |app: Router| async move {
        let mut body = ask(&app, "/", &[]).await.into_body();
        body.frame().await.unwrap().unwrap();
        (began.elapsed(), body.collect().await.unwrap().to_bytes().len())
    };
    let (first, second) = tokio::join!(first_line(app.clone()), first_line(app.clone()));
    assert_eq!(first.1, second.1);
    let behind = second.0.saturating_sub(first.0);
    format!("{:.1} ms behind; {} calls", behind.as_secs_f64() * 1000.0, calls.get())
}

/// 100 bytes of a file of 3 GiB whose length is not said, by ten queries.
async fn ranges(layered: bool) -> String {
    const SIZE: usize = 3 * 1024 * MIB;
    let produced = Count::default();
    let counter = produced.clone();
    let app = app(layered, move |_, headers: HeaderMap| {
        let counter = counter.clone();
        async move {
            let is_part = headers.contains_key("range");
            let length = if is_part { 100 } else { SIZE };
            let pieces = stream::unfold((length, counter), |(left, counter)| async move {
                let piece = left.min(64 * 1024);
                tokio::task::yield_now().await;
                counter.add(piece);
                (piece > 0).then(|| {
                    (
                        Ok::<_, std::io::Error>(Bytes::from(vec![0; piece])),
                        (left - piece, counter),
                    )
                })
            });
            let body = Body::from_stream(pieces);
            if !is_part {
                return body.into_response();
            }
            let range = format!("bytes 2147483648-2147483747/{SIZE}");
            (StatusCode::PARTIAL_CONTENT, [("content-range", range)], body).into_response()
        }
    });
    let began = Instant::now();
    let range = [("range", "bytes=2147483648-2147483747")];
    for query in 0..10 {
        let part = get(&app, &format!("/?{query}"), &range).await;
        assert_eq!(part, (StatusCode::PARTIAL_CONTENT, 100));
    }
    let new = (began.elapsed(), produced.get());
    let began = Instant::now();
    for query in 0..10 {
        get(&app, &format!("/?{query}"), &range).await;
    }
    let known = (began.elapsed(), produced.get() - new.1);
    format!(
        "{:.1} ms and {:.1} MiB; again {:.1} ms and {:.1} MiB",
        new.0.as_secs_f64() * 1000.0,
        new.1 as f64 / MIB as f64,
        known.0.as_secs_f64() * 1000.0,
        known.1 as f64 / MIB as f64
    )
}

/// 200 clients that leave after 50 ms. How many handlers run on.
async fn abandoned(layered: bool) -> String {
    let running = Count::default();
    let counter = running.clone();
    let app = app(layered, move |_, _| {
        counter.add(1);
        let running = Running(counter.clone());
        async move {
            pending::<()>().await;
            drop(running);
            "".into_response()
        }
    });
    let leave = |number: usize| {
        let app = app.clone();
        async move { tokio::time::timeout(Duration::from_millis(50), get(&app, &format!("/{number}"), &[])).await }
    };
    join_all((0..200).map(leave)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    format!("{} handlers", running.get())
}

/// 100 clients at once on a handler that fails, and 100 after a bad request of one.
async fn failing(layered: bool) -> String {
    let (calls, asked) = (Count::default(), Count::default());
    let (counter, all) = (calls.clone(), asked.clone());
    let app = app(layered, move |uri: Uri, headers: HeaderMap| {
        counter.add(1);
        let all = all.clone();
        async move {
            if headers.contains_key("x-bad") {
                return StatusCode::BAD_REQUEST.into_response();
            }
            // On a busy machine a client may come later than the answer, and is then right to ask again.
            while all.get() % 100 != 0 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            match uri.path() {
                "/fails" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                _ => "fine".into_response(),
            }
        }
    });
    let ask = async |uri| {
        asked.add(1);
        get(&app, uri, &[]).await
    };
    join_all((0..100).map(|_| ask("/fails"))).await;
    let failed = calls.get();
    get(&app, "/fine", &[("x-bad", "1")]).await;
    join_all((0..100).map(|_| ask("/fine"))).await;
    format!(
        "{failed} calls that fail; {} after a bad request",
        calls.get() - failed - 1
    )
}

#[tokio::main]
async fn main() {
    println!("| what happens | without the layer | with it |\n|---|---|---|");
    macro_rules! row {
        ($name:literal, $measure:ident) => {
            println!(
                "| {} | {} | {} |",
                $name,
                $measure(false).await,
                $measure(true).await
            );
        };
    }
    row!("a call that hangs, ten clients who wait", hung);
    row!("a slow body, two clients", slow_body);
    row!("100 bytes of 3 GiB, ten queries", ranges);
    row!("200 clients who leave after 50 ms", abandoned);
    row!("100 clients at once", failing);
}
