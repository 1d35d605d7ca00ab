//! The application that the browser visits, and a log of its requests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{OriginalUri, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use cache_axum::cache_engine::Cache;
use cache_axum::{CacheLayer, ClientCaching};
use cache_core::ManualClock;
use cache_memory::MemoryBackend;
use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, IF_NONE_MATCH};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tower_http::compression::CompressionLayer;

#[derive(Clone)]
struct Goods {
    item: Arc<Mutex<String>>,
    /// One line for each request: its conditions and the outcome.
    log: Arc<Mutex<Vec<String>>>,
    /// The paths of the handler calls.
    calls: Arc<Mutex<Vec<String>>>,
}

/// Where responses are compressed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Compressed {
    Never,
    /// Before they are stored.
    Inside,
    /// After they leave the cache.
    Outside,
}

/// A running application whose cache has its own clock, which starts at the browser's time.
pub struct Shop {
    address: SocketAddr,
    goods: Goods,
    pub clock: ManualClock,
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_with(Compressed::Never).await
    }

    pub async fn open_with(compressed: Compressed) -> Self {
        let clock = ManualClock::starting_at(SystemTime::now().into());
        let backend = MemoryBackend::builder().clock(clock.clone()).build();
        let mut layer = CacheLayer::new(Cache::builder(backend).clock(clock.clone()).build())
            .ttl(Duration::from_secs(60))
            .stale_while_revalidate(Duration::from_secs(60));
        if compressed == Compressed::Outside {
            layer = layer.weak_etags(true);
        }
        let goods = Goods {
            item: Arc::new(Mutex::new("lamp".to_owned())),
            log: Arc::default(),
            calls: Arc::default(),
        };
        // The first layer of a tuple is the outermost.
        let cached = |route: MethodRouter<Goods>, layer: CacheLayer| match compressed {
            Compressed::Never => route.layer(layer),
            Compressed::Inside => route.layer((layer, CompressionLayer::new())),
            Compressed::Outside => route.layer((CompressionLayer::new(), layer)),
        };
        let asked_for = layer.clone().client_caching(ClientCaching::Revalidate);
        let app = Router::new()
            .route("/page", cached(get(page).put(change), asked_for))
            .route("/script.js", cached(get(script), layer.clone()))
            .route("/minute/{name}", cached(get(minute), layer.clone()))
            .route("/private", cached(get(private), layer))
            .layer(from_fn_with_state(goods.clone(), note))
            .with_state(goods.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, goods, clock }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the log since the last call.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.goods.log.lock().unwrap())
    }

    /// Returns how often a handler was called.
    pub fn calls(&self, path: &str) -> usize {
        self.goods
            .calls
            .lock()
            .unwrap()
            .iter()
            .filter(|called| *called == path)
            .count()
    }

    /// Sends a request as another client. Returns the layer's `X-Cache`.
    pub async fn ask(&self, method: Method, path: &str, content: &str) -> String {
        let stream = TokioIo::new(TcpStream::connect(self.address).await.unwrap());
        let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::builder().method(method).uri(path);
        let content = Full::new(Bytes::copy_from_slice(content.as_bytes()));
        let request = request.header(HOST, self.address.to_string()).body(content).unwrap();
        let response = client.send_request(request).await.unwrap();
        response.headers()["x-cache"].to_str().unwrap().to_owned()
    }

    /// Waits until a stale response has been refreshed in the background.
    pub async fn refreshed(&self, path: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.ask(Method::GET, path, "").await != "HIT" {
            assert!(Instant::now() < deadline, "{path} is not refreshed");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Declares an empty icon, which browsers would request otherwise.
const HEAD: &str = "<!DOCTYPE html><title>Shop</title><link rel=icon href='data:,'>";

impl Goods {
    fn called(&self, path: &str) {
        self.calls.lock().unwrap().push(path.to_owned());
    }
}

async fn page(State(goods): State<Goods>) -> Html<String> {
    goods.called("/page");
    let item = goods.item.lock().unwrap().clone();
    Html(format!("{HEAD}<body>{item}<script src=/script.js></script>"))
}

async fn change(State(goods): State<Goods>, item: String) {
    *goods.item.lock().unwrap() = item;
}

async fn script(State(goods): State<Goods>) -> impl IntoResponse {
    goods.called("/script.js");
    (
        [(CONTENT_TYPE, "text/javascript")],
        "document.body.append(', and a script')",
    )
}

/// Sets its own lifetime.
async fn minute(State(goods): State<Goods>, OriginalUri(uri): OriginalUri) -> impl IntoResponse {
    goods.called(uri.path());
    (
        [(CACHE_CONTROL, "max-age=60")],
        Html(format!("{HEAD}<body>good for a minute")),
    )
}

async fn private(State(goods): State<Goods>) -> impl IntoResponse {
    goods.called("/private");
    (
        [(CACHE_CONTROL, "private, max-age=60")],
        Html(format!("{HEAD}<body>yours")),
    )
}

async fn note(State(goods): State<Goods>, request: Request, next: Next) -> Response {
    let mut line = format!("{} {}", request.method(), request.uri().path());
    if let Some(directives) = request.headers().get(CACHE_CONTROL) {
        line = format!("{line} {}", directives.to_str().unwrap());
    }
    if request.headers().contains_key(IF_NONE_MATCH) {
        line.push_str(" if-none-match");
    }
    let response = next.run(request).await;
    let x_cache = response
        .headers()
        .get("x-cache")
        .map_or("-", |value| value.to_str().unwrap());
    let line = format!("{line} {} {x_cache}", response.status().as_u16());
    goods.log.lock().unwrap().push(line);
    response
}
