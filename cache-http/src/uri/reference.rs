//! References to URIs, as in `Location` (RFC 3986, section 5.2).

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::uri::normal_form::normal_path;

/// Returns whether two URIs have the same scheme, host and port (RFC 9110, section 4.3.1).
pub(crate) fn same_origin(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| {
        uri.port_u16().or(match uri.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        })
    };
    let same_host = match (one.host(), other.host()) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    same_host && one.scheme() == other.scheme() && port(one) == port(other)
}

pub(crate) fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// Resolves `reference` at `base` (RFC 3986, section 5.2). Drops the fragment. The path and the query of the result have
/// their normal forms, because a reference may contain characters that a URI cannot.
pub(crate) fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    // Nothing that separates the parts of a reference is decoded.
    let reference = &*normal_path(reference.trim());
    let reference = reference.split_once('#').map_or(reference, |(reference, _)| reference);
    if has_scheme(reference) {
        let uri: Uri = reference.parse().ok()?;
        let path = uri.path().to_owned();
        let query = uri.query().map(str::to_owned);
        return build(uri.scheme().cloned(), uri.authority().cloned(), &path, query.as_deref());
    }
    let (scheme, mut authority) = (base.scheme().cloned(), base.authority().cloned());
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    if let Some(rest) = path.strip_prefix("//") {
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        authority = Some(host.parse().ok()?);
        return build(scheme, authority, path, query);
    }
    if path.is_empty() {
        return build(scheme, authority, base.path(), query.or(base.query()));
    }
    if path.starts_with('/') {
        return build(scheme, authority, path, query);
    }
    let folder = base.path().rfind('/').map_or("/", |at| &base.path()[..=at]);
    build(scheme, authority, &format!("{folder}{path}"), query)
}

fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|char: char| char.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

fn build(scheme: Option<Scheme>, authority: Option<Authority>, path: &str, query: Option<&str>) -> Option<Uri> {
    let mut text = without_dot_segments(path);
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = scheme;
    parts.authority = authority;
    parts.path_and_query = Some(text.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Removes dot segments from an absolute path (RFC 3986, section 5.2.4).
fn without_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                // A dot segment at the end leaves the slash before it.
                if is_last {
                    segments.push("");
                }
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}
