//! The URIs that an exchange makes invalid (RFC 9111, section 4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::invalidation::method::is_safe;
use crate::target::{path_and_query, resolve, same_origin};

/// The URIs whose stored responses an exchange makes invalid: the target, and those of `Location` and
/// `Content-Location` if they have the same origin. None if the method is safe or the response an error.
///
/// A target in origin form, as servers see it, is without scheme and authority. Only references without them can have
/// its origin then; give the effective URI to have the others too.
///
/// ```
/// use http::header::{HeaderValue, LOCATION};
/// use http::{HeaderMap, Method, StatusCode, Uri};
///
/// let target = Uri::from_static("https://example.com/items");
/// let mut response = HeaderMap::new();
/// response.insert(LOCATION, HeaderValue::from_static("items/7"));
/// let uris = cache_http::invalidated_uris(&Method::POST, &target, StatusCode::CREATED, &response);
/// assert_eq!(uris, ["https://example.com/items", "https://example.com/items/7"]);
/// ```
#[must_use]
pub fn invalidated_uris(method: &Method, target: &Uri, status: StatusCode, response: &HeaderMap) -> Vec<Uri> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut uris = vec![target.clone()];
    for name in [LOCATION, CONTENT_LOCATION] {
        for value in response.get_all(name) {
            let reference = value.to_str().ok().and_then(|reference| resolve(target, reference));
            if let Some(uri) = reference.filter(|uri| same_origin(target, uri))
                && !uris.contains(&uri)
            {
                uris.push(uri);
            }
        }
    }
    uris
}

/// Whether a response's `Content-Location` names the target itself. Then its content is a representation of the
/// target, and an answer to POST may be stored for later GETs (RFC 9110, section 9.3.3).
#[must_use]
pub fn is_content_of_target(target: &Uri, response: &HeaderMap) -> bool {
    let mut locations = response.get_all(CONTENT_LOCATION).iter();
    let location = locations.next().and_then(|value| value.to_str().ok());
    locations.next().is_none()
        && location
            .and_then(|reference| resolve(target, reference))
            .is_some_and(|uri| same_origin(target, &uri) && path_and_query(&uri) == path_and_query(target))
}
