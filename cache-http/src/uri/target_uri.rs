//! The target URI of a request.

use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderMap, Uri};

/// Returns the target URI of a request with scheme and authority (RFC 9110, section 7.1): `uri` itself if it has an
/// authority, or else `uri` with `scheme` and the authority of `Host`. Returns `None` if `Host` names none.
///
/// ```
/// use cache_http::target_uri;
/// use http::header::{HOST, HeaderValue};
/// use http::uri::Scheme;
/// use http::{HeaderMap, Uri};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(HOST, HeaderValue::from_static("example.com"));
/// let target = target_uri(&Uri::from_static("/items"), &headers, Scheme::HTTPS);
/// assert_eq!(target, Some(Uri::from_static("https://example.com/items")));
/// ```
#[must_use]
pub fn target_uri(uri: &Uri, headers: &HeaderMap, scheme: Scheme) -> Option<Uri> {
    if uri.authority().is_some() {
        return Some(uri.clone());
    }
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(headers.get(HOST)?.to_str().ok()?.parse().ok()?);
    parts.scheme = Some(scheme);
    Uri::from_parts(parts).ok()
}
