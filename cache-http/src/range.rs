//! Ranges from a complete body (RFC 9110, section 14).

mod multipart;

use std::fmt;
use std::ops::Range;

use cache_core::ETag;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub use self::multipart::{Multipart, Part};
use crate::conditional::Validators;
use crate::date::parse_date;

/// The most ranges that are served; a request for more gets the whole (RFC 9110, section 14.2).
const MAX_RANGES: usize = 32;

/// A range of bytes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// The last byte, not before the first.
    pub last: u64,
}

impl ByteRange {
    /// How many bytes it has, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range of bytes is never empty")]
    pub fn len(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// As indices; `None` where this machine has no such index.
    #[must_use]
    pub fn to_indices(self) -> Option<Range<usize>> {
        let first = usize::try_from(self.first).ok()?;
        let end = usize::try_from(self.last).ok()?.checked_add(1)?;
        Some(first..end)
    }
}

/// The value of `Content-Range` (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The range that is sent; `None` where it could not be satisfied.
    pub range: Option<ByteRange>,
    /// The length of the complete representation, if it is known.
    pub complete_length: Option<u64>,
}

impl ContentRange {
    /// The value that a response's `Content-Range` has; `None` if it is missing, broken, contradicts itself or is of
    /// another unit than bytes.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CONTENT_RANGE).iter();
        let value = lines.next()?.to_str().ok()?.trim();
        if lines.next().is_some() {
            return None;
        }
        let (unit, value) = value.split_once(' ')?;
        let (range, length) = value.trim().split_once('/')?;
        // Here a number that does not fit is no length.
        let number = |digits| number(digits).filter(|&number| number < u64::MAX);
        let complete_length = if length == "*" { None } else { Some(number(length)?) };
        let range = if range == "*" {
            None
        } else {
            let (first, last) = range.split_once('-')?;
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Some(ByteRange { first, last }))?
        };
        let fits = match (range, complete_length) {
            (Some(range), Some(length)) => range.last < length,
            (None, None) => false,
            _ => true,
        };
        (unit.eq_ignore_ascii_case("bytes") && fits).then_some(Self { range, complete_length })
    }

    /// As a field value.
    #[must_use]
    pub fn to_header_value(self) -> HeaderValue {
        // Digits and punctuation are always a valid value.
        HeaderValue::try_from(self.to_string()).unwrap_or_else(|_| HeaderValue::from_static("bytes */*"))
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            Some(ByteRange { first, last }) => write!(f, "bytes {first}-{last}/")?,
            None => f.write_str("bytes */")?,
        }
        match self.complete_length {
            Some(length) => write!(f, "{length}"),
            None => f.write_str("*"),
        }
    }
}

/// What to send for a request that may ask for ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum RangeOutcome {
    /// The whole, with the stored status.
    Whole,
    /// 206 with this range; see [`partial_headers`].
    Single(ByteRange),
    /// 206 with several ranges, which do not overlap; see [`Multipart`].
    Several(Vec<ByteRange>),
    /// 416 without the body; see [`unsatisfiable_headers`].
    Unsatisfiable,
}

/// Evaluates `Range` and `If-Range` of a request against a stored complete response of `length` bytes (RFC 9110,
/// sections 13.1.5, 13.2.2 and 14.2). To be asked after [`evaluate`](crate::evaluate): a 304 wins.
///
/// A `Range` of another method than GET, of another unit than bytes, or that is broken is ignored. Ranges that overlap
/// are joined; a request for more than 32 gets the whole.
pub fn evaluate_range(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &Validators,
    length: u64,
) -> RangeOutcome {
    if method != Method::GET || status != StatusCode::OK || !if_range_holds(request, stored) {
        return RangeOutcome::Whole;
    }
    let mut lines = request.get_all(RANGE).iter();
    let (Some(value), None) = (lines.next(), lines.next()) else {
        return RangeOutcome::Whole;
    };
    let Some(specs) = value.to_str().ok().and_then(parse_specs) else {
        return RangeOutcome::Whole;
    };
    if specs.len() > MAX_RANGES {
        return RangeOutcome::Whole;
    }
    if length == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix(1..))) {
        // Satisfiable by definition, but there is no byte that a 206 could name.
        return RangeOutcome::Whole;
    }
    let ranges = joined(specs.iter().filter_map(|spec| spec.within(length)));
    match ranges[..] {
        [] => RangeOutcome::Unsatisfiable,
        [range] => RangeOutcome::Single(range),
        _ => RangeOutcome::Several(ranges),
    }
}

