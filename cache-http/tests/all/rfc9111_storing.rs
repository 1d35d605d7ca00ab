//! RFC 9111, section 3: what may be stored and shared, under both policies.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{NOW, headers, secs};
use cache_http::{
    Lifetime, Policy, Reason, Sharing, Statuses, Storable, may_collapse, prepare_for_store, request_bypass, storable,
};
use http::header::COOKIE;
use http::{HeaderMap, Method, StatusCode};

type Lines = &'static [(&'static str, &'static str)];

fn ask_with(policy: &Policy, method: &Method, request: &HeaderMap, status: u16, response: &HeaderMap) -> Storable {
    let status = StatusCode::from_u16(status).unwrap();
    let lifetime = Lifetime::from_response(policy, status, response, NOW, NOW);
    storable(policy, method, request, status, response, &lifetime)
}

fn ask(policy: &Policy, request: Lines, status: u16, response: Lines) -> Option<Reason> {
    ask_with(policy, &Method::GET, &headers(request), status, &headers(response)).reason()
}

fn route() -> Policy {
    let mut policy = Policy::route();
    policy.default_ttl = Some(secs(60));
    policy
}

#[test]
fn the_route_policy_refuses_what_could_be_meant_for_one_user() {
    let policy = route();
    let cases: &[(Lines, u16, Lines, Option<Reason>)] = &[
        (&[], 200, &[], None),
        (&[], 204, &[], None),
        (&[], 200, &[("cache-control", "max-age=5")], None),
        (
            &[("authorization", "Basic eA==")],
            200,
            &[],
            Some(Reason::Authorization),
        ),
        (
            &[("authorization", "Basic eA==")],
            200,
            &[("cache-control", "public, s-maxage=9")],
            Some(Reason::Authorization),
        ),
        (&[("cookie", "a=b")], 200, &[], Some(Reason::Cookie)),
        (
            &[("cookie", "a=b")],
            200,
            &[("cache-control", "public")],
            Some(Reason::Cookie),
        ),
        (&[], 200, &[("set-cookie", "a=b")], Some(Reason::SetCookie)),
        (
            &[],
            200,
            &[("set-cookie", "a=b"), ("cache-control", "public, max-age=9")],
            Some(Reason::SetCookie),
        ),
        (
            &[],
            200,
            &[("cache-control", "private, max-age=9")],
            Some(Reason::Private),
        ),
        (&[], 200, &[("cache-control", "no-store")], Some(Reason::NoStore)),
        (
            &[],
            200,
            &[("cache-control", "no-cache"), ("etag", "\"a\"")],
            Some(Reason::NoCache),
        ),
        (
            &[],
            200,
            &[("cache-control", "max-age=0"), ("etag", "\"a\"")],
            Some(Reason::NotFresh),
        ),
        (&[], 200, &[("expires", "0")], Some(Reason::NotFresh)),
        (&[], 200, &[("vary", "accept"), ("vary", "*")], Some(Reason::VaryAny)),
        (&[], 200, &[("vary", "accept")], None),
        (&[], 206, &[("content-range", "bytes 0-1/9")], Some(Reason::Partial)),
        (&[], 304, &[], Some(Reason::Status)),
        (&[], 301, &[("cache-control", "max-age=9")], Some(Reason::Status)),
        (&[], 404, &[], Some(Reason::Status)),
        (&[], 500, &[("cache-control", "max-age=9")], Some(Reason::Status)),
        (&[("cache-control", "no-store")], 200, &[], Some(Reason::RequestNoStore)),
        (&[("cache-control", "no-cache")], 200, &[], None),
    ];
    for (request, status, response, expected) in cases {
        assert_eq!(
            ask(&policy, request, *status, response),
            *expected,
            "{request:?} {status} {response:?}"
        );
    }
}

