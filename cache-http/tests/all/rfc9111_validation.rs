//! RFC 9111, sections 3.2 and 4.3: validation with the origin, and what it changes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{NOW, after, date, headers};
use cache_http::{
    Lifetime, Policy, RequestDirectives, Reuse, Validators, freshen, head_confirms, is_freshened_by, make_conditional,
    storable,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

#[test]
fn section_4_3_1_what_the_conditional_request_carries() {
    let modified = date(-100);
    let mut request = headers(&[
        ("accept", "text/html"),
        ("if-none-match", "\"client\""),
        ("if-modified-since", "x"),
        ("if-match", "\"client\""),
        ("if-unmodified-since", "x"),
        ("if-range", "\"client\""),
        ("range", "bytes=0-1"),
    ]);
    let stored = headers(&[("etag", "W/\"a b\""), ("last-modified", &modified)]);
    assert!(make_conditional(&mut request, [&stored]));
    let expected = headers(&[
        ("accept", "text/html"),
        ("if-none-match", "W/\"a b\""),
        ("if-modified-since", &modified),
    ]);
    assert_eq!(request, expected);
}

#[test]
fn section_4_3_1_several_variants_send_all_their_tags() {
    let mut request = HeaderMap::new();
    let one = headers(&[("etag", "\"a\""), ("last-modified", &date(-100))]);
    let other = headers(&[("etag", "\"b\"")]);
    assert!(make_conditional(&mut request, [&one, &other]));
    assert_eq!(request, headers(&[("if-none-match", "\"a\", \"b\"")]));
    // A tag is sent once, however many variants have it.
    assert!(make_conditional(&mut request, [&one, &other, &one]));
    assert_eq!(request, headers(&[("if-none-match", "\"a\", \"b\"")]));
}

#[test]
fn section_4_3_1_without_a_validator_the_request_stays_as_it_is() {
    for stored in [
        headers(&[]),
        headers(&[("etag", "\"open")]),
        headers(&[("last-modified", "x")]),
    ] {
        let mut request = headers(&[("if-none-match", "\"client\""), ("range", "bytes=0-1")]);
        let before = request.clone();
        assert!(!make_conditional(&mut request, [&stored]), "{stored:?}");
        assert_eq!(request, before);
    }
}

#[test]
fn section_4_3_4_which_response_a_304_is_about() {
    let (old, new) = (date(-100), date(-50));
    let tagged = [("etag", "\"a\""), ("last-modified", &*old)];
    let weak = [("etag", "W/\"a\"")];
    for (stored, not_modified, only_one, expected) in [
        (&tagged[..], &[("etag", "\"a\"")][..], false, true),
        (&tagged, &[("etag", "\"b\"")], true, false),
        (&tagged, &[("etag", "W/\"a\"")], false, true),
        (&weak, &[("etag", "W/\"a\"")], false, true),
        (&weak, &[("etag", "W/\"b\"")], true, false),
        (&tagged, &[("last-modified", &old)], false, true),
        (&tagged, &[("last-modified", &new)], true, false),
        (&tagged, &[], true, true),
        (&tagged, &[], false, false),
        (&[], &[], true, true),
        (&[], &[("etag", "\"a\"")], true, false),
    ] {
        let validators = Validators::from_headers(&headers(stored));
        let freshened = is_freshened_by(&validators, &headers(not_modified), only_one);
        assert_eq!(freshened, expected, "{stored:?} {not_modified:?} {only_one}");
    }
}

#[test]
fn section_3_2_updating_stored_headers() {
    let mut stored = headers(&[
        ("cache-control", "max-age=1"),
        ("content-encoding", "gzip"),
        ("content-length", "5"),
        ("content-md5", "a"),
        ("content-type", "text/plain"),
        ("etag", "\"a\""),
        ("age", "100"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("x-old", "1"),
        ("x-both", "1"),
        ("x-both", "2"),
    ]);
    let not_modified = headers(&[
        ("cache-control", "max-age=3600"),
        ("cache-control", "public"),
        ("connection", "x-hop"),
        ("content-encoding", "br"),
        ("content-length", "0"),
        ("content-md5", "b"),
        ("content-range", "bytes 0-1/2"),
        ("content-digest", "sha-256=:b:"),
        ("content-type", "text/plain;charset=utf-8"),
        ("etag", "\"b\""),
        ("keep-alive", "timeout=1"),
        ("x-both", "3"),
        ("x-hop", "1"),
        ("x-new", "1"),
    ]);
    let withheld = freshen(&Policy::shared(), &mut stored, &not_modified, NOW);
    assert!(withheld.is_empty());
    let expected = headers(&[
        ("cache-control", "max-age=3600"),
        ("cache-control", "public"),
        ("content-encoding", "gzip"),
        ("content-length", "5"),
        ("content-md5", "a"),
        ("content-type", "text/plain;charset=utf-8"),
        ("etag", "\"a\""),
        ("date", &date(0)),
        ("x-old", "1"),
        ("x-both", "3"),
        ("x-new", "1"),
    ]);
    assert_eq!(stored, expected);
}

#[test]
fn a_304_brings_no_one_s_cookie_and_nothing_that_is_withheld() {
    let not_modified = headers(&[
        ("set-cookie", "session=alice"),
        ("set-cookie", "theme=dark"),
        ("x-user", "alice"),
        ("cache-control", "max-age=60, private=\"x-user\", no-cache=\"x-user\""),
    ]);
    let mut stored = headers(&[("x-kept", "1")]);
    let withheld = freshen(&Policy::route(), &mut stored, &not_modified, NOW);
    assert!(!stored.contains_key("set-cookie") && !stored.contains_key("x-user"));
    assert!(stored.contains_key("x-kept") && stored.contains_key("cache-control"));
    let theirs = [
        ("set-cookie", "session=alice"),
        ("set-cookie", "theme=dark"),
        ("x-user", "alice"),
    ];
    assert_eq!(withheld, headers(&theirs));
    // RFC 9111 knows no exception for cookies, so the shared policy makes none.
    let withheld = freshen(&Policy::shared(), &mut stored, &not_modified, NOW);
    assert!(stored.contains_key("set-cookie") && !stored.contains_key("x-user"));
    assert_eq!(withheld, headers(&[("x-user", "alice")]));
}

#[test]
fn sections_5_2_2_4_and_5_2_2_7_hold_for_what_a_304_and_the_stored_response_say_together() {
    for (stored, new) in [
        (&[("cache-control", "private=\"x-user\"")][..], &[("x-user", "b")][..]),
        (&[("cache-control", "no-cache=\"x-user\"")], &[("x-user", "b")]),
        (
            &[("cache-control", "private=\"x-user\"")],
            &[("x-user", "b"), ("cache-control", "max-age=1")],
        ),
        (
            &[("x-user", "a")],
            &[("x-user", "b"), ("cache-control", "private=\"x-user\"")],
        ),
        (
            &[("x-user", "a")],
            &[
                ("x-user", "b"),
                ("cache-control", "private=\"x-user\""),
                ("connection", "cache-control"),
            ],
        ),
        (
            &[("cdn-cache-control", "private=\"x-user\"")],
            &[("x-user", "b"), ("cache-control", "max-age=1")],
        ),
        (
            &[("cdn-cache-control", "max-age=1"), ("x-user", "a")],
            &[("x-user", "b"), ("cache-control", "private=\"x-user\"")],
        ),
    ] {
        let mut merged = headers(stored);
        let withheld = freshen(&Policy::shared(), &mut merged, &headers(new), NOW);
        assert!(!merged.contains_key("x-user"), "{stored:?} {new:?}");
        assert_eq!(withheld, headers(&[("x-user", "b")]), "{stored:?} {new:?}");
    }
    // What was stored before is for nobody any more, not even for the one who asked.
    let mut stored = headers(&[("x-user", "a")]);
    let not_modified = headers(&[("cache-control", "private=\"x-user\"")]);
    assert!(freshen(&Policy::shared(), &mut stored, &not_modified, NOW).is_empty());
    assert!(!stored.contains_key("x-user"));
    // How the stored bytes are to be read is no field for one user of the 304.
    let mut stored = headers(&[("cache-control", "private=\"content-length, etag\"")]);
    let not_modified = headers(&[("content-length", "0"), ("etag", "\"a\"")]);
    assert!(freshen(&Policy::shared(), &mut stored, &not_modified, NOW).is_empty());
}

#[test]
fn a_304_can_end_the_sharing_of_a_response() {
    let policy = Policy::shared();
    let mut stored = headers(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]);
    let is_storable = |stored: &HeaderMap| {
        let lifetime = Lifetime::from_response(&policy, StatusCode::OK, stored, NOW, NOW);
        storable(
            &policy,
            &Method::GET,
            &HeaderMap::new(),
            StatusCode::OK,
            stored,
            &lifetime,
        )
        .is_yes()
    };
    assert!(is_storable(&stored));
    let _ = freshen(&policy, &mut stored, &headers(&[("cache-control", "private")]), NOW);
    assert!(!is_storable(&stored));
}

#[test]
fn a_validated_response_is_as_fresh_as_a_new_one() {
    let policy = Policy::shared();
    let mut stored = headers(&[
        ("cache-control", "max-age=10"),
        ("age", "5"),
        ("date", &date(-5)),
        ("etag", "\"a\""),
    ]);
    let lifetime = Lifetime::from_response(&policy, StatusCode::OK, &stored, NOW, NOW);
    assert_eq!(
        lifetime.reuse(&RequestDirectives::default(), after(20)),
        Reuse::Validate { requested: false }
    );
    let _ = freshen(
        &policy,
        &mut stored,
        &headers(&[("etag", "\"a\""), ("date", &date(20))]),
        after(20),
    );
    let lifetime = Lifetime::from_response(&policy, StatusCode::OK, &stored, after(20), after(20));
    assert_eq!(lifetime.reuse(&RequestDirectives::default(), after(29)), Reuse::Fresh);
    assert_eq!(lifetime.age(after(20)).as_secs(), 0);
}

#[test]
fn section_4_3_5_freshening_with_head() {
    let stored = headers(&[("etag", "\"a\""), ("last-modified", "x"), ("content-length", "5")]);
    for (head, expected) in [
        (headers(&[]), true),
        (headers(&[("etag", "\"a\""), ("content-length", "5")]), true),
        (headers(&[("etag", "\"b\"")]), false),
        (headers(&[("last-modified", "y")]), false),
        (headers(&[("content-length", "6")]), false),
    ] {
        assert_eq!(head_confirms(&stored, &head), expected, "{head:?}");
    }
    assert!(!head_confirms(&headers(&[]), &headers(&[("etag", "\"a\"")])));
}

proptest! {
    #[test]
    fn freshening_twice_is_freshening_once(
        stored in prop::collection::vec((prop::sample::select(vec!["x-a", "x-b", "etag", "age", "date", "connection"]), "[a-z-]{0,4}"), 0..6),
        new in prop::collection::vec((prop::sample::select(vec!["x-a", "x-b", "etag", "age", "date", "connection"]), "[a-z-]{0,4}"), 0..6),
    ) {
        let map = |lines: &[(&'static str, String)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_str(value).unwrap());
            }
            headers
        };
        let (mut once, new) = (map(&stored), map(&new));
        let _ = freshen(&Policy::shared(), &mut once, &new, NOW);
        let mut twice = once.clone();
        let _ = freshen(&Policy::shared(), &mut twice, &new, NOW);
        prop_assert_eq!(once, twice);
    }
}
