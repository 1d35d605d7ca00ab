//! Refuses requests that other sites make a browser send.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CONTENT_TYPE, ORIGIN};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use crate::key::url::{origin, request_for};
use crate::layer::guard::fault;

/// What kind of site a browser's request comes from, of the Fetch Metadata standard.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets the page's own requests through, and those of programs that are no browsers.
pub(super) async fn refuse(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    if !is_from_here(&head) {
        return fault(
            StatusCode::FORBIDDEN,
            "this request comes from another site; if it does not, have your proxy pass `Host` on as it is",
        );
    }
    if head.method == Method::POST && !is_json(&head) {
        return fault(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must have `Content-Type: application/json`",
        );
    }
    next.run(Request::from_parts(head, body)).await
}

/// Browsers say where a request comes from: all current ones by `Sec-Fetch-Site`, if the connection is secure, and others by
/// `Origin`, at least for what is not a GET. What says neither is no browser, or a GET whose response no other site can
/// read.
fn is_from_here(head: &Parts) -> bool {
    let mut sites = head.headers.get_all(SEC_FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| site == "same-origin" || site == "none");
    }
    let mut origins = head.headers.get_all(ORIGIN).iter();
    origins.all(|named| is_this_host(named, head))
}

/// Returns whether an origin has the host and port of the request. A proxy in front may have removed TLS, so the scheme is
/// unknown.
fn is_this_host(named: &HeaderValue, head: &Parts) -> bool {
    let named = named.to_str().ok().and_then(|named| named.parse::<http::Uri>().ok());
    let Some(named) = named.filter(|named| matches!(named.scheme_str(), Some("http" | "https"))) else {
        return false;
    };
    let here = origin(head);
    here.is_some() && origin(&request_for(head, &named)) == here
}

fn is_json(head: &Parts) -> bool {
    let value = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}
