//! RFC 9110, section 14: ranges from a complete body.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{date, headers};
use cache_http::{
    ByteRange, ContentRange, Multipart, RangeOutcome, Representation, Validators, evaluate_range, partial_headers,
    serves_ranges, unsatisfiable_headers,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

fn range(first: u64, last: u64) -> ByteRange {
    ByteRange { first, last }
}

fn ask(request: &[(&str, &str)], stored: &[(&str, &str)], length: u64) -> RangeOutcome {
    let stored = Validators::from_headers(&headers(stored));
    evaluate_range(&Method::GET, &headers(request), StatusCode::OK, &stored, length)
}

fn bytes(value: &str, length: u64) -> RangeOutcome {
    ask(&[("range", value)], &[], length)
}

#[test]
fn section_14_1_2_byte_ranges_of_ten_thousand_bytes() {
    use RangeOutcome::{Several, Single, Unsatisfiable, Whole};
    for (value, expected) in [
        ("bytes=0-499", Single(range(0, 499))),
        ("bytes=500-999", Single(range(500, 999))),
        ("bytes=-500", Single(range(9500, 9999))),
        ("bytes=9500-", Single(range(9500, 9999))),
        ("bytes=0-0,-1", Several(vec![range(0, 0), range(9999, 9999)])),
        (
            "bytes= 0-999, 4500-5499, -1000",
            Several(vec![range(0, 999), range(4500, 5499), range(9000, 9999)]),
        ),
        ("bytes=0-20000", Single(range(0, 9999))),
        ("bytes=-20000", Single(range(0, 9999))),
        ("bytes=10000-", Unsatisfiable),
        ("bytes=-0", Unsatisfiable),
        ("bytes=10000-,0-1", Single(range(0, 1))),
        // Ranges that overlap are joined, in the place of the first.
        ("bytes=500-700,601-999", Single(range(500, 999))),
        ("bytes=500-600,0-1,550-700", Several(vec![range(500, 700), range(0, 1)])),
        ("bytes=0-5,5-9", Single(range(0, 9))),
        ("bytes=5-9,0-5", Single(range(0, 9))),
        ("bytes=7-7,7-7", Single(range(7, 7))),
        ("bytes=0-4,5-9", Several(vec![range(0, 4), range(5, 9)])),
        ("BYTES=0-1", Single(range(0, 1))),
        ("bytes=,0-1,,", Single(range(0, 1))),
        ("bytes=99999999999999999999-", Unsatisfiable),
        ("bytes=0-99999999999999999999", Single(range(0, 9999))),
        // Section 14.2: another unit and what is broken are ignored.
        ("lines=0-1", Whole),
        ("bytes=5-4", Whole),
        ("bytes=0-1,x", Whole),
        ("bytes=", Whole),
        ("bytes=+1-2", Whole),
        ("bytes=--1", Whole),
        ("bytes 0-1", Whole),
        ("0-1", Whole),
    ] {
        assert_eq!(bytes(value, 10000), expected, "{value}");
    }
}

#[test]
fn section_14_3_ranges_are_served_of_complete_responses_to_get_and_query() {
    let query = Method::from_bytes(b"QUERY").unwrap();
    for (method, status, expected) in [
        (&Method::GET, StatusCode::OK, true),
        (&query, StatusCode::OK, true),
        (&Method::POST, StatusCode::OK, false),
        (&Method::GET, StatusCode::CREATED, false),
        (&Method::GET, StatusCode::PARTIAL_CONTENT, false),
    ] {
        assert_eq!(serves_ranges(method, status), expected, "{method} {status}");
        // And so it is.
        let asked = headers(&[("range", "bytes=0-1")]);
        let outcome = evaluate_range(method, &asked, status, &Validators::default(), 10);
        assert_eq!(outcome != RangeOutcome::Whole, expected, "{method} {status}");
    }
}

#[test]
fn an_empty_body_has_no_range_to_send() {
    assert_eq!(bytes("bytes=0-", 0), RangeOutcome::Unsatisfiable);
    assert_eq!(bytes("bytes=-5", 0), RangeOutcome::Whole);
}

#[test]
fn section_14_2_range_is_for_get_and_for_200() {
    let request = headers(&[("range", "bytes=0-1")]);
    for (method, status) in [
        (Method::HEAD, 200),
        (Method::POST, 200),
        (Method::GET, 404),
        (Method::GET, 206),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let outcome = evaluate_range(&method, &request, status, &Validators::default(), 10);
        assert_eq!(outcome, RangeOutcome::Whole, "{method} {status}");
    }
    assert_eq!(
        ask(&[("range", "bytes=0-1"), ("range", "bytes=3-4")], &[], 10),
        RangeOutcome::Whole
    );
}

#[test]
fn section_14_2_many_small_ranges_get_the_whole() {
    let many = |count: u64| {
        let ranges: Vec<String> = (0..count).map(|at| format!("{0}-{0}", 2 * at)).collect();
        bytes(&format!("bytes={}", ranges.join(",")), 10000)
    };
    assert!(matches!(many(32), RangeOutcome::Several(ranges) if ranges.len() == 32));
    assert_eq!(many(33), RangeOutcome::Whole);
}

#[test]
fn section_13_1_5_if_range() {
    let (old, now) = (date(-100), date(0));
    let stored = [
        ("etag", "\"a\""),
        ("last-modified", old.as_str()),
        ("date", now.as_str()),
    ];
    let weak = [
        ("etag", "W/\"a\""),
        ("last-modified", now.as_str()),
        ("date", now.as_str()),
    ];
    let part = RangeOutcome::Single(range(0, 1));
    for (condition, stored, expected) in [
        ("\"a\"", &stored, &part),
        ("\"b\"", &stored, &RangeOutcome::Whole),
        ("W/\"a\"", &stored, &RangeOutcome::Whole),
        ("W/\"a\"", &weak, &RangeOutcome::Whole),
        ("\"a\"", &weak, &RangeOutcome::Whole),
        (&*old, &stored, &part),
        // Exactly the stored date, not only a later one; and a strong one.
        (&*now, &stored, &RangeOutcome::Whole),
        (&*now, &weak, &RangeOutcome::Whole),
        ("", &stored, &RangeOutcome::Whole),
    ] {
        let request = [("range", "bytes=0-1"), ("if-range", condition)];
        assert_eq!(&ask(&request, stored, 10), expected, "{condition} {stored:?}");
    }
    assert_eq!(ask(&[("if-range", "\"a\"")], &stored, 10), RangeOutcome::Whole);
}

#[test]
fn section_15_3_7_1_headers_of_a_single_part() {
    let stored = headers(&[
        ("content-length", "10"),
        ("content-type", "text/plain"),
        ("etag", "\"a\""),
        ("content-md5", "x"),
    ]);
    let part = partial_headers(&stored, range(2, 4), 10);
    assert_eq!(
        (&part["content-range"], &part["content-length"]),
        (&"bytes 2-4/10".parse().unwrap(), &"3".parse().unwrap())
    );
    assert!(part.contains_key("etag") && part.contains_key("content-type") && !part.contains_key("content-md5"));
}

#[test]
fn section_15_5_17_headers_of_a_416() {
    assert_eq!(unsatisfiable_headers(47022)["content-range"], "bytes */47022");
}

#[test]
fn section_14_6_multipart_byteranges() {
    let stored = headers(&[
        ("content-type", "application/pdf"),
        ("content-length", "8000"),
        ("etag", "\"a\""),
    ]);
    let multipart = Multipart::new(
        &stored,
        &[range(500, 999), range(7000, 7999)],
        8000,
        "THIS_STRING SEPARATES\r\n",
    );
    assert_eq!(
        multipart.headers["content-type"],
        "multipart/byteranges; boundary=THISSTRINGSEPARATES"
    );
    let heads: Vec<&str> = multipart.parts.iter().map(|part| part.head.as_str()).collect();
    assert_eq!(
        heads,
        [
            "--THISSTRINGSEPARATES\r\nContent-Type: application/pdf\r\nContent-Range: bytes 500-999/8000\r\n\r\n",
            "\r\n--THISSTRINGSEPARATES\r\nContent-Type: application/pdf\r\nContent-Range: bytes 7000-7999/8000\r\n\r\n",
        ]
    );
    assert_eq!(multipart.closing, "\r\n--THISSTRINGSEPARATES--\r\n");
    let length = heads.concat().len() + multipart.closing.len() + 1500;
    assert_eq!(multipart.headers["content-length"], length.to_string().as_str());
    assert_eq!(multipart.headers["etag"], "\"a\"");
}

#[test]
fn section_14_4_content_range() {
    let read = |value: &str| ContentRange::from_headers(&headers(&[("content-range", value)]));
    let content = |range, complete_length| Some(ContentRange { range, complete_length });
    for (value, expected) in [
        ("bytes 42-1233/1234", content(Some(range(42, 1233)), Some(1234))),
        ("bytes 42-1233/*", content(Some(range(42, 1233)), None)),
        ("bytes */1234", content(None, Some(1234))),
        ("bytes 0-9/9", None),
        ("bytes 9-0/99", None),
        ("bytes */*", None),
        ("items 0-1/2", None),
        ("bytes 0-18446744073709551615/*", None),
        ("bytes", None),
        ("", None),
    ] {
        assert_eq!(read(value), expected, "{value}");
    }
    assert_eq!(
        ContentRange::from_headers(&headers(&[
            ("content-range", "bytes 0-1/2"),
            ("content-range", "bytes 0-1/2")
        ])),
        None
    );
}

proptest! {
    #[test]
    fn no_value_makes_it_panic_or_reach_beyond_the_body(value in "(bytes=)?[-0-9, x*/]{0,40}", length in prop_oneof![0..100_u64, Just(u64::MAX)]) {
        let ranges = match bytes(&value, length) {
            RangeOutcome::Single(range) => vec![range],
            RangeOutcome::Several(ranges) => ranges,
            _ => vec![],
        };
        for (index, range) in ranges.iter().enumerate() {
            prop_assert!(range.first <= range.last && range.last < length);
            for other in &ranges[..index] {
                prop_assert!(range.last < other.first || other.last < range.first);
            }
        }
        let _ = ContentRange::from_headers(&headers(&[("content-range", &value)]));
    }

    #[test]
    fn every_byte_that_was_asked_for_is_sent(asked in prop::collection::vec((0..40_u64, 0..40_u64), 1..6)) {
        let asked: Vec<(u64, u64)> = asked.into_iter().map(|(one, other)| (one.min(other), one.max(other))).collect();
        let value: Vec<String> = asked.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        let sent = match bytes(&format!("bytes={}", value.join(",")), 40) {
            RangeOutcome::Single(range) => vec![range],
            RangeOutcome::Several(ranges) => ranges,
            outcome => panic!("{outcome:?}"),
        };
        for byte in 0..40 {
            let wanted = asked.iter().any(|(first, last)| (*first..=*last).contains(&byte));
            let got = sent.iter().any(|range| (range.first..=range.last).contains(&byte));
            prop_assert_eq!(wanted, got);
        }
    }
}

/// RFC 9112, section 6.2: a message with a `Content-Length` has no `Transfer-Encoding`. A proxy may pass on a response
/// with the framing of its connection to the origin.
#[test]
fn what_is_cut_has_a_framing_of_its_own() {
    let stored = HeaderMap::from_iter([(http::header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))]);
    let validators = Validators::from_headers(&stored);
    let request = HeaderMap::from_iter([(http::header::RANGE, HeaderValue::from_static("bytes=0-3"))]);
    let selection = Representation::new(StatusCode::OK, &stored, &validators)
        .with_length(Some(10))
        .select(&Method::GET, &request);
    assert_eq!(selection.headers["content-length"], "4");
    assert!(!selection.headers.contains_key("transfer-encoding"));
}
