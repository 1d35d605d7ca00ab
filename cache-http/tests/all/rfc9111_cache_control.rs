//! RFC 9111, section 5.2: reading and writing `Cache-Control`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::headers;
use cache_http::{Directive, MAX_SECONDS, Qualified};
use cache_http::{RequestDirectives, ResponseDirectives, count_down};
use http::HeaderName;
use proptest::prelude::*;

fn response(value: &str) -> ResponseDirectives {
    ResponseDirectives::parse([value])
}

#[test]
fn section_1_2_2_delta_seconds() {
    for (value, expected) in [
        ("max-age=60", Some(60)),
        ("MaX-aGe=60", Some(60)),
        ("max-age=\"60\"", Some(60)),
        ("max-age=0060", Some(60)),
        ("max-age=2147483648", Some(MAX_SECONDS)),
        ("max-age=99999999999999999999", Some(MAX_SECONDS)),
        // Unreadable lifetimes count as zero: the response is stale (section 4.2.1).
        ("max-age=-1", Some(0)),
        ("max-age=3600.0", Some(0)),
        ("max-age=a3600", Some(0)),
        ("max-age='3600'", Some(0)),
        ("max-age=", Some(0)),
        ("max-age", Some(0)),
        ("max-age =60", Some(0)),
        ("max-age= 60", Some(0)),
        ("max-age=\"60", Some(0)),
        ("max-age=60;x=1", Some(0)),
        // Not this directive at all.
        ("max-aged=60", None),
        ("x-max-age=60", None),
        ("extension=\"max-age=60\"", None),
        ("\"max-age=60\"", None),
        ("\"x, max-age=60\"", None),
    ] {
        assert_eq!(response(value).max_age, expected, "{value}");
    }
}

#[test]
fn section_4_2_1_of_several_values_the_more_restrictive_counts() {
    for lines in [
        &["max-age=10, max-age=60"][..],
        &["max-age=60", "max-age=10"],
        &["max-age=10", "max-age=x, max-age=60"],
    ] {
        assert!(ResponseDirectives::parse(lines).max_age <= Some(10), "{lines:?}");
    }
    assert_eq!(
        RequestDirectives::parse(["min-fresh=1, min-fresh=9"]).min_fresh,
        Some(9)
    );
    assert_eq!(RequestDirectives::parse(["max-stale, max-stale=9"]).max_stale, Some(9));
}

