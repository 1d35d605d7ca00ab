//! An application on a local port, and a client that sees every byte of its responses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::map_request;
use axum::response::IntoResponse;
use bytes::Bytes;
use cache_axum::CacheLayer;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use crate::store::Store;

/// A running application.
pub struct App {
    address: SocketAddr,
    arrived: Calls,
    task: JoinHandle<()>,
}

impl App {
    pub async fn start(router: Router) -> Arc<Self> {
        let arrived = Calls::default();
        let counter = arrived.clone();
        let router = router.layer(map_request(move |request: Request| {
            counter.add();
            async move { request }
        }));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Arc::new(Self { address, arrived, task })
    }

    /// Starts an application that answers every request by `answer`, from the number of the call and the head of the
    /// request.
    pub async fn answering<R: IntoResponse>(
        layer: CacheLayer,
        answer: impl Fn(usize, Parts) -> R + Clone + Send + Sync + 'static,
    ) -> (Arc<Self>, Calls) {
        let calls = Calls::default();
        let counter = calls.clone();
        let handler = move |request: Request| {
            let answer = answer(counter.add(), request.into_parts().0).into_response();
            async move { answer }
        };
        (Self::start(Router::new().fallback(handler).layer(layer)).await, calls)
    }

    /// Returns the number of requests that have arrived.
    pub fn arrived(&self) -> usize {
        self.arrived.count()
    }

    /// Sends a request on a new connection, and returns the response when it begins. The host is always the same, as
    /// for processes behind a load balancer.
    pub async fn open(&self, method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(url).header("host", "app.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        client.send_request(request.body(body).unwrap()).await.unwrap()
    }

    pub async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let (parts, body) = self.open(method, url, headers, body).await.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub async fn get(&self, url: &str) -> Reply {
        self.get_with(url, &[]).await
    }

    pub async fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, url, headers, "").await
    }

    /// Sends concurrent requests.
    pub fn get_at_once(self: &Arc<Self>, requests: usize, url: &'static str) -> JoinSet<Reply> {
        let mut asking = JoinSet::new();
        for _ in 0..requests {
            let app = Arc::clone(self);
            asking.spawn(async move { app.get(url).await });
        }
        asking
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
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

    pub fn max_age(&self) -> u64 {
        let said = self.header("cache-control").strip_prefix("max-age=");
        said.expect("there is a max-age").parse().unwrap()
    }

    /// Returns the header lines that come from the handler, in order.
    pub fn lines(&self) -> Vec<(String, Vec<u8>)> {
        let of_the_cache = ["age", "cache-control", "x-cache", "cache-status"];
        let lines = self.headers.iter();
        lines
            .filter(|(name, _)| !of_the_cache.contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect()
    }
}

/// A counter of calls.
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

/// A gate that stops one caller until it is opened.
#[derive(Debug, Clone)]
pub struct Gate {
    armed: Arc<Semaphore>,
    reached: Arc<Semaphore>,
    opened: Arc<Semaphore>,
}

impl Gate {
    /// Makes an open gate.
    pub fn new() -> Self {
        let closed = || Arc::new(Semaphore::new(0));
        Self {
            armed: closed(),
            reached: closed(),
            opened: closed(),
        }
    }

    /// Makes the gate stop the next caller.
    pub fn arm(&self) {
        self.armed.add_permits(1);
    }

    pub async fn pass(&self) {
        if let Ok(permit) = self.armed.try_acquire() {
            permit.forget();
            self.reached.add_permits(1);
            self.opened.acquire().await.unwrap().forget();
        }
    }

    pub async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    pub fn open(&self) {
        self.opened.add_permits(1);
    }
}

/// Returns a layer over a cache on the store, with default settings and a TTL of a minute.
pub async fn layer(store: &Store) -> CacheLayer {
    CacheLayer::new(store.cache().await).ttl(Duration::from_secs(60))
}

/// Calls `ask` until it returns a value.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within thirty seconds");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Returns a body whose pieces the test sends.
pub fn streamed() -> (tokio::sync::mpsc::UnboundedSender<&'static str>, Body) {
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let stream = futures_util::stream::poll_fn(move |context| {
        let piece = receive.poll_recv(context);
        piece.map(|piece| piece.map(Ok::<&'static str, std::convert::Infallible>))
    });
    (send, Body::from_stream(stream))
}
