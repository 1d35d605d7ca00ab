//! Compares this crate with `http-cache-semantics` on random exchanges, and explains every disagreement.
//!
//! Both decide whether a shared cache may reuse a response for a second request without contacting the origin. If they
//! differ, an entry of [`DISAGREEMENTS`] must explain the reason and the direction. Each entry must be the only
//! explanation of some difference, so that none is superfluous.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::support::{NOW, after, date, headers};
use cache_http::{Lifetime, Policy, RequestDirectives, Reuse, request_bypass, storable};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};

/// A response to a plain GET, and a second request some seconds later.
#[derive(Debug, Clone)]
struct Exchange {
    authorization: bool,
    cache_control: &'static str,
    other: (&'static str, String),
    status: u16,
    second: &'static str,
    seconds: u64,
}

impl Exchange {
    fn first_request(&self) -> HeaderMap {
        if self.authorization {
            headers(&[("authorization", "Basic eA==")])
        } else {
            HeaderMap::new()
        }
    }

    fn second_request(&self) -> HeaderMap {
        match self.second {
            "" => HeaderMap::new(),
            "pragma" => headers(&[("pragma", "no-cache")]),
            directives => headers(&[("cache-control", directives)]),
        }
    }

    fn response(&self) -> HeaderMap {
        let mut lines = Vec::new();
        if !self.cache_control.is_empty() {
            lines.push(("cache-control", self.cache_control));
        }
        if !self.other.0.is_empty() {
            lines.push((self.other.0, &*self.other.1));
        }
        headers(&lines)
    }

    fn ours(&self) -> bool {
        let policy = Policy::shared();
        let (request, response) = (self.first_request(), self.response());
        let status = StatusCode::from_u16(self.status).unwrap();
        let lifetime = Lifetime::from_response(&policy, status, &response, NOW, NOW);
        let second = self.second_request();
        let reuse = lifetime.reuse(&RequestDirectives::from_headers(&second), after(self.seconds));
        storable(&policy, &Method::GET, &request, status, &response, &lifetime).is_yes()
            && request_bypass(&policy, &Method::GET, &second).is_none()
            && matches!(reuse, Reuse::Fresh | Reuse::Stale)
    }

    fn theirs(&self) -> bool {
        let request = |headers| {
            let mut request = Request::get("https://example.com/").body(()).unwrap();
            *request.headers_mut() = headers;
            request
        };
        let mut response = Response::builder().status(self.status).body(()).unwrap();
        *response.headers_mut() = self.response();
        let first = request(self.first_request());
        let policy = CachePolicy::new_options(&first, &response, SystemTime::from(NOW), CacheOptions::default());
        let second = request(self.second_request());
        policy.is_storable()
            && policy
                .before_request(&second, after(self.seconds).into())
                .satisfies_without_revalidation()
    }

    fn says(&self, text: &str) -> bool {
        self.cache_control.contains(text)
    }

    /// Whether this crate would not even reuse it at once.
    fn was_never_fresh(&self) -> bool {
        let at_once = Self {
            second: "",
            seconds: 0,
            ..self.clone()
        };
        !at_once.ours()
    }

    fn wants_stale(&self) -> bool {
        self.second.starts_with("max-stale")
    }

