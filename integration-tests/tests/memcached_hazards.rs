//! Faults of real memcached servers: they freeze, die, come back and refuse.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cache_core::{Backend, ErrorKind, Key, Prefix, SetOptions, Value};
use cache_memcached::{MemcachedBackend, MemcachedBackendBuilder, WhenDown};
use integration_tests::{Memcached, wire};
use memcache_async::ascii::Protocol;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Returns a key of this test's own, since other tests use the same servers.
fn key(test: &str, name: &str) -> Key {
    Prefix::new(&format!("hazards-{}", std::process::id()))
        .namespace(test)
        .key(name)
}

fn value(text: &str) -> Value {
    Bytes::copy_from_slice(text.as_bytes()).into()
}

fn hour() -> SetOptions {
    SetOptions::new(Duration::from_secs(3600))
}

async fn put(backend: &MemcachedBackend, key: &Key, text: &str) {
    assert!(backend.set(key, value(text), hour()).await.unwrap().version().is_some());
}

async fn read(backend: &MemcachedBackend, key: &Key) -> Option<String> {
    let record = backend.get(key).await.unwrap()?;
    Some(String::from_utf8(record.value.as_bytes().unwrap().to_vec()).unwrap())
}

/// Returns a builder with long time limits, which a test may shorten.
fn over(servers: &Memcached) -> MemcachedBackendBuilder {
    MemcachedBackend::builder()
        .url(&servers.url())
        .connect_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(10))
}

async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let answer = call.await;
    assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
    answer
}

