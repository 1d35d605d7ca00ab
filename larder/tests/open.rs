//! Stores by URL: which store is opened, and the error for a wrong URL.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "redis")]
use larder::cache_core::Backend;
use larder::cache_core::ErrorKind;
use larder::{Cache, open};

#[tokio::test]
async fn memory_is_opened_and_used_as_any_backend() {
    let cache = Cache::builder(open("memory:").await.unwrap()).build();
    cache.set("key", 1_u32).await.unwrap();
    assert_eq!(cache.get::<u32>("key").await.unwrap().as_deref(), Some(&1));
}

#[tokio::test]
async fn memory_takes_its_bounds() {
    let bounded = open("memory:?max_bytes=100000&max_entries=10").await.unwrap();
    let cache = Cache::builder(bounded).build();
    for number in 0..1_000_u32 {
        cache.set(number.to_string(), number).await.unwrap();
    }
    let mut kept = 0;
    for number in 0..1_000_u32 {
        kept += u32::from(cache.get::<u32>(number.to_string()).await.unwrap().is_some());
    }
    assert!(kept <= 10, "{kept}");
}

async fn refusal(url: &str) -> String {
    let error = open(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{url}: {error}");
    error.to_string()
}

#[tokio::test]
async fn a_wrong_url_is_named_with_its_remedy() {
    assert!(
        refusal("rabbit://a")
            .await
            .contains("`rabbit:` names no store: use memory:")
    );
    assert!(refusal("").await.contains("names no store"));
    assert!(
        refusal("memory:?max_byte=1")
            .await
            .contains("`memory:` has no setting `max_byte=1`")
    );
    assert!(
        refusal("memory:?max_bytes=many")
            .await
            .contains("`max_bytes=many` is no whole number")
    );
    assert!(refusal("memory://host").await.contains("but not `host`"));
}

#[cfg(not(feature = "redis"))]
#[tokio::test]
async fn a_store_that_is_switched_off_names_its_feature() {
    for (url, feature) in [
        ("redis://:secret@host", "redis"),
        ("redis-cluster://host", "redis"),
        ("rediss://host", "redis-rustls"),
        ("memcached://host", "memcached"),
        ("memcacheds://host", "memcached-rustls"),
        ("dynamodb://table", "dynamodb"),
    ] {
        let message = refusal(url).await;
        assert!(message.contains(&format!("add the feature `{feature}`")), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[cfg(all(feature = "memcached", not(feature = "memcached-rustls")))]
#[tokio::test]
async fn tls_that_is_switched_off_names_its_feature() {
    let message = refusal("memcacheds://host").await;
    assert!(message.contains("`memcached-rustls` of larder"), "{message}");
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_store_need_not_be_in_reach() {
    let backend = open("redis://127.0.0.1:1").await.unwrap();
    assert_eq!(backend.name(), "redis");
}

/// One wrong URL for each store: the message says what is wrong, and does not show the password.
#[cfg(all(feature = "redis", feature = "memcached", feature = "dynamodb"))]
#[tokio::test]
async fn each_store_says_what_is_wrong_with_its_url() {
    for (url, hint) in [
        ("redis://user:secret@host:port", "redis"),
        ("redis://host/0?node", "redis"),
        ("redis-sentinel://host", "sentinelServiceName"),
        ("memcached://", "memcached"),
        ("memcached://host?conections=3", "unknown parameter \"conections\""),
        ("memcached+unix://relative", "must be absolute"),
        ("memcacheds://host?auto_discovery=maybe", "true or false"),
        ("dynamodb://", "the table is missing"),
        ("dynamodb://user:secret@table", "has no credentials"),
    ] {
        let message = refusal(url).await;
        assert!(message.contains(hint), "{url}: {message}");
        assert!(!message.contains("secret"), "{url}: {message}");
    }
}
