//! A request of one client never degrades the URL for other clients.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{app, gated, get, get_with, idle, layer};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

#[tokio::test]
async fn what_one_client_causes_switches_nothing_off() {
    for (field, status, said) in [
        ("x-bad", 400, ""),
        ("x-bad", 406, ""),
        ("x-preview", 200, "no-store"),
        ("x-preview", 200, "private"),
    ] {
        let (app, calls) = app(layer(), move |call, request| {
            if !request.headers.contains_key(field) {
                return call.to_string().into_response();
            }
            let status = StatusCode::from_u16(status).unwrap();
            if said.is_empty() {
                status.into_response()
            } else {
                (status, [("cache-control", said)], "for one").into_response()
            }
        });
        get_with(&app, "/", &[(field, "1")]).await;
        let first = get(&app, "/").await;
        assert_eq!(first.cache_status(), "cache; fwd=uri-miss; stored", "{field} {said}");
        assert_eq!(get(&app, "/").await.x_cache(), "HIT");
        assert_eq!(calls.count(), 2);
    }
}

#[tokio::test]
async fn others_are_collapsed_all_the_same() {
    let gated = gated(layer(), |call| {
        if call == 1 {
            ([("cache-control", "no-store")], "for one").into_response()
        } else {
            call.to_string().into_response()
        }
    });
    gated.gate.add_permits(1);
    let mut preview = gated.ask_with(&[&[("x-preview", "1")]]);
    preview.join_next().await.unwrap().unwrap();
    let asking = gated.ask(20);
    idle().await;
    assert_eq!(gated.calls.count(), 2);
    gated.gate.add_permits(1);
    assert!(asking.join_all().await.iter().all(|reply| reply.text() == "2"));
}

/// The control: requests alike learn from each other, and wait for nobody in vain.
#[tokio::test]
async fn a_url_that_nobody_may_store_is_remembered_for_requests_alike() {
    let gated = gated(layer(), |_| ([("cache-control", "no-store")], "…").into_response());
    gated.gate.add_permits(1);
    gated.ask(1).join_all().await;
    let asking = gated.ask(20);
    idle().await;
    assert_eq!(gated.calls.count(), 21, "side by side");
    gated.gate.add_permits(20);
    asking.join_all().await;
}

#[tokio::test]
async fn a_fresh_copy_stays_whatever_the_handler_tells_one_client() {
    let (app, _) = app(layer(), |call, request| {
        if request.headers.contains_key("x-preview") {
            ([("cache-control", "no-store")], "for one").into_response()
        } else {
            call.to_string().into_response()
        }
    });
    get(&app, "/").await;
    let preview = get_with(&app, "/", &[("x-preview", "1"), ("cache-control", "no-cache")]).await;
    assert_eq!(preview.text(), "for one");
    let kept = get(&app, "/").await;
    assert_eq!((kept.text(), kept.x_cache()), ("1", "HIT"));
}

async fn a_hundred_at_once(
    answer: impl Fn(usize) -> Response + Clone + Send + Sync + 'static,
) -> (usize, Vec<crate::support::Reply>) {
    let gated = gated(layer(), answer);
    let asking = gated.ask(100);
    idle().await;
    gated.gate.add_permits(100);
    let replies = asking.join_all().await;
    (gated.calls.count(), replies)
}

#[tokio::test]
async fn a_failure_is_shared_with_those_who_waited_and_not_stored() {
    let (calls, replies) = a_hundred_at_once(|call| {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            [("x-call", call.to_string())],
            "failed",
        )
            .into_response()
    })
    .await;
    assert_eq!(calls, 1);
    for reply in &replies {
        assert_eq!(
            (reply.status, reply.text(), reply.header("x-call")),
            (StatusCode::INTERNAL_SERVER_ERROR, "failed", "1")
        );
        assert_eq!(
            (reply.header("cache-control"), reply.header("age"), reply.header("etag")),
            ("", "", "")
        );
    }
    let shared = replies
        .iter()
        .filter(|reply| reply.cache_status() == "cache; fwd=uri-miss; collapsed");
    assert_eq!(shared.count(), 99);
    let (app, calls) = app(layer(), |_, _| StatusCode::BAD_GATEWAY);
    get(&app, "/").await;
    get(&app, "/").await;
    assert_eq!(calls.count(), 2, "it is not stored");
}

#[tokio::test]
async fn a_failure_for_one_only_is_tried_again_by_one_at_a_time() {
    let (calls, replies) = a_hundred_at_once(|call| {
        if call == 1 {
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                [("set-cookie", "session=1")],
                "failed",
            )
                .into_response()
        } else {
            call.to_string().into_response()
        }
    })
    .await;
    assert_eq!(calls, 2);
    let failed = replies.iter().filter(|reply| !reply.header("set-cookie").is_empty());
    assert_eq!(failed.count(), 1, "the cookie is its own caller's");
    assert_eq!(replies.iter().filter(|reply| reply.text() == "2").count(), 99);
}

