//! RFC 9111, section 4.2, and the request directives of section 5.2.1: how fresh, how old, how stale.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{NOW, after, date, headers, secs};
use cache_core::Timestamp;
use cache_http::{Heuristic, Lifetime, LifetimeSource, Policy, RequestDirectives, Reuse, set_age};
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;

const VALIDATE: Reuse = Reuse::Validate { requested: false };
const REQUESTED: Reuse = Reuse::Validate { requested: true };

fn lifetime_with(policy: &Policy, status: u16, lines: &[(&str, &str)]) -> Lifetime {
    Lifetime::from_response(policy, StatusCode::from_u16(status).unwrap(), &headers(lines), NOW, NOW)
}

fn lifetime(lines: &[(&str, &str)]) -> Lifetime {
    lifetime_with(&Policy::shared(), 200, lines)
}

fn cache_control(value: &str) -> Lifetime {
    lifetime(&[("cache-control", value)])
}

fn request(value: &str) -> RequestDirectives {
    RequestDirectives::parse([value])
}

#[test]
fn section_4_2_1_freshness_lifetime() {
    use LifetimeSource::{Expires, Heuristic, Invalid, MaxAge, Nothing, SMaxage};
    let (past, soon) = (date(-10), date(30));
    let old = date(-1000);
    for (lines, expected, source) in [
        (&[("cache-control", "max-age=60, s-maxage=30")][..], 30, SMaxage),
        (&[("cache-control", "max-age=60"), ("expires", &soon)], 60, MaxAge),
        (&[("cache-control", "max-age=0"), ("expires", &soon)], 0, MaxAge),
        (&[("cache-control", "max-age=x"), ("expires", &soon)], 0, MaxAge),
        (&[("expires", &soon)], 30, Expires),
        (&[("expires", &soon), ("date", &past)], 40, Expires),
        (&[("expires", &past)], 0, Expires),
        (&[("expires", &soon), ("expires", &soon)], 30, Expires),
        // Section 5.3: an invalid date is in the past; two different ones are one.
        (&[("expires", "0")], 0, Invalid),
        (&[("expires", "-1")], 0, Invalid),
        (&[("expires", "Thu, 18 Aug 2050 02:01:18 AEST")], 0, Invalid),
        (&[("expires", &soon), ("expires", &past)], 0, Invalid),
        (&[("last-modified", &old)], 100, Heuristic),
        // No heuristics beside an explicit time, whatever it is.
        (&[("last-modified", &old), ("expires", "0")], 0, Invalid),
        (&[], 0, Nothing),
    ] {
        let lifetime = lifetime(lines);
        assert_eq!((lifetime.fresh, lifetime.source), (secs(expected), source), "{lines:?}");
    }
}

#[test]
fn the_three_date_formats_of_rfc_9110_section_5_6_7() {
    for value in [
        "Thu, 18 Aug 2050 02:01:18 GMT",
        "Thursday, 18-Aug-50 02:01:18 GMT",
        "Thu Aug 18 02:01:18 2050",
    ] {
        let lifetime = lifetime(&[("expires", value)]);
        assert_eq!(
            lifetime.fresh_until(),
            Timestamp::from_millis(2_544_400_878_000),
            "{value}"
        );
    }
}

#[test]
fn section_4_2_2_heuristics() {
    let (old, ancient, future) = (date(-1000), date(-100_000_000), date(1000));
    let fresh = |status, lines: &[(&str, &str)]| lifetime_with(&Policy::shared(), status, lines).fresh;
    assert_eq!(fresh(200, &[("last-modified", &old)]), secs(100));
    assert_eq!(fresh(200, &[("last-modified", &ancient)]), secs(86400));
    assert_eq!(fresh(200, &[("last-modified", &future)]), secs(0));
    assert_eq!(fresh(503, &[("last-modified", &old)]), secs(0));
    assert_eq!(
        fresh(503, &[("last-modified", &old), ("cache-control", "public")]),
        secs(100)
    );
    for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(fresh(status, &[("last-modified", &old)]), secs(100), "{status}");
    }
    let mut policy = Policy::shared();
    policy.heuristic = Some(Heuristic {
        percent: 50,
        max: secs(60),
    });
    assert_eq!(lifetime_with(&policy, 200, &[("last-modified", &old)]).fresh, secs(60));
    assert_eq!(
        lifetime_with(&Policy::route(), 200, &[("last-modified", &old)]).fresh,
        secs(0)
    );
}

