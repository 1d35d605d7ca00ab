//! What a reverse proxy does with each message.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderName, MAX_FORWARDS, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use axum::http::uri::{Authority, PathAndQuery, Uri};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use larder::axum::{CacheLayer, OriginUnreachable};
use larder::http::remove_hop_by_hop;
use tokio::time::timeout;

const VIA: HeaderName = HeaderName::from_static("via");

/// What services read the URL or the client of a request from, if it is there. No client of a gateway may say so: the answer
/// is stored for everybody, under the URL and the host of the request line.
const FORWARDED: [HeaderName; 11] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// How long connecting to the origin may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the origin may take to begin its response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where requests go that the cache cannot answer.
#[derive(Clone)]
struct Origin {
    authority: Authority,
    client: Client<HttpConnector, Body>,
}

/// Returns a service that answers from `layer`, or else from the origin at `url`.
///
/// # Errors
/// Says what is wrong with `url`.
pub fn app(url: &str, layer: CacheLayer) -> Result<Router, String> {
    let url: Uri = url.parse().map_err(|_| format!("{url:?} is not a URL"))?;
    let authority = url.authority().and_then(without_userinfo);
    let (Some("http"), Some(authority), "/") = (url.scheme_str(), authority, url.path()) else {
        return Err(format!(
            "{url} is not the URL of an origin: name one like http://127.0.0.1:8000"
        ));
    };
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    Ok(Router::new()
        .fallback(forward)
        .layer(layer)
        .with_state(Origin { authority, client }))
}

/// Forwards a request to the origin, and its response back. Both bodies are streamed.
async fn forward(State(origin): State<Origin>, request: Request) -> Response {
    if request.method() == Method::CONNECT {
        // There is no tunnel to offer (RFC 9110, section 9.3.6).
        return (StatusCode::NOT_IMPLEMENTED, "This is no tunnel.\n").into_response();
    }
    let (mut parts, body) = request.into_parts();
    if is_last_recipient(&parts.method, &mut parts.headers) {
        return answer_as_last(&parts.method, &parts.uri, parts.version, &parts.headers);
    }
    // `Host` has no userinfo (RFC 9110, section 7.2).
    if parts
        .headers
        .get_all(HOST)
        .iter()
        .any(|host| host.as_bytes().contains(&b'@'))
    {
        return StatusCode::BAD_REQUEST.into_response();
    }
    // The origin sees the host that the client asked for. HTTP/2 has it in the URI. Userinfo stays here (RFC 9110, section
    // 4.2.4).
    if let Some(authority) = parts.uri.authority().and_then(without_userinfo)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
    let target = Uri::builder()
        .scheme("http")
        .authority(origin.authority)
        .path_and_query(parts.uri.path_and_query().map_or("/", PathAndQuery::as_str));
    let Ok(target) = target.build() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    parts.uri = target;
    pass_on(&mut parts.headers, parts.version);
    for name in &FORWARDED {
        parts.headers.remove(name);
    }
    if body.size_hint().exact().is_none() {
        // Without this, the content of a GET would be dropped.
        let chunked = HeaderValue::from_static("chunked");
        parts.headers.insert(TRANSFER_ENCODING, chunked);
    }
    parts.version = Version::HTTP_11;
    let response = timeout(
        RESPONSE_TIMEOUT,
        origin.client.request(Request::from_parts(parts, body)),
    );
    match response.await {
        Ok(Ok(mut response)) => {
            let version = response.version();
            pass_on(response.headers_mut(), version);
            response.map(Body::new)
        }
        // The cache answers with a stale copy instead, where it may (RFC 9111, section 4.2.4).
        Ok(Err(error)) => {
            let message = format!("The origin does not answer: {error}.\n");
            (StatusCode::BAD_GATEWAY, OriginUnreachable, message).into_response()
        }
        Err(_) => {
            let message = "The origin does not answer in time.\n";
            (StatusCode::GATEWAY_TIMEOUT, OriginUnreachable, message).into_response()
        }
    }
}

/// Changes the headers of a message as an intermediary does (RFC 9110, sections 7.6.1 and 7.6.3).
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

/// Returns whether a TRACE or OPTIONS must not be forwarded any further, and counts `Max-Forwards` down if it may (RFC
/// 9110, section 7.6.2).
fn is_last_recipient(method: &Method, headers: &mut HeaderMap) -> bool {
    if *method != Method::TRACE && *method != Method::OPTIONS {
        return false;
    }
    let value = headers.get(MAX_FORWARDS).and_then(|value| value.to_str().ok());
    match value.and_then(|value| value.trim().parse::<u64>().ok()) {
        Some(0) => true,
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            false
        }
        None => false,
    }
}

/// Answers TRACE with the request as it was received, but for credentials, and OPTIONS with the methods (RFC 9110,
/// sections 9.3.7 and 9.3.8).
fn answer_as_last(method: &Method, uri: &Uri, version: Version, headers: &HeaderMap) -> Response {
    if *method == Method::OPTIONS {
        return (StatusCode::NO_CONTENT, [(ALLOW, "GET, HEAD, OPTIONS, TRACE")]).into_response();
    }
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut message = format!("TRACE {path} {version:?}\r\n").into_bytes();
    let secret = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];
    for (name, value) in headers.iter().filter(|(name, _)| !secret.contains(name)) {
        message.extend_from_slice(name.as_str().as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(value.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\n");
    ([(CONTENT_TYPE, "message/http")], message).into_response()
}

fn without_userinfo(authority: &Authority) -> Option<Authority> {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host).parse().ok()
}
