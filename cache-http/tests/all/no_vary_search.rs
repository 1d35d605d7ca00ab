//! `No-Vary-Search` (draft-ietf-httpbis-no-vary-search).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::headers;
use cache_http::NoVarySearch;
use proptest::prelude::*;

#[test]
fn the_rules_of_the_field() {
    for (field, one, other, expected) in [
        // Nothing said: every difference matters.
        ("", "a=1&b=2", "b=2&a=1", false),
        ("", "a=1", "a=1", true),
        ("", "a=%31", "a=1", false),
        ("key-order", "a=1&b=2", "b=2&a=1", true),
        ("key-order=?1", "a=1&b=2", "b=2&a=1", true),
        ("key-order=?0", "a=1&b=2", "b=2&a=1", false),
        // The order of the values of one name matters always.
        ("key-order", "a=1&a=2", "a=2&a=1", false),
        ("key-order", "a=1&b=3&a=2", "b=3&a=1&a=2", true),
        ("params", "a=1", "b=2", true),
        ("params", "a=1", "", true),
        ("params=?0", "a=1", "a=2", false),
        (r#"params=("a")"#, "a=1&b=2", "b=2&a=3", true),
        (r#"params=("a")"#, "b=2", "b=3", false),
        (r#"params=("a")"#, "b=2&c=3", "c=3&b=2", false),
        (r#"params, except=("a")"#, "a=1&b=2", "b=3&a=1&c", true),
        (r#"params, except=("a")"#, "a=1", "a=2", false),
        (r#"params, except=("a")"#, "a=1", "", false),
        (r#"key-order, params, except=("a" "b")"#, "a=1&b=2&c=3", "b=2&a=1", true),
        // Names are decoded on both sides.
        (r#"params=("a%20b")"#, "a+b=1", "a%20b=2", true),
        (r#"params=("caf%C3%A9")"#, "caf%c3%a9=1", "", true),
        (r#"params=("a+b")"#, "a%20b=1", "", true),
        (r#"params=("a=b")"#, "a%3Db=1", "", true),
        // As soon as anything is said, queries are compared after decoding.
        ("key-order", "a=%31", "a=1", true),
        // Unknown keys are ignored.
        ("key-order, future=5", "a=1&b=2", "b=2&a=1", true),
        // Invalid: as if it were not there.
        ("key-order=1", "a=1&b=2", "b=2&a=1", false),
        ("params=1", "a=1", "a=2", false),
        ("params=(1)", "a=1", "a=2", false),
        (r#"params="a""#, "a=1", "a=2", false),
        (r#"except=("a")"#, "b=1", "b=2", false),
        (r#"params=("b"), except=("a")"#, "b=1", "b=2", false),
        (r#"params=?0, except=("a")"#, "b=1", "b=2", false),
        (r#"params, except"#, "b=1", "b=2", false),
        (r#"params, except=(a)"#, "b=1", "b=2", false),
        ("key-order, ,", "a=1&b=2", "b=2&a=1", false),
    ] {
        let rules = NoVarySearch::parse([field]);
        assert_eq!(rules.are_equivalent(one, other), expected, "{field}: {one} {other}");
        assert_eq!(
            rules.normal_query(one) == rules.normal_query(other),
            expected,
            "{field}: {one} {other}"
        );
    }
}

#[test]
fn the_lines_of_the_field_are_one_dictionary() {
    let lines = [("no-vary-search", "key-order"), ("no-vary-search", r#"params=("a")"#)];
    let rules = NoVarySearch::from_headers(&headers(&lines));
    assert!(rules.are_equivalent("c=3&b=2&a=1", "b=2&c=3"));
    assert!(NoVarySearch::from_headers(&headers(&[])).is_default());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(field: Vec<u8>, one: String, other: String) {
        let _ = NoVarySearch::parse([field]).are_equivalent(&one, &other);
    }

    #[test]
    fn queries_have_one_normal_form_if_and_only_if_they_are_equivalent(
        field in r#"(key-order)?(, )?(params|params=\("a" "b"\)|params, except=\("a"\))?"#,
        one in "([abc]=[12%3]{0,2}&?){0,4}",
        other in "([abc]=[12%3]{0,2}&?){0,4}",
    ) {
        let rules = NoVarySearch::parse([field.trim_matches([',', ' '])]);
        let normal = rules.normal_query(&one).into_owned();
        prop_assert_eq!(rules.are_equivalent(&one, &other), normal == rules.normal_query(&other));
        prop_assert!(rules.are_equivalent(&one, &normal));
    }
}
