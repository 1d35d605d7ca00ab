//! Which queries are equivalent: only what you choose to leave out of the key is left out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{app, cache, get, get_with, layer};
use axum::Router;
use axum::extract::OriginalUri;
use cache_axum::{CacheLayer, Query};
use http::request::Parts;
use proptest::prelude::*;

/// Whether two URLs have one answer.
async fn are_one(layer: CacheLayer, one: &str, other: &str) -> bool {
    let (app, calls) = app(layer, |_, _| "…");
    get(&app, one).await;
    get(&app, other).await;
    calls.count() == 1
}

#[tokio::test]
async fn tracking_parameters_do_not_count_by_choice() {
    let without = || layer().query(Query::sorted().without(["utm_*", "fbclid"]));
    for (one, other, expected) in [
        ("/?id=1", "/?utm_source=x&id=1&fbclid=abc", true),
        ("/", "/?utm_source=x", true),
        ("/?id=1", "/?id=2&utm_source=x", false),
        ("/?id=1", "/?id=1&utm=x", false),
        ("/?id=1", "/?id=1&fbclid2=x", false),
        ("/?id=1", "/?id=1&FBCLID=x", false),
        ("/?a=1&b=2", "/?b=2&utm_x&a=1", true),
    ] {
        assert_eq!(are_one(without(), one, other).await, expected, "{one} {other}");
    }
    assert!(!are_one(layer(), "/?id=1", "/?id=1&utm_source=x").await);
}

#[tokio::test]
async fn only_named_parameters_count_by_choice() {
    let only = || layer().query(Query::sorted().only(["page", "filter_*"]));
    for (one, other, expected) in [
        ("/?page=1", "/?invented=7&page=1", true),
        ("/?page=1", "/?page=2", false),
        ("/?filter_a=1", "/?filter_b=1", false),
        ("/?page=1&page=2", "/?page=2&page=1", false),
        ("/", "/?invented", true),
    ] {
        assert_eq!(are_one(only(), one, other).await, expected, "{one} {other}");
    }
}

#[derive(serde::Deserialize)]
struct Page {
    #[serde(default)]
    page: u32,
}

/// However its name is spelled, a parameter that the handler reads counts: nobody may choose the page of the others.
#[tokio::test]
async fn a_parameter_is_the_same_however_its_name_is_encoded() {
    use axum::Router;
    use axum::extract::Query as Extract;
    use axum::routing::get as on_get;
    for spelled in ["page", "p%61ge", "%70%61%67%65", "p%41ge&page", "x&p%61ge", "&&p%61ge"] {
        let handler = |Extract(query): Extract<Page>| async move { query.page.to_string() };
        let layer = layer().query(Query::sorted().only(["page", "tag"]));
        let app = Router::new().route("/items", on_get(handler)).layer(layer);
        assert_eq!(
            get(&app, &format!("/items?{spelled}=999")).await.text(),
            "999",
            "{spelled}"
        );
        assert_eq!(get(&app, "/items").await.text(), "0", "{spelled}");
    }
}

#[tokio::test]
async fn names_in_the_rules_are_those_that_the_handler_sees() {
    let only = || layer().query(Query::sorted().only(["a b", "ä", "c+d", "f_*"]));
    let without = || layer().query(Query::sorted().without(["a b", "ä", "c+d", "f_*"]));
    for (parameter, named) in [
        ("a+b=1", true),
        ("a%20b=1", true),
        ("%C3%A4=1", true),
        ("c%2Bd=1", true),
        ("f%5fx=1", true),
        ("c+d=1", false),
        ("%c3=1", false),
        ("a%2Bb=1", false),
        ("%=1", false),
    ] {
        let url = format!("/?{parameter}");
        assert_eq!(are_one(only(), "/", &url).await, !named, "{parameter}");
        assert_eq!(are_one(without(), "/", &url).await, named, "{parameter}");
    }
}

#[tokio::test]
async fn the_order_of_one_name_counts_however_it_is_spelled() {
    for (one, other, expected) in [
        ("/?a=1&%61=2", "/?%61=2&a=1", false),
        ("/?b=0&a=1&%61=2", "/?b=0&%61=2&a=1", false),
        ("/?%62=0&a=1", "/?a=1&%62=0", true),
        ("/?%ff=1&%fe=2", "/?%fe=2&%ff=1", false),
    ] {
        assert_eq!(are_one(layer(), one, other).await, expected, "{one} {other}");
    }
}

#[tokio::test]
async fn the_handler_sees_only_what_is_in_the_key() {
    for (query, asked, seen) in [
        (Query::sorted(), "/?utm_source=x&b=1&a=2", "/?utm_source=x&b=1&a=2"),
        (
            Query::sorted().without(["utm_*"]),
            "/?utm_source=x&b=1&a=2",
            "/?b=1&a=2",
        ),
        (
            Query::sorted().without(["utm_*"]),
            "/?b=1&%75tm_source=x&a=%7e",
            "/?b=1&a=~",
        ),
        (Query::sorted().without(["utm_*"]), "/?utm_source=x", "/"),
        (Query::exact().only(["id"]), "/?a=1&id=2&evil&id=3&", "/?id=2&id=3"),
    ] {
        let echo = |_, request: Parts| request.uri.to_string();
        let (app, calls) = app(layer().query(query), echo);
        assert_eq!(get(&app, asked).await.text(), seen);
        // Also in a nested router, whose handler may ask for the original URI.
        let original = |OriginalUri(uri): OriginalUri| async move { uri.to_string() };
        let nested = Router::new()
            .route("/x", axum::routing::get(original))
            .layer(layer().query(Query::sorted().without(["utm_*"])));
        let nested = Router::new().nest("/in", nested);
        assert_eq!(get(&nested, "/in/x?utm_source=x&b=1").await.text(), "/in/x?b=1");
        assert_eq!(calls.count(), 1);
    }
}

/// A request whose response is not stored is the handler's as it came.
#[tokio::test]
async fn a_request_that_bypasses_keeps_its_whole_query() {
    let echo = |_, request: Parts| request.uri.to_string();
    let (app, _) = app(layer().query(Query::sorted().without(["utm_*"])), echo);
    let asked = get_with(&app, "/?utm_source=x&b=1", &[("authorization", "Bearer 1")]).await;
    assert_eq!(asked.text(), "/?utm_source=x&b=1");
}

#[tokio::test]
async fn a_gateway_takes_urls_as_they_are_spelled() {
    let headers = [("cache-control", "max-age=60")];
    let (app, calls) = app(CacheLayer::shared(cache().0), move |_, _| (headers, "…"));
    for url in ["/?b=1&a=2", "/?a=2&b=1", "/?b=1&a=2"] {
        get(&app, url).await;
    }
    assert_eq!(calls.count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two URLs that differ in a parameter that counts are two, whatever the rules leave out.
    #[test]
    fn what_counts_tells_urls_apart(rest in "[a-z=&%0-9_]{0,20}", one in 0_u8..10, other in 0_u8..10) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for query in [Query::sorted(), Query::exact(), Query::sorted().without(["utm_*"]), Query::exact().only(["id"])] {
            let (one_url, other_url) = (format!("/?{rest}&id={one}"), format!("/?{rest}&id={other}"));
            let shared = runtime.block_on(are_one(layer().query(query.clone()), &one_url, &other_url));
            prop_assert_eq!(shared, one == other, "{:?}", query);
        }
    }
}
