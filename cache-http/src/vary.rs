//! Which variant a request selects (RFC 9111, section 4.1).

mod accept;

use std::fmt::Write;

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, VARY};
use http::{HeaderMap, HeaderName};

/// The `Vary` of a response: the request fields that selected it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Vary {
    /// `*`, or something unreadable: nobody can tell which request selects the response.
    Any,
    /// These fields, sorted and without repetition. Empty if the response does not vary.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// The `Vary` of a response with these headers, over all its lines.
    ///
    /// ```
    /// use cache_http::Vary;
    /// use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue, VARY};
    /// use http::HeaderMap;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.append(VARY, HeaderValue::from_static("Accept-Encoding, , accept"));
    /// assert_eq!(Vary::of(&headers), Vary::Fields(vec![ACCEPT, ACCEPT_ENCODING]));
    /// headers.append(VARY, HeaderValue::from_static("*"));
    /// assert_eq!(Vary::of(&headers), Vary::Any);
    /// ```
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        Self::parse(headers.get_all(VARY))
    }

    /// The `Vary` that these lines spell together.
    pub fn parse<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Self {
        let (fields, all_read) = Self::read(lines);
        if all_read { Self::Fields(fields) } else { Self::Any }
    }

    /// The fields that could be read, as if `*` were not there: for a cache that was told to store such responses.
    pub fn named_fields<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Vec<HeaderName> {
        Self::read(lines).0
    }

    fn read<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> (Vec<HeaderName>, bool) {
        let mut fields = Vec::new();
        let mut all_read = true;
        for line in lines {
            for member in line.as_ref().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                match HeaderName::from_bytes(member) {
                    _ if member.is_empty() => {}
                    // `*` is a token, and so would pass as a name.
                    Ok(name) if member != b"*" => fields.push(name),
                    _ => all_read = false,
                }
            }
        }
        fields.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        fields.dedup();
        (fields, all_read)
    }

    /// Whether it is [`Any`](Self::Any).
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

/// How request fields are brought to one form before they select a variant. Fields without a rule of their own, and
/// preferences that cannot be read, have the white space around commas removed and their lines joined;
/// `Authorization`, `Cookie` and `Proxy-Authorization` are taken as they are, line by line.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Normalization {
    /// For `Accept-Encoding`.
    pub accept_encoding: Option<Preference>,
    /// For `Accept-Language`.
    pub accept_language: Option<Preference>,
}

impl Normalization {
    /// Both fields by quality, whatever the names. It joins requests only if they state the same preferences in other
    /// words (RFC 9110, sections 12.4.2, 12.5.3 and 12.5.4): a server that tells `gzip, br` from `br, gzip`, which the
    /// standard gives it no ground for, needs a rule without it.
    #[must_use]
    pub fn by_quality() -> Self {
        Self {
            accept_encoding: Some(Preference::Ranked),
            accept_language: Some(Preference::Ranked),
        }
    }

    /// As [`by_quality`](Self::by_quality), for servers that take the order of languages of one quality for one of
    /// priority, as some do (RFC 9110, section 12.5.4).
    #[must_use]
    pub fn by_quality_and_order() -> Self {
        Self {
            accept_language: Some(Preference::Listed),
            ..Self::by_quality()
        }
    }
}

/// What is kept of a field that states preferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preference {
    /// All members in lower case, by falling quality, those of one quality by name.
    Ranked,
    /// All members in lower case, by falling quality, those of one quality in the order in which they were listed.
    Listed,
    /// The one of these names that the request likes best, or none of them. Of those that it likes equally, the first
    /// in this list. Right if the responses really exist in these forms only.
    OneOf(Vec<String>),
}

/// The variant that a request selects: the named fields of the request in one form, unambiguously. Two requests have
/// the same key if and only if they agree in all these fields, after normalisation.
///
/// The key is printable ASCII: `name=value` for each field, joined by `&`, with all but plain characters
/// percent-encoded; a field that the request has not stands without `=`. `fields` should be sorted, as those of
/// [`Vary::Fields`] are.
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
    let preference = match *name {
        ACCEPT_ENCODING => normalization.accept_encoding.as_ref(),
        ACCEPT_LANGUAGE => normalization.accept_language.as_ref(),
        _ => None,
    };
    if let Some(preference) = preference
        && let Some(members) = accept::parse(lines())
    {
        return Some(match preference {
            Preference::Ranked => accept::ranked(members),
            Preference::Listed => accept::listed(members),
            Preference::OneOf(names) => {
                let is_language = *name == ACCEPT_LANGUAGE;
                accept::best(&members, names, is_language).unwrap_or_default().into()
            }
        });
    }
    let exact = matches!(*name, AUTHORIZATION | COOKIE | PROXY_AUTHORIZATION);
    // No line can contain a line break, so those that are taken as they are cannot be mistaken for one.
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

/// White space around commas has no meaning in a list (RFC 9110, section 5.6.1); within quotes it has.
fn push_without_space_around_commas(out: &mut Vec<u8>, line: &[u8]) {
    let start = out.len();
    let mut in_quotes = false;
    let mut escaped = false;
    // What ends in a quoted string keeps its white space, so trimming stops there.
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
