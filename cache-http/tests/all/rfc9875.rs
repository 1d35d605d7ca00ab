//! RFC 9875: groups of responses that become invalid together.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::headers;
use cache_http::{cache_groups, invalidated_groups};
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

#[test]
fn section_2_a_list_of_strings() {
    for (lines, expected) in [
        (&[][..], &[][..]),
        (&[""], &[]),
        (&[r#""a", "B b", "a";x=1"#], &["a", "B b"]),
        (&[r#""a""#, r#""A""#], &["a", "A"]),
        // Not a List of Strings: as if it were not there.
        (&["a, b"], &[]),
        (&[r#""a", b"#], &[]),
        (&[r#""a", ("b")"#], &[]),
        (&[r#""a", 7"#], &[]),
        (&[r#""a""#, r#""open"#], &[]),
    ] {
        let lines: Vec<(&str, &str)> = lines.iter().map(|line| ("cache-groups", *line)).collect();
        assert_eq!(cache_groups(&headers(&lines)), expected, "{lines:?}");
    }
}

#[test]
fn section_2_at_least_32_groups_of_32_characters() {
    let names: Vec<String> = (0..64).map(|index| format!("{index:0>64}")).collect();
    let line: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    assert_eq!(cache_groups(&headers(&[("cache-groups", &line.join(", "))])), names);
}

#[test]
fn section_3_only_unsafe_methods_invalidate() {
    let response = headers(&[("cache-group-invalidation", r#""eurovision-results", "australia""#)]);
    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::from_bytes(b"PURGE").unwrap(),
    ] {
        assert_eq!(
            invalidated_groups(&method, &response),
            ["eurovision-results", "australia"],
            "{method}"
        );
    }
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
        assert!(invalidated_groups(&method, &response).is_empty(), "{method}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..40)) {
        let mut response = HeaderMap::new();
        response.insert("cache-groups", HeaderValue::from_bytes(&bytes).unwrap());
        let _ = cache_groups(&response);
    }
}