#[test]
fn the_policy_s_lifetime_is_for_responses_that_say_nothing() {
    let mut policy = Policy::route();
    policy.default_ttl = Some(secs(60));
    assert_eq!(lifetime_with(&policy, 200, &[]).fresh, secs(60));
    assert_eq!(lifetime_with(&policy, 500, &[]).fresh, secs(60));
    assert_eq!(
        lifetime_with(&policy, 200, &[("cache-control", "max-age=5")]).fresh,
        secs(5)
    );
    assert_eq!(lifetime_with(&policy, 200, &[("expires", "0")]).fresh, secs(0));
    let mut policy = Policy::shared();
    policy.default_ttl = Some(secs(60));
    assert_eq!(lifetime_with(&policy, 200, &[]).fresh, secs(60));
    assert_eq!(lifetime_with(&policy, 500, &[]).fresh, secs(0));
}

#[test]
fn section_4_2_3_age() {
    let (ago, ahead) = (date(-10), date(10));
    let age = |lines: &[(&str, &str)], requested: u64| {
        let policy = Policy::shared();
        // The request was sent so many seconds before the response came.
        let sent = Timestamp::from_millis(NOW.as_millis() - requested * 1000);
        Lifetime::from_response(&policy, StatusCode::OK, &headers(lines), sent, NOW).age(after(3))
    };
    assert_eq!(age(&[], 0), secs(3));
    assert_eq!(age(&[("date", &ago)], 0), secs(13));
    assert_eq!(age(&[("date", &ahead)], 0), secs(3));
    assert_eq!(age(&[("age", "5")], 0), secs(8));
    assert_eq!(age(&[("age", "5")], 2), secs(10));
    assert_eq!(age(&[("age", "5"), ("date", &ago)], 2), secs(13));
    assert_eq!(age(&[("age", "99999999999999999999")], 0), secs((1 << 31) + 3));
}

#[test]
fn the_parts_of_a_second_that_dates_cannot_say_are_not_age() {
    let arrived = NOW + Duration::from_millis(999);
    let lines = headers(&[("date", &date(0)), ("cache-control", "max-age=1")]);
    let lifetime = Lifetime::from_response(&Policy::shared(), StatusCode::OK, &lines, arrived, arrived);
    assert!(lifetime.is_fresh(arrived + Duration::from_millis(999)));
    assert!(!lifetime.is_fresh(arrived + secs(1)));
}

#[test]
fn section_5_1_an_invalid_age_is_ignored() {
    for value in ["", "-1", "1.5", "x", "1 2", "0x10", "\"5\"", ";a=b", "x, 30"] {
        let lifetime = lifetime(&[("cache-control", "max-age=3600"), ("age", value)]);
        assert_eq!(lifetime.age(NOW), secs(0), "{value}");
        assert!(lifetime.is_fresh(NOW), "{value}");
    }
}

#[test]
fn section_5_1_the_first_of_several_ages_counts() {
    for (lines, age) in [
        (&["30, 7200"][..], 30),
        (&["30", "7200"], 30),
        (&["7200", "30"], 7200),
        (&["7200,30"], 7200),
        (&["7200;a=b"], 7200),
        (&["30", "x"], 30),
        (&["x", "30"], 0),
    ] {
        let mut all = vec![("cache-control", "max-age=3600")];
        all.extend(lines.iter().map(|&line| ("age", line)));
        let lifetime = lifetime(&all);
        assert_eq!(lifetime.age(NOW), secs(age), "{lines:?}");
        assert_eq!(lifetime.is_fresh(NOW), age < 3600, "{lines:?}");
    }
}

