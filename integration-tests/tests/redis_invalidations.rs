//! A subscription reports every kind of change of a record, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod redis_support;

use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, Key, SetOptions};
use cache_redis::RedisBackend;
use integration_tests::{Redis, wire};
use redis_support::listener::{Listener, set};
use redis_support::{HOUR, namespace, put, send};
use tokio::time::Instant;

/// For events that take a few milliseconds, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn every_way_to_change_a_record_is_told_of() {
    let server = Redis::start().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let namespace = namespace();
    let (a, b) = (namespace.key("a"), namespace.key("b"));
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    assert_eq!(listener.keys().await, set([]));

    let options = SetOptions::new(HOUR);
    let value = || Bytes::from_static(b"v").into();
    let version = put(&redis, &a, "v").await;
    assert_eq!(listener.keys().await, set([&a]), "set");
    assert!(redis.get(&a).await.unwrap().is_some());
    assert!(redis.version(&a).await.unwrap().is_some());
    assert_eq!(listener.keys().await, set([]), "reads change nothing");
    let next = redis.set(&a, value(), options.if_version(version)).await.unwrap();
    assert_eq!(listener.keys().await, set([&a]), "compare and set, which is a script");
    assert!(
        redis
            .set(&b, value(), options.if_absent())
            .await
            .unwrap()
            .version()
            .is_some()
    );
    assert_eq!(listener.keys().await, set([&b]), "set if absent");
    assert!(
        redis
            .set(&b, value(), options.if_absent())
            .await
            .unwrap()
            .version()
            .is_none()
    );
    assert!(
        redis
            .set(&b, value(), options.if_version(version))
            .await
            .unwrap()
            .version()
            .is_none()
    );
    assert_eq!(listener.keys().await, set([]), "what is refused changes nothing");
    assert!(redis.delete_if(&a, next.version().unwrap()).await.unwrap());
    assert_eq!(listener.keys().await, set([&a]), "delete_if, which is a script");
    assert!(redis.delete(&b).await.unwrap());
    assert_eq!(listener.keys().await, set([&b]), "delete");
    redis
        .set_many(vec![(a.clone(), value(), options), (b.clone(), value(), options)])
        .await
        .unwrap();
    assert_eq!(listener.keys().await, set([&a, &b]), "set_many");
    assert_eq!(redis.delete_many(&[a.clone(), b.clone()]).await.unwrap(), 2);
    assert_eq!(listener.keys().await, set([&a, &b]), "delete_many");
    put(&redis, &a, "v").await;
    put(&redis, &b, "v").await;
    listener.keys().await;
    assert_eq!(redis.clear(&namespace.scope()).await.unwrap(), 2);
    assert_eq!(listener.keys().await, set([&a, &b]), "clear");

    // Changes by other programs.
    let (address, name) = (server.address(), a.as_str().as_bytes());
    for command in [
        &[b"SET", name, b"theirs"][..],
        &[b"PEXPIRE", name, b"60000"],
        &[b"UNLINK", name],
        &[b"HSET", name, b"field", b"value"],
        &[b"DEL", name],
        &[b"EVAL", b"return redis.call('SET', KEYS[1], 'theirs')", b"1", name],
        &[b"RENAME", name, b.as_str().as_bytes()],
        &[b"COPY", b.as_str().as_bytes(), name],
    ] {
        send(address, command).await;
        assert!(
            listener.keys().await.contains(&a),
            "{}",
            String::from_utf8_lossy(command[0])
        );
    }
    // An expiry. Only one that cannot have been reported beside the write that went before counts.
    let mut lifetime = Duration::from_millis(50);
    loop {
        let began = Instant::now();
        let short = SetOptions::new(lifetime);
        redis.set(&b, value(), short).await.unwrap().version().unwrap();
        listener.keys().await;
        if began.elapsed() < lifetime {
            break;
        }
        lifetime *= 2;
    }
    let latest = Instant::now() + lifetime + SOON;
    while !listener.changed.contains(&b) {
        assert!(Instant::now() < latest, "an expiry is not reported");
        listener.hear().await;
    }
    assert_eq!(listener.keys().await, set([&b]));

    // An eviction.
    let many: Vec<Key> = (0..200).map(|number| namespace.key(format!("{number}"))).collect();
    redis
        .set_many(
            many.iter()
                .map(|key| (key.clone(), Bytes::from(vec![0; 1_000]).into(), options))
                .collect(),
        )
        .await
        .unwrap();
    listener.keys().await;
    for command in ["CONFIG SET maxmemory-policy allkeys-lru", "CONFIG SET maxmemory 1"] {
        wire::redis(address, command).await.unwrap();
    }
    // The server evicts when it gets a write.
    let _ = redis.set(&a, value(), options).await;
    // The marker may be evicted too, in which case anything may have changed.
    listener.catch_up().await;
    assert_eq!(listener.lost, 0);
    let told = std::mem::take(&mut listener.changed);
    assert!(
        many.iter().all(|key| told.contains(key)),
        "{} of {} evictions",
        told.len(),
        many.len()
    );
}

#[tokio::test]
async fn a_flush_is_told_of() {
    let server = Redis::start().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let namespace = namespace();
    let key = namespace.key("k");
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    for command in [
        "FLUSHALL",
        "FLUSHDB",
        "FLUSHALL ASYNC",
        "EVAL \"return redis.call('FLUSHALL')\" 0",
    ] {
        put(&redis, &key, "v").await;
        assert_eq!(listener.keys().await, set([&key]));
        wire::redis(server.address(), command).await.unwrap();
        listener.catch_up().await;
        assert!(listener.everything > 0 && listener.lost == 0, "{command}");
        // The marker is flushed too, and written again.
        listener.settle().await;
    }
}

/// Redis itself does not report a swap.
#[tokio::test]
async fn a_swap_of_databases_is_reported_with_the_next_heartbeat() {
    let server = Redis::start().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let namespace = namespace();
    let key = namespace.key("k");
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    let mut of_all = Listener::start(&redis, &namespace.prefix().scope()).await;
    // The control: a user who may not write the marker.
    let prefix = namespace.prefix().scope().as_str().to_owned();
    let acl = format!("ACL SETUSER reader on >secret ~{prefix}n:* +@all");
    wire::redis(server.address(), &acl).await.unwrap();
    let url = format!("redis://reader:secret@{}", server.address());
    let blind = RedisBackend::connect(&url).await.unwrap();
    let mut control = Listener::start(&blind, &namespace.scope()).await;

    for _ in 0..3 {
        put(&redis, &key, "v").await;
        assert_eq!(listener.keys().await, set([&key]));
        assert_eq!(control.keys().await, set([&key]));
        // Markers are not reported.
        assert_eq!(of_all.keys().await, set([&key]));
        wire::redis(server.address(), "SWAPDB 0 1").await.unwrap();
        for listener in [&mut listener, &mut of_all] {
            listener.catch_up().await;
            assert!(listener.everything > 0 && listener.lost == 0, "a swap was not noticed");
            listener.settle().await;
        }
        assert_eq!(control.keys().await, set([]), "the control has noticed");
    }
}
