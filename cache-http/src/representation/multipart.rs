//! Several ranges in one body: `multipart/byteranges` (RFC 9110, section 14.6).

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use crate::representation::byte_range::{ByteRange, ContentRange};
use crate::representation::partial::without_whole_content;

/// The layout of a `multipart/byteranges` body: for each part its [head](Part::head) and the bytes of its
/// [range](Part::range), and at the end the [closing](Self::closing) delimiter.
///
/// ```
/// use cache_http::{ByteRange, Multipart};
/// use http::HeaderMap;
///
/// let content = b"0123456789";
/// let ranges = [ByteRange { first: 0, last: 1 }, ByteRange { first: 8, last: 9 }];
/// let multipart = Multipart::new(&HeaderMap::new(), &ranges, 10, "4f0cbb");
/// let body = multipart.body(content);
/// assert_eq!(multipart.headers["content-length"], body.len().to_string().as_str());
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multipart {
    /// The headers of the 206.
    pub headers: HeaderMap,
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// The text after the last part.
    pub closing: String,
}

/// One part of a [`Multipart`].
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The delimiter and the headers of the part.
    pub head: String,
    /// The bytes that follow.
    pub range: ByteRange,
}

impl Multipart {
    /// Lays out these ranges of a stored complete response. `boundary` must not occur in the content, so pass a random one
    /// of at most 70 letters and digits; other characters are dropped.
    #[must_use]
    pub fn new(stored: &HeaderMap, ranges: &[ByteRange], complete_length: u64, boundary: &str) -> Self {
        let boundary: String = boundary.chars().filter(char::is_ascii_alphanumeric).take(70).collect();
        let content_type = stored.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.map_or_else(String::new, |value| format!("Content-Type: {value}\r\n"));
        let parts: Vec<Part> = ranges
            .iter()
            .enumerate()
            .map(|(index, &range)| {
                let line_end = if index == 0 { "" } else { "\r\n" };
                let content_range = ContentRange {
                    range: Some(range),
                    complete_length: Some(complete_length),
                };
                let head = format!("{line_end}--{boundary}\r\n{content_type}Content-Range: {content_range}\r\n\r\n");
                Part { head, range }
            })
            .collect();
        let closing = format!("\r\n--{boundary}--\r\n");

        let mut headers = without_whole_content(stored);
        let length = parts.iter().fold(closing.len() as u64, |sum, part| {
            sum.saturating_add(part.head.len() as u64)
                .saturating_add(part.range.len())
        });
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        // Letters and digits are always a valid value.
        if let Ok(value) = HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}")) {
            headers.insert(CONTENT_TYPE, value);
        }
        Self {
            headers,
            parts,
            closing,
        }
    }

    /// Returns the body, given the complete content. Ranges do not overlap, so it is not much longer than the content.
    #[must_use]
    pub fn body(&self, content: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for part in &self.parts {
            body.extend_from_slice(part.head.as_bytes());
            let bytes = part.range.to_indices().and_then(|indices| content.get(indices));
            body.extend_from_slice(bytes.unwrap_or_default());
        }
        body.extend_from_slice(self.closing.as_bytes());
        body
    }
}