#[tokio::test]
async fn a_failure_that_varies_is_shared_with_those_who_would_have_selected_it() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let (calls, opens) = (crate::support::Calls::default(), gate.clone());
    let counter = calls.clone();
    let handler = move |request: axum::extract::Request| {
        counter.add();
        let opens = opens.clone();
        async move {
            opens.acquire().await.unwrap().forget();
            let language = request.headers()["accept-language"].clone();
            let fields = [
                ("vary", http::HeaderValue::from_static("accept-language")),
                ("content-language", language),
            ];
            (StatusCode::INTERNAL_SERVER_ERROR, fields)
        }
    };
    let app = axum::Router::new().fallback(handler).layer(layer());
    let asking: Vec<_> = (0..100)
        .map(|number| {
            let (app, language) = (app.clone(), ["de", "en"][number % 2]);
            tokio::spawn(async move { (get_with(&app, "/", &[("accept-language", language)]).await, language) })
        })
        .collect();
    idle().await;
    gate.add_permits(100);
    for asking in asking {
        let (reply, language) = asking.await.unwrap();
        assert_eq!(
            (reply.status, reply.header("content-language")),
            (StatusCode::INTERNAL_SERVER_ERROR, language)
        );
    }
    assert_eq!(calls.count(), 2, "one for each language");
}

#[tokio::test]
async fn a_variant_that_may_not_be_stored_says_nothing_about_the_others() {
    const XX: &[(&str, &str)] = &[("accept-language", "xx")];
    const EN: &[(&str, &str)] = &[("accept-language", "en")];
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let (calls, opens) = (crate::support::Calls::default(), gate.clone());
    let counter = calls.clone();
    let handler = move |request: axum::extract::Request| {
        counter.add();
        let opens = opens.clone();
        async move {
            opens.acquire().await.unwrap().forget();
            let said = match request.headers()["accept-language"].as_bytes() {
                b"xx" => "no-store",
                _ => "max-age=60",
            };
            ([("vary", "accept-language"), ("cache-control", said)], "…")
        }
    };
    let app = axum::Router::new().fallback(handler).layer(layer());
    let ask = |headers: &'static [(&'static str, &'static str)]| {
        let app = app.clone();
        tokio::spawn(async move { get_with(&app, "/", headers).await })
    };
    let first = ask(XX);
    gate.add_permits(1);
    first.await.unwrap();
    let english: Vec<_> = (0..20).map(|_| ask(EN)).collect();
    idle().await;
    assert_eq!(calls.count(), 2, "one for all of them");
    gate.add_permits(1);
    for english in english {
        english.await.unwrap();
    }
    // The control: requests for that variant do not wait for each other.
    let others: Vec<_> = (0..5).map(|_| ask(XX)).collect();
    idle().await;
    assert_eq!(calls.count(), 7);
    gate.add_permits(5);
    for other in others {
        other.await.unwrap();
    }
}

/// What one value of a field causes is not held against requests with other values, whichever field it is.
#[tokio::test]
async fn a_refusal_is_not_held_against_other_values() {
    const BOTS: [&[(&str, &str)]; 2] = [&[("user-agent", "bot/1")], &[("user-agent", "bot/2")]];
    const NORMAL: &[(&str, &str)] = &[("user-agent", "normal")];
    for vary in ["", "accept-encoding"] {
        let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let (calls, opens) = (crate::support::Calls::default(), gate.clone());
        let counter = calls.clone();
        let handler = move |request: axum::extract::Request| {
            counter.add();
            let opens = opens.clone();
            async move {
                opens.acquire().await.unwrap().forget();
                let agent = request.headers()["user-agent"].to_str().unwrap();
                let said = if agent.starts_with("normal") {
                    "max-age=5"
                } else {
                    "no-store"
                };
                [("cache-control", said), ("vary", vary)]
            }
        };
        let (cache, clock) = crate::support::cache();
        let layer = cache_axum::CacheLayer::new(cache);
        let app = axum::Router::new().fallback(handler).layer(layer);
        let ask = |headers: &'static [(&'static str, &'static str)]| {
            let app = app.clone();
            tokio::spawn(async move { get_with(&app, "/", headers).await })
        };
        for bot in BOTS {
            gate.add_permits(1);
            ask(bot).await.unwrap();
            let before = calls.count();
            let normal: Vec<_> = (0..20).map(|_| ask(NORMAL)).collect();
            idle().await;
            assert_eq!(calls.count(), before + 1, "one for all of them");
            gate.add_permits(1);
            for normal in normal {
                normal.await.unwrap();
            }
            // What is stored expires, and the refusal is still remembered.
            clock.advance(std::time::Duration::from_secs(6));
            gate.add_permits(1);
            ask(bot).await.unwrap();
        }
        // The control: requests with values that were refused do not wait for each other.
        let before = calls.count();
        let bots: Vec<_> = (0..5).map(|_| ask(BOTS[1])).collect();
        idle().await;
        assert_eq!(calls.count(), before + 5);
        gate.add_permits(5);
        for bot in bots {
            bot.await.unwrap();
        }
    }
}

/// A field whose value differs with each request is not the reason for what all of them get.
#[tokio::test]
async fn what_is_refused_to_all_values_is_remembered_for_all() {
    let gated = gated(layer(), |_| ([("cache-control", "no-store")], "…").into_response());
    for id in ["1", "2"] {
        gated.gate.add_permits(1);
        get_with(&gated.app, "/", &[("x-request-id", id)]).await;
    }
    const IDS: [&[(&str, &str)]; 3] = [
        &[("x-request-id", "3")],
        &[("x-request-id", "4")],
        &[("x-request-id", "5")],
    ];
    let asking = gated.ask_with(&IDS);
    idle().await;
    assert_eq!(gated.calls.count(), 5, "nobody waits for another one");
    gated.gate.add_permits(3);
    asking.join_all().await;
}
