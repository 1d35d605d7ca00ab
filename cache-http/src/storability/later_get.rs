//! Responses to POST that answer a later GET (RFC 9110, section 9.3.3).

use http::{HeaderMap, Method, StatusCode, Uri};

use crate::freshness::Lifetime;
use crate::uri::is_content_of_target;

/// Returns whether the response to a POST may answer a later GET or HEAD of the same target (RFC 9110, section 9.3.3): it
/// is 200, states a lifetime of its own, and its `Content-Location` names the target.
///
/// `lifetime` comes from [`Lifetime::from_response`]. This is in addition to [`storable`](crate::storable), which you call
/// with GET.
#[must_use]
pub fn answers_later_get(
    method: &Method,
    target: &Uri,
    status: StatusCode,
    response: &HeaderMap,
    lifetime: &Lifetime,
) -> bool {
    *method == Method::POST
        && status == StatusCode::OK
        && lifetime.source.is_explicit()
        && is_content_of_target(target, response)
}
