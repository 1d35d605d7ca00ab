//! The key of a URL.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, NestedPath, OriginalUri, RawPathParams};
use cache_engine::cache_core::{Error, ErrorKind, KeyBuilder, KeyName};
use cache_http::{normal_authority, normal_path, target_authority};
use futures_util::FutureExt;
use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Uri};

use crate::key::query::Query;
use crate::key::text::{Text, push_authority, push_word};

/// Builds the key from the URL: the authority, the path, and the parts of the query that its rules select. Default: all
/// parameters, sorted by name.
///
/// Two URLs then have the same key only if they differ in the order of parameters with different names, or in spellings
/// that RFC 3986, section 6.2.2, RFC 3987, section 3.1, and RFC 9110, section 4.2.3, call equivalent: `%7E` for `~`, `%c3`
/// for `%C3`, `é` for `%C3%A9`, a default port, a final dot of the host. Reserved characters, `//` and the case of paths make different keys. The
/// authority comes from the URI, or else from `Host`, in lower case. In a nested router the path is that of the whole
/// request. If something between two routers has rewritten the URI, the key contains both: the client's URI and the URI
/// that the handler sees.
///
/// A request whose authority is ambiguous has no key, and bypasses the cache: a request with several `Host` lines (RFC
/// 9112, section 3.2), or with different authorities in its URI and in `Host` (section 3.2.2 there; RFC 9113, section
/// 8.3.1). Servers pass both on, and a handler that uses one of them could answer for the other.
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
    /// Creates a builder that uses the whole URL, with its parameters sorted by name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which parts of the query are part of the key.
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        Self { query }
    }
}

impl UrlKey {
    /// Returns a builder that uses the URL without its query.
    pub(super) fn without_query(&self) -> Self {
        Self {
            query: Query::sorted().only([]),
        }
    }

    /// Rewrites the host, the path and the query of a request to what its key contains, so that a response for all
    /// requests contains no other spelling, and nothing of a parameter that the key leaves out.
    pub(super) fn normalize(&self, request: &mut Parts) {
        let query = Some(&self.query);
        Spelling { query }.apply(request);
    }

    /// Returns a copy of a request that was [normalised](Self::normalize), or `None` if it is normal already.
    pub(super) fn normal_copy(&self, request: &Parts) -> Option<Parts> {
        let query = Some(&self.query);
        Spelling { query }.copy(request)
    }

    /// Returns the parts of a request's query that belong to the key, with the question mark before them.
    pub(super) fn query_of(&self, request: &Parts) -> Box<str> {
        let mut text = String::new();
        if let Some(query) = target(request).query() {
            self.query.push_to(&mut text, query);
        }
        text.into()
    }
}

impl KeyBuilder<Parts> for UrlKey {
    fn build(&self, request: &Parts) -> Result<KeyName, Error> {
        let uri = target(request);
        let authority = authority(request, uri)?;
        let mut name = String::with_capacity(room(uri, &authority));
        let _is_normal = self.push_to(&mut name, request, uri, &authority);
        Ok(KeyName::from(name))
    }
}

impl UrlKey {
    /// Appends the name of a request for `uri`, its [`target`], at `authority`. Returns whether its path has its normal form.
    pub(super) fn push_to(
        &self,
        name: &mut impl Text,
        request: &Parts,
        uri: &Uri,
        authority: &NormalAuthority<'_>,
    ) -> bool {
        authority.push_to(name);
        let is_normal = self.push_path_and_query(name, uri);
        if is_rewritten_from(uri, request) {
            return self.push_seen(name, uri, request) && is_normal;
        }
        is_normal
    }

    /// Appends a path and a query in normal form. Returns whether the path had it.
    fn push_path_and_query(&self, name: &mut impl Text, uri: &Uri) -> bool {
        let path = normal_path(uri.path());
        name.push_str(&path);
        if let Some(query) = uri.query() {
            self.query.push_to(name, query);
        }
        matches!(path, Cow::Borrowed(_))
    }

