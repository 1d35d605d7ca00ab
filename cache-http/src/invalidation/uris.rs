//! The URIs that an exchange invalidates (RFC 9111, section 4.4).

use std::borrow::Cow;

use http::header::{CONTENT_LOCATION, LOCATION};
use http::uri::Scheme;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::invalidation::method::is_safe;
use crate::uri::{normal_authority, resolve, same_origin, target_uri};

/// Returns the URIs whose stored responses an exchange invalidates: the target, and those of `Location` and
/// `Content-Location` with the same origin. None if the method is safe or the response is an error.
///
/// A target in origin form has neither scheme nor authority, so only references without them have the same origin. Pass the
/// [target URI](crate::target_uri) to include the others.
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
            let reference = std::str::from_utf8(value.as_bytes()).ok();
            let reference = reference.and_then(|reference| resolve(target, reference));
            if let Some(uri) = reference.filter(|uri| same_origin(target, uri))
                && !uris.contains(&uri)
            {
                uris.push(uri);
            }
        }
    }
    uris
}

/// Returns the URIs whose stored responses an exchange invalidates, as a server sees them: like [`invalidated_uris`], but
/// for a target that may be in origin form, and with references of any scheme.
///
/// A server does not know the scheme of its clients if a proxy terminates TLS before it. So a reference concerns the same
/// resources if it names the same host, that of the target or of `Host` in `request`. The URIs have the form of the target:
/// its scheme and authority, or none.
///
/// ```
/// use cache_http::invalidated_targets;
/// use http::header::{HOST, HeaderValue, LOCATION};
/// use http::{HeaderMap, Method, StatusCode, Uri};
///
/// let mut request = HeaderMap::new();
/// request.insert(HOST, HeaderValue::from_static("example.com"));
/// let mut response = HeaderMap::new();
/// response.insert(LOCATION, HeaderValue::from_static("https://example.com/items/7"));
/// let target = Uri::from_static("/items");
/// let uris = invalidated_targets(&Method::POST, &target, &request, StatusCode::CREATED, &response);
/// assert_eq!(uris, ["/items", "/items/7"]);
/// ```
#[must_use]
pub fn invalidated_targets(
    method: &Method,
    target: &Uri,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<Uri> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut uris = vec![target.clone()];
    // A server does not know the scheme, but any scheme will do to resolve references.
    let base = target_uri(target, request, Scheme::HTTPS);
    let base = base.as_ref().unwrap_or(target);
    let own = host(base, target.scheme());
    for name in [LOCATION, CONTENT_LOCATION] {
        for value in response.get_all(name) {
            let reference = std::str::from_utf8(value.as_bytes()).ok();
            let reference = reference.and_then(|reference| resolve(base, reference));
            let Some(reference) = reference.filter(|uri| host(uri, uri.scheme()) == own) else {
                continue;
            };
            let mut parts = reference.into_parts();
            parts.scheme = target.scheme().cloned();
            parts.authority = target.authority().cloned();
            if let Ok(uri) = Uri::from_parts(parts)
                && !uris.contains(&uri)
            {
                uris.push(uri);
            }
        }
    }
    uris
}

fn host<'a>(uri: &'a Uri, scheme: Option<&Scheme>) -> Option<Cow<'a, [u8]>> {
    let authority = uri.authority()?;
    Some(normal_authority(authority.as_str().as_bytes(), scheme))
}
