//! Telling caches downstream of invalidations over HTTP.
#![cfg(feature = "http-purger")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use cache_axum::cache_engine::cache_core::ErrorKind;
use cache_axum::cache_engine::{Cache, InvalidationTarget, Purge, Purger};
use cache_axum::{HttpPurger, SurrogateKeys};
use cache_memory::MemoryBackend;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tokio::net::TcpListener;

type Seen = Arc<Mutex<Vec<http::request::Parts>>>;

/// A server that notes what it is asked, and answers with `status`.
async fn server(status: StatusCode) -> (String, Seen) {
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let router = Router::new().fallback(move |request: Request| {
        log.lock().unwrap().push(request.into_parts().0);
        async move { status }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/purge", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, seen)
}

fn tag(tag: &str, soft: bool) -> Purge {
    Purge::new(InvalidationTarget::Tag(tag.into()), soft)
}

fn field<'a>(parts: &'a http::request::Parts, name: &str) -> &'a str {
    parts.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn each_server_gets_the_keys_with_the_token() {
    let ((one, at_one), (other, at_other)) = (server(StatusCode::OK).await, server(StatusCode::NO_CONTENT).await);
    let keys = SurrogateKeys::cache_tag().prefix("shop/");
    let purger = HttpPurger::new(keys, [one, other])
        .unwrap()
        .bearer_token("secret")
        .unwrap();
    let cache = Cache::builder(MemoryBackend::default()).purger(purger).build();
    cache.invalidate_tags(["item:42", "très"]).await.unwrap();
    cache.settled().await;
    assert_eq!(cache.pending_purges(), 0);
    for seen in [at_one, at_other] {
        let seen = seen.lock().unwrap();
        let request = &seen[0];
        assert_eq!((request.method.as_str(), request.uri.path()), ("PURGE", "/purge"));
        assert_eq!(field(request, "authorization"), "Bearer secret");
        let mut keys: Vec<_> = field(request, "cache-tag").split(',').collect();
        keys.sort_unstable();
        assert_eq!(keys, ["shop/item:42", "shop/tr%C3%A8s", "shop/~any"]);
    }
}

#[tokio::test]
async fn settings_of_the_request() {
    let (url, seen) = server(StatusCode::OK).await;
    let purger = HttpPurger::new(SurrogateKeys::surrogate_key(), [url])
        .unwrap()
        .method(Method::POST)
        .field(HeaderName::from_static("xkey-purge"))
        .header(HeaderName::from_static("fastly-key"), HeaderValue::from_static("key"))
        .soft_field(
            HeaderName::from_static("fastly-soft-purge"),
            HeaderValue::from_static("1"),
        )
        .max_keys(3);
    purger
        .purge(&[
            tag("a", false),
            tag("b", false),
            tag("b", false),
            tag("c", false),
            tag("d", true),
        ])
        .await
        .unwrap();
    let seen = seen.lock().unwrap();
    let said: Vec<_> = seen
        .iter()
        .map(|request| (field(request, "xkey-purge"), field(request, "fastly-soft-purge")))
        .collect();
    assert_eq!(said, [("~any a b", ""), ("c", ""), ("~any d", "1")]);
    assert!(
        seen.iter()
            .all(|request| request.method == Method::POST && field(request, "fastly-key") == "key")
    );
}

#[tokio::test]
async fn a_server_that_refuses_or_is_away_is_a_failure_and_the_others_are_told() {
    let refuses = server(StatusCode::FORBIDDEN).await.0;
    let breaks = server(StatusCode::BAD_GATEWAY).await.0;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    for (bad, kind, message) in [
        (refuses, ErrorKind::Rejected, "403"),
        (breaks, ErrorKind::Unavailable, "502"),
        (away, ErrorKind::Unavailable, "no answer"),
    ] {
        let (good, seen) = server(StatusCode::OK).await;
        let purger = HttpPurger::new(SurrogateKeys::surrogate_key(), [bad.clone(), good]).unwrap();
        let error = purger.purge(&[tag("a", false)]).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        let text = error.to_string();
        assert!(
            text.contains(message) && text.contains(bad.trim_start_matches("http://")),
            "{text}"
        );
        assert_eq!(seen.lock().unwrap().len(), 1);
    }
}

/// One that is frozen accepts connections and never answers; one that is closed refuses them.
#[tokio::test]
async fn a_server_is_told_of_everything_at_once_whatever_becomes_of_the_others() {
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = [&frozen, &closed].map(|server| format!("http://{}", server.local_addr().unwrap()));
    drop(closed);
    for bad in away {
        let (good, seen) = server(StatusCode::OK).await;
        let purger = HttpPurger::new(SurrogateKeys::surrogate_key(), [bad.clone(), good]).unwrap();
        let cache = Cache::builder(MemoryBackend::default())
            .purger(purger.repeats_after(None))
            .build();
        let tags: Vec<_> = (0..100).map(|number| format!("tag-{number}")).collect();
        cache.invalidate_tags(&tags).await.unwrap();
        let told = || {
            let seen = seen.lock().unwrap();
            let keys = seen
                .iter()
                .flat_map(|request| field(request, "surrogate-key").split(' '));
            let mut keys: Vec<_> = keys.filter(|key| *key != "~any").map(str::to_owned).collect();
            keys.sort_unstable();
            keys
        };
        // Much shorter than the time that the other server has to answer.
        let all = async {
            while told().len() < 100 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(8), all).await;
        assert!(in_time.is_ok(), "{bad}: {} of 100", told().len());
        let mut tags = tags;
        tags.sort_unstable();
        assert_eq!(told(), tags, "each once");
        assert_eq!(cache.pending_purges(), 100, "the other server was told of nothing");
    }
}

#[tokio::test]
async fn long_lists_go_in_several_requests() {
    let (url, seen) = server(StatusCode::OK).await;
    let purger = HttpPurger::new(SurrogateKeys::surrogate_key().max_len(200), [url]).unwrap();
    let tags: Vec<_> = (0..30)
        .map(|number| tag(&format!("tag-number-{number}"), false))
        .collect();
    purger.purge(&tags).await.unwrap();
    let seen = seen.lock().unwrap();
    let values: Vec<_> = seen.iter().map(|request| field(request, "surrogate-key")).collect();
    assert!(
        values.len() > 1 && values.iter().all(|value| value.len() <= 200),
        "{values:?}"
    );
    assert_eq!(values.iter().flat_map(|value| value.split(' ')).count(), 31);
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let keys = SurrogateKeys::surrogate_key;
    let none: [&str; 0] = [];
    let cases = [
        (HttpPurger::new(keys(), none), "at least one URL"),
        (HttpPurger::new(keys(), ["https://cdn"]), "http://"),
        (HttpPurger::new(keys(), ["varnish:6081"]), "http://"),
        (HttpPurger::new(keys(), ["http://user:pass@varnish"]), "bearer_token"),
        (
            HttpPurger::new(keys(), ["http://varnish"]).and_then(|purger| purger.bearer_token("")),
            "token",
        ),
        (
            HttpPurger::new(keys(), ["http://varnish"]).and_then(|purger| purger.bearer_token("a\nb")),
            "token",
        ),
    ];
    for (refused, reason) in cases {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let purger = HttpPurger::new(keys(), ["http://varnish"])
        .unwrap()
        .repeats_after(None)
        .timeout(Duration::from_secs(1));
    assert_eq!(
        (Purger::repeats_after(&purger), Purger::timeout(&purger)),
        (None, Duration::from_secs(1))
    );
}
