//! The normal form of URIs (RFC 3986, section 6.2.2; RFC 3987, section 3.1; RFC 9110, section 4.2.3).

use std::borrow::Cow;
use std::fmt::Write;

use http::uri::Scheme;

/// Returns a path or a query in normal form (RFC 3986, sections 6.2.2.1 and 6.2.2.2): percent-encoded unreserved
/// characters are decoded, the hexadecimal digits of all others are in upper case, and characters that a URI cannot contain
/// are percent-encoded (RFC 3987, section 3.1): all beyond ASCII, spaces, ``"<>\^`{|}``, and each `%` that begins no encoding.
///
/// Two paths have the same normal form only if the standards call them equivalent. Everything else stays apart: reserved
/// characters and their encoding, case, empty segments and dot segments.
///
/// ```
/// use cache_http::normal_path;
///
/// assert_eq!(normal_path("/%7euser/%31"), "/~user/1");
/// assert_eq!(normal_path("/a%2fb//C"), "/a%2Fb//C");
/// assert_eq!(normal_path("/café?q={a}"), "/caf%C3%A9?q=%7Ba%7D");
/// ```
#[must_use]
pub fn normal_path(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    // A fast path: most texts contain nothing to rewrite, and a cache normalises every URI. Without an exit, the loop takes
    // half the time.
    if !bytes.iter().fold(false, |any, &byte| any | SUSPECT[usize::from(byte)]) {
        return Cow::Borrowed(text);
    }
    let mut suspects = (0..bytes.len()).filter(|&at| SUSPECT[usize::from(bytes[at])]);
    let Some(first) = suspects.find(|&at| rewritten(bytes, at).is_some()) else {
        return Cow::Borrowed(text);
    };
    let mut normal = String::with_capacity(text.len() + 8);
    let mut copied = 0;
    let mut at = first;
    while at < bytes.len() {
        let Some(rewritten) = rewritten(bytes, at) else {
            at += 1;
            continue;
        };
        // Nothing is copied between the bytes of one character.
        normal.push_str(text.get(copied..at).unwrap_or_default());
        at += match rewritten {
            Rewritten::Decoded(byte) => {
                normal.push(char::from(byte));
                3
            }
            Rewritten::UpperCase => {
                normal.push_str(&text[at..at + 3].to_ascii_uppercase());
                3
            }
            Rewritten::Encoded(byte) => {
                // Writing to a string cannot fail.
                let _ = write!(normal, "%{byte:02X}");
                1
            }
        };
        copied = at;
    }
    normal.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(normal)
}

/// Which bytes may not be in normal form.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        suspect[byte] = byte == b'%' as usize || !is_of_uri(byte as u8);
        byte += 1;
    }
    suspect
};

/// Returns whether a URI may contain a byte as it is (RFC 3986, section 2).
const fn is_of_uri(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// The change that brings a byte, or a percent-encoded one, into normal form.
enum Rewritten {
    /// The encoded byte is unreserved and is decoded.
    Decoded(u8),
    /// The byte stays encoded, with its digits in upper case.
    UpperCase,
    /// The byte is encoded.
    Encoded(u8),
}

/// Returns the normal form of the byte at `at`, or of the byte that is encoded there. Returns `None` if the text is in normal
/// form there.
fn rewritten(bytes: &[u8], at: usize) -> Option<Rewritten> {
    let first = *bytes.get(at)?;
    if !is_of_uri(first) {
        return Some(Rewritten::Encoded(first));
    }
    if first != b'%' {
        return None;
    }
    let digit = |place: usize| char::from(*bytes.get(at + place)?).to_digit(16);
    let Some(byte) = digit(1)
        .zip(digit(2))
        .and_then(|(high, low)| u8::try_from(16 * high + low).ok())
    else {
        return Some(Rewritten::Encoded(first));
    };
    let digits = [bytes[at + 1], bytes[at + 2]];
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        Some(Rewritten::Decoded(byte))
    } else if digits.iter().any(u8::is_ascii_lowercase) {
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
