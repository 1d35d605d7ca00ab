//! What a client asked for of an answer that is still on its way: 304, a part of it, or all of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::Body;
use bytes::{Buf, Bytes};
use cache_http::{
    ByteRange, Outcome, RangeOutcome, Validators, evaluate, evaluate_range, partial_headers, unsatisfiable_headers,
};
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE, SET_COOKIE};
use http::{StatusCode, response};
use http_body::{Body as _, Frame, SizeHint};

use crate::answer::headers_without_content;
use crate::judge::{Asked, content_length};
use crate::report::Report;

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
                Body::new(Part::of(body, range))
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

/// After so many pieces that are left out, others on the same thread have their turn.
const PIECES_AT_ONCE: usize = 32;

/// A part of a body. The body is dropped as soon as the part is complete.
#[derive(Debug)]
struct Part {
    body: Option<Body>,
    skip: u64,
    left: u64,
}

impl Part {
    fn of(body: Body, range: ByteRange) -> Self {
        Self {
            body: Some(body),
            skip: range.first,
            left: range.len(),
        }
    }

    /// What of a piece belongs to the part.
    fn cut(&mut self, mut data: Bytes) -> Bytes {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(data.len());
        data.advance(skipped);
        self.skip -= skipped as u64;
        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= data.len() as u64;
        data
    }
}

impl http_body::Body for Part {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        for _ in 0..PIECES_AT_ONCE {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            let error = match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    let data = frame.into_data().map_or_else(|_| Bytes::new(), |data| self.cut(data));
                    if self.left == 0 {
                        self.body = None;
                    }
                    if data.is_empty() {
                        continue;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => error.into(),
                None => "the response was cut short".into(),
            };
            self.body = None;
            return Poll::Ready(Some(Err(error)));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
