//! Successive hits on one response: each states what it would state as the only hit.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Reply, app, cache};
use axum::Router;
use axum::routing::get;
use cache_axum::{CacheLayer, ClientCaching};

/// More than it takes for anything to be remembered of hits.
const HITS: usize = 5;

async fn hits(app: &Router, headers: &[(&str, &str)]) -> Vec<Reply> {
    let mut hits = Vec::new();
    for _ in 0..HITS {
        hits.push(crate::support::get_with(app, "/", headers).await);
    }
    hits
}

#[tokio::test]
async fn age_and_lifetime_go_on_from_second_to_second() {
    let (cache, clock) = cache();
    let (app, _) = app(CacheLayer::new(cache).ttl(Duration::from_secs(60)), |_, _| "text");
    crate::support::get(&app, "/").await;
    for after in [0, 1, 2, 30, 59] {
        for hit in hits(&app, &[]).await {
            assert_eq!((hit.x_cache(), hit.text()), ("HIT", "text"));
            assert_eq!(hit.header("age"), after.to_string());
            assert_eq!(hit.header("cache-control"), "max-age=60");
            let ttl = format!("ttl={}", 60 - after);
            assert!(hit.cache_status().ends_with(&ttl), "{}", hit.cache_status());
        }
        let next = [0, 1, 2, 30, 59, 60].into_iter().find(|next| *next > after).unwrap();
        clock.advance(Duration::from_secs(next - after));
    }
    assert_ne!(crate::support::get(&app, "/").await.x_cache(), "HIT");
}

#[tokio::test]
async fn what_is_left_of_the_lifetime_is_told_to_clients_to_the_second() {
    let (cache, clock) = cache();
    let layer = CacheLayer::new(cache)
        .ttl(Duration::from_millis(4_500))
        .client_caching(ClientCaching::Remaining);
    let (app, _) = app(layer, |_, _| "text");
    crate::support::get(&app, "/").await;
    // The seconds that are left do not end where the seconds of the age do.
    for left in [4, 4, 3, 3, 2, 2, 1, 1, 0] {
        for hit in hits(&app, &[]).await {
            assert_eq!(hit.header("cache-control"), format!("max-age={left}"));
            assert_eq!(hit.header("age"), "");
        }
        clock.advance(Duration::from_millis(500));
    }
}

#[tokio::test]
async fn layers_over_one_cache_each_speak_for_themselves() {
    let (cache, _) = cache();
    let handler = || async { "text" };
    let outspoken = CacheLayer::new(cache.clone()).ttl(Duration::from_secs(60));
    let silent = outspoken
        .clone()
        .client_caching(ClientCaching::Silent)
        .status_header(None);
    let outspoken = Router::new().route("/", get(handler)).layer(outspoken);
    let silent = Router::new().route("/", get(handler)).layer(silent);
    crate::support::get(&outspoken, "/").await;
    for _ in 0..HITS {
        let hit = crate::support::get(&outspoken, "/").await;
        assert_eq!((hit.x_cache(), hit.header("cache-control")), ("HIT", "max-age=60"));
        let hit = crate::support::get(&silent, "/").await;
        assert!(hit.cache_status().contains("hit"), "{}", hit.cache_status());
        assert_eq!((hit.x_cache(), hit.header("cache-control")), ("", ""));
    }
}

#[tokio::test]
async fn a_layer_whose_settings_change_speaks_by_the_new_ones() {
    let (cache, _) = cache();
    let layer = CacheLayer::new(cache).ttl(Duration::from_secs(60));
    let served = |layer: &CacheLayer| Router::new().route("/", get(|| async { "text" })).layer(layer.clone());
    let before = served(&layer);
    crate::support::get(&before, "/").await;
    hits(&before, &[]).await;
    drop(before);
    let after = served(&layer.client_caching(ClientCaching::Revalidate));
    for hit in hits(&after, &[]).await {
        assert_eq!((hit.x_cache(), hit.header("cache-control")), ("HIT", "no-cache"));
    }
}

#[tokio::test]
async fn requests_for_the_whole_and_others_do_not_mix() {
    let (cache, _) = cache();
    let (app, _) = app(CacheLayer::new(cache).ttl(Duration::from_secs(60)), |_, _| "0123456789");
    let etag = crate::support::get(&app, "/").await.header("etag").to_owned();
    for _ in 0..HITS {
        let whole = crate::support::get(&app, "/").await;
        assert_eq!((whole.status.as_u16(), whole.header("content-length")), (200, "10"));
        let part = crate::support::get_with(&app, "/", &[("range", "bytes=2-4")]).await;
        assert_eq!((part.status.as_u16(), part.text()), (206, "234"));
        let unchanged = crate::support::get_with(&app, "/", &[("if-none-match", &etag)]).await;
        assert_eq!((unchanged.status.as_u16(), unchanged.text()), (304, ""));
    }
}

#[tokio::test]
async fn a_new_response_is_not_answered_with_the_fields_of_the_old() {
    let (cache, _) = cache();
    let (app, _) = app(
        CacheLayer::new(cache.clone()).ttl(Duration::from_secs(60)),
        |call, _| [("x-call", call.to_string())],
    );
    for call in ["1", "2", "3"] {
        for hit in std::iter::once(crate::support::get(&app, "/").await).chain(hits(&app, &[]).await) {
            assert_eq!(hit.header("x-call"), call);
        }
        cache.clear_all().await.unwrap();
    }
}
