//! The key of a URL.

use std::borrow::Cow;
use std::fmt::Write;

use axum::body::Body;
use axum::extract::{MatchedPath, OriginalUri};
use cache_engine::cache_core::{Error, ErrorKind, KeyBuilder, KeyName};
use cache_http::{normal_authority, normal_path, target_authority};
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Uri};

use crate::key::query::Query;

/// The key of a URL: authority, path, and of the query what its rules say: unless set, all parameters in the order of
/// their names.
///
/// Two URLs then have the same key only if they differ in the order of parameters with different names, or in spellings
/// that RFC 3986, section 6.2.2, and RFC 9110, section 4.2.3, call equivalent: `%7E` for `~`, `%c3` for `%C3`, a default
/// port, a final dot of the host. Reserved characters, `//` and the case of paths make different keys. The authority is
/// that of the URI, or else of `Host`, in lower case. In a nested router the path is that of the whole request.
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
        push_authority(&mut name, &authority(request, uri)?);
        name.push_str(&normal_path(uri.path()));
        if let Some(query) = uri.query() {
            self.query.push_to(&mut name, &normal_path(query));
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
    push_authority(&mut name, &authority(request, target(request)).ok()?);
    Some(name.into())
}

/// The authority that a request is for, in normal form.
fn authority<'a>(request: &'a Parts, uri: &'a Uri) -> Result<Cow<'a, [u8]>, Error> {
    match target_authority(uri, &request.headers) {
        Ok(authority) => Ok(normal_authority(authority, uri.scheme())),
        // A handler may go by either host, and its answer would be for one of the two only.
        Err(conflict) => Err(Error::new(ErrorKind::InvalidKey, conflict.to_string())),
    }
}

/// Whether the request spells its path in another way than the normal form, and a router has found no route for it. Routers
/// compare without decoding, so the handler may be another than that of the normal form.
pub(crate) fn is_unrouted_spelling(request: &Parts) -> bool {
    let is_unrouted = || {
        let extensions = &request.extensions;
        extensions.get::<OriginalUri>().is_some() && extensions.get::<MatchedPath>().is_none()
    };
    matches!(normal_path(target(request).path()), Cow::Owned(_)) && is_unrouted()
}

/// Spells the host and the path of a request as its key does, so that nothing of another spelling is in an answer for
/// everyone.
pub(crate) fn spell_normally(request: &mut Request<Body>) {
    let scheme = request.uri().scheme().cloned();
    let normal = |authority: &[u8]| match normal_authority(authority, scheme.as_ref()) {
        Cow::Owned(normal) => Some(normal),
        Cow::Borrowed(normal) => (normal.len() < authority.len()).then(|| normal.to_vec()),
    };
    if let Some(host) = request.headers().get(HOST)
        && let Some(host) = normal(host.as_bytes())
        && let Ok(host) = HeaderValue::from_bytes(&host)
    {
        request.headers_mut().insert(HOST, host);
    }
    let uri = request.uri();
    let authority = uri
        .authority()
        .and_then(|authority| normal(authority.as_str().as_bytes()));
    let path = uri.path_and_query().map(|path| normal_path(path.as_str()));
    if authority.is_none() && !matches!(path, Some(Cow::Owned(_))) {
        return;
    }
    let mut parts = uri.clone().into_parts();
    if let Some(path) = path {
        parts.path_and_query = path.parse().ok();
    }
    if let Some(authority) = authority {
        parts.authority = Authority::try_from(&authority[..]).ok();
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// With everything escaped that could be taken for a part of the path.
fn push_authority(name: &mut String, authority: &[u8]) {
    for &byte in authority {
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
