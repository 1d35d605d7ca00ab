//! Records outlive the process; those that expired meanwhile are absent.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, ManualClock, Prefix, SetOptions, Ttl, Value};
use redb::Database;
use third_party_backend::RedbBackend;

#[tokio::test]
async fn records_are_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.redb");
    let namespace = Prefix::new("shop").namespace("users");
    let (long, short) = (namespace.key("long"), namespace.key("short"));
    let value = || Value::Bytes(Bytes::from("Ada"));
    let clock = ManualClock::new();

    let backend = RedbBackend::new(Database::create(&path).unwrap(), clock.clone());
    let written = backend
        .set(&long, value(), SetOptions::new(Ttl::FOREVER))
        .await
        .unwrap();
    let hour = Duration::from_secs(60 * 60);
    backend
        .set(&short, value(), SetOptions::new(hour))
        .await
        .unwrap()
        .version()
        .unwrap();
    backend.close().await.unwrap();
    clock.advance(hour);

    let backend = RedbBackend::new(Database::create(&path).unwrap(), clock);
    let record = backend.get(&long).await.unwrap().unwrap();
    assert_eq!(record.value.as_bytes().unwrap(), "Ada");
    assert_eq!(Some(record.version), written.version());
    assert!(backend.get(&short).await.unwrap().is_none());
}
