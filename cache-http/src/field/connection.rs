//! The fields of one connection (RFC 9110, section 7.6.1).

use http::header::{
    CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

/// The fields of one connection or one proxy, whether or not `Connection` names them (RFC 9110, section 7.6.1; RFC 9111,
/// section 3.1). `Trailer` is one of them because trailers are not stored.
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

/// Removes the fields of one connection: those that `Connection` names, `Connection` itself, and those that belong to a
/// connection by definition. Call it on a response before storing it, and on a message before forwarding it.
///
/// `Host` stays even if `Connection` names it: without it the request would be for another site.
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

/// Returns whether `Connection` names a field that does not belong to the connection, which RFC 9110, section 7.6.1,
/// forbids.
///
/// A cache sees such a field in a request, but an origin behind a gateway does not. So do not store the answer under the
/// value of the field.
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

/// Returns the field names that `Connection` lists.
fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}