/// RFC 9110, section 13.1.5: the whole is sent unless the validator is strong and exactly the stored one.
fn if_range_holds(request: &HeaderMap, stored: &Validators) -> bool {
    let mut lines = request.get_all(IF_RANGE).iter();
    let Some(value) = lines.next() else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    // A date has a space before its first comma or dash and no quote, so it is not taken for a tag.
    if let Some(date) = parse_date(value.as_bytes()) {
        return stored.last_modified_is_strong() && stored.last_modified == Some(date);
    }
    match (ETag::parse(value), &stored.etag) {
        (Some(asked), Some(stored)) => stored.strong_eq(&asked),
        _ => false,
    }
}

/// A range as it is asked for.
#[derive(Debug, Clone, Copy)]
enum Spec {
    From(u64, Option<u64>),
    /// The last so many bytes.
    Suffix(u64),
}

impl Spec {
    /// The bytes that it means; `None` if there are none.
    fn within(self, length: u64) -> Option<ByteRange> {
        let end = length.checked_sub(1)?;
        match self {
            Self::From(first, last) => (first <= end).then(|| ByteRange {
                first,
                last: last.map_or(end, |last| last.min(end)),
            }),
            Self::Suffix(0) => None,
            Self::Suffix(count) => Some(ByteRange {
                first: length.saturating_sub(count),
                last: end,
            }),
        }
    }
}

/// The ranges of a `Range` value; `None` if any part of it is broken or it has none.
fn parse_specs(value: &str) -> Option<Vec<Spec>> {
    let (unit, set) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        let (first, last) = spec.split_once('-')?;
        specs.push(match (first, last) {
            ("", count) => Spec::Suffix(number(count)?),
            (first, "") => Spec::From(number(first)?, None),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Spec::From(first, Some(last)))?
            }
        });
    }
    (!specs.is_empty()).then_some(specs)
}

/// A number of digits only; larger than any length if it does not fit.
fn number(digits: &str) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Joins ranges that overlap; each stands where the first of its parts stood.
fn joined(ranges: impl Iterator<Item = ByteRange>) -> Vec<ByteRange> {
    let mut joined: Vec<ByteRange> = Vec::new();
    for mut range in ranges {
        let mut at = joined.len();
        let mut index = 0;
        while index < joined.len() {
            let other = joined[index];
            if range.first <= other.last && other.first <= range.last {
                range.first = range.first.min(other.first);
                range.last = range.last.max(other.last);
                joined.remove(index);
                at = at.min(index);
            } else {
                index += 1;
            }
        }
        joined.insert(at.min(joined.len()), range);
    }
    joined
}

/// The headers of a 206 with one range of a stored complete response (RFC 9110, section 15.3.7.1).
#[must_use]
pub fn partial_headers(stored: &HeaderMap, range: ByteRange, complete_length: u64) -> HeaderMap {
    let mut headers = without_whole_content(stored);
    let content_range = ContentRange {
        range: Some(range),
        complete_length: Some(complete_length),
    };
    headers.insert(CONTENT_RANGE, content_range.to_header_value());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.len()));
    headers
}

/// The headers of a 416 for a stored complete response of this length (RFC 9110, section 15.5.17).
#[must_use]
pub fn unsatisfiable_headers(complete_length: u64) -> HeaderMap {
    let content_range = ContentRange {
        range: None,
        complete_length: Some(complete_length),
    };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_RANGE, content_range.to_header_value());
    headers
}

/// Stored headers without what is true of the whole content only.
fn without_whole_content(stored: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    for name in ["content-length", "content-md5", "content-digest"] {
        headers.remove(HeaderName::from_static(name));
    }
    headers
}
