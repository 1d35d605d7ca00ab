//! Near copies while the connections of the subscription break or hang, and while the process is suspended: no copy is
//! returned for longer than its bound.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod redis_support;

use std::path::Path;
use std::time::Duration;

use cache_engine::Cache;
use cache_redis::RedisBackend;
use integration_tests::worker::{Action, Near, Outcome, Seen, Settings, Worker};
use integration_tests::{Redis, RedisSentinel, wire};
use redis_support::near::{NO_BOUND, Node, PATIENCE, plain, until};
use redis_support::proxy::{Held, holding};
use redis_support::trackers;
use tokio::time::{Instant, sleep_until, timeout};

const PREFIX: &str = "shop";

/// Reads until the value is `expected`. A read that begins `bound` after `changed` must return it.
async fn no_older_than(bound: Duration, node: &Node, changed: Instant, expected: u64) -> Result<(), String> {
    loop {
        let asked = Instant::now();
        let read = node.cache.get::<u64>("key").await;
        let age = asked.saturating_duration_since(changed);
        match read {
            Ok(Some(value)) if *value == expected => return Ok(()),
            Ok(value) if age >= bound => return Err(format!("{value:?} after {age:?}")),
            // The store may be unreachable.
            _ if age > PATIENCE => return Err(format!("{read:?} after {age:?}")),
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_killed_ends_near_copies_at_once() {
    let server = Redis::start().await;
    let nodes = Node::nodes(3, server.url(), PREFIX).await;
    let writer = plain(server.url(), PREFIX).await;
    let mut times = Vec::new();
    for round in 1..=10 {
        let value = 10 * round as u64;
        writer.set("key", value).await.unwrap();
        for node in &nodes {
            assert!(until(PATIENCE, async || node.read("key").await == Some(value)).await);
            node.has_copy("key", value).await;
        }
        let connections = trackers(server.address()).await;
        assert_eq!(connections.len(), nodes.len());
        let killed = Instant::now();
        for id in connections {
            wire::redis(server.address(), &format!("CLIENT KILL ID {id}"))
                .await
                .unwrap();
        }
        for node in &nodes {
            node.log.until("subscription_lost", round).await;
        }
        times.push(killed.elapsed());
        writer.set("key", value + 1).await.unwrap();
        for node in &nodes {
            assert_eq!(node.read("key").await, Some(value + 1), "without any delay");
        }
        for node in &nodes {
            node.log.until("subscription_begun", round + 1).await;
            node.has_copy("key", value + 1).await;
        }
    }
    times.sort();
    println!(
        "three nodes without near copies {:?} after the kill, at worst {:?}",
        times[5], times[9]
    );
    for node in &nodes {
        assert_eq!(
            (
                node.log.count("subscription_lost"),
                node.log.count("subscription_begun")
            ),
            (10, 11)
        );
    }
}

/// Two nodes whose change notifications hang for a while: one with this bound, and one without a bound.
async fn while_notices_hang(bound: Duration) -> [Result<(), String>; 2] {
    let server = Redis::start().await;
    let (port, hold) = holding(server.address(), Held::Trackers).await;
    let url = format!("redis://127.0.0.1:{port}");
    let mut nodes = Vec::new();
    for bound in [bound, NO_BOUND] {
        let redis = RedisBackend::builder().url(&url).operation_timeout(PATIENCE);
        let redis = redis.connect().await.unwrap();
        nodes.push(Node::over(redis, PREFIX, |builder| builder.near_max_silence(bound)).await);
    }
    let writer = plain(server.url(), PREFIX).await;
    writer.set("key", 1_u64).await.unwrap();
    for node in &nodes {
        node.has_copy("key", 1).await;
    }
    hold.send_replace(true);
    writer.set("key", 2_u64).await.unwrap();
    let changed = Instant::now();
    let [bounded, unbounded] = &nodes[..] else {
        unreachable!()
    };
    let results = tokio::join!(
        no_older_than(bound, bounded, changed, 2),
        no_older_than(bound, unbounded, changed, 2)
    );
    assert_eq!(bounded.log.count("subscription_lost"), 0, "it was the bound");
    // Late notifications do not bring the old copy back.
    hold.send_replace(false);
    bounded.has_copy("key", 2).await;
    unbounded.has_copy("key", 2).await;
    results.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_hangs_is_trusted_for_no_longer_than_the_bound() {
    let bound = Duration::from_secs(1);
    let [bounded, unbounded] = while_notices_hang(bound).await;
    bounded.unwrap();
    // The negative control: the node without a bound returned the old copy.
    assert!(unbounded.is_err_and(|found| found.starts_with("Some(1)")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_freezes() {
    let server = Redis::start().await;
    let bound = Duration::from_secs(1);
    let node = Node::start(server.url(), PREFIX, bound).await;
    let writer = plain(server.url(), PREFIX).await;
    writer.set("key", 1_u64).await.unwrap();
    node.has_copy("key", 1).await;
    server.freeze().await;
    let frozen = Instant::now();
    sleep_until(frozen + bound).await;
    assert_eq!(node.copy("key"), None);
    node.log.until("subscription_lost", 1).await;
    server.thaw().await;
    node.log.until("subscription_begun", 2).await;
    // The other connections are slow too.
    let writes = async || writer.set("key", 2_u64).await.is_ok();
    assert!(until(PATIENCE, writes).await);
    no_older_than(bound, &node, Instant::now(), 2).await.unwrap();
    node.has_copy("key", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_flushed_is_noticed() {
    let server = Redis::start().await;
    let nodes = Node::nodes(2, server.url(), PREFIX).await;
    let keys: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for command in ["FLUSHALL", "FLUSHDB ASYNC"] {
        for key in &keys {
            nodes[0].cache.set(key, 1_u64).await.unwrap();
            for node in &nodes {
                node.has_copy(key, 1).await;
            }
        }
        wire::redis(server.address(), command).await.unwrap();
        for node in &nodes {
            let copies = async || keys.iter().any(|key| node.copy(key).is_some());
            assert!(until(PATIENCE, async || !copies().await).await);
            assert_eq!(node.read("0").await, None);
            assert_eq!(node.log.count("subscription_lost"), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_by_the_sentinels() {
    let set = RedisSentinel::start().await;
    let bound = Duration::from_secs(1);
    let mut nodes = Vec::new();
    for bound in [bound, NO_BOUND] {
        nodes.push(Node::start(set.url(), PREFIX, bound).await);
    }
    nodes[0].cache.set("key", 1_u64).await.unwrap();
    for node in &nodes {
        node.has_copy("key", 1).await;
    }
    let master = set.fail_over().await;
    let writer = plain(&format!("redis://{master}"), PREFIX).await;
    writer.set("key", 2_u64).await.unwrap();
    let changed = Instant::now();
    for node in &nodes {
        no_older_than(bound, node, changed, 2).await.unwrap();
        println!("the new master's value after {:?}", changed.elapsed());
        node.log.until("subscription_lost", 1).await;
        node.log.until("subscription_begun", 2).await;
        node.has_copy("key", 2).await;
    }
    nodes[0].cache.set("key", 3_u64).await.unwrap();
    assert!(until(PATIENCE, async || nodes[1].read("key").await == Some(3)).await);
}

async fn read(worker: &Worker, call: u64) -> Option<u64> {
    let keys = vec!["key".to_owned()];
    let outcome = timeout(PATIENCE, worker.act(0, call, Action::Get { keys })).await;
    match outcome.expect("it does not answer") {
        Ok(Outcome::Read(read)) => read[0].map(|Seen { value, .. }| value),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_answers_with_no_older_copy() {
    const BOUND: Duration = Duration::from_millis(400);
    let server = Redis::start().await;
    let writer: Cache = plain(server.url(), PREFIX).await;
    let worker = Worker::start(Path::new(env!("CARGO_BIN_EXE_cache-worker")), server.url(), drop).await;
    let mut settings = Settings::new(PREFIX);
    settings.near = Some(Near {
        max_age: None,
        bound: BOUND,
    });
    worker.open(0, settings);
    let mut calls = 0..;
    let mut late = 0;
    for round in 0..15 {
        let value = 10 * round;
        writer.set("key", value).await.unwrap();
        for _ in 0..3 {
            let is_read = async || read(&worker, calls.next().unwrap()).await == Some(value);
            assert!(until(PATIENCE, is_read).await);
        }
        worker.stop().await;
        writer.set("key", value + 1).await.unwrap();
        let changed = Instant::now();
        sleep_until(changed + BOUND * (round as u32 % 3)).await;
        // The first call after the process resumes.
        let first = read(&worker, calls.next().unwrap());
        let (first, ()) = tokio::join!(first, async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            worker.resume().await;
        });
        match first {
            Some(read) if read == value + 1 => {}
            Some(read) if read == value && round % 3 == 0 => late += 1,
            other => panic!("{other:?} in round {round}"),
        }
        let is_read = async || read(&worker, calls.next().unwrap()).await == Some(value + 1);
        assert!(until(PATIENCE, is_read).await);
    }
    println!("stopped for less than the bound, it answered with the old value {late} times of 5");
}
