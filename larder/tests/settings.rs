//! Settings from a file: what they set, and the error for an invalid file.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use larder::cache_core::{Backend, ErrorKind};
use larder::{Policy, Settings};

fn read(text: &str) -> Settings {
    serde_json::from_str(text).unwrap()
}

fn refusal(text: &str) -> String {
    serde_json::from_str::<Settings>(text).unwrap_err().to_string()
}

#[tokio::test]
async fn they_reach_the_cache() {
    let settings = read(
        r#"{ "store": "memory:", "prefix": "shop", "namespace": "users", "enabled": false, "ttl": "1m 30s",
             "stale_while_revalidate": "10s", "stale_if_error": "1h", "negative_ttl": "1s", "error_ttl": "2s",
             "jitter": 0.1, "early_refresh_after": 0.8, "early_refresh_beta": 1.5, "verify": 0.01, "soft_timeout": "200ms", "load_timeout": "5s", "coalesce_across_processes": false,
             "contributes": false,
             "backend_timeout": "250ms", "clear_timeout": "10s", "lease_time": "3s", "max_lease": "1m",
             "tag_namespaces": true, "tag_cache_ttl": "1s", "pending_file": "/nowhere/pending", "foreground": true }"#,
    );
    let cache = settings.open().await.unwrap().build();
    assert_eq!(cache.key("1").to_string(), "shop:users:1");
    assert!(!cache.is_enabled());
    let expected = Policy::new(Duration::from_secs(90))
        .with_stale_while_revalidate(Duration::from_secs(10))
        .with_stale_if_error(Duration::from_secs(3_600))
        .with_negative_ttl(Duration::from_secs(1))
        .with_error_ttl(Duration::from_secs(2))
        .with_jitter(0.1)
        .with_early_refresh_after(0.8)
        .with_early_refresh_beta(1.5)
        .with_verify(0.01)
        .with_soft_timeout(Duration::from_millis(200))
        .with_load_timeout(Duration::from_secs(5))
        .with_coalesce_across_processes(false)
        .with_contributes(false);
    assert_eq!(*cache.policy(), expected);
    assert!(cache.adapter().is_foreground());
}

/// `CACHE_URL` is `url` to a reader of variables that begin with `CACHE_`.
#[tokio::test]
async fn the_store_may_be_called_url() {
    assert_eq!(
        read(r#"{ "url": "memory:?max_entries=9" }"#).store.as_deref(),
        Some("memory:?max_entries=9")
    );
    assert_eq!(read(r#"{ "ttl": null }"#), Settings::default());
}

/// For a store that is wrapped, or that a URL cannot express.
#[tokio::test]
async fn they_apply_to_a_store_that_is_given() {
    let store = larder::MemoryBackend::default();
    let settings = read(r#"{ "store": "unused:", "prefix": "shop", "ttl": "1s" }"#);
    let cache = settings.builder(store.clone()).unwrap().build();
    cache.set("1", "Ada".to_owned()).await.unwrap();
    assert_eq!(cache.policy().ttl, Some(Duration::from_secs(1)));
    assert!(store.get(&cache.key("1")).await.unwrap().is_some());
    assert_eq!(cache.key("1").to_string(), "shop::1");
}

#[tokio::test]
async fn none_at_all_are_a_cache_in_memory() {
    let cache = read("{}").open().await.unwrap().build();
    cache.set("key", 1_u32).await.unwrap();
    assert!(cache.get::<u32>("key").await.unwrap().is_some());
}

#[tokio::test]
async fn a_near_tier_before_memory_is_left_out() {
    let cache = read(r#"{ "near": { "max_bytes": 1000000 } }"#)
        .open()
        .await
        .unwrap()
        .try_build()
        .unwrap();
    cache.set("key", 1_u32).await.unwrap();
    assert!(cache.get::<u32>("key").await.unwrap().is_some());
}

#[cfg(feature = "memcached")]
#[tokio::test]
async fn a_near_tier_whose_copies_have_no_end_is_refused() {
    let error = read(r#"{ "store": "memcached://127.0.0.1:1", "near": {} }"#)
        .open()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("set near.max_age"), "{error}");
}

/// A variable of the environment can switch off what a file has switched on.
#[cfg(feature = "memcached")]
#[tokio::test]
async fn a_near_tier_without_room_is_none() {
    // Another one is refused in front of this store, see above.
    let settings = read(r#"{ "store": "memcached://127.0.0.1:1", "near": { "max_bytes": 0 } }"#);
    settings.open().await.unwrap().try_build().unwrap();
}

#[test]
fn url_and_store_are_one_field() {
    let message = refusal(r#"{ "url": "memory:", "store": "memory:" }"#);
    assert!(message.contains("duplicate field `store`"), "{message}");
}

#[test]
fn what_is_wrong_is_named() {
    assert!(refusal(r#"{ "tll": "60s" }"#).contains("unknown field `tll`"));
    for wrong in [r#"{ "ttl": "60" }"#, r#"{ "ttl": 60 }"#, r#"{ "ttl": true }"#] {
        let message = refusal(wrong);
        assert!(
            message.contains("expected a number with a unit, as in") && message.contains("\"60s\""),
            "{message}"
        );
    }
}

#[test]
fn debug_shows_no_password() {
    for (url, shown) in [
        ("redis://ada:hunter2@cache:6379/1", "redis://***@cache:6379/1"),
        (
            "redis-sentinel://:hunter2@a:1?sentinelPassword=hunter2",
            "redis-sentinel://***@a:1?***",
        ),
        ("memcacheds://ada:hunter2@a:1,b:2", "memcacheds://***@a:1,b:2"),
        ("rabbit://ada:hun@ter2?hunter2/hunter2@host", "rabbit://***@host"),
        ("dynamodb://table?secret=hunter2", "dynamodb://table?***"),
        ("memory:?hunter2=1", "memory:***"),
        ("memory:", "memory:"),
        ("hunter2", "***"),
    ] {
        let settings = read(&format!(
            r#"{{ "store": "{url}", "prefix": "shop", "near": {{ "max_bytes": 7 }} }}"#
        ));
        let debug = format!("{settings:?}");
        assert!(!debug.contains("ter2"), "{debug}");
        assert!(debug.contains(&format!("store: Some(\"{shown}\")")), "{debug}");
        assert!(
            debug.contains(r#"prefix: Some("shop")"#) && debug.contains("max_bytes: Some(7)"),
            "{debug}"
        );
    }
}

#[tokio::test]
async fn a_wrong_store_is_an_error_of_open() {
    let error = read(r#"{ "store": "rabbit://a" }"#).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}
