//! A response from the store is the handler's response.

use std::iter::repeat_with;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::server::{App, Calls, layer};
use crate::store::Store;

pub async fn a_hit_is_the_miss_byte_for_byte(store: Store) {
    let every_byte = Bytes::from_iter(0..=255);
    let (app, calls) = App::answering(layer(&store).await, move |_, parts| {
        let (status, body) = match parts.uri.path() {
            "/binary" => (203, Body::from(every_byte.clone())),
            "/empty" => (200, Body::empty()),
            _ => (204, Body::empty()),
        };
        Response::builder()
            .status(status)
            .header("content-type", "application/x-bytes")
            .header("x-twice", "one")
            .header("link", "</a>; rel=next")
            .header("x-twice", "two, \"three\"")
            .header("x-twice", "one")
            .header("x-latin", http::HeaderValue::from_bytes(b"caf\xe9").unwrap())
            .header("x-nothing", "")
            .body(body)
            .unwrap()
    })
    .await;
    for (number, url) in ["/binary", "/empty", "/no-content"].into_iter().enumerate() {
        let miss = app.get(url).await;
        assert_eq!(miss.cache_status(), "cache; fwd=uri-miss; stored");
        assert_eq!(miss.x_cache(), "MISS");
        for _ in 0..2 {
            let hit = app.get(url).await;
            assert_eq!(hit.x_cache(), "HIT", "{}", hit.cache_status());
            assert_eq!((hit.status, &hit.body), (miss.status, &miss.body));
            assert_eq!(hit.lines(), miss.lines());
        }
        let twice: Vec<_> = miss.headers.get_all("x-twice").iter().collect();
        assert_eq!(twice, ["one", "two, \"three\"", "one"]);
        assert_eq!(calls.count(), number + 1);
    }
}

pub async fn a_large_body_is_the_same_again(store: Store) {
    // Leaves room for the head, which is stored with the body.
    let limit = store.backend().await.limits().value_bytes.unwrap();
    let length = limit.min(1024 * 1024) - 4096;
    let body = Bytes::from_iter(repeat_with(|| fastrand::u8(..)).take(length));
    let answer = body.clone();
    let (app, calls) = App::answering(layer(&store).await, move |_, _| answer.clone()).await;
    for x_cache in ["MISS", "HIT", "HIT"] {
        let reply = app.get("/").await;
        assert_eq!(reply.x_cache(), x_cache, "{}", reply.cache_status());
        assert!(reply.body == body, "{} bytes", reply.body.len());
    }
    assert_eq!(calls.count(), 1);
}

pub async fn a_head_is_answered_from_a_get(store: Store) {
    let (app, calls) = App::answering(layer(&store).await, |_, _| ([("x-more", "1")], "hello")).await;
    app.get("/").await;
    let get = app.get("/").await;
    let head = app.send(Method::HEAD, "/", &[], "").await;
    assert_eq!(head.x_cache(), "HIT");
    assert_eq!((head.status, head.body.len()), (get.status, 0));
    assert_eq!(head.lines(), get.lines());
    assert_eq!(head.header("content-length"), "5");
    assert_eq!(calls.count(), 1);
}

pub async fn a_range_is_cut_from_the_stored_whole(store: Store) {
    let whole: String = (0..10_000).map(|number| format!("{number:05}\n")).collect();
    let answer = whole.clone();
    let (app, calls) = App::answering(layer(&store).await, move |_, _| answer.clone()).await;
    let etag = app.get("/").await.header("etag").to_owned();
    for (range, expected) in [
        ("bytes=0-5", &whole[..6]),
        ("bytes=30000-30011", &whole[30_000..30_012]),
        ("bytes=59994-", &whole[59_994..]),
        ("bytes=-6", &whole[59_994..]),
    ] {
        let part = app.get_with("/", &[("range", range), ("if-range", &etag)]).await;
        assert_eq!(
            (part.status.as_u16(), part.x_cache()),
            (206, "HIT"),
            "{range}: {}",
            part.cache_status()
        );
        assert_eq!(part.text(), expected, "{range}");
        assert!(part.header("content-range").ends_with("/60000"), "{range}");
    }
    let beyond = app.get_with("/", &[("range", "bytes=60000-")]).await;
    assert_eq!(beyond.status.as_u16(), 416);
    assert_eq!(calls.count(), 1);
}

pub async fn the_order_of_a_query_does_not_matter(store: Store) {
    let (app, calls) = App::answering(layer(&store).await, |call, _| call.to_string()).await;
    assert_eq!(app.get("/list?tag=a&page=1").await.text(), "1");
    let same = app.get("/list?page=1&tag=a").await;
    assert_eq!((same.x_cache(), same.text()), ("HIT", "1"));
    for other in [
        "/list?page=2&tag=a",
        "/list?page=1",
        "/list",
        "/list?tag=a&page=1&page=1",
    ] {
        assert_eq!(app.get(other).await.x_cache(), "MISS", "{other}");
    }
    assert_eq!(calls.count(), 5);
}

pub async fn each_variant_has_its_own_answer(store: Store) {
    let (app, calls) = App::answering(layer(&store).await, |_, parts| {
        let language = parts.headers.get("accept-language");
        let language = language.map_or("none", |value| value.to_str().unwrap());
        ([("vary", "accept-language")], language.to_owned())
    })
    .await;
    let german = [("accept-language", "de")];
    let english = [("accept-language", "en")];
    for x_cache in ["MISS", "HIT"] {
        for (asked, text) in [(&german[..], "de"), (&english[..], "en"), (&[], "none")] {
            let reply = app.get_with("/", asked).await;
            assert_eq!((reply.text(), reply.x_cache()), (text, x_cache));
        }
    }
    assert_eq!(calls.count(), 3);
    app.send(Method::DELETE, "/", &[], "").await;
    for asked in [&german, &english] {
        assert_eq!(
            app.get_with("/", asked).await.x_cache(),
            "MISS",
            "a write reaches all variants"
        );
    }
}

pub async fn a_post_is_cached_by_choice(store: Store) {
    for (by_choice, again) in [(true, "HIT"), (false, "BYPASS")] {
        let calls = Calls::default();
        let counter = calls.clone();
        let search = move |headers: HeaderMap, content: String| {
            let call = counter.add();
            let media_type = headers["content-type"].to_str().unwrap().to_owned();
            async move { format!("{call} {media_type} {content}") }
        };
        let layer = layer(&store).await;
        let layer = if by_choice { layer.post(1024) } else { layer };
        let app = App::start(Router::new().route("/search", post(search)).layer(layer)).await;
        for (media_type, content) in [("text/plain", "a"), ("text/plain", "b"), ("text/html", "a")] {
            let headers = [("content-type", media_type)];
            let ask = || app.send(Method::POST, "/search", &headers, content);
            let (first, second) = (ask().await, ask().await);
            assert!(
                first.text().ends_with(&format!("{media_type} {content}")),
                "{}",
                first.text()
            );
            assert_eq!(second.x_cache(), again);
            assert_eq!(first.body == second.body, by_choice);
        }
        assert_eq!(calls.count(), if by_choice { 3 } else { 6 });
    }
}
