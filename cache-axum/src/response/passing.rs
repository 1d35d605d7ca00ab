//! What a client asked for of an answer that is still on its way: 304, a part of it, or all of it.

use axum::body::Body;
use cache_http::{Content, Representation, Selection, Validators, asks_for_whole};
use http::header::SET_COOKIE;
use http::{Response, response};
use http_body::Body as _;

use crate::body::range::RangeBody;
use crate::request::context::RequestContext;
use crate::request::shared::Shared;
use crate::response::cache_status::Report;
use crate::response::headers::content_length;

/// Evaluates the conditions and the range of a request, which were taken off it, against the handler's answer. A range
/// needs a length that is known beforehand, and several are not cut from a stream: the answer is then the whole, as
/// RFC 9110, section 14.2, allows.
pub(crate) fn select_passing(
    context: &RequestContext,
    mut head: response::Parts,
    body: Body,
    report: Report,
) -> (response::Parts, Body, Report) {
    if asks_for_whole(&context.headers) {
        return (head, body, report);
    }
    let forwarded = head.status;
    let validators = Validators::from_headers(&head.headers);
    let length = content_length(&head.headers).or(body.size_hint().exact());
    // Of a HEAD the body goes unread, and its headers stay as the handler made them.
    let Selection {
        status,
        headers,
        content,
        ..
    } = Representation::new(forwarded, &head.headers, &validators)
        .with_length(length)
        .select(&context.method, &context.headers);
    let body = match content {
        Content::Whole | Content::Head | Content::Multipart(_) => return (head, body, report),
        Content::Range(range) => {
            head.headers = headers;
            Body::new(RangeBody::of(body, range))
        }
        Content::NotModified => {
            head.headers = headers;
            Body::empty()
        }
        _ => {
            // The handler has done its work all the same, and its cookies count.
            let cookies = head.headers.get_all(SET_COOKIE).iter();
            let cookies: Vec<_> = cookies.map(|cookie| (SET_COOKIE, cookie.clone())).collect();
            head.headers = headers;
            head.headers.extend(cookies);
            Body::empty()
        }
    };
    head.status = status;
    let report = if status == forwarded {
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
