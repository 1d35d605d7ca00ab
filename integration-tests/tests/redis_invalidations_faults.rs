//! A subscription whose connections break, hang or lead to the wrong server: it reports that it is lost, recovers by
//! itself, reports that everything may have changed, and misses no change silently.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod redis_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_core::{Backend, Change, ErrorKind, Key, Namespace};
use cache_redis::{RedisBackend, RedisBackendBuilder};
use integration_tests::{Redis, RedisCluster, RedisSentinel, wire};
use redis_support::listener::{HEARTBEAT, Listener, set};
use redis_support::proxy::{Held, holding};
use redis_support::{namespace, put, send, trackers, until_ok};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The time after which a subscription without answers is lost.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

fn builder(url: &str) -> RedisBackendBuilder {
    RedisBackend::builder()
        .url(url)
        .operation_timeout(COMMAND_TIMEOUT)
        .connect_timeout(COMMAND_TIMEOUT)
}

/// Changes a key without a handle.
async fn change(address: &str, key: &Key) {
    send(address, &[b"SET", key.as_str().as_bytes(), b"theirs"]).await;
}

/// Checks that the subscription reports a change and nothing else. A Cluster that was just created or has just lost a
/// master may take a moment to settle.
async fn works(listener: &mut Listener, redis: &RedisBackend, namespace: &Namespace) {
    until_ok(Duration::from_secs(10), async || {
        let key = namespace.key(format!("{:x}", fastrand::u64(..)));
        redis.get(&key).await.map_err(|error| error.to_string())?;
        listener.catch_up().await;
        listener.forget();
        put(redis, &key, "v").await;
        listener.must_tell(&key).await;
        if (listener.lost, listener.everything) != (0, 0) {
            return Err("the stream is lost again and again".to_owned());
        }
        assert_eq!(listener.changed, set([&key]));
        listener.forget();
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_killed() {
    let server = Redis::start().await;
    let redis = builder(server.url()).connect().await.unwrap();
    let namespace = namespace();
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    let (mut unseen, mut back) = (0, Vec::new());
    for round in 0..20 {
        works(&mut listener, &redis, &namespace).await;
        let key = namespace.key(format!("k{round}"));
        let [id] = &trackers(server.address()).await[..] else {
            panic!("one connection tells of changes")
        };
        let killed = Instant::now();
        wire::redis(server.address(), &format!("CLIENT KILL ID {id}"))
            .await
            .unwrap();
        change(server.address(), &key).await;
        listener.must_tell(&key).await;
        back.push(killed.elapsed());
        assert_eq!((listener.lost, listener.everything), (1, 1));
        unseen += usize::from(!listener.changed.contains(&key));
    }
    back.sort();
    println!("up to date again after {:?}, at worst {:?}", back[10], back[19]);
    // The control: some changes were reported only as `Everything`, since their keys went to a broken connection.
    assert!(unseen > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_freezes() {
    let server = Redis::start().await;
    let redis = builder(server.url()).connect().await.unwrap();
    let namespace = namespace();
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    works(&mut listener, &redis, &namespace).await;

    server.freeze().await;
    let frozen = Instant::now();
    let lost_after = listener.until_lost().await;
    assert!(lost_after < COMMAND_TIMEOUT + Duration::from_secs(4), "{lost_after:?}");
    let quiet = tokio::time::timeout(Duration::from_secs(2), listener.hear()).await;
    assert!(quiet.is_err(), "{quiet:?} from a frozen server");
    server.thaw().await;
    let key = namespace.key("k");
    change(server.address(), &key).await;
    listener.must_tell(&key).await;
    assert_eq!((listener.lost, listener.everything), (1, 1));
    println!("lost after {lost_after:?}; {:?} in all", frozen.elapsed());
    works(&mut listener, &redis, &namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_freezes_while_others_write() {
    let server = Redis::start().await;
    let (port, hold) = holding(server.address(), Held::All).await;
    let redis = builder(&format!("redis://127.0.0.1:{port}")).connect().await.unwrap();
    let namespace = namespace();
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    works(&mut listener, &redis, &namespace).await;

    // Shorter than the timeout: the change is reported late, but not missed.
    let key = namespace.key("late");
    hold.send_replace(true);
    change(server.address(), &key).await;
    let changed = Instant::now();
    tokio::time::sleep(COMMAND_TIMEOUT / 10).await;
    hold.send_replace(false);
    listener.catch_up_to(changed).await;
    assert!(listener.changed.contains(&key) && listener.lost == 0);

    // Longer than the timeout.
    listener.forget();
    let key = namespace.key("lost");
    hold.send_replace(true);
    change(server.address(), &key).await;
    let changed = Instant::now();
    listener.until_lost().await;
    hold.send_replace(false);
    listener.catch_up_to(changed).await;
    assert_eq!((listener.lost, listener.everything), (1, 1));
    works(&mut listener, &redis, &namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_empty() {
    let server = Redis::start().await;
    let redis = builder(server.url()).connect().await.unwrap();
    let namespace = namespace();
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    works(&mut listener, &redis, &namespace).await;
    server.kill().await;
    server.restart().await;
    listener.is_back().await;
    assert_eq!((listener.lost, listener.everything), (1, 1));
    works(&mut listener, &redis, &namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_becomes_a_replica() {
    let server = Redis::start().await;
    let redis = builder(server.url()).connect().await.unwrap();
    let namespace = namespace();
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    wire::redis(server.address(), "REPLICAOF 127.0.0.1 1").await.unwrap();
    listener.until_lost().await;
    let refused = redis.subscribe(&namespace.scope(), HEARTBEAT).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    wire::redis(server.address(), "REPLICAOF NO ONE").await.unwrap();
    listener.is_back().await;
    works(&mut listener, &redis, &namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_slow_hears_that_everything_changed() {
    let server = Redis::start().await;
    let redis = builder(server.url()).connect().await.unwrap();
    let namespace = namespace();
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    let keys: Vec<Key> = (0..25_000).map(|number| namespace.key(format!("{number}"))).collect();
    for keys in keys.chunks(500) {
        let mut command = vec![&b"MSET"[..]];
        command.extend(keys.iter().flat_map(|key| [key.as_str().as_bytes(), b"v"]));
        send(server.address(), &command).await;
    }
    // The connection is read even though `next` has not been called.
    tokio::time::sleep(3 * HEARTBEAT).await;
    listener.catch_up().await;
    assert!(listener.everything > 0 && listener.lost == 0);
    assert!(
        listener.changed.len() < 20_000,
        "{} notices were kept",
        listener.changed.len()
    );
    works(&mut listener, &redis, &namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_with_the_stream_and_with_the_handle() {
    let server = Redis::start().await;
    let redis = builder(server.url()).connect().await.unwrap();
    let namespace = namespace();
    let none = async || match trackers(server.address()).await.len() {
        0 => Ok(()),
        some => Err(format!("{some} connections are left")),
    };
    assert!(none().await.is_ok(), "there are none before there is a stream");
    let stream = redis.subscribe(&namespace.scope(), HEARTBEAT).await.unwrap();
    assert_eq!(trackers(server.address()).await.len(), 1);
    drop(stream);
    until_ok(Duration::from_secs(2), none).await;

    let mut stream = redis.subscribe(&namespace.scope(), HEARTBEAT).await.unwrap();
    let clone = redis.clone();
    drop(redis);
    assert!(matches!(stream.next().await, Some(Change::Heartbeat(_))));
    drop(clone);
    while stream.next().await.is_some() {}
    until_ok(Duration::from_secs(2), none).await;

    // Also if nothing answers.
    let redis = builder(server.url()).connect().await.unwrap();
    let mut stream = redis.subscribe(&namespace.scope(), HEARTBEAT).await.unwrap();
    server.freeze().await;
    let closed = Arc::new(redis);
    let closing = tokio::spawn({
        let closed = closed.clone();
        async move { drop(closed.close().await) }
    });
    let ended = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(1), ended).await.unwrap();
    closing.await.unwrap();
    let error = closed.subscribe(&namespace.scope(), HEARTBEAT).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Unavailable, Some("subscribe"))
    );
    server.thaw().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_by_the_sentinels() {
    let set = RedisSentinel::start().await;
    let redis = builder(set.url()).connect().await.unwrap();
    let namespace = namespace();
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    works(&mut listener, &redis, &namespace).await;
    let master = set.fail_over().await;
    let key = namespace.key("k");
    change(&master, &key).await;
    let changed = Instant::now();
    listener.catch_up_to(changed).await;
    println!("up to date {:?} after the new master's first write", changed.elapsed());
    assert!(listener.lost > 0 && listener.everything > 0);
    works(&mut listener, &redis, &namespace).await;
}

/// Returns the masters, as a running node reports them.
async fn masters(cluster: &RedisCluster) -> Vec<String> {
    let mut masters = Vec::new();
    for node in cluster.nodes() {
        if wire::redis(node, "ROLE")
            .await
            .is_ok_and(|role| role.starts_with("master"))
        {
            masters.push(node.clone());
        }
    }
    masters
}

/// Returns a key that this node owns, which is the only node that accepts it.
async fn key_of(node: &str, namespace: &Namespace) -> Key {
    loop {
        let key = namespace.key(format!("{:x}", fastrand::u64(..)));
        if wire::redis(node, &format!("EXISTS {key}")).await.is_ok() {
            return key;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_master_of_a_cluster_is_listened_to_and_replaced() {
    let cluster = RedisCluster::start().await;
    let redis = builder(cluster.url()).connect().await.unwrap();
    let namespace = namespace();
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    for _ in 0..20 {
        works(&mut listener, &redis, &namespace).await;
    }
    for node in masters(&cluster).await {
        assert_eq!(trackers(&node).await.len(), 1, "{node}");
        // A flush of one master is a flush.
        wire::redis(&node, "FLUSHALL").await.unwrap();
        listener.catch_up().await;
        assert_eq!((listener.everything, listener.lost), (1, 0));
        listener.forget();
    }
    let old = masters(&cluster).await.remove(0);
    let key = key_of(&old, &namespace).await;
    cluster.fail_over(&old).await;
    let mut new = None;
    for node in masters(&cluster).await {
        if wire::redis(&node, &format!("SET {key} theirs")).await.is_ok() {
            new = Some(node);
        }
    }
    let changed = Instant::now();
    println!("{} took over from {old}", new.expect("a master owns the key"));
    listener.catch_up_to(changed).await;
    println!("up to date {:?} after the new master's first write", changed.elapsed());
    assert!(listener.lost > 0 && listener.everything > 0);
    works(&mut listener, &redis, &namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_of_a_cluster_that_hands_over_and_lives_on() {
    let cluster = RedisCluster::start().await;
    let redis = builder(cluster.url()).connect().await.unwrap();
    let namespace = namespace();
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    works(&mut listener, &redis, &namespace).await;
    let mut pairs = Vec::new();
    for node in cluster.nodes() {
        let role = wire::redis(node, "ROLE").await.unwrap();
        if role.starts_with("slave") {
            pairs.push((node.clone(), format!("127.0.0.1:{}", role.split(' ').nth(2).unwrap())));
        }
    }
    // Each replica takes over only once: a second takeover soon after would use the epoch of the first, and writes
    // would be lost.
    for (replica, master) in pairs {
        let key = key_of(&master, &namespace).await;
        listener.catch_up().await;
        listener.forget();
        wire::redis(&replica, "CLUSTER FAILOVER").await.unwrap();
        // When the new master accepts a write. No connection breaks, and the old master goes on answering.
        until_ok(Duration::from_secs(10), async || {
            wire::redis(&replica, &format!("SET {key} theirs")).await
        })
        .await;
        listener.must_tell(&key).await;
        assert!(listener.lost > 0);
        change(&replica, &key).await;
        listener.must_tell(&key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_without_slots_is_listened_to_before_it_gets_any() {
    let cluster = RedisCluster::start().await;
    let redis = builder(cluster.url()).connect().await.unwrap();
    let namespace = namespace();
    let mut listener = Listener::start(&redis, &namespace.scope()).await;
    let master = masters(&cluster).await.remove(0);
    let mut newcomer = None;
    for node in cluster.nodes() {
        if wire::redis(node, "ROLE").await.unwrap().starts_with("slave") {
            newcomer = Some(node.clone());
        }
    }
    let newcomer = newcomer.unwrap();
    wire::redis(&newcomer, "CLUSTER RESET SOFT").await.unwrap();
    let (host, port) = master.split_once(':').unwrap();
    let bus: u16 = port.parse::<u16>().unwrap() - 10_000;
    wire::redis(&newcomer, &format!("CLUSTER MEET {host} {port} {bus}"))
        .await
        .unwrap();
    listener.is_back().await;
    until_ok(Duration::from_secs(20), async || {
        listener.catch_up().await;
        match trackers(&newcomer).await.len() {
            1 => Ok(()),
            some => Err(format!("{some} connections")),
        }
    })
    .await;

    // While a slot is moving, new keys are written to the target by redirected clients.
    let key = key_of(&master, &namespace).await;
    let slot = wire::redis(&master, &format!("CLUSTER KEYSLOT {key}")).await.unwrap();
    let from = wire::redis(&master, "CLUSTER MYID").await.unwrap();
    let to = wire::redis(&newcomer, "CLUSTER MYID").await.unwrap();
    wire::redis(&newcomer, &format!("CLUSTER SETSLOT {slot} IMPORTING {from}"))
        .await
        .unwrap();
    wire::redis(&master, &format!("CLUSTER SETSLOT {slot} MIGRATING {to}"))
        .await
        .unwrap();
    listener.catch_up().await;
    listener.forget();
    let mut stream = TcpStream::connect(&newcomer).await.unwrap();
    stream
        .write_all(format!("ASKING\r\nSET {key} theirs\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"+OK\r\n+OK\r\n");
    assert_eq!(listener.keys().await, set([&key]));
    // The subscription tracks both nodes, so it does not matter whether it notices the move itself.
    for node in [&newcomer, &master] {
        wire::redis(node, &format!("CLUSTER SETSLOT {slot} NODE {to}"))
            .await
            .unwrap();
    }
    change(&newcomer, &key).await;
    listener.must_tell(&key).await;
}
