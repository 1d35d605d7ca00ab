//! RFC 9211: `Cache-Status`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::headers;
use cache_http::{CACHE_STATUS, CacheName, CacheStatus, Forward, StatusParameters};
use http::HeaderMap;
use proptest::prelude::*;
use sfv::{BareItem, List, ListEntry, Parser};

fn written(status: &CacheStatus) -> String {
    status
        .to_value(&CacheName::new("ExampleCache"))
        .to_str()
        .unwrap()
        .to_owned()
}

/// Names that are no keys of structured fields, and values that it cannot hold.
#[test]
fn parameters_never_break_the_field() {
    let mut headers = HeaderMap::new();
    let parameters = StatusParameters::new()
        .flag("ok")
        .flag("Not; ok")
        .string("", "x")
        .string("text", "a\"b\\c\r\nd\u{e9}")
        .token("word", "two words")
        .integer("number", i64::MAX)
        .seconds("time", Duration::MAX);
    // Without the field, there is nothing to add to.
    parameters.add_to_last(&mut headers);
    assert!(headers.is_empty());
    for name in ["origin", "edge"] {
        CacheStatus::hit().append_to(&CacheName::new(name), &mut headers);
    }
    parameters.add_to_last(&mut headers);
    let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
    let expected =
        "edge; hit; ok; text=\"a\\\"b\\\\cd\"; word=\"two words\"; number=999999999999999; time=999999999999.9";
    assert_eq!(lines, ["origin; hit", expected]);
}

#[test]
fn section_3_the_examples() {
    for (status, expected) in [
        (CacheStatus::hit(), "ExampleCache; hit"),
        (CacheStatus::hit().ttl(-30), "ExampleCache; hit; ttl=-30"),
        (CacheStatus::hit().ttl(545), "ExampleCache; hit; ttl=545"),
        (CacheStatus::forwarded(Forward::UriMiss), "ExampleCache; fwd=uri-miss"),
        (
            CacheStatus::forwarded(Forward::Stale).forward_status(304),
            "ExampleCache; fwd=stale; fwd-status=304",
        ),
        (
            CacheStatus::forwarded(Forward::UriMiss).stored(true),
            "ExampleCache; fwd=uri-miss; stored",
        ),
        (
            CacheStatus::forwarded(Forward::Miss).stored(true).collapsed(true),
            "ExampleCache; fwd=miss; stored; collapsed",
        ),
        (CacheStatus::generated().detail("504"), "ExampleCache; detail=\"504\""),
    ] {
        assert_eq!(written(&status), expected);
    }
}

#[test]
fn section_2_2_every_reason_to_forward() {
    use Forward::{Bypass, Method, Miss, Partial, Request, Stale, UriMiss, VaryMiss};
    let reasons = [Bypass, Method, UriMiss, VaryMiss, Miss, Request, Stale, Partial].map(Forward::as_str);
    assert_eq!(
        reasons,
        [
            "bypass",
            "method",
            "uri-miss",
            "vary-miss",
            "miss",
            "request",
            "stale",
            "partial"
        ]
    );
}

#[test]
fn what_only_a_forwarded_request_has_is_not_said_of_a_hit() {
    assert_eq!(
        written(&CacheStatus::hit().stored(true).collapsed(true).forward_status(200)),
        "ExampleCache; hit"
    );
}

#[test]
fn names_and_details_are_tokens_or_strings() {
    let status = CacheStatus::hit().detail("set-cookie").key("/a \"b\"é");
    assert_eq!(
        status.to_value(&CacheName::new("my cache")),
        "\"my cache\"; hit; key=\"/a \\\"b\\\"\"; detail=set-cookie"
    );
}

#[test]
fn section_2_the_member_of_the_cache_nearest_to_the_user_is_last() {
    let mut response = headers(&[("cache-status", "Origin; hit")]);
    CacheStatus::forwarded(Forward::UriMiss).append_to(&CacheName::new("Edge"), &mut response);
    let lines: Vec<_> = response.get_all(CACHE_STATUS).iter().collect();
    assert_eq!(lines, ["Origin; hit", "Edge; fwd=uri-miss"]);
}

proptest! {
    #[test]
    fn what_is_written_is_a_structured_field(name: String, key: String, detail: String, ttl: i64) {
        let value = CacheStatus::hit().ttl(ttl).key(key).detail(detail).to_value(&CacheName::new(&name));
        let list = Parser::new(value.as_bytes()).parse::<List>().unwrap();
        let [ListEntry::Item(item)] = &list[..] else { panic!("{list:?}") };
        prop_assert!(matches!(item.params.get("ttl"), Some(BareItem::Integer(_))));
        prop_assert_eq!(item.params.get("hit"), Some(&BareItem::Boolean(true)));
        prop_assert!(item.params.get("key").is_some() && item.params.get("detail").is_some());
    }
}
