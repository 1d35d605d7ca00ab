//! The application that they ask.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::response::Response;
use bytes::Bytes;
use http::header::IF_NONE_MATCH;
use http::{Method, StatusCode, Uri};

/// The parameter that the answers depend on, as handlers read it.
pub(crate) fn page(uri: &Uri) -> String {
    let query = Query::<HashMap<String, String>>::try_from_uri(uri).unwrap();
    query.get("page").cloned().unwrap_or_default()
}

/// How often anything was changed, which each answer says.
pub(crate) type Changes = Arc<AtomicUsize>;

/// Says in its headers and in its body for which request it was made, whatever the route. `declares` is whether it says
/// which field is for one user only.
pub(crate) async fn answer(request: Request, declares: bool, changes: Changes) -> Response {
    let made_for = request.headers()["x-request"].to_str().unwrap().to_owned();
    let number: u32 = made_for.parse().unwrap();
    let route = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
    let changes = match request.method().is_safe() {
        true => changes.load(Ordering::SeqCst),
        false => changes.fetch_add(1, Ordering::SeqCst) + 1,
    };
    if route == "validated" && request.headers().get_all(IF_NONE_MATCH).iter().any(|tag| tag == TAG) {
        return still_valid(number, declares);
    }
    let mut response = Response::builder().header("x-route", &route);
    // As a 304, an answer to HEAD with the same tag is about content that was made for another request.
    if !(route == "validated" && request.method() == Method::HEAD) {
        response = response.header("x-made-for", &made_for).header("x-changes", changes);
    }
    response = match &*route {
        "public" => response.header("cache-control", "public, s-maxage=5"),
        // The cookie is not stored with the rest.
        "withheld" => response.header("cache-control", "private=\"set-cookie\""),
        "validated" if declares => response
            .header("etag", TAG)
            .header("cache-control", "max-age=5, private=\"x-user\"")
            .header("x-user", number),
        "validated" => response.header("etag", TAG).header("x-user", number),
        "private" => response.header("cache-control", "max-age=5, Private"),
        "no-store" => response.header("cache-control", "no-store"),
        "vary-any" => response.header("vary", "*"),
        "keyed" => response.header("vary", "X-Api-Key"),
        "sometimes" if number.is_multiple_of(2) => response.header("cache-control", "private"),
        "broken" => response.status(StatusCode::INTERNAL_SERVER_ERROR),
        _ => response,
    };
    if ["session", "withheld"].contains(&&*route) {
        response = response.header("set-cookie", format!("session={made_for}"));
    }
    // Others get the time to join in.
    tokio::task::yield_now().await;
    let piece = Bytes::from(format!("{made_for};"));
    let body = if route == "slow" {
        Body::from_stream(futures_util::stream::unfold(0, move |sent| {
            let piece = piece.clone();
            async move {
                tokio::task::yield_now().await;
                (sent < 3).then(|| (Ok::<_, Infallible>(piece), sent + 1))
            }
        }))
    } else {
        Body::from(piece.repeat(3))
    };
    response.body(body).unwrap()
}

const TAG: &str = "\"v1\"";

/// A 304, some of which say again what is for one user. It is about what was made for another request.
fn still_valid(number: u32, declares: bool) -> Response {
    let response = Response::builder()
        .status(StatusCode::NOT_MODIFIED)
        .header("etag", TAG)
        .header("x-user", number)
        .header("set-cookie", format!("session={number}"));
    let response = match number % 3 {
        0 if declares => response.header("cache-control", "max-age=5, no-cache=\"x-user\""),
        _ => response,
    };
    response.body(Body::empty()).unwrap()
}
