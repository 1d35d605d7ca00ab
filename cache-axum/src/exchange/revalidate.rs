//! Validation: asks the handler whether the stale copy is still valid (RFC 9111, section 4.3).

use axum::body::Body;
use cache_http::{Forward, Lifetime, freshen, is_freshened_by, make_conditional};
use http::{HeaderMap, Method, Request, Response, response};

use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::request::context::RequestContext;
use crate::request::shared::Shared;
use crate::response::from_entry::{Source, answer};
use crate::response::report::Report;

/// A call of the handler.
pub(crate) struct Revalidation {
    pub(crate) request: Request<Body>,
    /// The copy that the request validates, and the request without the preconditions for that.
    pub(crate) validated: Option<(StoredResponse, Request<Body>)>,
}

/// Makes a request conditional on the stale copy that its response would replace, if the copy has a validator that the
/// handler knows.
pub(crate) fn revalidation(stale: Option<&Stored>, request: Request<Body>) -> Revalidation {
    // Preconditions are only for GET: the content of other requests cannot be sent twice (RFC 9110, section 13.2.1).
    let stale = match stale {
        Some(Stored::Response(stale)) if request.method() == Method::GET => stale,
        _ => {
            return Revalidation {
                request,
                validated: None,
            };
        }
    };
    let Some(validators) = stale.to_validate() else {
        return Revalidation {
            request,
            validated: None,
        };
    };
    let (parts, body) = request.into_parts();
    let whole = Request::from_parts(parts.clone(), Body::empty());
    let mut request = Request::from_parts(parts, body);
    let is_conditional = make_conditional(request.headers_mut(), [&*validators]);
    Revalidation {
        request,
        validated: is_conditional.then(|| (stale.clone(), whole)),
    }
}

/// The updated head of the stale copy, and the fields for the caller alone.
pub(crate) struct RefreshedHead {
    pub(crate) head: response::Parts,
    /// The fields of the 304 that only the caller gets (RFC 9111, sections 5.2.2.4 and 5.2.2.7).
    pub(crate) withheld: HeaderMap,
}

/// Returns the head of the stale copy, updated by a 304 (RFC 9111, section 4.3.4). Returns `None` if the 304 is about
/// another response.
pub(crate) fn refreshed_head(
    shared: &Shared,
    stale: &StoredResponse,
    not_modified: &Response<Body>,
) -> Option<RefreshedHead> {
    // No other response was validated, so a 304 without a validator is about this one.
    if !is_freshened_by(&stale.validators, not_modified.headers(), true) {
        return None;
    }
    let mut headers = stale.headers.clone();
    let withheld = freshen(
        &shared.config.policy,
        &mut headers,
        not_modified.headers(),
        shared.now(),
    );
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = stale.status;
    head.headers = headers;
    head.extensions = not_modified.extensions().clone();
    Some(RefreshedHead { head, withheld })
}

/// Answers from a copy that the handler has confirmed. The result is not stored.
pub(crate) fn confirmed(
    shared: &Shared,
    context: &RequestContext,
    copy: &StoredResponse,
    refreshed: RefreshedHead,
    forward: Forward,
) -> Response<Body> {
    let RefreshedHead { head, withheld } = refreshed;
    let now = shared.now();
    let lifetime = Lifetime::from_response(&shared.config.policy, head.status, &head.headers, now, now);
    let copy = StoredResponse {
        has_own_etag: copy.has_own_etag,
        surrogate_keys: copy.surrogate_keys.clone(),
        ..StoredResponse::new(head.status, head.headers, copy.body.clone(), lifetime)
    };
    let report = Report::validated(forward);
    let mut response = answer(
        shared,
        &context.method,
        &context.headers,
        &copy,
        now,
        Source::NotKept,
        &report,
    );
    response.headers_mut().extend(withheld);
    *response.extensions_mut() = head.extensions;
    response
}
