//! Whether a request has content (RFC 9110, section 6.4; RFC 9112, section 6.3).

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

/// Whether a request has content, as far as its framing shows.
///
/// ```
/// use cache_http::Framing;
/// use http::header::{CONTENT_LENGTH, HeaderValue};
/// use http::{HeaderMap, Version};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(Framing::from_request(Version::HTTP_11, &headers), Framing::Empty);
/// assert_eq!(Framing::from_request(Version::HTTP_2, &headers), Framing::Unknown);
/// headers.insert(CONTENT_LENGTH, HeaderValue::from(7));
/// assert_eq!(Framing::from_request(Version::HTTP_2, &headers), Framing::Content);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// The request has no content, or content of length zero.
    Empty,
    /// The request has content.
    Content,
    /// Unknown until the body is read: it may end without any data. There is no fourth case, so this enum is closed.
    Unknown,
}

impl Framing {
    /// Reads the framing of a request with this version and these headers.
    ///
    /// HTTP/1 has no content without `Content-Length` and `Transfer-Encoding`. In later versions, and with
    /// `Transfer-Encoding`, content may still turn out to be empty.
    #[must_use]
    pub fn from_request(version: Version, headers: &HeaderMap) -> Self {
        // `Transfer-Encoding` overrides `Content-Length` (RFC 9112, section 6.3).
        if headers.contains_key(TRANSFER_ENCODING) {
            return Self::Unknown;
        }
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter().peekable();
        if lengths.peek().is_some() {
            let is_zero = |length: &[u8]| !length.is_empty() && length.iter().all(|&digit| digit == b'0');
            return if lengths.all(|length| is_zero(length.as_bytes().trim_ascii())) {
                Self::Empty
            } else {
                Self::Content
            };
        }
        if version <= Version::HTTP_11 {
            Self::Empty
        } else {
            Self::Unknown
        }
    }
}
