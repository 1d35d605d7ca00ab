//! The normal form of URIs (RFC 3986, section 6.2.2; RFC 9110, section 4.2.3).

use std::borrow::Cow;

use http::uri::Scheme;

/// Returns a path or a query in normal form (RFC 3986, sections 6.2.2.1 and 6.2.2.2): percent-encoded unreserved
/// characters are decoded, and the hexadecimal digits of all others are in upper case.
///
/// Two paths have the same normal form only if RFC 3986 calls them equivalent. Everything else stays apart: reserved
/// characters and their encoding, case, empty segments and dot segments.
///
/// ```
/// use cache_http::normal_path;
///
/// assert_eq!(normal_path("/%7euser/%31"), "/~user/1");
/// assert_eq!(normal_path("/a%2fb//C"), "/a%2Fb//C");
/// ```
#[must_use]
pub fn normal_path(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    // A fast path: most texts contain nothing encoded, and a cache normalises every URI.
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let Some(first) = (0..bytes.len()).find(|&at| rewritten(bytes, at).is_some()) else {
        return Cow::Borrowed(text);
    };
    let mut normal = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = first;
    while at < bytes.len() {
        if let Some(rewritten) = rewritten(bytes, at) {
            normal.push_str(&text[copied..at]);
            match rewritten {
                Rewritten::Decoded(byte) => normal.push(char::from(byte)),
                Rewritten::UpperCase => normal.push_str(&text[at..at + 3].to_ascii_uppercase()),
            }
            at += 3;
            copied = at;
        } else {
            at += 1;
        }
    }
    normal.push_str(&text[copied..]);
    Cow::Owned(normal)
}

/// The change that brings a percent-encoded byte into normal form.
enum Rewritten {
    /// The byte is unreserved and is decoded.
    Decoded(u8),
    /// The byte stays encoded, with its digits in upper case.
    UpperCase,
}

/// Returns the normal form of the byte encoded at `at`, or `None` if the text is in normal form.
fn rewritten(bytes: &[u8], at: usize) -> Option<Rewritten> {
    let (&b'%', &high, &low) = (bytes.get(at)?, bytes.get(at + 1)?, bytes.get(at + 2)?) else {
        return None;
    };
    let byte = u8::try_from(16 * char::from(high).to_digit(16)? + char::from(low).to_digit(16)?).ok()?;
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        Some(Rewritten::Decoded(byte))
    } else if high.is_ascii_lowercase() || low.is_ascii_lowercase() {
        Some(Rewritten::UpperCase)
    } else {
        None
    }
}

/// Returns an authority in normal form: in lower case, without a final dot of the host, an empty port, or the default port
/// of `scheme`. Without a scheme, as in a request in origin form, both 80 and 443 are default ports.
///
/// ```
/// use cache_http::normal_authority;
/// use http::uri::Scheme;
///
/// assert_eq!(normal_authority(b"Example.COM.:443", Some(&Scheme::HTTPS)), &b"example.com"[..]);
/// assert_eq!(normal_authority(b"example.com:443", Some(&Scheme::HTTP)), &b"example.com:443"[..]);
/// assert_eq!(normal_authority(b"example.com:80", None), &b"example.com"[..]);
/// ```
#[must_use]
pub fn normal_authority<'a>(authority: &'a [u8], scheme: Option<&Scheme>) -> Cow<'a, [u8]> {
    let is_default = |port: &[u8]| match scheme.map(Scheme::as_str) {
        Some("http") => port == b"80",
        Some("https") => port == b"443",
        Some(_) => false,
        None => port == b"80" || port == b"443",
    };
    // The colons of an IPv6 address are in brackets.
    let port_at = authority
        .iter()
        .rposition(|&byte| byte == b':')
        .filter(|&at| authority[at + 1..].iter().all(u8::is_ascii_digit));
    let (host, port) = port_at.map_or((authority, &b""[..]), |at| (&authority[..at], &authority[at + 1..]));
    let keeps_port = !port.is_empty() && !is_default(port);
    let bare = host.strip_suffix(b".").filter(|bare| !bare.is_empty());
    let kept: Cow<'a, [u8]> = match (bare, keeps_port) {
        (None, true) => Cow::Borrowed(authority),
        (None, false) => Cow::Borrowed(host),
        (Some(bare), false) => Cow::Borrowed(bare),
        (Some(bare), true) => Cow::Owned([bare, &b":"[..], port].concat()),
    };
    if kept.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(kept.to_ascii_lowercase())
    } else {
        kept
    }
}