    /// Appends the URI that the handler sees. A URI contains no space. Returns whether the path of that URI has its normal
    /// form.
    fn push_seen(&self, name: &mut impl Text, original: &Uri, request: &Parts) -> bool {
        let seen = &request.uri;
        name.push(' ');
        if seen.authority() != original.authority() {
            let seen = seen
                .authority()
                .map_or(&b""[..], |authority| authority.as_str().as_bytes());
            push_authority(name, seen);
        }
        let is_normal = self.push_path_and_query(name, seen);
        // If a nested router has removed its part of a path that was rewritten before, the handler sees that part in
        // its parameters.
        let Some(nested) = request.extensions.get::<NestedPath>() else {
            return is_normal;
        };
        let parameters = RawPathParams::from_request_parts(&mut request.clone(), &()).now_or_never();
        for (parameter, value) in parameters.iter().flatten().flatten() {
            if nested.as_str().contains(&format!("{{{parameter}}}")) {
                name.push(' ');
                push_word(name, parameter.as_bytes());
                name.push('=');
                push_word(name, value.as_bytes());
            }
        }
        is_normal
    }
}

/// Returns whether something between two routers has changed the URI of a request, other than by removing the path of a
/// nested router.
pub(crate) fn is_rewritten(request: &Parts) -> bool {
    is_rewritten_from(target(request), request)
}

fn is_rewritten_from(original: &Uri, request: &Parts) -> bool {
    let seen = &request.uri;
    if std::ptr::eq(original, seen) {
        return false;
    }
    let nested = request.extensions.get::<NestedPath>();
    let text = |uri: &'_ Uri| uri.path_and_query().map(|text| std::ptr::from_ref(text.as_str()));
    // A copy that shares its text is unchanged.
    if nested.is_none() && text(original) == text(seen) && original.authority() == seen.authority() {
        return false;
    }
    let expected = match nested {
        None => Some(original.path()),
        Some(nested) => without_nested(original.path(), nested.as_str()),
    };
    // A layer around the router that nests others sees the whole path.
    let is_path_as_expected = expected == Some(seen.path());
    !is_path_as_expected || original.query() != seen.query() || original.authority() != seen.authority()
}

/// Returns the path without the segments at which a router is nested.
fn without_nested<'a>(path: &'a str, nested: &str) -> Option<&'a str> {
    let mut rest = path;
    for segment in nested.split('/').filter(|segment| !segment.is_empty()) {
        let (first, after) = match rest.strip_prefix('/')?.split_once('/') {
            Some((first, after)) => (first, &rest[rest.len() - after.len() - 1..]),
            None => (&rest[1..], ""),
        };
        if !segment.starts_with('{') && segment != first {
            return None;
        }
        rest = after;
    }
    Some(if rest.is_empty() { "/" } else { rest })
}

/// Returns the URI that the client requested, even if a nested router has removed its part of the path.
pub(crate) fn target(request: &Parts) -> &Uri {
    request
        .extensions
        .get::<OriginalUri>()
        .map_or(&request.uri, |original| &original.0)
}

/// Returns a request for GET at `uri` by the client that sent `request`: with the same headers and extensions, and on
/// the same host if `uri` does not name another.
pub(crate) fn request_for(request: &Parts, uri: &Uri) -> Parts {
    let mut asked = request.clone();
    asked.method = Method::GET;
    if let Some(authority) = uri.authority().or(target(request).authority())
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        asked.headers.insert(HOST, host);
    }
    asked.uri = uri.clone();
    // As a layer around all routers would see it.
    asked.extensions.remove::<NestedPath>();
    if let Some(OriginalUri(original)) = asked.extensions.get_mut() {
        original.clone_from(uri);
    }
    asked
}

/// Returns the origin of a request as keys contain it, without the scheme. Returns `None` if its authority is
/// ambiguous.
pub(crate) fn origin(request: &Parts) -> Option<Box<str>> {
    let mut name = String::new();
    authority(request, target(request)).ok()?.push_to(&mut name);
    Some(name.into())
}

