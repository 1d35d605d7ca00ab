//! The fields of one connection (RFC 9110, section 7.6.1).

use http::header::{
    CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

/// The fields of one connection or one proxy, whether `Connection` names them or not (RFC 9110, section 7.6.1; RFC
/// 9111, section 3.1). `Trailer` is here because trailers are not stored.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
];

/// Removes what belongs to one connection only: the fields that `Connection` names, `Connection` itself and its kin.
/// For responses before they are stored, and for messages before they are forwarded. `Host` stays, whatever `Connection`
/// says: without it a request would be for another site.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in connection_options(headers) {
        if name != HOST {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Whether `Connection` names a field that is not of the connection, as it must not (RFC 9110, section 7.6.1).
///
/// A cache sees such a field in a request, and an origin behind a gateway does not; so the answer must not be stored
/// under what the field says.
///
/// ```
/// use http::HeaderMap;
/// use http::header::CONNECTION;
///
/// let mut request = HeaderMap::new();
/// request.append(CONNECTION, "keep-alive, TE".parse()?);
/// assert!(!cache_http::connection_names_end_to_end(&request));
/// request.append(CONNECTION, "accept-language".parse()?);
/// assert!(cache_http::connection_names_end_to_end(&request));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[must_use]
pub fn connection_names_end_to_end(headers: &HeaderMap) -> bool {
    headers.contains_key(CONNECTION)
        && connection_options(headers)
            .iter()
            .any(|name| !HOP_BY_HOP.contains(name) && !["close", "http2-settings"].contains(&name.as_str()))
}

/// The field names that `Connection` lists.
fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}
