//! RFC 9213: directives that are aimed at one class of caches.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{NOW, date, headers, secs};
use cache_http::{CDN_CACHE_CONTROL, Lifetime, LifetimeSource, Policy, parse_targeted};
use http::{HeaderName, StatusCode};
use proptest::prelude::*;

fn fresh(policy: &Policy, lines: &[(&str, &str)]) -> u64 {
    Lifetime::from_response(policy, StatusCode::OK, &headers(lines), NOW, NOW)
        .fresh
        .as_secs()
}

#[test]
fn section_2_2_the_first_valid_field_wins_over_cache_control_and_expires() {
    let mut policy = Policy::shared();
    policy
        .targets
        .insert(0, HeaderName::from_static("example-cache-control"));
    let soon = date(30);
    for (lines, expected) in [
        (
            &[
                ("cache-control", "max-age=60, s-maxage=120"),
                ("cdn-cache-control", "max-age=600"),
            ][..],
            600,
        ),
        (
            &[
                ("cdn-cache-control", "max-age=600"),
                ("example-cache-control", "max-age=5"),
            ],
            5,
        ),
        (
            &[("cdn-cache-control", "max-age=600"), ("example-cache-control", "")],
            600,
        ),
        (
            &[
                ("cdn-cache-control", "max-age=600"),
                ("example-cache-control", "max-age=5, &&"),
            ],
            600,
        ),
        (
            &[("cache-control", "max-age=60"), ("cdn-cache-control", "MAX-AGE=600")],
            60,
        ),
        (
            &[("cache-control", "max-age=60"), ("cdn-cache-control", "max-age= 600")],
            60,
        ),
        (&[("cdn-cache-control", "none"), ("expires", &soon)], 0),
        (
            &[("cdn-cache-control", "max-age=1"), ("cdn-cache-control", "max-age=7")],
            7,
        ),
    ] {
        assert_eq!(fresh(&policy, lines), expected, "{lines:?}");
    }
}

#[test]
fn section_2_2_fields_that_are_not_targets_change_nothing() {
    let lines = [("cache-control", "max-age=60"), ("cdn-cache-control", "max-age=600")];
    assert_eq!(fresh(&Policy::route(), &lines), 60);
    let mut policy = Policy::route();
    policy.targets.push(CDN_CACHE_CONTROL);
    assert_eq!(fresh(&policy, &lines), 600);
}

#[test]
fn section_2_1_types_of_values() {
    let read = |value: &str| parse_targeted([value]).unwrap();
    assert_eq!(read("max-age=60;param=1").max_age, Some(60));
    assert_eq!(read("max-age=99999999999").max_age, Some(1 << 31));
    for value in [
        "max-age=60.5",
        "max-age=\"60\"",
        "max-age",
        "max-age=-1",
        "max-age=(1 2)",
    ] {
        assert_eq!(read(value).max_age, Some(0), "{value}");
    }
    let directives = read("no-store, private=\"a, b\", no-cache, must-revalidate, public=?0, ext=tok");
    assert!(directives.no_store && directives.no_cache.is_whole() && directives.must_revalidate && !directives.public);
    assert_eq!(directives.private.fields().len(), 2);
    assert_eq!(
        (
            directives.others[0].name.as_str(),
            directives.others[0].argument.as_deref()
        ),
        ("ext", Some("tok"))
    );
    for value in ["", "  ", "a=", "A", "a,", "no-store, =1"] {
        assert_eq!(parse_targeted([value]), None, "{value:?}");
    }
}

#[test]
fn section_3_1_the_examples() {
    let policy = Policy::shared();
    let store = |lines: &[(&str, &str)]| {
        let response = headers(lines);
        let lifetime = Lifetime::from_response(&policy, StatusCode::OK, &response, NOW, NOW);
        cache_http::storable(
            &policy,
            &http::Method::GET,
            &headers(&[]),
            StatusCode::OK,
            &response,
            &lifetime,
        )
    };
    assert!(store(&[("cdn-cache-control", "max-age=600"), ("cache-control", "no-store")]).is_yes());
    assert!(!store(&[("cache-control", "no-store")]).is_yes());
    let modified = date(-1000);
    assert!(
        store(&[
            ("cdn-cache-control", "none"),
            ("cache-control", "no-store"),
            ("last-modified", &modified)
        ])
        .is_yes()
    );
}

#[test]
fn a_lifetime_that_is_no_integer_makes_the_response_stale() {
    let response = headers(&[("cdn-cache-control", "max-age=60.5"), ("cache-control", "max-age=60")]);
    let lifetime = Lifetime::from_response(&Policy::shared(), StatusCode::OK, &response, NOW, NOW);
    assert_eq!((lifetime.fresh, lifetime.source), (secs(0), LifetimeSource::MaxAge));
}

proptest! {
    #[test]
    fn no_bytes_make_parsing_panic(one: Vec<u8>, other in "[a-z=,;\" 0-9.?-]{0,40}") {
        let _ = parse_targeted([one, other.into_bytes()]);
    }
}