#[test]
fn quoted_strings_hide_what_they_contain() {
    let directives = response(r#"ext="a, no-store, \"max-age=60", public"#);
    assert!(!directives.no_store && directives.public && directives.max_age.is_none());
    let directives = response(r#"max-age=1, extension="max-age=3600""#);
    assert_eq!(directives.max_age, Some(1));
}

#[test]
fn a_quote_that_never_closes_can_only_restrict() {
    let directives = response(r#"ext="open, max-age=60, public, no-store, private"#);
    assert_eq!(directives.max_age, Some(0));
    assert!(!directives.public && directives.no_store && directives.private.is_whole());
    // The next line is a new field value.
    let directives = ResponseDirectives::parse([r#"ext="open"#, "max-age=60"]);
    assert_eq!(directives.max_age, Some(60));
}

#[test]
fn sections_5_2_2_4_and_5_2_2_7_qualified_forms() {
    let name = |name: &'static str| HeaderName::from_static(name);
    for (value, expected) in [
        ("private", Qualified::Whole),
        ("private=\"a, B\"", Qualified::Fields(vec![name("a"), name("b")])),
        ("private=a", Qualified::Fields(vec![name("a")])),
        (
            "private=\"a\", private=\"b, a\"",
            Qualified::Fields(vec![name("a"), name("b")]),
        ),
        ("private=\"a\", private", Qualified::Whole),
        ("private, private=\"a\"", Qualified::Whole),
        ("private=\"\"", Qualified::Whole),
        ("private=", Qualified::Whole),
        ("private=\"open", Qualified::Whole),
        ("private=\"(), ?\"", Qualified::Whole),
        ("public", Qualified::Absent),
    ] {
        assert_eq!(response(value).private, expected, "{value}");
        let value = value.replace("private", "no-cache");
        assert_eq!(response(&value).no_cache, expected, "{value}");
    }
}

#[test]
fn section_5_2_3_unknown_directives_are_kept_and_ignored() {
    let directives = response("community=\"UCI, x\", max-age=5, Foo, bar=1");
    let other = |name: &str, argument: Option<&str>| Directive {
        name: name.to_owned(),
        argument: argument.map(str::to_owned),
    };
    assert_eq!(
        directives.others,
        [
            other("community", Some("UCI, x")),
            other("foo", None),
            other("bar", Some("1"))
        ]
    );
    assert_eq!(directives.to_string(), "max-age=5, community=\"UCI, x\", foo, bar=1");
}

#[test]
fn section_5_2_1_request_directives() {
    let directives = RequestDirectives::parse([
        "max-age=60, max-stale=5,min-fresh=7,, NO-CACHE",
        "no-store,only-if-cached,no-transform",
    ]);
    assert_eq!(
        (directives.max_age, directives.max_stale, directives.min_fresh),
        (Some(60), Some(5), Some(7))
    );
    assert!(directives.no_cache && directives.no_store && directives.only_if_cached && directives.no_transform);
    for (value, max_age, max_stale, min_fresh) in [
        ("max-age=x", Some(0), None, None),
        ("max-stale", None, Some(MAX_SECONDS), None),
        ("max-stale=x", None, None, None),
        ("min-fresh=x", None, None, Some(MAX_SECONDS)),
    ] {
        let directives = RequestDirectives::parse([value]);
        let read = (directives.max_age, directives.max_stale, directives.min_fresh);
        assert_eq!(read, (max_age, max_stale, min_fresh), "{value}");
    }
}

#[test]
fn what_is_built_is_written() {
    let directives = ResponseDirectives::new()
        .with_max_age(60)
        .with_s_maxage(300)
        .with_stale_while_revalidate(30)
        .with_stale_if_error(86400)
        .with_public()
        .with_immutable()
        .with_must_revalidate();
    let expected =
        "max-age=60, s-maxage=300, stale-while-revalidate=30, stale-if-error=86400, must-revalidate, public, immutable";
    assert_eq!(directives.to_header_value().unwrap(), expected);
    assert_eq!(ResponseDirectives::new().to_header_value(), None);
    assert_eq!(
        ResponseDirectives::new()
            .with_private()
            .with_no_cache()
            .with_no_store()
            .to_string(),
        "private, no-cache, no-store"
    );
}

#[test]
fn what_cannot_stand_in_a_field_is_not_written() {
    let mut directives = ResponseDirectives::new().with_max_age(1);
    for (name, argument) in [("a b", None), ("", None), ("x", Some("\r\nset-cookie: a=b"))] {
        directives.others.push(Directive {
            name: name.to_owned(),
            argument: argument.map(str::to_owned),
        });
    }
    assert_eq!(directives.to_string(), "max-age=1");
}

#[test]
fn counting_down_touches_nothing_else() {
    let mut counted = headers(&[
        ("cache-control", "public,  max-age=60 , ext=\"max-age=60\""),
        ("cache-control", "S-MaxAge=\"10\""),
        ("cache-control", "no-transform ,x"),
        ("x-other", "max-age=60"),
    ]);
    count_down(&mut counted, 45);
    let lines: Vec<_> = counted.get_all("cache-control").iter().collect();
    assert_eq!(
        lines,
        [
            "public, max-age=15, ext=\"max-age=60\"",
            "S-MaxAge=0",
            "no-transform ,x"
        ]
    );
    assert_eq!(counted["x-other"], "max-age=60");
}

/// Field values as they could arrive: any bytes that a `HeaderValue` takes, and things that look like directives.
fn field_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..60),
        prop::collection::vec(
            prop::sample::select(vec![
                "max-age",
                "s-maxage",
                "no-store",
                "private",
                "no-cache",
                "public",
                "stale-if-error",
                "=",
                "\"",
                ",",
                " ",
                "\\",
                "60",
                "-1",
                "a",
                ";",
            ]),
            0..14,
        )
        .prop_map(|parts| parts.concat().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn no_value_makes_parsing_panic(one in field_value(), other in field_value()) {
        let _ = ResponseDirectives::parse([&one, &other]).to_header_value();
        let _ = RequestDirectives::parse([&one, &other]);
    }

    #[test]
    fn what_was_read_is_written_the_same(value in field_value()) {
        let read = ResponseDirectives::parse([&value]);
        let again = ResponseDirectives::parse(read.to_header_value().iter());
        // Unknown directives that cannot be written are left out; all that has a meaning stays.
        prop_assert_eq!(cleared(&read), cleared(&again));
    }

    #[test]
    fn another_line_never_makes_a_response_more_cacheable(one in field_value(), other in field_value()) {
        let alone = ResponseDirectives::parse([&one]);
        let both = ResponseDirectives::parse([&one, &other]);
        if alone.max_age.is_some() {
            prop_assert!(both.max_age.is_some() && both.max_age <= alone.max_age);
        }
        prop_assert!(both.no_store >= alone.no_store);
        prop_assert!(!alone.private.is_whole() || both.private.is_whole());
        prop_assert!(!alone.no_cache.is_whole() || both.no_cache.is_whole());
    }

    #[test]
    fn counting_down_never_increases_and_adds_up(value in field_value(), first in 0..100_u32, second in 0..100_u32) {
        let Ok(value) = http::HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut counted = http::HeaderMap::new();
        counted.insert("cache-control", value);
        let before = ResponseDirectives::from_headers(&counted);
        count_down(&mut counted, first);
        count_down(&mut counted, second);
        let after = ResponseDirectives::from_headers(&counted);
        prop_assert_eq!(after.max_age, before.max_age.map(|age| age.saturating_sub(first + second)));
        prop_assert_eq!(after.s_maxage, before.s_maxage.map(|age| age.saturating_sub(first + second)));
        prop_assert_eq!(after.no_store, before.no_store);
    }
}

fn cleared(directives: &ResponseDirectives) -> ResponseDirectives {
    let mut directives = directives.clone();
    directives.others.clear();
    directives
}
