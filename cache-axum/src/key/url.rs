//! The key of a URL.

use std::fmt::Write;

use axum::extract::OriginalUri;
use cache_engine::cache_core::{Error, ErrorKind, KeyBuilder, KeyName};
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, Method, Uri};

use crate::key::query::Query;

/// The key of a URL: authority, path, and of the query what its rules say: unless set, all parameters in the order of
/// their names.
///
/// Two URLs then have the same key only if they differ in the order of parameters with different names. The authority is
/// that of the URI, or else of `Host`, in lower case. In a nested router the path is that of the whole
/// request.
///
/// A request whose authority is not clear has no key, and passes the cache by: one with several `Host` lines (RFC 9112,
/// section 3.2), or with an authority in its URI and another one in `Host` (section 3.2.2 there; RFC 9113, section
/// 8.3.1). Servers hand on both, and who answers by the one would answer for the other.
///
/// ```
/// use cache_axum::UrlKey;
/// use cache_axum::cache_engine::cache_core::KeyBuilder;
/// use http::Request;
///
/// let (parts, ()) = Request::get("http://Example.com/items?tag=a&page=2").body(()).unwrap().into_parts();
/// assert_eq!(UrlKey::new().build(&parts)?.as_str(), "example.com/items?page=2&tag=a");
/// # Ok::<(), cache_axum::cache_engine::cache_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct UrlKey {
    query: Query,
}

impl UrlKey {
    /// By the whole URL, with its parameters in the order of their names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// By what `query` says of the query.
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        Self { query }
    }
}

impl KeyBuilder<Parts> for UrlKey {
    fn build(&self, request: &Parts) -> Result<KeyName, Error> {
        let uri = target(request);
        let mut name = String::with_capacity(64);
        push_authority(&mut name, authority(request, uri)?);
        name.push_str(uri.path());
        if let Some(query) = uri.query() {
            self.query.push_to(&mut name, query);
        }
        Ok(KeyName::from(name))
    }
}

/// The URI that the client asked for, also where a nested router has taken its part off the path.
pub(crate) fn target(request: &Parts) -> &Uri {
    request
        .extensions
        .get::<OriginalUri>()
        .map_or(&request.uri, |original| &original.0)
}

/// A request for GET at `uri` by the client who sent `request`: with the same headers and extensions, and on the same host
/// unless `uri` names another.
pub(crate) fn request_for(request: &Parts, uri: &Uri) -> Parts {
    let mut asked = request.clone();
    asked.method = Method::GET;
    if let Some(authority) = uri.authority().or(target(request).authority())
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        asked.headers.insert(HOST, host);
    }
    asked.uri = uri.clone();
    if let Some(OriginalUri(original)) = asked.extensions.get_mut() {
        original.clone_from(uri);
    }
    asked
}

/// The origin of a request as keys have it, without the scheme. `None` if its authority is not clear.
pub(crate) fn origin(request: &Parts) -> Option<Box<str>> {
    let mut name = String::new();
    push_authority(&mut name, authority(request, target(request)).ok()?);
    Some(name.into())
}

fn authority<'a>(request: &'a Parts, uri: &'a Uri) -> Result<&'a [u8], Error> {
    let mut hosts = request.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let (host, another) = (hosts.next(), hosts.next());
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let refusal = match (authority, host) {
        _ if another.is_some() => "the request has more than one `Host`",
        // A handler may go by either, and its answer would be for one of the two hosts only.
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            "the `Host` of the request is not the host of its URI"
        }
        _ => return Ok(authority.or(host).unwrap_or_default()),
    };
    Err(Error::new(ErrorKind::InvalidKey, refusal))
}

/// In lower case, and with everything escaped that could be taken for a part of the path.
fn push_authority(name: &mut String, authority: &[u8]) {
    for byte in authority {
        let byte = byte.to_ascii_lowercase();
        if byte.is_ascii_alphanumeric() || b".-:_~[]".contains(&byte) {
            name.push(char::from(byte));
        } else {
            push_escaped(name, byte);
        }
    }
}

/// As one word without spaces.
pub(crate) fn push_word(name: &mut String, word: &[u8]) {
    for &byte in word {
        if byte.is_ascii_alphanumeric() || b".-:_~@".contains(&byte) {
            name.push(char::from(byte));
        } else {
            push_escaped(name, byte);
        }
    }
}

fn push_escaped(name: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(name, "%{byte:02X}");
}
