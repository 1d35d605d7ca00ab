//! RFC 9110, section 9.3.3: a response to POST that answers a later GET.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{NOW, headers};
use cache_http::{Lifetime, Policy, answers_later_get};
use http::{Method, StatusCode, Uri};

fn answers(method: &Method, status: u16, lines: &[(&str, &str)]) -> bool {
    let response = headers(lines);
    let status = StatusCode::from_u16(status).unwrap();
    let mut policy = Policy::shared();
    policy.default_ttl = Some(crate::support::secs(60));
    let lifetime = Lifetime::from_response(&policy, status, &response, NOW, NOW);
    let target = Uri::from_static("https://example.com/items/1");
    answers_later_get(method, &target, status, &response, &lifetime)
}

#[test]
fn a_later_get_is_answered_if_the_response_says_so_itself() {
    let fresh = ("cache-control", "max-age=60");
    for location in ["/items/1", "1", "https://example.com/items/1", "/items/%31"] {
        assert!(
            answers(&Method::POST, 200, &[fresh, ("content-location", location)]),
            "{location}"
        );
    }
}

#[test]
fn anything_less_answers_no_get() {
    let fresh = ("cache-control", "max-age=60");
    let here = ("content-location", "/items/1");
    // Not explicitly fresh.
    assert!(!answers(&Method::POST, 200, &[here]));
    // The content of another resource, or of none.
    assert!(!answers(&Method::POST, 200, &[fresh]));
    assert!(!answers(&Method::POST, 200, &[fresh, ("content-location", "/items/2")]));
    assert!(!answers(
        &Method::POST,
        200,
        &[fresh, ("content-location", "https://example.org/items/1")]
    ));
    assert!(!answers(
        &Method::POST,
        200,
        &[fresh, here, ("content-location", "/items/2")]
    ));
    // Another status, another method.
    assert!(!answers(&Method::POST, 201, &[fresh, here]));
    assert!(!answers(&Method::PUT, 200, &[fresh, here]));
}
