//! Each refusal of the safe defaults can be lifted by name, and lifting one does not lift another.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{app, get, get_with, layer};
use axum::response::{IntoResponse, Response};
use cache_axum::CacheLayer;
use cache_axum::cache_http::Heuristic;
use http::StatusCode;

/// What a request and its answer look like.
struct Exchange {
    name: &'static str,
    asked: &'static [(&'static str, &'static str)],
    status: u16,
    answered: &'static [(&'static str, &'static str)],
    allow: fn(CacheLayer) -> CacheLayer,
}

const REFUSED: [Exchange; 8] = [
    Exchange {
        name: "authorization",
        asked: &[("authorization", "Bearer a")],
        status: 200,
        answered: &[],
        allow: |layer| layer.allow_authorization(true),
    },
    Exchange {
        name: "cookie",
        asked: &[("cookie", "a=b")],
        status: 200,
        answered: &[],
        allow: |layer| layer.allow_cookies(true),
    },
    Exchange {
        name: "set-cookie",
        asked: &[],
        status: 200,
        answered: &[("set-cookie", "a=b")],
        allow: |layer| layer.allow_set_cookie(true),
    },
    Exchange {
        name: "private",
        asked: &[],
        status: 200,
        answered: &[("cache-control", "private")],
        allow: |layer| layer.policy_with(|policy| policy.allow_private = true),
    },
    Exchange {
        name: "no-store",
        asked: &[],
        status: 200,
        answered: &[("cache-control", "no-store")],
        allow: |layer| layer.policy_with(|policy| policy.allow_no_store = true),
    },
    Exchange {
        name: "no-cache",
        asked: &[],
        status: 200,
        answered: &[("cache-control", "no-cache"), ("etag", "\"v1\"")],
        allow: |layer| {
            layer.policy_with(|policy| {
                policy.allow_no_cache = true;
                policy.keep_for_validation = Duration::from_secs(60);
            })
        },
    },
    Exchange {
        name: "vary",
        asked: &[],
        status: 200,
        answered: &[("vary", "*")],
        allow: |layer| layer.policy_with(|policy| policy.allow_vary_any = true),
    },
    Exchange {
        name: "status",
        asked: &[],
        status: 404,
        answered: &[],
        allow: |layer| layer.statuses(|status| status.is_success() || status == StatusCode::NOT_FOUND),
    },
];

fn answer(exchange: &Exchange, is_asked_about: bool) -> Response {
    let mut response = StatusCode::from_u16(exchange.status).unwrap().into_response();
    if is_asked_about {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    for (name, value) in exchange.answered {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

#[tokio::test]
async fn each_is_lifted_by_its_own_name_alone() {
    for (place, exchange) in REFUSED.iter().enumerate() {
        for (allowed, allow) in REFUSED.iter().map(|other| other.allow).enumerate() {
            let (app, _) = app(allow(layer()), move |_, request| {
                let exchange = &REFUSED[place];
                answer(exchange, request.headers.contains_key("if-none-match"))
            });
            get_with(&app, "/", exchange.asked).await;
            let second = get_with(&app, "/", exchange.asked).await;
            assert_eq!(
                second.x_cache() == "HIT",
                place == allowed,
                "{} with {allowed}",
                exchange.name
            );
        }
    }
}

#[tokio::test]
async fn s_maxage_forbids_stale_answers_unless_allowed() {
    for (allow, expected) in [(false, "MISS"), (true, "STALE")] {
        let (cache, clock) = crate::support::cache();
        let layer = CacheLayer::new(cache);
        let layer = if allow {
            layer.policy_with(|policy| policy.allow_stale_s_maxage = true)
        } else {
            layer
        };
        let (app, _) = app(layer, |_, _| {
            ([("cache-control", "s-maxage=10, stale-while-revalidate=60")], "…")
        });
        get(&app, "/").await;
        clock.advance(Duration::from_secs(15));
        assert_eq!(get(&app, "/").await.x_cache(), expected);
    }
}

#[tokio::test]
async fn lifetimes_are_guessed_only_by_choice() {
    for (heuristic, expected) in [
        (None, "cache; hit; ttl=60"),
        (Some(Heuristic::default()), "cache; hit; ttl=86400"),
    ] {
        let layer = layer();
        let layer = match heuristic {
            Some(heuristic) => layer.policy_with(|policy| {
                policy.heuristic = Some(heuristic);
                policy.default_ttl = None;
            }),
            None => layer,
        };
        let (app, _) = app(layer, |_, _| {
            ([("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")], "…")
        });
        get(&app, "/").await;
        assert_eq!(get(&app, "/").await.cache_status(), expected);
    }
}