/// Returns the URIs that a request for `uri` may be for: more than one if the request names several hosts, of which a handler
/// may use any. Hosts that no request can name alone are left out.
pub(crate) fn at_each_host(request: &Parts, uri: &Uri) -> Vec<Uri> {
    let is_of_request = uri.authority().is_none_or(|_| uri == target(request));
    if !is_of_request || authority(request, target(request)).is_ok() {
        return vec![uri.clone()];
    }
    let named = request.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let in_uri = target(request)
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let mut uris = Vec::new();
    for host in in_uri.into_iter().chain(named) {
        let at_host = Uri::builder()
            .scheme(uri.scheme().cloned().unwrap_or(Scheme::HTTP))
            .authority(host)
            .path_and_query(uri.path_and_query().map_or("/", |path| path.as_str()))
            .build();
        match at_host {
            Ok(at_host) if !uris.contains(&at_host) => uris.push(at_host),
            _ => {}
        }
    }
    uris
}

/// Returns the length in bytes of the name of a URL whose path, query and authority are in normal form.
pub(super) fn room(uri: &Uri, authority: &NormalAuthority<'_>) -> usize {
    authority.len() + uri.path_and_query().map_or(1, |text| text.as_str().len())
}

/// An authority in normal form.
pub(super) enum NormalAuthority<'a> {
    /// The authority is the one in the request, and is written into keys unchanged.
    Plain(&'a str),
    Other(Cow<'a, [u8]>),
}

impl NormalAuthority<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Plain(authority) => authority.len(),
            Self::Other(authority) => authority.len(),
        }
    }

    fn push_to(&self, name: &mut impl Text) {
        match self {
            Self::Plain(authority) => name.push_str(authority),
            Self::Other(authority) => push_authority(name, authority),
        }
    }
}

/// Returns the authority that a request is for.
pub(super) fn authority<'a>(request: &'a Parts, uri: &'a Uri) -> Result<NormalAuthority<'a>, Error> {
    match target_authority(uri, &request.headers) {
        Ok(authority) => Ok(match std::str::from_utf8(authority) {
            Ok(text) if is_normal(authority) => NormalAuthority::Plain(text),
            _ => NormalAuthority::Other(normal_authority(authority, uri.scheme())),
        }),
        // A handler may use either host, and its response would be for only one of the two.
        Err(conflict) => Err(Error::new(ErrorKind::InvalidKey, conflict.to_string()).with_source(conflict)),
    }
}

/// Returns whether an authority is a typical one in normal form: a name or an IPv4 address in lower case, and
/// optionally a port that is not the default port of any scheme.
fn is_normal(authority: &[u8]) -> bool {
    let in_name = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'-' | b'.');
    let end = authority.iter().position(|byte| !in_name(byte));
    let (host, port) = authority.split_at(end.unwrap_or(authority.len()));
    let is_normal_port = match port {
        [] => true,
        [b':', port @ ..] => !matches!(port, b"" | b"80" | b"443") && port.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_normal_port && host.last().is_some_and(|&last| last != b'.')
}

/// Returns whether the path of a request is not spelled in its normal form, and a router has compared it as it is.
pub(crate) fn is_respelled(request: &Parts) -> bool {
    let is_normal = |uri: &Uri| matches!(normal_path(uri.path()), Cow::Borrowed(_));
    is_respelled_if(is_normal(target(request)) && is_normal(&request.uri), request)
}

/// As [`is_respelled`], if it is known whether the path has its normal form. Around all routers, they see the normal form of
/// a request whose response is to be stored.
pub(super) fn is_respelled_if(is_normal: bool, request: &Parts) -> bool {
    !is_normal && request.extensions.get::<OriginalUri>().is_some()
}

/// Rewrites the host and the path of a request to their normal forms.
pub(super) fn normalize_spelling(request: &mut Parts) {
    Spelling { query: None }.apply(request);
}

/// Returns a copy of a request with its host and path in their normal forms, or `None` if they have them already.
pub(super) fn normal_copy(request: &Parts) -> Option<Parts> {
    Spelling { query: None }.copy(request)
}

/// Passes a request to a closure of the user in the spelling in which a handler sees it whose response is stored, so that what
/// the closure makes of the path or the host is the same for all requests that may share a response.
pub(crate) fn in_normal_spelling<T>(request: &Parts, closure: impl FnOnce(&Parts) -> T) -> T {
    match normal_copy(request) {
        None => closure(request),
        Some(normal) => closure(&normal),
    }
}

