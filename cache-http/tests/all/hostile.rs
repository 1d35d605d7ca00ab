//! No bytes in a message cause a panic, or the sharing of a response that must not be shared.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{NOW, headers};
use cache_core::Timestamp;
use cache_http::{
    Lifetime, Normalization, Policy, RequestDirectives, Validators, Vary, cache_groups, count_down, evaluate,
    evaluate_range, freshen, head_confirms, invalidated_groups, invalidated_uris, is_freshened_by, make_conditional,
    may_collapse, not_modified_headers, prepare_for_store, request_bypass, storable, variant_key,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use proptest::prelude::*;

const NAMES: &[&str] = &[
    "accept-encoding",
    "accept-language",
    "age",
    "authorization",
    "cache-control",
    "cache-group-invalidation",
    "cache-groups",
    "cdn-cache-control",
    "connection",
    "content-length",
    "content-location",
    "content-range",
    "cookie",
    "date",
    "etag",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "last-modified",
    "location",
    "range",
    "set-cookie",
    "vary",
];

/// Parts that make a value look like one of these fields, to get further than random bytes do.
const PARTS: &[&str] = &[
    "max-age",
    "s-maxage",
    "no-store",
    "private",
    "no-cache",
    "public",
    "=",
    "\"",
    ",",
    ";",
    " ",
    "\\",
    "60",
    "-",
    "*",
    "W/",
    "bytes=",
    "/",
    "..",
    "q=0.5",
    "gzip",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "99999999999999999999",
    "é",
    "(",
    ")",
    "?1",
    ":",
    "a",
];

fn value() -> impl Strategy<Value = HeaderValue> {
    let bytes = prop::collection::vec(prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..40);
    let parts = prop::collection::vec(prop::sample::select(PARTS), 0..10).prop_map(|parts| parts.concat().into_bytes());
    prop_oneof![bytes, parts].prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

fn message() -> impl Strategy<Value = HeaderMap> {
    prop::collection::vec((prop::sample::select(NAMES), value()), 0..8).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        headers
    })
}

fn status() -> impl Strategy<Value = StatusCode> {
    prop_oneof![
        3 => Just(StatusCode::OK),
        1 => (100..1000_u16).prop_map(|code| StatusCode::from_u16(code).unwrap()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nothing_panics(request in message(), response in message(), later in message(), status in status(), now: u64) {
        let now = Timestamp::from_millis(now);
        let target = Uri::from_static("https://example.com/a?b");
        for policy in [Policy::route(), Policy::shared()] {
            let _ = (request_bypass(&policy, &Method::GET, &request), may_collapse(&policy, &request));
            let lifetime = Lifetime::from_response(&policy, status, &response, NOW, now);
            let _ = storable(&policy, &Method::GET, &request, status, &response, &lifetime);
            let directives = RequestDirectives::from_headers(&request);
            let _ = (lifetime.reuse(&directives, now), lifetime.usable_on_error(&directives, now), lifetime.ttl_seconds(NOW));
            let mut stored = response.clone();
            prepare_for_store(&policy, &mut stored, now);
            let validators = Validators::from_headers(&stored);
            let _ = evaluate(&Method::GET, &request, status, &validators, now);
            let _ = evaluate_range(&Method::GET, &request, status, &validators, 1000);
            let _ = not_modified_headers(&stored);
            let _ = make_conditional(&mut request.clone(), [&stored, &later]);
            let _ = (is_freshened_by(&validators, &later, true), head_confirms(&stored, &later));
            let _ = freshen(&policy, &mut stored, &later, now);
            count_down(&mut stored, 7);
        }
        if let Vary::Fields(fields) = Vary::from_headers(&response) {
            let _ = variant_key(&fields, &request, &Normalization::by_quality());
        }
        let _ = (cache_groups(&response), invalidated_groups(&Method::POST, &response));
        let _ = invalidated_uris(&Method::POST, &target, status, &response);
    }

    /// One restrictive line forbids storing, whatever the other lines say and however broken they are.
    #[test]
    fn what_forbids_sharing_forbids_it_in_any_company(mut response in message(), forbidden in prop::sample::select(vec![
        ("cache-control", "private"),
        ("cache-control", "No-Store"),
        ("cache-control", "max-age=60 , no-cache"),
        ("set-cookie", "session=alice"),
        ("vary", "*"),
    ])) {
        let policy = {
            let mut policy = Policy::route();
            policy.default_ttl = Some(crate::support::secs(60));
            policy
        };
        // Withholding the cookie is the one thing that lifts its refusal, and then it is not stored.
        response.append(HeaderName::from_static(forbidden.0), HeaderValue::from_static(forbidden.1));
        let lifetime = Lifetime::from_response(&policy, StatusCode::OK, &response, NOW, NOW);
        let storable = storable(&policy, &Method::GET, &HeaderMap::new(), StatusCode::OK, &response, &lifetime);
        if storable.is_yes() {
            prop_assert_eq!(forbidden.0, "set-cookie");
            prepare_for_store(&policy, &mut response, NOW);
            prop_assert!(!response.contains_key("set-cookie"));
        }
    }

    #[test]
    fn credentials_are_never_shared_under_the_route_policy(credential in prop::sample::select(vec!["authorization", "cookie"]), value in value(), response in message()) {
        let mut policy = Policy::route();
        policy.default_ttl = Some(crate::support::secs(60));
        let lifetime = Lifetime::from_response(&policy, StatusCode::OK, &response, NOW, NOW);
        let mut request = HeaderMap::new();
        request.insert(credential, value);
        prop_assert!(request_bypass(&policy, &Method::GET, &request).is_some());
        prop_assert!(!may_collapse(&policy, &request));
        let ask = |request: &HeaderMap| storable(&policy, &Method::GET, request, StatusCode::OK, &response, &lifetime).is_yes();
        prop_assert!(!ask(&request));
    }
}

#[test]
fn the_control_of_the_properties_above_is_stored() {
    let mut policy = Policy::route();
    policy.default_ttl = Some(crate::support::secs(60));
    let response = headers(&[("x-other", "1")]);
    let lifetime = Lifetime::from_response(&policy, StatusCode::OK, &response, NOW, NOW);
    assert!(
        storable(
            &policy,
            &Method::GET,
            &HeaderMap::new(),
            StatusCode::OK,
            &response,
            &lifetime
        )
        .is_yes()
    );
}
