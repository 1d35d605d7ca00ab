//! What the tests share: an app whose answers are numbered, and ways to ask it.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::ManualClock;
use cache_core::testing::FaultyBackend;
pub use cache_core::testing::idle;
use cache_memory::MemoryBackend;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tower::ServiceExt;

/// A cache in memory, on a clock that stands still.
pub fn cache() -> (Cache, ManualClock) {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder().clock(clock.clone()).build();
    (Cache::builder(backend).clock(clock.clone()).build(), clock)
}

pub fn layer() -> CacheLayer {
    CacheLayer::new(cache().0).ttl(Duration::from_secs(60))
}

/// How often a handler was called.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// A router that answers everything with what `answer` makes of the call's number and the request's head.
pub fn app<R: IntoResponse>(
    layer: CacheLayer,
    answer: impl Fn(usize, http::request::Parts) -> R + Clone + Send + Sync + 'static,
) -> (Router, Calls) {
    let calls = Calls::default();
    let counter = calls.clone();
    let handler = move |request: Request<Body>| {
        let (parts, _) = request.into_parts();
        let answer = answer(counter.add(), parts).into_response();
        async move { answer }
    };
    (Router::new().fallback(handler).layer(layer), calls)
}

#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn x_cache(&self) -> &str {
        self.header("x-cache")
    }

    pub fn cache_status(&self) -> &str {
        self.header("cache-status")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header_lines(&self) -> Vec<(String, String)> {
        let lines = self.headers.iter();
        lines
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect()
    }
}

pub async fn reply(response: Response) -> Reply {
    let (parts, body) = response.into_parts();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

pub fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri).header("host", "test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

pub async fn start(app: &Router, request: Request<Body>) -> Response {
    app.clone().oneshot(request).await.unwrap()
}

pub async fn send(app: &Router, request: Request<Body>) -> Reply {
    reply(start(app, request).await).await
}

pub async fn get(app: &Router, uri: &str) -> Reply {
    send(app, request(Method::GET, uri, &[])).await
}

pub async fn get_with(app: &Router, uri: &str, headers: &[(&str, &str)]) -> Reply {
    send(app, request(Method::GET, uri, headers)).await
}

/// A handler that waits at a gate before it answers, behind a layer.
pub struct Gated {
    pub app: Router,
    pub gate: Arc<tokio::sync::Semaphore>,
    pub calls: Calls,
}

pub fn gated(layer: CacheLayer, answer: impl Fn(usize) -> Response + Clone + Send + Sync + 'static) -> Gated {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let calls = Calls::default();
    let (inner_gate, counter) = (Arc::clone(&gate), calls.clone());
    let handler = move || {
        let (gate, call, answer) = (Arc::clone(&inner_gate), counter.add(), answer.clone());
        async move {
            gate.acquire().await.unwrap().forget();
            answer(call)
        }
    };
    Gated {
        app: Router::new().fallback(handler).layer(layer),
        gate,
        calls,
    }
}

impl Gated {
    /// Asks so often at once.
    pub fn ask(&self, requests: usize) -> JoinSet<Reply> {
        self.ask_with(&vec![&[] as &[_]; requests])
    }

    /// Asks at once, with these headers each.
    pub fn ask_with(&self, asked: &[&'static [(&'static str, &'static str)]]) -> JoinSet<Reply> {
        let mut asking = JoinSet::new();
        for headers in asked {
            let (app, headers) = (self.app.clone(), *headers);
            asking.spawn(async move { get_with(&app, "/", headers).await });
        }
        asking
    }
}

/// A body whose pieces the test sends: data, or an error that breaks it.
pub type Pieces = tokio::sync::mpsc::UnboundedSender<Result<Bytes, std::io::Error>>;

pub fn streamed() -> (Pieces, Body) {
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let stream = futures_util::stream::poll_fn(move |context| receive.poll_recv(context));
    (send, Body::from_stream(stream))
}

/// Bodies that are handed to a handler, one for each call.
#[derive(Clone, Default)]
pub struct Bodies(Arc<std::sync::Mutex<std::collections::VecDeque<Body>>>);

impl Bodies {
    pub fn push(&self) -> Pieces {
        let (pieces, body) = streamed();
        self.0.lock().unwrap().push_back(body);
        pieces
    }

    pub fn take(&self) -> Body {
        self.0
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or_else(|| Body::from("none left"))
    }
}

pub async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

/// A store that takes bytes only, as those on a network do, and can break down.
pub type Faulty = FaultyBackend<MemoryBackend>;

pub fn bytes_only(clock: &ManualClock) -> Faulty {
    FaultyBackend::new(MemoryBackend::builder().clock(clock.clone()).build())
}
