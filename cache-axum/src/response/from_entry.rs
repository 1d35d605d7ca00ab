//! Responses from a complete stored response: whole, 304, 206, 416, or for HEAD.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use cache_engine::cache_core::Timestamp;
use cache_http::{Content, Representation, Selection, age_header, asks_for_whole};
use http::header::AGE;
use http::{HeaderMap, Method, Response, StatusCode};

use crate::entry::prepared::Second;
use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::request::shared::Shared;
use crate::response::headers::add_client_caching;
use crate::response::report::Report;

/// Where a response comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The store, so the response has an `Age`.
    Store,
    /// The handler. The response has been stored.
    Kept,
    /// The handler. The response has not been stored.
    NotKept,
}

/// Answers a request with this method and these headers from `stored`. `report` describes how it was handled.
pub(crate) fn answer(
    shared: &Shared,
    method: &Method,
    request: &HeaderMap,
    stored: &StoredResponse,
    now: Timestamp,
    source: Source,
    report: &Report,
) -> Response<Body> {
    let (status, mut headers, body) = select(method, request, stored);
    // A 416 of this cache says nothing about the resource, so no client should store it in place of what is stored
    // here.
    let is_refusal = status == StatusCode::RANGE_NOT_SATISFIABLE && stored.status != status;
    if is_refusal {
        report.write(shared, &mut headers);
    } else {
        add_fields(shared, method, &mut headers, stored, now, source, report);
    }
    assembled(status, headers, body)
}

/// Answers a GET for the whole from `stored`, which holds `response`, if the header fields are prepared. Then it is fresh.
#[inline]
pub(crate) fn answer_prepared(
    shared: &Shared,
    stored: &Arc<Stored>,
    response: &StoredResponse,
    now: Timestamp,
) -> Option<Response<Body>> {
    let headers = shared.prepared.find(stored, now)?;
    Some(assembled(response.status, headers, Body::from(response.body.clone())))
}

/// Answers a GET for the whole from `stored`, which holds `response` and is fresh.
pub(crate) fn answer_whole(
    shared: &Shared,
    stored: &Arc<Stored>,
    response: &StoredResponse,
    now: Timestamp,
) -> Response<Body> {
    let lifetime = &response.lifetime;
    let mut headers = response.headers.clone();
    let report = Report::hit(lifetime.ttl_seconds(now));
    add_fields(
        shared,
        &Method::GET,
        &mut headers,
        response,
        now,
        Source::Store,
        &report,
    );
    shared.prepared.add(stored, Second::of(lifetime, now), &headers);
    assembled(response.status, headers, Body::from(response.body.clone()))
}

/// Adds the fields of the layer to the fields of a stored response.
fn add_fields(
    shared: &Shared,
    method: &Method,
    headers: &mut HeaderMap,
    stored: &StoredResponse,
    now: Timestamp,
    source: Source,
    report: &Report,
) {
    if source == Source::Store {
        headers.insert(AGE, age_header(stored.lifetime.age(now)));
    }
    if !stored.has_cache_control {
        let is_kept = source != Source::NotKept;
        add_client_caching(&shared.config, method, headers, &stored.lifetime, now, is_kept);
    }
    if let Some(keys) = &shared.config.surrogate_keys {
        keys.write(headers, stored.surrogate_keys.as_deref());
    }
    report.write(shared, headers);
}

#[inline]
fn assembled(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn select(method: &Method, request: &HeaderMap, stored: &StoredResponse) -> (StatusCode, HeaderMap, Body) {
    let StoredResponse { status, body, .. } = stored;
    if method != Method::HEAD && asks_for_whole(request) {
        return (*status, stored.headers.clone(), Body::from(body.clone()));
    }
    let Selection {
        status,
        headers,
        content,
        ..
    } = Representation::new(*status, &stored.headers, &stored.validators)
        .with_length(body.len() as u64)
        .with_arrival(stored.lifetime.response_time)
        // Each `RandomState` has new random keys, seeded by the operating system.
        .with_boundary(|| format!("{:016x}", RandomState::new().hash_one(())))
        .select(method, request);
    let body = match content {
        Content::Whole => Body::from(body.clone()),
        Content::Range(range) => {
            let part = range.to_indices().map(|indices| body.slice(indices));
            Body::from(part.unwrap_or_default())
        }
        Content::Multipart(multipart) => Body::from(Bytes::from(multipart.body(body))),
        // No body at all: compression around the layer recognizes an empty body, and leaves it empty.
        _ => Body::empty(),
    };
    (status, headers, body)
}