#[test]
fn each_refusal_is_lifted_by_its_name() {
    type Lift = fn(&mut Policy);
    let cases: &[(Lines, u16, Lines, Lift)] = &[
        (&[("authorization", "x")], 200, &[], |policy| {
            policy.authorization = Sharing::Always;
        }),
        (&[("cookie", "a=b")], 200, &[], |policy| policy.cookie = Sharing::Always),
        (&[("cookie", "a=b")], 200, &[("cache-control", "public")], |policy| {
            policy.cookie = Sharing::Explicit;
        }),
        (&[], 200, &[("set-cookie", "a=b")], |policy| {
            policy.set_cookie = Sharing::Always;
        }),
        (&[], 200, &[("cache-control", "private")], |policy| {
            policy.allow_private = true;
        }),
        (&[], 200, &[("cache-control", "no-store")], |policy| {
            policy.allow_no_store = true;
        }),
        (&[("cache-control", "no-store")], 200, &[], |policy| {
            policy.allow_no_store = true;
        }),
        (&[("cache-control", "no-store")], 200, &[], |policy| {
            policy.request_directives = false;
        }),
        (
            &[],
            200,
            &[("cache-control", "no-cache"), ("etag", "\"a\"")],
            |policy| policy.allow_no_cache = true,
        ),
        (&[], 200, &[("vary", "*")], |policy| policy.allow_vary_any = true),
        (&[], 206, &[], |policy| policy.allow_partial = true),
        (&[], 404, &[], |policy| {
            policy.statuses = Statuses::predicate(|status| status == StatusCode::NOT_FOUND);
        }),
    ];
    for (request, status, response, lift) in cases {
        let mut policy = route();
        assert!(
            ask(&policy, request, *status, response).is_some(),
            "{request:?} {status} {response:?}"
        );
        lift(&mut policy);
        assert_eq!(
            ask(&policy, request, *status, response),
            None,
            "{request:?} {status} {response:?}"
        );
    }
}

#[test]
fn what_is_refused_by_the_request_is_refused_before_the_handler_runs() {
    let policy = route();
    for (method, request, expected) in [
        (Method::GET, headers(&[]), None),
        (Method::HEAD, headers(&[]), None),
        (Method::POST, headers(&[]), Some(Reason::Method)),
        (
            Method::GET,
            headers(&[("authorization", "x")]),
            Some(Reason::Authorization),
        ),
        (Method::GET, headers(&[("cookie", "")]), Some(Reason::Cookie)),
        (
            Method::GET,
            headers(&[("cache-control", "max-age=0, No-Store")]),
            Some(Reason::RequestNoStore),
        ),
    ] {
        assert_eq!(
            request_bypass(&policy, &method, &request),
            expected,
            "{method} {request:?}"
        );
    }
    let mut policy = route();
    policy.methods.push(Method::POST);
    assert_eq!(request_bypass(&policy, &Method::POST, &headers(&[])), None);
}

#[test]
fn head_is_looked_up_but_never_stored() {
    let storable = ask_with(&route(), &Method::HEAD, &headers(&[]), 200, &headers(&[]));
    assert_eq!(storable, Storable::No(Reason::Method));
}

// Section 3, under the shared policy.
#[test]
fn section_3_storing_responses_in_a_shared_cache() {
    let policy = Policy::shared();
    let modified: Lines = &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")];
    let cases: &[(Lines, u16, Lines, Option<Reason>)] = &[
        (&[], 200, &[("cache-control", "max-age=5")], None),
        (&[], 200, &[("cache-control", "s-maxage=5")], None),
        (&[], 200, &[("expires", "Wed, 01 Jan 2031 00:00:00 GMT")], None),
        (&[], 599, &[("cache-control", "max-age=5")], None),
        (&[], 302, &[("cache-control", "max-age=5")], None),
        // Nothing could ever be done with these.
        (&[], 200, &[], Some(Reason::NotFresh)),
        (&[], 200, &[("cache-control", "max-age=0")], Some(Reason::NotFresh)),
        (&[], 200, &[("cache-control", "no-cache")], Some(Reason::NoCache)),
        // These can be validated.
        (&[], 200, &[("etag", "\"a\"")], None),
        (&[], 200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], None),
        (&[], 200, &[("cache-control", "max-age=0"), ("etag", "\"a\"")], None),
        // This can be used stale.
        (
            &[],
            200,
            &[("cache-control", "max-age=0, stale-while-revalidate=5")],
            None,
        ),
        (
            &[],
            200,
            &[("cache-control", "max-age=0, must-revalidate, stale-if-error=5")],
            Some(Reason::NotFresh),
        ),
        // Heuristics, by status or by `public`.
        (&[], 410, modified, None),
        (&[], 503, modified, Some(Reason::NotFresh)),
        (
            &[],
            599,
            &[
                ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("cache-control", "public"),
            ],
            None,
        ),
        // Refusals.
        (
            &[],
            200,
            &[("cache-control", "max-age=5, no-store")],
            Some(Reason::NoStore),
        ),
        (
            &[],
            200,
            &[("cache-control", "max-age=5, private")],
            Some(Reason::Private),
        ),
        (&[], 206, &[("cache-control", "max-age=5")], Some(Reason::Partial)),
        (&[], 304, &[("cache-control", "max-age=5")], Some(Reason::Status)),
        (&[], 103, &[("cache-control", "max-age=5")], Some(Reason::Status)),
        // Cookies are nothing special to RFC 9111.
        (
            &[("cookie", "a=b")],
            200,
            &[("cache-control", "max-age=5"), ("set-cookie", "a=b")],
            None,
        ),
    ];
    for (request, status, response, expected) in cases {
        assert_eq!(
            ask(&policy, request, *status, response),
            *expected,
            "{request:?} {status} {response:?}"
        );
    }
}

