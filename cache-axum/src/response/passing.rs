//! What a client asked for of an answer that is still on its way: 304, a part of it, or all of it.

use axum::body::Body;
use cache_http::{Outcome, RangeOutcome, Validators, evaluate, evaluate_range, partial_headers, unsatisfiable_headers};
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE, SET_COOKIE};
use http::{Response, StatusCode, response};
use http_body::Body as _;

use crate::body::range::RangeBody;
use crate::request::context::Asked;
use crate::request::shared::Shared;
use crate::response::headers::content_length;
use crate::response::headers::headers_without_content;
use crate::response::status::Report;

/// Evaluates the conditions and the range of a request, which were taken off it, against the handler's answer. A range
/// needs a length that is known beforehand, and several are not cut from a stream: the answer is then the whole, as
/// RFC 9110, section 14.2, allows.
pub(crate) fn select_passing(
    asked: &Asked,
    mut head: response::Parts,
    body: Body,
    report: Report,
) -> (response::Parts, Body, Report) {
    let request = &asked.headers;
    let is_conditional = request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE);
    if !is_conditional && !request.contains_key(RANGE) {
        return (head, body, report);
    }
    let forwarded = head.status;
    let validators = Validators::from_headers(&head.headers);
    let length = content_length(&head.headers).or(body.size_hint().exact());
    // Nothing stands in for the handler's own date here: it was not asked before.
    let has_condition = request.contains_key(IF_NONE_MATCH) || validators.last_modified.is_some();
    let body = if has_condition
        && evaluate(&asked.method, request, head.status, &validators, asked.since) == Outcome::NotModified
    {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers = headers_without_content(&head.headers, length);
        Body::empty()
    } else {
        match length.map(|length| {
            (
                evaluate_range(&asked.method, request, head.status, &validators, length),
                length,
            )
        }) {
            Some((RangeOutcome::Single(range), length)) => {
                head.status = StatusCode::PARTIAL_CONTENT;
                head.headers = partial_headers(&head.headers, range, length);
                Body::new(RangeBody::of(body, range))
            }
            Some((RangeOutcome::Unsatisfiable, length)) => {
                head.status = StatusCode::RANGE_NOT_SATISFIABLE;
                // The handler has done its work all the same, and its cookies count.
                let cookies = head.headers.get_all(SET_COOKIE).iter();
                let cookies: Vec<_> = cookies.map(|cookie| (SET_COOKIE, cookie.clone())).collect();
                head.headers = unsatisfiable_headers(length);
                head.headers.extend(cookies);
                Body::empty()
            }
            _ => body,
        }
    };
    let report = if head.status == forwarded {
        report
    } else {
        report.forward_status(forwarded.as_u16())
    };
    (head, body, report)
}

/// The handler's answer as it is, and how it came about.
pub(crate) fn reported(shared: &Shared, head: response::Parts, body: Body, report: &Report) -> Response<Body> {
    let mut response = Response::from_parts(head, body);
    report.write(shared, response.headers_mut());
    response
}
