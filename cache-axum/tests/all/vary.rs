//! Variants: responses with `Vary`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use crate::support::{app, cache, get, get_with, idle, layer, request, send};
use cache_axum::CacheLayer;
use http::Method;

fn said(parts: &http::request::Parts, name: &str) -> String {
    parts
        .headers
        .get(name)
        .map_or("none".into(), |value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn each_selection_has_its_own_answer() {
    let (app, calls) = app(layer(), |call, parts| {
        (
            [("vary", "Accept-Language")],
            format!("{call} {}", said(&parts, "accept-language")),
        )
    });
    let first = get_with(&app, "/", &[("accept-language", "de")]).await;
    assert_eq!(
        (first.text(), first.cache_status()),
        ("1 de", "cache; fwd=uri-miss; stored")
    );
    let other = get_with(&app, "/", &[("accept-language", "en")]).await;
    assert_eq!(
        (other.text(), other.cache_status()),
        ("2 en", "cache; fwd=vary-miss; stored")
    );
    let none = get(&app, "/").await;
    assert_eq!((none.text(), none.x_cache()), ("3 none", "MISS"));
    for (asked, text) in [("de", "1 de"), ("en", "2 en")] {
        let hit = get_with(&app, "/", &[("accept-language", asked), ("accept", "*/*")]).await;
        assert_eq!((hit.text(), hit.x_cache()), (text, "HIT"));
    }
    assert_eq!(get(&app, "/").await.text(), "3 none");
    let head = send(&app, request(Method::HEAD, "/", &[("accept-language", "de")])).await;
    assert_eq!(head.x_cache(), "HIT");
    assert_eq!(calls.count(), 3);
}

#[tokio::test]
async fn more_fields_may_turn_up_later() {
    let (app, calls) = app(layer(), |call, parts| {
        let german = said(&parts, "accept-language") == "de";
        let vary = if german {
            "accept-language, accept"
        } else {
            "accept-language"
        };
        let text = format!("{call} {} {}", said(&parts, "accept-language"), said(&parts, "accept"));
        ([("vary", vary)], text)
    });
    let en = [("accept-language", "en"), ("accept", "a")];
    let de_a = [("accept-language", "de"), ("accept", "a")];
    let de_b = [("accept-language", "de"), ("accept", "b")];
    get_with(&app, "/", &en).await;
    // What it varies by is learned, and from then on each is kept by both fields.
    let learned = get_with(&app, "/", &de_a).await;
    assert_eq!(learned.cache_status(), "cache; fwd=vary-miss; detail=vary-changed");
    for asked in [&de_a, &de_b, &en] {
        let first = get_with(&app, "/", asked).await;
        let second = get_with(&app, "/", asked).await;
        assert_eq!((first.x_cache(), second.x_cache()), ("MISS", "HIT"), "{asked:?}");
        assert_eq!(first.text(), second.text());
        assert!(first.text().ends_with(&format!("{} {}", asked[0].1, asked[1].1)));
    }
    assert_eq!(calls.count(), 5);
}

#[tokio::test]
async fn invalidation_reaches_every_variant() {
    let (app, calls) = app(layer(), |_, parts| {
        ([("vary", "accept-language")], said(&parts, "accept-language"))
    });
    for asked in ["de", "en"] {
        get_with(&app, "/", &[("accept-language", asked)]).await;
    }
    send(&app, request(Method::DELETE, "/", &[])).await;
    for asked in ["de", "en"] {
        assert_eq!(
            get_with(&app, "/", &[("accept-language", asked)]).await.x_cache(),
            "MISS"
        );
        assert_eq!(
            get_with(&app, "/", &[("accept-language", asked)]).await.x_cache(),
            "HIT"
        );
    }
    assert_eq!(calls.count(), 5);
}

#[tokio::test]
async fn variants_expire_by_themselves() {
    let (cache, clock) = cache();
    let (app, _) = app(CacheLayer::new(cache).ttl(Duration::from_secs(60)), |call, _| {
        ([("vary", "accept")], call.to_string())
    });
    get(&app, "/").await;
    clock.advance(Duration::from_secs(61));
    let again = get(&app, "/").await;
    assert_eq!(
        (again.text(), again.cache_status()),
        ("2", "cache; fwd=vary-miss; stored")
    );
    assert_eq!(get(&app, "/").await.text(), "2");
}

#[tokio::test]
async fn concurrent_first_requests_load_each_variant_once() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let calls = crate::support::Calls::default();
    let (inner, counter) = (Arc::clone(&gate), calls.clone());
    let handler = move |headers: http::HeaderMap| {
        counter.add();
        let gate = Arc::clone(&inner);
        async move {
            let _permit = gate.acquire().await.unwrap();
            ([("vary", "accept")], headers["accept"].to_str().unwrap().to_owned())
        }
    };
    let app = axum::Router::new().fallback(handler).layer(layer());
    let mut asking = tokio::task::JoinSet::new();
    for index in 0..30 {
        let app = app.clone();
        asking.spawn(async move {
            let accept = ["a", "b", "c"][index % 3];
            let reply = get_with(&app, "/", &[("accept", accept)]).await;
            assert_eq!(reply.text(), accept);
        });
    }
    idle().await;
    assert_eq!(calls.count(), 1);
    gate.add_permits(30);
    asking.join_all().await;
    assert_eq!(calls.count(), 3);
}

#[tokio::test]
async fn fields_in_the_key_need_no_variants() {
    let (app, calls) = app(layer().key_headers([http::header::ACCEPT_LANGUAGE]), |_, parts| {
        ([("vary", "accept-language")], said(&parts, "accept-language"))
    });
    for _ in 0..2 {
        assert_eq!(get_with(&app, "/", &[("accept-language", "de")]).await.text(), "de");
        assert_eq!(get_with(&app, "/", &[("accept-language", "en")]).await.text(), "en");
    }
    assert_eq!(calls.count(), 2);
}