/// The spelling of requests that may share a response.
struct Spelling<'a> {
    /// Which parts of the query remain. All of them, if `None`.
    query: Option<&'a Query>,
}

impl Spelling<'_> {
    /// Returns a copy of a request with this spelling, or `None` if it has it already.
    fn copy(&self, request: &Parts) -> Option<Parts> {
        let original = request.extensions.get::<OriginalUri>();
        let is_normal = normal_host(request).is_none()
            && self.normalized(&request.uri).is_none()
            && original.is_none_or(|original| self.normalized(original).is_none());
        if is_normal {
            return None;
        }
        let mut copy = request.clone();
        self.apply(&mut copy);
        Some(copy)
    }

    fn apply(&self, request: &mut Parts) {
        if let Some(host) = normal_host(request)
            && let Ok(host) = HeaderValue::from_bytes(&host)
        {
            request.headers.insert(HOST, host);
        }
        if let Some(normal) = self.normalized(&request.uri) {
            request.uri = normal;
        }
        if let Some(OriginalUri(original)) = request.extensions.get_mut()
            && let Some(normal) = self.normalized(original)
        {
            *original = normal;
        }
    }

    /// Returns the normal form of a URI, or `None` if the URI already has that form.
    fn normalized(&self, uri: &Uri) -> Option<Uri> {
        let authority = uri
            .authority()
            .and_then(|authority| normalized_authority(authority.as_str().as_bytes(), uri.scheme()));
        let path = self.normalized_path_and_query(uri);
        if authority.is_none() && path.is_none() {
            return None;
        }
        let mut parts = uri.clone().into_parts();
        if let Some(path) = path {
            parts.path_and_query = Some(path.parse().ok()?);
        }
        if let Some(authority) = authority {
            parts.authority = Some(Authority::try_from(&authority[..]).ok()?);
        }
        Uri::from_parts(parts).ok()
    }

    fn normalized_path_and_query(&self, uri: &Uri) -> Option<String> {
        let whole = uri.path_and_query()?;
        let rest = self
            .query
            .zip(whole.query())
            .and_then(|(rules, query)| rules.stripped(query));
        let Some(rest) = rest else {
            return match normal_path(whole.as_str()) {
                Cow::Owned(normal) => Some(normal),
                Cow::Borrowed(_) => None,
            };
        };
        let mut text = normal_path(whole.path()).into_owned();
        if !rest.is_empty() {
            text.push('?');
            text.push_str(&normal_path(&rest));
        }
        Some(text)
    }
}

/// Returns the normal form of the `Host` of a request, or `None` if it already has that form.
fn normal_host(request: &Parts) -> Option<Vec<u8>> {
    let host = request.headers.get(HOST)?;
    normalized_authority(host.as_bytes(), request.uri.scheme())
}

/// Returns the normal form of an authority, or `None` if the authority already has that form.
fn normalized_authority(authority: &[u8], scheme: Option<&Scheme>) -> Option<Vec<u8>> {
    if is_normal(authority) {
        return None;
    }
    match normal_authority(authority, scheme) {
        Cow::Owned(normal) => Some(normal),
        Cow::Borrowed(normal) => (normal.len() < authority.len()).then(|| normal.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use http::uri::Scheme;
    use proptest::prelude::*;

    use super::{is_normal, normal_authority, push_authority};

    proptest! {
        #[test]
        fn an_authority_like_most_is_its_normal_form(authority in "[a-cA-C0-9.:_~-]{0,4}(:(80|443|8080|)?)?") {
            let schemes = [None, Some(Scheme::HTTP), Some(Scheme::HTTPS)];
            if is_normal(authority.as_bytes()) {
                for scheme in schemes {
                    let normal = normal_authority(authority.as_bytes(), scheme.as_ref());
                    prop_assert_eq!(&*normal, authority.as_bytes());
                }
                let mut name = String::new();
                push_authority(&mut name, authority.as_bytes());
                prop_assert_eq!(name, authority);
            }
        }
    }

    #[test]
    fn what_clients_send_is_like_most() {
        for authority in ["example.com", "a-b.example.com:8080", "127.0.0.1:3000", "localhost"] {
            assert!(is_normal(authority.as_bytes()), "{authority}");
        }
    }
}
