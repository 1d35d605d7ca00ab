//! RFC 9110, section 13: preconditions of clients, answered from what is stored.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{NOW, date, headers};
use cache_http::ETag;
use cache_http::{Outcome, Validators, evaluate, not_modified_headers};
use http::{Method, StatusCode};
use proptest::prelude::*;

fn outcome(request: &[(&str, &str)], stored: &[(&str, &str)]) -> Outcome {
    let stored = Validators::from_headers(&headers(stored));
    evaluate(&Method::GET, &headers(request), StatusCode::OK, &stored, NOW)
}

#[test]
fn section_13_1_2_if_none_match() {
    use Outcome::{Full, NotModified};
    for (line, etag, expected) in [
        (r#""a""#, r#""a""#, NotModified),
        (r#"W/"a""#, r#""a""#, NotModified),
        (r#""a""#, r#"W/"a""#, NotModified),
        (r#""x", "a""#, r#""a""#, NotModified),
        (r#""x,a""#, r#""a""#, Full),
        (r#""b""#, r#""a""#, Full),
        ("*", r#""a""#, NotModified),
        ("", r#""a""#, Full),
        (r#""A""#, r#""a""#, Full),
        // What the web really sends.
        ("a", r#""a""#, NotModified),
        (r#""a""#, "a", NotModified),
        (r#"w/"a""#, r#""a""#, NotModified),
        ("\"café\"", "\"café\"", NotModified),
    ] {
        assert_eq!(
            outcome(&[("if-none-match", line)], &[("etag", etag)]),
            expected,
            "{line} {etag}"
        );
    }
    assert_eq!(outcome(&[("if-none-match", "*")], &[]), NotModified);
    assert_eq!(outcome(&[("if-none-match", "\"a\"")], &[]), Full);
    let lines = [("if-none-match", "\"x\""), ("if-none-match", "\"a\"")];
    assert_eq!(outcome(&lines, &[("etag", "\"a\"")]), NotModified);
}

#[test]
fn section_13_1_3_if_modified_since() {
    use Outcome::{Full, NotModified};
    let (earlier, later) = (date(-3000), date(-2000));
    for (since, stored, expected) in [
        (&*later, &[("last-modified", &*later)][..], NotModified),
        (&later, &[("last-modified", &earlier)], NotModified),
        (&earlier, &[("last-modified", &later)], Full),
        // RFC 9111, section 4.3.2: without Last-Modified, Date; without both, the time of arrival.
        (&later, &[("date", &earlier)], NotModified),
        (&earlier, &[("date", &later)], Full),
        (&later, &[], Full),
        (&date(0), &[], NotModified),
        // Not a date: ignored.
        ("yesterday", &[("last-modified", &earlier)], Full),
    ] {
        assert_eq!(
            outcome(&[("if-modified-since", since)], stored),
            expected,
            "{since} {stored:?}"
        );
    }
    let twice = [("if-modified-since", &*later), ("if-modified-since", &*date(0))];
    assert_eq!(outcome(&twice, &[("last-modified", &earlier)]), Full);
    let rfc850 = "Tuesday, 14-Nov-23 22:13:20 GMT";
    assert_eq!(
        outcome(&[("if-modified-since", rfc850)], &[("last-modified", &date(0))]),
        NotModified
    );
}

#[test]
fn section_13_2_2_if_none_match_takes_precedence() {
    let stored = [("etag", "\"a\""), ("last-modified", &*date(-5000))];
    let now = date(0);
    let both = |tag: &'static str| {
        [("if-none-match", tag), ("if-modified-since", &*now)].map(|(name, value)| (name, value.to_owned()))
    };
    let ask = |tag| {
        let lines = both(tag);
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        outcome(&lines, &stored)
    };
    assert_eq!(ask("\"b\""), Outcome::Full);
    assert_eq!(ask("\"a\""), Outcome::NotModified);
    // The date alone would have said "not modified".
    assert_eq!(outcome(&[("if-modified-since", &now)], &stored), Outcome::NotModified);
}

#[test]
fn section_13_2_1_preconditions_count_for_get_and_head_of_a_success() {
    let stored = Validators::from_headers(&headers(&[("etag", "\"a\"")]));
    let request = headers(&[("if-none-match", "\"a\"")]);
    for (method, status, expected) in [
        (Method::GET, 200, Outcome::NotModified),
        (Method::HEAD, 200, Outcome::NotModified),
        (Method::GET, 204, Outcome::NotModified),
        (Method::from_bytes(b"QUERY").unwrap(), 200, Outcome::NotModified),
        (Method::POST, 200, Outcome::Full),
        (Method::GET, 404, Outcome::Full),
        (Method::GET, 301, Outcome::Full),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(
            evaluate(&method, &request, status, &stored, NOW),
            expected,
            "{method} {status}"
        );
    }
}

#[test]
fn preconditions_of_the_origin_are_not_a_cache_s_to_evaluate() {
    // RFC 9111, section 4.3.2.
    let lines = [
        ("if-match", "\"x\""),
        ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ];
    assert_eq!(outcome(&lines, &[("etag", "\"a\"")]), Outcome::Full);
}

#[test]
fn section_15_4_5_headers_of_a_304() {
    let stored = headers(&[
        ("content-location", "/a"),
        ("date", "x"),
        ("etag", "\"a\""),
        ("vary", "accept"),
        ("cache-control", "max-age=9"),
        ("expires", "x"),
        ("access-control-allow-origin", "*"),
        ("content-type", "text/plain"),
        ("content-length", "9"),
        ("content-encoding", "gzip"),
        ("content-language", "en"),
        ("last-modified", "x"),
    ]);
    let answer = not_modified_headers(&stored);
    let mut names: Vec<&str> = answer.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "access-control-allow-origin",
        "cache-control",
        "content-location",
        "date",
        "etag",
        "expires",
        "vary",
    ];
    assert_eq!(names, expected);
    // Without an entity-tag, the date is what the client can go by.
    let answer = not_modified_headers(&headers(&[("last-modified", "x")]));
    assert!(answer.contains_key("last-modified"));
}

#[test]
fn section_8_8_2_2_when_a_date_is_a_strong_validator() {
    let strong = |modified: &str, date: &str| {
        Validators::from_headers(&headers(&[("last-modified", modified), ("date", date)])).last_modified_is_strong()
    };
    assert!(strong(&date(-1), &date(0)));
    assert!(!strong(&date(0), &date(0)));
    assert!(!strong(&date(0), "x"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        lines in prop::collection::vec((prop::sample::select(vec!["if-none-match", "if-modified-since", "etag", "last-modified", "date"]), "[ -~\u{80}-\u{ff}]{0,30}"), 0..6),
    ) {
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let _ = outcome(&lines, &lines);
    }

    #[test]
    fn a_client_is_told_304_for_the_tag_that_it_was_given(opaque in "[!#-~]{0,20}", weak: bool, others in "(\"[a-z]{0,3}\", ){0,3}") {
        let tag = if weak { ETag::weak(opaque) } else { ETag::strong(opaque) }.unwrap().to_string();
        let answer = outcome(&[("if-none-match", &format!("{others}{tag}"))], &[("etag", &tag)]);
        prop_assert_eq!(answer, Outcome::NotModified);
    }
}
