//! RFC 5861: stale while it is revalidated, stale when the origin fails.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{NOW, after, headers, secs};
use cache_http::{Lifetime, Policy, RequestDirectives, Reuse, Validation, validation};
use http::StatusCode;

fn lifetime(policy: &Policy, value: &str) -> Lifetime {
    Lifetime::from_response(policy, StatusCode::OK, &headers(&[("cache-control", value)]), NOW, NOW)
}

fn request(value: &str) -> RequestDirectives {
    RequestDirectives::parse([value])
}

#[test]
fn section_3_1_the_example_of_stale_while_revalidate() {
    let stored = lifetime(&Policy::shared(), "max-age=600, stale-while-revalidate=30");
    assert_eq!(stored.reuse(&request(""), after(599)), Reuse::Fresh);
    assert_eq!(stored.reuse(&request(""), after(600)), Reuse::WhileRevalidate);
    assert_eq!(stored.reuse(&request(""), after(630)), Reuse::WhileRevalidate);
    assert_eq!(
        stored.reuse(&request(""), after(631)),
        Reuse::Validate { requested: false }
    );
    assert_eq!(stored.usable_for(), secs(630));
}

#[test]
fn section_4_1_the_example_of_stale_if_error() {
    let stored = lifetime(&Policy::shared(), "max-age=600, stale-if-error=1200");
    assert_eq!(
        stored.reuse(&request(""), after(900)),
        Reuse::Validate { requested: false }
    );
    assert!(stored.usable_on_error(&request(""), after(900)));
    assert!(stored.usable_on_error(&request(""), after(1800)));
    assert!(!stored.usable_on_error(&request(""), after(1801)));
    assert_eq!(stored.usable_for(), secs(1800));
}

#[test]
fn section_4_what_counts_as_an_error() {
    for status in [500, 502, 503, 504] {
        assert_eq!(
            validation(StatusCode::from_u16(status).unwrap()),
            Validation::Failed,
            "{status}"
        );
    }
    for status in [200, 404, 410, 501] {
        assert_eq!(
            validation(StatusCode::from_u16(status).unwrap()),
            Validation::Replaced,
            "{status}"
        );
    }
    assert_eq!(validation(StatusCode::NOT_MODIFIED), Validation::NotModified);
}

#[test]
fn section_4_requests_may_grant_a_window_of_their_own() {
    let stored = lifetime(&Policy::shared(), "max-age=600");
    assert!(!stored.usable_on_error(&request(""), after(601)));
    assert!(stored.usable_on_error(&request("stale-if-error=60"), after(601)));
    assert!(!stored.usable_on_error(&request("stale-if-error=60"), after(661)));
    assert!(!stored.usable_on_error(&request("stale-if-error=60, no-cache"), after(601)));
}

#[test]
fn the_policy_s_windows_are_for_responses_that_name_none() {
    let mut policy = Policy::route();
    policy.stale_while_revalidate = Some(secs(10));
    policy.stale_if_error = Some(secs(20));
    let stored = lifetime(&policy, "max-age=60");
    assert_eq!(stored.reuse(&request(""), after(70)), Reuse::WhileRevalidate);
    assert!(stored.usable_on_error(&request(""), after(80)));
    let stored = lifetime(&policy, "max-age=60, stale-while-revalidate=0, stale-if-error=0");
    assert_eq!(
        stored.reuse(&request(""), after(61)),
        Reuse::Validate { requested: false }
    );
    assert!(!stored.usable_on_error(&request(""), after(61)));
}

#[test]
fn a_fresh_copy_that_a_request_wants_validated_may_stand_in_for_a_failed_origin() {
    let stored = lifetime(&Policy::shared(), "max-age=600, stale-if-error=60, must-revalidate");
    assert_eq!(
        stored.reuse(&request("max-age=5"), after(10)),
        Reuse::Validate { requested: true }
    );
    assert!(stored.usable_on_error(&request("max-age=5"), after(10)));
    assert!(!stored.usable_on_error(&request("no-cache"), after(10)));
    // `must-revalidate` begins to matter when the copy is stale (RFC 9111, section 5.2.2.2).
    assert!(!stored.usable_on_error(&request("max-age=5"), after(601)));
}
