//! `Vary` (RFC 9110, section 12.5.5).

use http::header::VARY;
use http::{HeaderMap, HeaderName};

/// The `Vary` of a response: the request fields that selected it. The grammar allows no other form, so this enum is
/// closed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Vary {
    /// `*`, or unreadable: which requests select the response is unknown.
    Any,
    /// These fields, sorted and without duplicates. Empty if the response does not vary.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// Parses all lines of the `Vary` of a response with these headers.
    ///
    /// ```
    /// use cache_http::Vary;
    /// use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue, VARY};
    /// use http::HeaderMap;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.append(VARY, HeaderValue::from_static("Accept-Encoding, , accept"));
    /// assert_eq!(Vary::from_headers(&headers), Vary::Fields(vec![ACCEPT, ACCEPT_ENCODING]));
    /// headers.append(VARY, HeaderValue::from_static("*"));
    /// assert_eq!(Vary::from_headers(&headers), Vary::Any);
    /// ```
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::parse(headers.get_all(VARY))
    }

    /// Parses field lines as one list.
    pub fn parse<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Self {
        let (fields, all_read) = Self::read(lines);
        if all_read { Self::Fields(fields) } else { Self::Any }
    }

    /// Returns the readable fields and ignores `*`, for a cache that stores such responses.
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
                    // `*` is a token, so it would parse as a name.
                    Ok(name) if member != b"*" => fields.push(name),
                    _ => all_read = false,
                }
            }
        }
        fields.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        fields.dedup();
        (fields, all_read)
    }

    /// Returns whether the value is [`Any`](Self::Any).
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::Any
    }
}
