//! `Range` and `If-Range` (RFC 9110, sections 13.1.5 and 14.2).

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, Method, StatusCode};

use crate::field::{ETag, parse_date};
use crate::representation::byte_range::{ByteRange, number};
use crate::representation::validators::Validators;

/// The greatest number of ranges that are served. A request for more gets the whole (RFC 9110, section 14.2).
const MAX_RANGES: usize = 32;

/// What to send for a request that may ask for ranges. RFC 9110 knows no other outcome, so this enum is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum RangeOutcome {
    /// Send the whole with the stored status.
    Whole,
    /// Send 206 with this range. See [`partial_headers`](crate::partial_headers).
    Single(ByteRange),
    /// Send 206 with several ranges, which do not overlap. See [`Multipart`](crate::Multipart).
    Several(Vec<ByteRange>),
    /// Send 416 without content. See [`unsatisfiable_headers`](crate::unsatisfiable_headers).
    Unsatisfiable,
}

/// Returns whether ranges are served of a complete response with this status to a request with this method. Such a
/// response may say `Accept-Ranges: bytes` (RFC 9110, section 14.3).
#[must_use]
pub fn serves_ranges(method: &Method, status: StatusCode) -> bool {
    matches!(method.as_str(), "GET" | "QUERY") && status == StatusCode::OK
}

/// Evaluates `Range` and `If-Range` of a request against a stored complete response of `length` bytes (RFC 9110,
/// sections 13.1.5, 13.2.2 and 14.2). Call [`evaluate`](crate::evaluate) first: a 304 takes precedence.
///
/// Ignores a `Range` that is malformed, has another unit than bytes, or belongs to another method than GET and QUERY.
/// Joins ranges that overlap. A request for more than 32 ranges gets the whole.
pub fn evaluate_range(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &Validators,
    length: u64,
) -> RangeOutcome {
    if !serves_ranges(method, status) || !if_range_holds(request, stored) {
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
        // The range is satisfiable by definition, but a 206 would contain no byte to name.
        return RangeOutcome::Whole;
    }
    let ranges = joined(specs.iter().filter_map(|spec| spec.within(length)));
    match ranges[..] {
        [] => RangeOutcome::Unsatisfiable,
        [range] => RangeOutcome::Single(range),
        _ => RangeOutcome::Several(ranges),
    }
}

/// Evaluates `If-Range` (RFC 9110, section 13.1.5): a range is sent only if the validator is strong and equal to the
/// stored one.
fn if_range_holds(request: &HeaderMap, stored: &Validators) -> bool {
    let mut lines = request.get_all(IF_RANGE).iter();
    let Some(value) = lines.next() else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    // A date contains a space and no quote, so it cannot be mistaken for a tag.
    if let Some(date) = parse_date(value.as_bytes()) {
        return stored.last_modified_is_strong() && stored.last_modified == Some(date);
    }
    match (ETag::parse(value), &stored.etag) {
        (Some(asked), Some(stored)) => stored.strong_eq(&asked),
        _ => false,
    }
}

/// A range as requested.
#[derive(Debug, Clone, Copy)]
enum Spec {
    From(u64, Option<u64>),
    /// This number of bytes at the end.
    Suffix(u64),
}

impl Spec {
    /// Returns the bytes within a content of `length` bytes, or `None` if there are none.
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

/// Parses the ranges of a `Range` value. Returns `None` if any part is broken or there is none.
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

/// Joins ranges that overlap. The result takes the place of the first of its parts.
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
