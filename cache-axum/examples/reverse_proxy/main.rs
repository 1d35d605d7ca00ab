//! A caching reverse proxy: a shared cache by RFC 9111 in front of one origin.
//!
//! ```text
//! cargo run --release -p cache-axum --example reverse_proxy -- --listen 127.0.0.1:8002 --origin http://127.0.0.1:8000
//! cargo run --release -p cache-axum --example reverse_proxy -- --origin http://127.0.0.1:8000 --store redis://127.0.0.1:6379
//! ```

#[path = "../quickstart/store.rs"]
#[expect(dead_code, reason = "the quickstart tells how much its memory holds")]
mod store;

use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{HOST, HeaderName};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use cache_axum::cache_engine::Cache;
use cache_axum::cache_http::remove_hop_by_hop;
use cache_axum::{CacheLayer, OriginUnreachable};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const VIA: HeaderName = HeaderName::from_static("via");

/// Where requests go that the cache cannot answer.
#[derive(Clone)]
struct Origin {
    url: Uri,
    client: Client<HttpConnector, Body>,
}

/// Hands a request to the origin, and its response back. Both bodies pass as they come.
async fn forward(State(origin): State<Origin>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    // The origin is to see the host that the client asked for; HTTP/2 has it in the URI.
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let target = Uri::builder()
        .scheme("http")
        .authority(origin.url.authority().map_or("", |authority| authority.as_str()))
        .path_and_query(path);
    let Ok(target) = target.build() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    parts.uri = target;
    pass_on(&mut parts.headers, parts.version);
    parts.version = Version::HTTP_11;
    match origin.client.request(Request::from_parts(parts, body)).await {
        Ok(mut response) => {
            let version = response.version();
            pass_on(response.headers_mut(), version);
            response.map(Body::new)
        }
        // The cache answers with a stale copy instead, where it may (RFC 9111, section 4.2.4).
        Err(error) => {
            let message = format!("The origin does not answer: {error}.\n");
            (StatusCode::BAD_GATEWAY, OriginUnreachable, message).into_response()
        }
    }
}

/// What an intermediary does to the headers of each message (RFC 9110, sections 7.6.1 and 7.6.3).
fn pass_on(headers: &mut HeaderMap, received: Version) {
    remove_hop_by_hop(headers);
    headers.append(
        VIA,
        HeaderValue::from_static(match received {
            Version::HTTP_10 => "1.0 cache",
            Version::HTTP_2 => "2 cache",
            _ => "1.1 cache",
        }),
    );
}

async fn run() -> Result<(), String> {
    let mut listen = "127.0.0.1:8002".to_owned();
    let mut origin = String::new();
    let mut store = "memory".to_owned();
    store::read_options(
        std::env::args().skip(1),
        [
            ("--listen", &mut listen),
            ("--origin", &mut origin),
            ("--store", &mut store),
        ],
    )?;
    let url: Uri = origin.parse().map_err(|_| "--origin is not a URL".to_owned())?;
    if url.scheme_str() != Some("http") || url.authority().is_none() || url.path() != "/" {
        return Err("--origin needs a URL like http://127.0.0.1:8000".to_owned());
    }
    let store = store::open(&store).await?;
    if let Err(error) = store::ping(&store).await {
        eprintln!("warning: the store does not answer, so nothing is cached until it does: {error}");
    }

    let client = Client::builder(TokioExecutor::new()).build_http();
    let cache = Cache::builder_shared(Arc::clone(&store.backend))
        .prefix("proxy")
        .build();
    let app = Router::new()
        .fallback(forward)
        .layer(CacheLayer::shared(cache))
        .with_state(Origin { url, client });

    let listener = tokio::net::TcpListener::bind(&listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("listening on http://{address}, for {origin}");
    axum::serve(listener, app).await.map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let usage = "usage: reverse_proxy [--listen ADDRESS] --origin http://HOST:PORT [--store STORE]";
            eprintln!("{message}\n{usage}, {}", store::STORES);
            ExitCode::from(2)
        }
    }
}