#[test]
fn section_3_5_authenticated_responses() {
    let request: Lines = &[("authorization", "Basic eA==")];
    for (response, expected) in [
        ("max-age=60", Some(Reason::Authorization)),
        ("max-age=60, proxy-revalidate", Some(Reason::Authorization)),
        ("max-age=60, public", None),
        ("max-age=60, must-revalidate", None),
        ("s-maxage=60", None),
    ] {
        let response = headers(&[("cache-control", response)]);
        let storable = ask_with(&Policy::shared(), &Method::GET, &headers(request), 200, &response);
        assert_eq!(storable.reason(), expected, "{response:?}");
    }
}

#[test]
fn section_5_2_2_3_must_understand() {
    let policy = Policy::shared();
    let response: Lines = &[("cache-control", "max-age=60, must-understand, no-store")];
    assert_eq!(ask(&policy, &[], 200, response), None);
    assert_eq!(ask(&policy, &[], 599, response), Some(Reason::Status));
    assert_eq!(
        ask(&policy, &[], 599, &[("cache-control", "max-age=60, must-understand")]),
        Some(Reason::Status)
    );
    assert_eq!(ask(&policy, &[], 599, &[("cache-control", "max-age=60")]), None);
}

#[test]
fn section_3_1_fields_that_are_not_stored() {
    let mut response = headers(&[
        ("cache-control", "max-age=60, private=\"x-user\""),
        ("cache-control", "no-cache=\"set-cookie, x-trace\""),
        ("connection", "close, X-Hop"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authentication-info", "x"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("x-hop", "1"),
        ("x-user", "alice"),
        ("set-cookie", "a=b"),
        ("x-trace", "1"),
        ("x-kept", "1"),
    ]);
    prepare_for_store(&Policy::route(), &mut response, NOW);
    let mut left: Vec<&str> = response.keys().map(http::HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["cache-control", "date", "x-kept"]);
    assert_eq!(response["date"], "Tue, 14 Nov 2023 22:13:20 GMT");
}

#[test]
fn a_client_cannot_take_the_host_off_a_request() {
    let mut request = headers(&[("host", "shop.test"), ("connection", "Host, x-hop"), ("x-hop", "1")]);
    cache_http::remove_hop_by_hop(&mut request);
    assert_eq!(request, headers(&[("host", "shop.test")]));
}

#[test]
fn a_cookie_that_is_withheld_does_not_forbid_the_rest() {
    assert_eq!(
        ask(
            &route(),
            &[],
            200,
            &[("set-cookie", "a=b"), ("cache-control", "private=\"Set-Cookie\"")]
        ),
        None
    );
    let mut response = headers(&[("set-cookie", "a=b"), ("cache-control", "private=\"Set-Cookie\"")]);
    prepare_for_store(&route(), &mut response, NOW);
    assert!(!response.contains_key("set-cookie"));
    assert!(!response.contains_key(COOKIE));
}

#[test]
fn requests_with_credentials_wait_for_nobody_s_response_unless_all_share() {
    let (plain, authorized, cookie) = (
        headers(&[]),
        headers(&[("authorization", "x")]),
        headers(&[("cookie", "a=b")]),
    );
    let may = |policy: &Policy| [&plain, &authorized, &cookie].map(|request| may_collapse(policy, request));
    assert_eq!(may(&Policy::route()), [true, false, false]);
    assert_eq!(may(&Policy::shared()), [true, false, true]);
    let mut policy = Policy::route();
    policy.authorization = Sharing::Always;
    policy.cookie = Sharing::Explicit;
    assert_eq!(may(&policy), [true, true, false]);
}
