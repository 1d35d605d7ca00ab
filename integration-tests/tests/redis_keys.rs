//! The keys in Redis, foreign values, the scope of `clear`, and the round trips of each call.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod redis_support;

use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, Clock, Key, ManualClock, Namespace, SetOptions, SetOutcome, SystemClock, Ttl};
use cache_redis::RedisBackend;
use integration_tests::{Redis, RedisCluster, wire};
use redis_support::{HOUR, bytes, calls, namespace, prefix, put, send, value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn options() -> SetOptions {
    SetOptions::new(HOUR)
}

#[tokio::test]
async fn keys_are_written_as_they_are_read() {
    let server = Redis::shared().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let prefix = prefix();
    let key = prefix.namespace("users").key("42");
    put(&redis, &key, "Ada").await;
    let stored = wire::redis(server.address(), &format!("GETRANGE {key} 26 -1"))
        .await
        .unwrap();
    assert_eq!(stored, "Ada");
    assert!(key.as_str().ends_with(":users:42"));
    let ttl: u64 = wire::redis(server.address(), &format!("PTTL {key}"))
        .await
        .unwrap()
        .parse()
        .unwrap();
    assert!((3_590_000..=3_600_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_database_of_its_own_is_used() {
    let server = Redis::start().await;
    let redis = RedisBackend::connect(&format!("{}/5", server.url())).await.unwrap();
    put(&redis, &namespace().key("k"), "v").await;
    let keyspace = wire::redis(server.address(), "INFO keyspace").await.unwrap();
    assert!(
        keyspace.contains("db5:keys=1") && !keyspace.contains("db0"),
        "{keyspace}"
    );
}

/// Foreign values can be read, replaced and removed, and a version identifies exactly what was read.
async fn foreign_values(address: &str, redis: &RedisBackend, namespace: &Namespace, write: &[&[u8]]) {
    let key = namespace.key(format!("foreign {}", fastrand::u64(..)));
    let rest = &write[1..];
    let command: Vec<&[u8]> = [write[0], key.as_str().as_bytes()]
        .into_iter()
        .chain(rest.iter().copied())
        .collect();
    send(address, &command).await;

    let record = redis.get(&key).await.unwrap().expect("there is something");
    assert_eq!(record.remaining, None);
    if write[0] == b"SET" {
        assert_eq!(bytes(&record), rest[0], "as it was written");
    }
    let twice = redis
        .get_many(&[key.clone(), namespace.key("missing"), key.clone()])
        .await
        .unwrap();
    assert!(twice[1].is_none());
    assert_eq!(twice[2].as_ref().unwrap().version, record.version);

    assert_eq!(
        redis
            .set(&key, Bytes::new().into(), options().if_absent())
            .await
            .unwrap(),
        SetOutcome::Refused
    );
    let other = redis
        .set(&namespace.key("other"), Bytes::new().into(), options())
        .await
        .unwrap()
        .version()
        .unwrap();
    assert!(!redis.delete_if(&key, other).await.unwrap());
    let replaced = redis
        .set(&key, Bytes::from("ours").into(), options().if_version(record.version))
        .await
        .unwrap();
    assert!(replaced.version().is_some(), "{}", String::from_utf8_lossy(write[0]));
    assert_eq!(value(redis, &key).await.unwrap(), "ours");
    // A version can be used once.
    let again = redis
        .set(&key, Bytes::from("late").into(), options().if_version(record.version))
        .await
        .unwrap();
    assert_eq!(again, SetOutcome::Refused);

    send(address, &[b"DEL", key.as_str().as_bytes()]).await;
    send(address, &command).await;
    assert!(redis.delete_if(&key, record.version).await.unwrap());
    assert!(redis.get(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn what_others_wrote_is_read_and_replaced() {
    let server = Redis::shared().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let namespace = namespace();
    for write in [
        &[&b"SET"[..], b""][..],
        &[b"SET", b"a"],
        &[b"SET", b"{\"json\": true, \"long\": \"enough for a header\"}"],
        &[b"SET", b"\xc1r short"],
        &[b"SET", b"\xc1r one byte short of it.."],
        &[b"SET", b"\x00\xff\xfe binary, without the mark"],
        // Words that a client might take for part of the protocol.
        &[b"SET", b"message"],
        &[b"SET", b"subscribe"],
        &[b"SET", b"QUEUED"],
        &[b"SET", b"MOVED 1 127.0.0.1:1"],
        &[b"SET", b"WRONGTYPE"],
        &[b"RPUSH", b"a", b"list"],
        &[b"HSET", b"a", b"hash"],
        &[b"SADD", b"a set"],
    ] {
        foreign_values(server.address(), &redis, &namespace, write).await;
    }
}

#[tokio::test]
async fn what_others_wrote_says_how_long_the_server_keeps_it() {
    let server = Redis::shared().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let key = namespace().key("k");
    let name = key.as_str().as_bytes();
    send(server.address(), &[b"SET", name, b"theirs", b"PX", b"60000"]).await;
    let text = redis.get(&key).await.unwrap().unwrap().remaining.unwrap();
    send(server.address(), &[b"DEL", name]).await;
    send(server.address(), &[b"RPUSH", name, b"theirs"]).await;
    send(server.address(), &[b"PEXPIRE", name, b"60000"]).await;
    let list = redis.get(&key).await.unwrap().unwrap().remaining.unwrap();
    for remaining in [text, list] {
        assert!((50..=60).contains(&remaining.as_secs()), "{remaining:?}");
    }
}

#[tokio::test]
async fn in_a_cluster_a_foreign_text_is_not_followed_as_a_redirection() {
    let cluster = RedisCluster::shared().await;
    let redis = RedisBackend::connect(cluster.url()).await.unwrap();
    let key = namespace().key("k");
    // Only the node that owns the key accepts it.
    for node in cluster.nodes() {
        let mut stream = tokio::net::TcpStream::connect(node).await.unwrap();
        let text = "MOVED 1 127.0.0.1:1";
        let command = format!(
            "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{text}\r\n",
            key.as_str().len(),
            text.len()
        );
        stream.write_all(command.as_bytes()).await.unwrap();
        stream.read_u8().await.unwrap();
    }
    assert_eq!(value(&redis, &key).await.unwrap(), "MOVED 1 127.0.0.1:1");
    assert!(redis.delete(&key).await.unwrap());
}

/// The server alone decides whether a record is there. The remaining lifetime is calculated by the reader's clock.
async fn clocks_differ(url: &str) {
    let now = SystemClock.now();
    let clock = ManualClock::starting_at(now);
    let reader = RedisBackend::builder()
        .url(url)
        .clock(clock.clone())
        .connect()
        .await
        .unwrap();
    let writer = RedisBackend::builder()
        .url(url)
        .clock(ManualClock::starting_at(now))
        .connect()
        .await
        .unwrap();
    let namespace = namespace();
    let (key, endless, short) = (namespace.key("k"), namespace.key("endless"), namespace.key("short"));
    put(&writer, &key, "v").await;
    for (key, ttl) in [(&endless, Ttl::FOREVER), (&short, Ttl::from_millis(50))] {
        let outcome = writer.set(key, Bytes::from("v").into(), SetOptions::new(ttl)).await;
        assert!(outcome.unwrap().version().is_some());
    }
    let remaining = async || {
        let one = reader.get(&key).await.unwrap().unwrap().remaining;
        let many = reader.get_many(&[key.clone(), endless.clone()]).await.unwrap();
        assert_eq!(many[0].as_ref().unwrap().remaining, one);
        assert_eq!(many[1].as_ref().unwrap().remaining, None);
        one
    };
    assert_eq!(remaining().await, Some(HOUR));
    clock.advance(Duration::from_secs(600));
    assert_eq!(remaining().await, Some(Duration::from_secs(3_000)));
    // Expired by this clock, and still there.
    clock.advance(HOUR);
    assert_eq!(remaining().await, Some(Duration::ZERO));
    // Not expired by both clocks, and gone.
    clock.set(now);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(reader.get(&short).await.unwrap().is_none());
    assert!(writer.get(&short).await.unwrap().is_none());
}

#[tokio::test]
async fn a_record_says_its_end_by_the_clocks_and_is_there_by_the_servers() {
    clocks_differ(Redis::shared().await.url()).await;
}

#[tokio::test]
async fn a_record_says_its_end_by_the_clocks_and_is_there_by_the_servers_in_a_cluster() {
    clocks_differ(RedisCluster::shared().await.url()).await;
}

#[tokio::test]
async fn values_that_read_like_answers_of_the_protocol_are_values() {
    // In a Cluster, fred would follow a plain value that reads like a redirection.
    let cluster = RedisCluster::shared().await;
    let redis = RedisBackend::connect(cluster.url()).await.unwrap();
    let single = RedisBackend::connect(Redis::shared().await.url()).await.unwrap();
    let namespace = namespace();
    for redis in [redis, single] {
        let values = [
            "MOVED 1 127.0.0.1:1",
            "ASK 1 127.0.0.1:1",
            "message",
            "subscribe",
            "QUEUED",
            "-ERR",
            "OK",
        ];
        let keys: Vec<Key> = values.iter().map(|value| namespace.key(format!("k{value}"))).collect();
        for (key, text) in keys.iter().zip(values) {
            put(&redis, key, text).await;
        }
        for three in 0..values.len() - 2 {
            let records = redis.get_many(&keys[three..three + 3]).await.unwrap();
            let found: Vec<Bytes> = records.iter().map(|record| bytes(record.as_ref().unwrap())).collect();
            assert_eq!(found, values[three..three + 3]);
        }
        for (key, text) in keys.iter().zip(values) {
            assert_eq!(value(&redis, key).await.unwrap(), text);
        }
        redis.clear(&namespace.scope()).await.unwrap();
    }
}

/// Names with every character that is special in a pattern or in a Cluster, and names that such a pattern would match.
async fn clear_is_literal(redis: &RedisBackend) {
    let prefix = prefix();
    for (name, others) in [
        ("a*", &["ab", "a", "a**"][..]),
        ("a?", &["ab", "a"]),
        ("[ab]", &["a", "b"]),
        ("[^a]", &["b", "^"]),
        ("a\\", &["a", "a\\\\"]),
        ("a\\*", &["a*", "a\\b"]),
        ("{a}", &["a", "{a}{a}", "{"]),
        ("{a*}", &["{ab}", "{a}"]),
        ("{", &["{}", "}"]),
        ("a:b", &["a"]),
        ("ä-ö", &["ä", "ö"]),
        ("a b\r\n", &["a", "a b"]),
        ("", &["*", "?"]),
    ] {
        let own = prefix.namespace(name);
        for number in 0..20 {
            put(redis, &own.key(format!("k{number} {{{number}}}")), "own").await;
        }
        let mut left = Vec::new();
        for other in others {
            left.push(prefix.namespace(other).key("k0 {0}"));
            put(redis, left.last().unwrap(), "other").await;
        }
        assert_eq!(redis.clear(&own.scope()).await.unwrap(), 20, "{name:?}");
        for key in &left {
            assert_eq!(
                value(redis, key).await.unwrap(),
                "other",
                "{key:?} after a clear of {name:?}"
            );
        }
        let cleared = redis.clear(&prefix.scope()).await.unwrap();
        assert_eq!(cleared, u64::try_from(left.len()).unwrap(), "{name:?}");
    }
}

#[tokio::test]
async fn clear_takes_every_name_literally() {
    clear_is_literal(&RedisBackend::connect(Redis::shared().await.url()).await.unwrap()).await;
}

#[tokio::test]
async fn clear_takes_every_name_literally_in_a_cluster() {
    clear_is_literal(&RedisBackend::connect(RedisCluster::shared().await.url()).await.unwrap()).await;
}

#[tokio::test]
async fn clear_goes_through_the_keys_in_steps_and_leaves_others_alone() {
    let server = Redis::start().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let namespace = namespace();
    let entries = (0..5_000).map(|number| (namespace.key(format!("{number}")), Bytes::new().into(), options()));
    redis.set_many(entries.collect()).await.unwrap();
    send(server.address(), &[b"MSET", b"foreign", b"1", b"test", b"2"]).await;
    wire::redis(server.address(), "CONFIG RESETSTAT").await.unwrap();

    assert_eq!(redis.clear(&namespace.scope()).await.unwrap(), 5_000);
    let address = server.address();
    assert_eq!(calls(address, "keys").await, 0);
    assert_eq!(calls(address, "flushdb").await + calls(address, "del").await, 0);
    // 1,000 keys per step, so no step blocks the server for long.
    assert!((5..=12).contains(&calls(address, "scan").await));
    assert!((10..=24).contains(&calls(address, "unlink").await));
    assert_eq!(wire::redis(address, "DBSIZE").await.unwrap(), "2");
}

#[tokio::test]
async fn clear_reaches_every_master_of_a_cluster() {
    let cluster = RedisCluster::shared().await;
    let redis = RedisBackend::connect(cluster.url()).await.unwrap();
    let namespace = namespace();
    let entries = (0..300).map(|number| (namespace.key(format!("{number}")), Bytes::new().into(), options()));
    redis.set_many(entries.collect()).await.unwrap();
    let count = async || {
        let pattern = format!("{}*", namespace.scope().as_str());
        let mut counts = Vec::new();
        for node in cluster.nodes() {
            if wire::redis(node, "ROLE").await.unwrap().starts_with("master") {
                let keys = wire::redis(node, &format!("KEYS {pattern}")).await.unwrap();
                counts.push(keys.split_whitespace().count());
            }
        }
        counts
    };
    let before = count().await;
    assert!(before.len() >= 3 && before.iter().all(|keys| *keys > 0), "{before:?}");
    assert_eq!(before.iter().sum::<usize>(), 300);
    assert_eq!(redis.clear(&namespace.scope()).await.unwrap(), 300);
    assert!(count().await.iter().all(|keys| *keys == 0));
}

/// The commands that the server gets for each kind of call, after it knows the scripts.
#[tokio::test]
async fn a_call_is_one_command() {
    let server = Redis::start().await;
    let redis = RedisBackend::connect(server.url()).await.unwrap();
    let namespace = namespace();
    let key = namespace.key("k");
    let version = put(&redis, &key, "v").await;
    redis.get(&key).await.unwrap();
    let refused = redis
        .set(&key, Bytes::new().into(), options().if_version(version))
        .await
        .unwrap();
    redis.delete_if(&key, refused.version().unwrap()).await.unwrap();
    let version = put(&redis, &key, "v").await;

    wire::redis(server.address(), "CONFIG RESETSTAT").await.unwrap();
    let own = async |evalsha: u64| {
        let seen = calls(server.address(), "evalsha").await;
        assert_eq!(seen, evalsha, "scripts called");
        assert_eq!(calls(server.address(), "eval").await, 0);
        let direct = calls(server.address(), "set").await + calls(server.address(), "unlink").await;
        wire::redis(server.address(), "CONFIG RESETSTAT").await.unwrap();
        direct
    };
    let keys: Vec<Key> = (0..100).map(|number| namespace.key(format!("{number}"))).collect();
    assert!(redis.get(&key).await.unwrap().is_some());
    assert_eq!(calls(server.address(), "get").await, 1, "get is one GET");
    assert_eq!(own(0).await, 0);
    assert!(redis.get(&keys[0]).await.unwrap().is_none());
    assert_eq!(calls(server.address(), "get").await, 1, "a miss is no more");
    assert_eq!(own(0).await, 0);
    redis.get_many(&keys).await.unwrap();
    assert_eq!(
        calls(server.address(), "get").await,
        100,
        "get_many is a GET of each key"
    );
    assert_eq!(own(0).await, 0);
    let set = redis.set(&key, Bytes::new().into(), options()).await.unwrap();
    assert_eq!(own(0).await, 1, "set is one SET");
    assert_eq!(
        redis
            .set(&key, Bytes::new().into(), options().if_absent())
            .await
            .unwrap(),
        SetOutcome::Refused
    );
    assert_eq!(own(0).await, 1, "a set if absent is one SET with NX");
    assert_eq!(
        redis
            .set(&key, Bytes::new().into(), options().if_version(version))
            .await
            .unwrap(),
        SetOutcome::Refused
    );
    assert_eq!(
        own(1).await,
        0,
        "a refused compare-and-set is one script that writes nothing"
    );
    assert!(redis.delete_if(&key, set.version().unwrap()).await.unwrap());
    assert_eq!(own(1).await, 1, "delete_if is one script with one UNLINK in it");
    assert!(!redis.delete(&key).await.unwrap());
    assert_eq!(own(0).await, 1, "delete is one UNLINK");
    assert_eq!(redis.delete_many(&keys).await.unwrap(), 0);
    assert_eq!(own(0).await, 1, "delete_many is one UNLINK of all keys");
}
