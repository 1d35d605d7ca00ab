//! Answers from a complete stored response: whole, 304, 206, 416, or for HEAD.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use cache_engine::cache_core::Timestamp;
use cache_http::{
    Multipart, Outcome, RangeOutcome, age_header, evaluate, evaluate_range, partial_headers, unsatisfiable_headers,
};
use http::header::{AGE, CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};

use crate::entry::response::StoredResponse;
use crate::request::shared::Shared;
use crate::response::headers::{add_client_caching, headers_without_content};
use crate::response::status::Report;

/// Answers a request with this method and these headers from `stored`. `report` says how it came about; `aged` whether
/// the answer has been in the cache, and so has an `Age`.
pub(crate) fn answer(
    shared: &Shared,
    method: &Method,
    request: &HeaderMap,
    stored: &StoredResponse,
    now: Timestamp,
    aged: bool,
    report: &Report,
) -> Response<Body> {
    let (status, mut headers, body) = select(method, request, stored);
    // A 416 of this cache's own says nothing about the resource, so nobody is to keep it in the place of what is stored.
    let is_refusal = status == StatusCode::RANGE_NOT_SATISFIABLE && stored.status != status;
    if aged && !is_refusal {
        headers.insert(AGE, age_header(stored.lifetime.age(now)));
    }
    if !stored.has_cache_control && !is_refusal {
        add_client_caching(shared.config.client, &mut headers, &stored.lifetime, now);
    }
    report.write(shared, &mut headers);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn select(method: &Method, request: &HeaderMap, stored: &StoredResponse) -> (StatusCode, HeaderMap, Body) {
    let is_conditional = request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE);
    if is_conditional {
        let arrived = stored.lifetime.response_time;
        let outcome = evaluate(method, request, stored.status, &stored.validators, arrived);
        if outcome == Outcome::NotModified {
            let headers = headers_without_content(&stored.headers, Some(stored.body.len() as u64));
            return (StatusCode::NOT_MODIFIED, headers, Body::empty());
        }
    }
    if method == Method::HEAD {
        let mut headers = stored.headers.clone();
        if !headers.contains_key(CONTENT_LENGTH) && stored.status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, stored.body.len().into());
        }
        return (stored.status, headers, Body::empty());
    }
    if request.contains_key(RANGE) {
        let length = stored.body.len() as u64;
        match evaluate_range(method, request, stored.status, &stored.validators, length) {
            RangeOutcome::Single(range) => {
                let body = range.to_indices().map(|indices| stored.body.slice(indices));
                let headers = partial_headers(&stored.headers, range, length);
                return (StatusCode::PARTIAL_CONTENT, headers, body.unwrap_or_default().into());
            }
            RangeOutcome::Several(ranges) => {
                let boundary = format!("{:032x}", fastrand::u128(..));
                let plan = Multipart::new(&stored.headers, &ranges, length, &boundary);
                let body = multipart(&plan, &stored.body);
                return (StatusCode::PARTIAL_CONTENT, plan.headers, body.into());
            }
            RangeOutcome::Unsatisfiable => {
                return (
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    unsatisfiable_headers(length),
                    Body::empty(),
                );
            }
            RangeOutcome::Whole => {}
        }
    }
    (stored.status, stored.headers.clone(), Body::from(stored.body.clone()))
}

/// Ranges do not overlap, so this is never much longer than what is stored.
fn multipart(plan: &Multipart, body: &Bytes) -> Bytes {
    let mut out = BytesMut::new();
    for part in &plan.parts {
        out.extend_from_slice(part.head.as_bytes());
        out.extend_from_slice(part.range.to_indices().map_or(&[][..], |indices| &body[indices]));
    }
    out.extend_from_slice(plan.closing.as_bytes());
    out.freeze()
}