#[test]
fn section_4_2_fresh_means_younger_than_its_lifetime() {
    let lifetime = cache_control("max-age=60");
    assert_eq!(lifetime.reuse(&request(""), after(59)), Reuse::Fresh);
    assert_eq!(lifetime.reuse(&request(""), after(60)), VALIDATE);
    assert_eq!(lifetime.fresh_until(), after(60));
    assert_eq!(lifetime.staleness(after(65)), secs(5));
    assert_eq!(
        (lifetime.ttl_seconds(after(20)), lifetime.ttl_seconds(after(65))),
        (40, -5)
    );
    assert_eq!(lifetime.ttl_seconds(after(59) + Duration::from_millis(500)), 0);
    assert_eq!(lifetime.ttl_seconds(after(60) + Duration::from_millis(500)), -1);
}

#[test]
fn section_5_2_1_what_requests_may_ask_for() {
    let plain = cache_control("max-age=60");
    let windows = cache_control("max-age=60, stale-while-revalidate=60");
    let strict = cache_control("max-age=60, must-revalidate, stale-while-revalidate=60");
    for (stored, directives, at, expected) in [
        (&plain, "max-age=30", 30, Reuse::Fresh),
        (&plain, "max-age=30", 31, REQUESTED),
        (&plain, "max-age=0", 0, REQUESTED),
        (&plain, "max-age=0", 70, VALIDATE),
        (&plain, "no-cache", 0, REQUESTED),
        (&plain, "min-fresh=20", 40, Reuse::Fresh),
        (&plain, "min-fresh=20", 41, REQUESTED),
        (&plain, "min-fresh=x", 0, REQUESTED),
        (&plain, "max-stale=10", 70, Reuse::Stale),
        (&plain, "max-stale=10", 71, VALIDATE),
        (&plain, "max-stale", 100_000, Reuse::Stale),
        (&plain, "max-age=100, max-stale=10", 70, Reuse::Stale),
        (&plain, "max-age=65, max-stale=10", 70, VALIDATE),
        (&plain, "only-if-cached", 10, Reuse::Fresh),
        (&plain, "only-if-cached", 61, Reuse::Unavailable),
        (&plain, "only-if-cached, max-stale=10", 61, Reuse::Stale),
        (&plain, "only-if-cached, no-cache", 0, Reuse::Unavailable),
        (&plain, "no-store", 10, Reuse::Fresh),
        // Whoever names an age or a freshness does not wish a stale response.
        (&windows, "", 70, Reuse::WhileRevalidate),
        (&windows, "max-age=100", 70, REQUESTED),
        (&windows, "min-fresh=0", 70, REQUESTED),
        (&windows, "only-if-cached", 70, Reuse::WhileRevalidate),
        // `max-stale` is no match for the origin's veto (section 4.2.4).
        (&strict, "max-stale", 61, VALIDATE),
        (&strict, "", 61, VALIDATE),
        (&strict, "", 59, Reuse::Fresh),
    ] {
        let reuse = stored.reuse(&request(directives), after(at));
        assert_eq!(reuse, expected, "{directives} after {at} s of {stored:?}");
    }
}

#[test]
fn section_4_2_4_vetoes_on_stale_responses() {
    for veto in ["must-revalidate", "proxy-revalidate", "s-maxage=2", "no-cache"] {
        let lifetime = cache_control(&format!(
            "max-age=2, stale-while-revalidate=60, stale-if-error=60, {veto}"
        ));
        assert_eq!(lifetime.reuse(&request("max-stale"), after(3)), VALIDATE, "{veto}");
        assert!(
            !lifetime.usable_on_error(&request("stale-if-error=60"), after(3)),
            "{veto}"
        );
    }
    let unfettered = cache_control("max-age=2, stale-while-revalidate=60, stale-if-error=60");
    assert_eq!(unfettered.reuse(&request(""), after(3)), Reuse::WhileRevalidate);
    assert!(unfettered.usable_on_error(&request(""), after(3)));
}

#[test]
fn s_maxage_with_a_window_of_its_own_may_be_allowed_by_name() {
    let value = [("cache-control", "s-maxage=2, stale-while-revalidate=60")];
    let mut policy = Policy::shared();
    policy.allow_stale_s_maxage = true;
    assert_eq!(
        lifetime_with(&policy, 200, &value).reuse(&request(""), after(3)),
        Reuse::WhileRevalidate
    );
    let value = [("cache-control", "s-maxage=2")];
    assert_eq!(
        lifetime_with(&policy, 200, &value).reuse(&request("max-stale"), after(3)),
        VALIDATE
    );
}

