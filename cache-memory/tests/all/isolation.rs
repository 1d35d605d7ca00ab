//! Two backends of one process share nothing; clones of one share everything.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use cache_core::{Backend, Prefix, SetOutcome};
use cache_memory::MemoryBackend;

use crate::support::{bytes, forever, has, key, read, stored};

#[tokio::test]
async fn instances_never_share_entries() {
    let (one, two) = (MemoryBackend::default(), MemoryBackend::default());
    let version = stored(&one, &key("k"), bytes("one"), forever()).await;
    assert!(!has(&two, &key("k")).await && two.is_empty());
    stored(&two, &key("k"), bytes("two"), forever().if_absent()).await;
    assert_eq!(read(&one, &key("k")).await.unwrap(), "one");

    let outcome = two
        .set(&key("k"), bytes("three"), forever().if_version(version))
        .await
        .unwrap();
    assert_eq!(
        outcome,
        SetOutcome::Refused,
        "a version of one means nothing to the other"
    );
    two.clear(&Prefix::new("app").scope()).await.unwrap();
    two.close().await.unwrap();
    assert_eq!(read(&one, &key("k")).await.unwrap(), "one");
}

#[tokio::test]
async fn clones_share_entries() {
    let backend = MemoryBackend::default();
    let clone = backend.clone();
    stored(&backend, &key("k"), bytes("v"), forever()).await;
    assert!(has(&clone, &key("k")).await);
    clone.delete(&key("k")).await.unwrap();
    assert!(backend.is_empty());
}

#[tokio::test]
async fn keys_with_the_same_text_are_the_same_and_others_are_not() {
    let backend = MemoryBackend::default();
    let prefix = Prefix::new("");
    let keys = ["", ":", "a", "a:b", "!ballast:", "a\0", "ä", "\u{0061}\u{0308}"];
    for (i, name) in keys.iter().enumerate() {
        stored(&backend, &prefix.namespace("").key(*name), bytes(i), forever()).await;
    }
    for (i, name) in keys.iter().enumerate() {
        assert_eq!(
            read(&backend, &prefix.namespace("").key(*name)).await.unwrap(),
            i.to_string()
        );
    }
}
