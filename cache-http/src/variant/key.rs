//! The key of the variant that a request selects (RFC 9111, section 4.1).

use std::fmt::Write;

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName};

use crate::variant::accept;
use crate::variant::normalization::{Normalization, Preference};

/// Returns the key of the variant that a request selects. Two requests have the same key if and only if they agree in all
/// these fields after normalisation.
///
/// The key is printable ASCII: `name=value` for each field, joined by `&`, with special characters percent-encoded. A field
/// that the request does not have is written without `=`. Pass `fields` sorted, as in [`Vary::Fields`](crate::Vary::Fields).
///
/// ```
/// use cache_http::{Normalization, variant_key};
/// use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue};
/// use http::HeaderMap;
///
/// let mut request = HeaderMap::new();
/// request.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip;q=0.5,  br"));
/// let key = variant_key(&[ACCEPT, ACCEPT_ENCODING], &request, &Normalization::by_quality());
/// assert_eq!(key, "accept&accept-encoding=br,gzip;q%3D0.5");
/// ```
#[must_use]
pub fn variant_key(fields: &[HeaderName], request: &HeaderMap, normalization: &Normalization) -> String {
    let mut key = String::new();
    for name in fields {
        if !key.is_empty() {
            key.push('&');
        }
        escape(&mut key, name.as_str().as_bytes());
        if let Some(value) = normalized(name, request, normalization) {
            key.push('=');
            escape(&mut key, &value);
        }
    }
    key
}

fn normalized(name: &HeaderName, request: &HeaderMap, normalization: &Normalization) -> Option<Vec<u8>> {
    let lines = || request.get_all(name).iter();
    lines().next()?;
    if let Some(chosen) = normalization.chosen(name, request) {
        return chosen.map(Vec::from);
    }
    if let Some(preference) = normalization.preference(name)
        && let Some(members) = accept::parse(lines())
    {
        return match preference {
            Preference::Ranked => Some(accept::ranked(members)),
            Preference::Listed => Some(accept::listed(members)),
            Preference::OneOf(_) => None,
        };
    }
    let exact = matches!(*name, AUTHORIZATION | COOKIE | PROXY_AUTHORIZATION);
    // No line contains a line break, so joined lines cannot be mistaken for one line.
    let between_lines = if exact { b'\n' } else { b',' };
    let mut joined = Vec::new();
    for (index, line) in lines().enumerate() {
        if index > 0 {
            joined.push(between_lines);
        }
        let line = line.as_bytes().trim_ascii();
        if exact {
            joined.extend_from_slice(line);
        } else {
            push_without_space_around_commas(&mut joined, line);
        }
    }
    Some(joined)
}

/// Appends a line without the white space around commas, which has no meaning in a list outside of quotes (RFC 9110,
/// section 5.6.1).
fn push_without_space_around_commas(out: &mut Vec<u8>, line: &[u8]) {
    let start = out.len();
    let mut in_quotes = false;
    let mut escaped = false;
    // White space in a quoted string is significant, so trimming stops at its end.
    let mut keep_to = start;
    for &byte in line {
        if in_quotes {
            out.push(byte);
            keep_to = out.len();
            in_quotes = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\t' if out.len() == start || (out.last() == Some(&b',') && keep_to < out.len()) => {}
            b',' => {
                while out.len() > keep_to && matches!(out.last(), Some(b' ' | b'\t')) {
                    out.pop();
                }
                out.push(b',');
            }
            b'"' => {
                in_quotes = true;
                out.push(byte);
            }
            _ => out.push(byte),
        }
    }
}

fn escape(key: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~,;:/*+()".contains(&byte) {
            key.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(key, "%{byte:02X}");
        }
    }
}