#[test]
fn section_5_2_2_4_no_cache_is_validated_even_while_fresh() {
    assert_eq!(
        cache_control("no-cache, max-age=60").reuse(&request("max-stale"), NOW),
        VALIDATE
    );
    assert_eq!(
        cache_control("no-cache=\"x-a\", max-age=60").reuse(&request(""), NOW),
        Reuse::Fresh
    );
}

#[test]
fn section_5_1_age_is_set_anew_on_each_answer() {
    let mut answer = headers(&[("age", "7")]);
    set_age(&mut answer, Duration::from_millis(12_999));
    assert_eq!(answer.get_all("age").iter().collect::<Vec<_>>(), ["12"]);
}

#[test]
fn section_4_2_4_a_disconnected_cache_uses_stale_what_nothing_forbids() {
    let limit = Some(secs(100));
    let usable = |stored: &str, asked: &str, at: u64| {
        cache_control(stored).usable_when_disconnected(&request(asked), limit, after(at))
    };
    assert!(usable("max-age=10", "", 110));
    assert!(!usable("max-age=10", "", 111));
    for forbidden in ["no-cache", "must-revalidate", "proxy-revalidate", "s-maxage=10"] {
        assert!(!usable(&format!("max-age=10, {forbidden}"), "", 20), "{forbidden}");
    }
    assert!(!usable("max-age=10", "no-cache", 20));
    // A window of its own may be longer.
    assert!(usable("max-age=10, stale-if-error=500", "", 400));
    // Without a limit it is an error like any other.
    assert!(!cache_control("max-age=10").usable_when_disconnected(&request(""), None, after(20)));
}

proptest! {
    #[test]
    fn no_headers_and_times_make_it_panic(
        lines in prop::collection::vec((prop::sample::select(vec!["age", "date", "expires", "last-modified", "cache-control"]), "[ -~]{0,40}"), 0..6),
        sent: u64, arrived: u64, now: u64, status in 100..1000_u16,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let (sent, arrived, now) = (Timestamp::from_millis(sent), Timestamp::from_millis(arrived), Timestamp::from_millis(now));
        let lifetime = Lifetime::from_response(&Policy::shared(), status, &headers, sent, arrived);
        let _ = (lifetime.reuse(&RequestDirectives::from_headers(&headers), now), lifetime.ttl_seconds(now), lifetime.usable_for(), lifetime.fresh_until());
    }

    #[test]
    fn a_response_only_ever_gets_older(max_age in 0..100_u32, age in 0..100_u32, window in 0..100_u32, first in 0..200_u64, more in 0..200_u64) {
        let lifetime = lifetime(&[("cache-control", &format!("max-age={max_age}, stale-while-revalidate={window}")), ("age", &age.to_string())]);
        prop_assert!(lifetime.age(after(first)) <= lifetime.age(after(first + more)));
        prop_assert!(lifetime.is_fresh(after(first)) || !lifetime.is_fresh(after(first + more)));
        prop_assert_eq!(lifetime.is_fresh(after(first)), after(first) < lifetime.fresh_until());
        // What the store keeps by `usable_for` is what can be used.
        let usable = lifetime.reuse(&RequestDirectives::default(), after(first)) != VALIDATE;
        prop_assert!(!usable || secs(first) <= lifetime.usable_for());
    }

    #[test]
    fn a_request_can_only_narrow_what_is_fresh(max_age in 0..100_u32, value in "(max-age=[0-9]{1,2})?(, min-fresh=[0-9]{1,2})?(, no-cache)?(, max-stale)?", at in 0..150_u64) {
        let lifetime = cache_control(&format!("max-age={max_age}"));
        if lifetime.reuse(&request(&value), after(at)) == Reuse::Fresh {
            prop_assert_eq!(lifetime.reuse(&request(""), after(at)), Reuse::Fresh);
        }
    }
}
