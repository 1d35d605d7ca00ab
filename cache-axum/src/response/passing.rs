//! Selects what a client gets of a response that is still streaming: 304, a part, or the whole.

use axum::body::Body;
use cache_http::{Content, Representation, Selection, Validators, asks_for_whole};
use http::header::SET_COOKIE;
use http::{Response, response};
use http_body::Body as _;

use crate::body::cut_to_range::RangeBody;
use crate::request::context::RequestContext;
use crate::request::shared::Shared;
use crate::response::headers::content_length;
use crate::response::report::Report;

/// Evaluates the conditions and the range of a request, which were removed from it, against the handler's response. A
/// range needs a length that is known in advance. Several ranges are not cut from a stream: the response is then the
/// whole, as RFC 9110, section 14.2, allows.
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
    // For HEAD the body is not read, and its headers stay as the handler set them.
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
            // The handler has done its work anyway, so its cookies are still sent.
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

/// Returns the handler's response with the report added. Which tags it will have is not known yet.
pub(crate) fn reported(shared: &Shared, head: response::Parts, body: Body, report: &Report) -> Response<Body> {
    let mut response = Response::from_parts(head, body);
    if let Some(keys) = &shared.config.surrogate_keys {
        keys.write(response.headers_mut(), None);
    }
    report.write(shared, response.headers_mut());
    response
}
