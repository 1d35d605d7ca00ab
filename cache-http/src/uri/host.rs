//! The host that a request is for.

use std::fmt;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Uri};

use crate::uri::normal_form::normal_authority;

/// Returns the authority that a request is for: that of its URI, or else that of `Host`. Empty if it has neither.
///
/// # Errors
/// [`HostConflict`] if the request names more than one host. Servers accept such requests, and a handler may use either
/// host, so do not look them up in a cache.
///
/// ```
/// use cache_http::{HostConflict, target_authority};
/// use http::header::{HOST, HeaderValue};
/// use http::{HeaderMap, Uri};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(HOST, HeaderValue::from_static("example.com"));
/// assert_eq!(target_authority(&Uri::from_static("/items"), &headers), Ok(&b"example.com"[..]));
/// let elsewhere = Uri::from_static("http://example.org/items");
/// assert_eq!(target_authority(&elsewhere, &headers), Err(HostConflict::Differs));
/// ```
pub fn target_authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a [u8], HostConflict> {
    let mut hosts = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let (host, another) = (hosts.next(), hosts.next());
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let is_same = |one, other| normal_authority(one, uri.scheme()) == normal_authority(other, uri.scheme());
    match (authority, host) {
        _ if another.is_some() => Err(HostConflict::Several),
        (Some(authority), Some(host)) if !is_same(authority, host) => Err(HostConflict::Differs),
        _ => Ok(authority.or(host).unwrap_or_default()),
    }
}

/// Why the host of a request is ambiguous.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostConflict {
    /// The request has more than one `Host` line (RFC 9112, section 3.2).
    Several,
    /// The URI of the request names another authority than `Host` (RFC 9112, section 3.2.2; RFC 9113, section 8.3.1).
    Differs,
}

impl fmt::Display for HostConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Several => "the request has more than one `Host`",
            Self::Differs => "the `Host` of the request is not the host of its URI",
        })
    }
}

impl std::error::Error for HostConflict {}