/// Waits until the condition holds, and panics after `limit`.
async fn eventually<F: Future<Output = bool>>(limit: Duration, mut condition: impl FnMut() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < limit, "not within {limit:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_bounded_and_its_late_answers_are_read_by_nobody() {
    let servers = Memcached::start(1).await;
    let limit = Duration::from_millis(300);
    let backend = over(&servers).operation_timeout(limit).connections(1).build().unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| key("frozen", name));
    for key in [&alice, &bob] {
        put(&backend, key, key.name()).await;
    }
    let mut raw = Protocol::new(TcpStream::connect(&servers.addresses()[0]).await.unwrap());
    raw.add("raw-alice", b"alice", 0).await.unwrap();
    raw.add("raw-bob", b"bob", 0).await.unwrap();

    servers.freeze(0).await;
    let error = within(limit * 10, backend.get(&alice)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // The control: the codec alone.
    assert!(timeout(limit, raw.get("raw-alice")).await.is_err());
    servers.thaw(0).await;

    assert_eq!(read(&backend, &bob).await.as_deref(), Some("bob"));
    assert_eq!(read(&backend, &alice).await.as_deref(), Some("alice"));
    assert_eq!(
        raw.get("raw-bob").await.unwrap(),
        b"alice",
        "the control is right by itself: the armour can go"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_left_alone_and_used_again_within_two_seconds() {
    let servers = Memcached::start(1).await;
    let limit = Duration::from_millis(300);
    let backend = over(&servers).operation_timeout(limit).build().unwrap();
    let key = key("left alone", "key");
    put(&backend, &key, "value").await;
    servers.freeze(0).await;
    for _ in 0..3 {
        assert!(within(limit * 10, backend.get(&key)).await.is_err());
    }
    let begun = Instant::now();
    let mut at_once = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        let call = Instant::now();
        assert!(backend.get(&key).await.is_err());
        at_once += usize::from(call.elapsed() < Duration::from_millis(20));
    }
    assert!(at_once > 100, "{at_once}");
    servers.thaw(0).await;
    eventually(Duration::from_secs(2), async || {
        backend.get(&key).await.is_ok_and(|found| found.is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_recovered_from() {
    let servers = Memcached::start(1).await;
    let backend = over(&servers).build().unwrap();
    let key = key("restart", "key");
    put(&backend, &key, "value").await;
    servers.kill(0).await;
    let error = within(Duration::from_secs(2), backend.get(&key)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    servers.restart(0).await;
    eventually(Duration::from_secs(2), async || {
        backend.get(&key).await.is_ok_and(|found| found.is_none())
    })
    .await;
    put(&backend, &key, "new").await;
    assert_eq!(read(&backend, &key).await.as_deref(), Some("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_server_of_three_fails_its_own_keys_only() {
    let servers = Memcached::start(3).await;
    let backend = over(&servers).build().unwrap();
    let keys: Vec<Key> = (0..60).map(|number| key("fleet", &number.to_string())).collect();
    for key in &keys {
        put(&backend, key, "value").await;
    }
    servers.kill(1).await;
    let mut unavailable = 0;
    for key in &keys {
        match backend.get(key).await {
            Ok(found) => assert!(found.is_some()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                unavailable += 1;
            }
        }
    }
    assert!((5..40).contains(&unavailable), "{unavailable} of 60 keys");
    assert!(backend.get_many(&keys).await.is_err());
    servers.restart(1).await;
    eventually(Duration::from_secs(2), async || backend.ping().await.is_ok()).await;
    let found = backend.get_many(&keys).await.unwrap();
    assert_eq!(found.iter().flatten().count(), 60 - unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skipped_server_rejoins_empty() {
    let servers = Memcached::start(3).await;
    let limit = Duration::from_millis(300);
    let backend = over(&servers)
        .operation_timeout(limit)
        .when_down(WhenDown::Skip)
        .build()
        .unwrap();
    let keys: Vec<Key> = (0..60).map(|number| key("skipped", &number.to_string())).collect();
    for key in &keys {
        put(&backend, key, "old").await;
    }
    // A frozen server keeps its data, unlike a restarted one.
    servers.freeze(1).await;
    eventually(Duration::from_secs(10), async || {
        let mut all = true;
        for key in &keys {
            all &= backend.set(key, value("new"), hour()).await.is_ok();
        }
        all
    })
    .await;
    servers.thaw(1).await;
    eventually(Duration::from_secs(5), async || {
        let address = &servers.addresses()[1];
        backend.get_many(&keys).await.is_ok() && !holds_anything(address, &keys).await
    })
    .await;
    for key in &keys {
        let found = read(&backend, key).await;
        assert!(found.as_deref() != Some("old"), "{key} has come back");
    }
    for key in &keys {
        put(&backend, key, "newest").await;
    }
    assert!(
        holds_anything(&servers.addresses()[1], &keys).await,
        "it is in use again"
    );
}

async fn holds_anything(address: &str, keys: &[Key]) -> bool {
    let mut raw = Protocol::new(TcpStream::connect(address).await.unwrap());
    let keys: Vec<&str> = keys.iter().map(Key::as_str).collect();
    !raw.get_multi(&keys).await.unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_finds_too_large_is_an_error_and_leaves_nothing_stale() {
    let servers = Memcached::shared().await;
    // Above the server's own limit of 1 MiB, which a wrong setting allows.
    let backend = over(servers).max_value_bytes(8 << 20).build().unwrap();
    let key = key("too large", "key");
    put(&backend, &key, "old").await;
    let large = || Value::from(Bytes::from(vec![b'x'; 2 << 20]));
    let error = backend.set(&key, large(), hour()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_eq!(read(&backend, &key).await, None);
    let error = backend.set(&key, large(), hour().if_absent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    put(&backend, &key, "small").await;
    assert_eq!(read(&backend, &key).await.as_deref(), Some("small"));

    // The control: the codec reports success.
    let mut raw = Protocol::new(TcpStream::connect(&servers.addresses()[0]).await.unwrap());
    let name = format!("raw-{}", std::process::id());
    raw.set(&name, &vec![b'x'; 2 << 20], 0).await.unwrap();
    assert!(raw.get(&name).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_key_writes_no_other_key() {
    let servers = Memcached::shared().await;
    let backend = over(servers).build().unwrap();
    let victim = format!("victim-{}", std::process::id());
    let hostile = key(
        "hostile",
        &format!("a 0 0 1\r\nx\r\nset {victim} 0 0 4\r\nevil\r\nget a"),
    );
    put(&backend, &hostile, "value").await;
    assert_eq!(read(&backend, &hostile).await.as_deref(), Some("value"));
    assert!(backend.delete(&hostile).await.unwrap());
    let answer = wire::memcached(&servers.addresses()[0], &format!("get {victim}"))
        .await
        .unwrap();
    assert_eq!(answer, ["END"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_writes_do_not_wait_for_each_other() {
    // Without TCP_NODELAY each second write waits for the acknowledgement of the first, 40 ms.
    let backend = over(Memcached::shared().await).connections(1).build().unwrap();
    let key = key("nodelay", "key");
    put(&backend, &key, "first").await;
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let begun = Instant::now();
        put(&backend, &key, "value").await;
        fastest = fastest.min(begun.elapsed());
    }
    assert!(fastest < Duration::from_millis(20), "{fastest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_readable_by_any_client_under_its_key() {
    let servers = Memcached::shared().await;
    let backend = over(servers).build().unwrap();
    let key = key("readable", "key");
    put(&backend, &key, "value").await;
    let mut raw = Protocol::new(TcpStream::connect(&servers.addresses()[0]).await.unwrap());
    assert!(raw.get(key.as_str()).await.unwrap().ends_with(b"value"));
}
