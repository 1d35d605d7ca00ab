//! `Age`, `Expires` and dates (RFC 9111, sections 4.2, 5.1 and 5.3; RFC 9110, section 5.6.7).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{app, cache, get, layer};
use cache_axum::{CacheLayer, StoreFor};

const FAR: &str = "Fri, 15 Nov 2999 00:00:00 GMT";

#[tokio::test]
async fn what_expires_says_to_clients_is_not_overruled() {
    for expires in ["0", "Thu, 01 Jan 1970 00:00:00 GMT", FAR] {
        let (app, _) = app(layer(), move |_, _| {
            (StoreFor::new(Duration::from_secs(3600)), [("expires", expires)], "text")
        });
        for x_cache in ["MISS", "HIT"] {
            let reply = get(&app, "/").await;
            assert_eq!((reply.x_cache(), reply.header("expires")), (x_cache, expires));
            assert_eq!(reply.header("cache-control"), "", "{expires}");
        }
    }
    // The negative control: a handler that says nothing has the layer speak for it.
    let (app, _) = crate::support::app(layer(), move |_, _| (StoreFor::new(Duration::from_secs(3600)), "text"));
    assert_eq!(get(&app, "/").await.header("cache-control"), "max-age=3600");
}

#[tokio::test]
async fn an_age_that_cannot_be_read_is_ignored_and_the_first_counts() {
    for (age, x_cache, shown) in [
        ("x", "HIT", "0"),
        ("-1", "HIT", "0"),
        ("30, 7200", "HIT", "30"),
        ("7200, 30", "MISS", ""),
    ] {
        let (app, _) = app(CacheLayer::shared(cache().0), move |_, _| {
            [("cache-control", "max-age=3600"), ("age", age)]
        });
        get(&app, "/").await;
        let reply = get(&app, "/").await;
        assert_eq!(reply.x_cache(), x_cache, "{age}");
        if x_cache == "HIT" {
            assert_eq!(reply.header("age"), shown, "{age}");
        }
    }
}

#[tokio::test]
async fn expires_is_read_in_its_obsolete_forms_and_in_any_case() {
    for (expires, x_cache) in [
        ("Monday, 15-Nov-60 00:00:00 GMT", "HIT"),
        ("Fri Nov 15 00:00:00 2999", "HIT"),
        ("fri, 15 nov 2999 00:00:00 gmt", "HIT"),
        ("FRI, 15 NOV 2999 00:00:00 GMT", "HIT"),
        ("Fri, 15 Nov 2999 00:00:00 UTC", "MISS"),
        ("soon", "MISS"),
    ] {
        let (app, _) = app(CacheLayer::shared(cache().0), move |_, _| [("expires", expires)]);
        get(&app, "/").await;
        assert_eq!(get(&app, "/").await.x_cache(), x_cache, "{expires}");
    }
}