    fn has(&self, name: &str) -> bool {
        self.other.0 == name
    }
}

struct Disagreement {
    why: &'static str,
    /// Whether it is this crate that reuses the response.
    ours_reuses: bool,
    applies: fn(&Exchange) -> bool,
}

const fn only_ours(why: &'static str, applies: fn(&Exchange) -> bool) -> Disagreement {
    Disagreement {
        why,
        ours_reuses: true,
        applies,
    }
}

const fn only_theirs(why: &'static str, applies: fn(&Exchange) -> bool) -> Disagreement {
    Disagreement {
        why,
        ours_reuses: false,
        applies,
    }
}

const DISAGREEMENTS: &[Disagreement] = &[
    only_theirs("Date counts into the age (RFC 9111, 4.2.3)", |it| it.has("date")),
    only_theirs("a request with no-store is not answered from the cache", |it| {
        it.second == "no-store"
    }),
    only_theirs("an unreadable max-age of a request counts as zero", |it| {
        it.second == "max-age=x"
    }),
    only_theirs(
        "max-age=0 asks for validation even in the very second of arrival",
        |it| it.second == "max-age=0" && it.seconds == 0,
    ),
    only_theirs("s-maxage forbids stale use (RFC 9111, 5.2.2.10)", |it| {
        it.says("s-maxage") && it.wants_stale()
    }),
    only_theirs("proxy-revalidate forbids stale use (RFC 9111, 5.2.2.8)", |it| {
        it.says("proxy-revalidate") && it.wants_stale()
    }),
    only_theirs(
        "no-cache forbids any use without validation (RFC 9111, 5.2.2.4)",
        |it| it.cache_control.ends_with("no-cache") && it.wants_stale(),
    ),
    only_theirs("directives are compared without case (RFC 9111, 5.2)", |it| {
        it.says("No-Store") || it.says("Max-Age")
    }),
    only_theirs("immutable gives no lifetime (RFC 8246, 2)", |it| {
        it.cache_control == "immutable"
    }),
    only_theirs("of two lifetimes the shorter counts, not the first", |it| {
        it.says("max-age=60, max-age=10")
    }),
    only_theirs(
        "two lifetimes are no must-revalidate, which would allow to share (RFC 9111, 3.5)",
        |it| it.authorization && it.says("max-age=10"),
    ),
    only_theirs("what was never fresh and cannot be validated is not stored", |it| {
        it.wants_stale() && it.was_never_fresh() && !it.has("etag") && !it.has("last-modified")
    }),
    only_theirs(
        "a targeted field takes the place of Cache-Control (RFC 9213, 2.2)",
        |it| it.has("cdn-cache-control"),
    ),
    only_ours(
        "a targeted field takes the place of Cache-Control (RFC 9213, 2.2)",
        |it| it.has("cdn-cache-control"),
    ),
    only_ours("directives are compared without case (RFC 9111, 5.2)", |it| {
        it.says("Max-Age")
    }),
    only_ours("a qualified private is for its fields only (RFC 9111, 5.2.2.7)", |it| {
        it.says("private=")
    }),
    only_ours(
        "a qualified no-cache is for its fields only (RFC 9111, 5.2.2.4)",
        |it| it.says("no-cache="),
    ),
    only_ours("must-understand suspends no-store (RFC 9111, 5.2.2.3)", |it| {
        it.says("must-understand")
    }),
    only_ours("stale for as long as max-stale says is not longer than it says", |it| {
        it.second == "max-stale=20"
    }),
    only_ours("Set-Cookie does not forbid storing (RFC 9111, 7.3)", |it| {
        it.has("set-cookie")
    }),
    only_ours("Pragma is deprecated (RFC 9111, 5.4)", |it| {
        it.second == "pragma" || it.has("pragma")
    }),
    only_ours(
        "any final status with explicit freshness may be stored (RFC 9111, 3)",
        |it| it.status >= 500,
    ),
    only_ours("proxy-revalidate does not forbid fresh use (RFC 9111, 5.2.2.8)", |it| {
        it.says("proxy-revalidate")
    }),
    only_ours("too large a number counts as the largest (RFC 9111, 1.2.2)", |it| {
        it.says("999")
    }),
    only_ours("two lifetimes are no must-revalidate", |it| {
        it.says("max-age=10, max-age=60") || it.says("max-age=60, max-age=10")
    }),
    only_ours("recipients take all three date formats (RFC 9110, 5.6.7)", |it| {
        it.other.1.starts_with("Tuesday,")
    }),
];

fn all_exchanges() -> Vec<Exchange> {
    let others = [
        ("", String::new()),
        ("expires", date(60)),
        ("expires", "0".to_owned()),
        ("expires", "Tuesday, 14-Nov-23 22:14:20 GMT".to_owned()),
        ("last-modified", date(-600)),
        ("last-modified", date(-10_000_000)),
        ("age", "30".to_owned()),
        ("age", "x".to_owned()),
        ("date", date(-30)),
        ("etag", "\"a\"".to_owned()),
        ("set-cookie", "a=b".to_owned()),
        ("vary", "*".to_owned()),
        ("vary", "accept, *".to_owned()),
        ("pragma", "no-cache".to_owned()),
        ("cdn-cache-control", "max-age=60".to_owned()),
    ];
    let mut exchanges = Vec::new();
    for cache_control in [
        "",
        "max-age=60",
        "Max-Age=60",
        "max-age=\"60\"",
        "max-age=x",
        "max-age=99999999999999999999",
        "max-age=10, max-age=60",
        "max-age=60, max-age=10",
        "max-age=0",
        "s-maxage=60",
        "max-age=60, s-maxage=10",
        "max-age=60, must-revalidate",
        "max-age=60, proxy-revalidate",
        "max-age=60, public",
        "public",
        "max-age=60, private",
        "max-age=60, private=\"x\"",
        "max-age=60, no-cache",
        "max-age=60, no-cache=\"x\"",
        "max-age=60, no-store",
        "max-age=60, No-Store",
        "max-age=60, must-understand, no-store",
        "max-age=60, ext=\"a, no-store\"",
        "max-age=60, immutable",
        "immutable",
    ] {
        for other in &others {
            for second in [
                "",
                "max-age=30",
                "max-age=0",
                "max-age=x",
                "min-fresh=40",
                "max-stale=20",
                "max-stale",
                "no-cache",
                "no-store",
                "pragma",
            ] {
                for status in [200, 204, 206, 302, 404, 500, 599] {
                    for seconds in [0, 45, 80] {
                        for authorization in [false, true] {
                            exchanges.push(Exchange {
                                authorization,
                                cache_control,
                                other: other.clone(),
                                status,
                                second,
                                seconds,
                            });
                        }
                    }
                }
            }
        }
    }
    exchanges
}

#[test]
fn every_disagreement_is_explained_and_every_explanation_is_needed() {
    let mut needed: BTreeMap<&str, usize> = DISAGREEMENTS.iter().map(|entry| (entry.why, 0)).collect();
    let mut unexplained = Vec::new();
    let (mut agreed_to_reuse, mut agreed_not_to) = (0, 0);
    for exchange in all_exchanges() {
        let (ours, theirs) = (exchange.ours(), exchange.theirs());
        if ours == theirs {
            if ours {
                agreed_to_reuse += 1;
            } else {
                agreed_not_to += 1;
            }
            continue;
        }
        let reasons: Vec<&Disagreement> = DISAGREEMENTS
            .iter()
            .filter(|entry| entry.ours_reuses == ours && (entry.applies)(&exchange))
            .collect();
        match reasons[..] {
            [] => unexplained.push((ours, exchange)),
            [only] => *needed.entry(only.why).or_default() += 1,
            _ => {}
        }
    }
    // The two do agree on most, in both directions; otherwise nothing would be compared.
    assert!(
        agreed_to_reuse > 3000 && agreed_not_to > 30_000,
        "{agreed_to_reuse} {agreed_not_to}"
    );
    assert!(
        unexplained.is_empty(),
        "{} unexplained, such as {:#?}",
        unexplained.len(),
        &unexplained[..unexplained.len().min(5)]
    );
    let idle: Vec<_> = needed.iter().filter(|(_, count)| **count == 0).collect();
    assert!(idle.is_empty(), "explain nothing that nothing else explains: {idle:#?}");
}
