//! Near copies in several processes in front of one Redis: the others see a change by one, and a process does not drop
//! its own new copies.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod redis_support;

use std::time::Duration;

use cache_core::{
    Backend, Capabilities, Change, Error, Key, Record, Scope, SetOptions, SetOutcome, Subscription, Value, async_trait,
};
use cache_redis::RedisBackend;
use integration_tests::{Redis, RedisCluster, RedisSentinel, wire};
use redis_support::near::{NO_BOUND, Node, PATIENCE, plain, until};
use redis_support::{calls, prefix};
use tokio::time::{Instant, MissedTickBehavior};

fn own_prefix() -> String {
    prefix().scope().as_str().trim_end_matches(':').to_owned()
}

#[derive(Debug, Clone, Copy)]
enum Write {
    Set,
    Invalidate,
    Tag,
    Clear,
}

/// Each node in turn changes a key that all have copies of. It sees the change at once, the others within `patience`.
async fn changes_are_seen_everywhere(nodes: &[Node], patience: Duration) -> Result<(), String> {
    let mut value = 0;
    for (turn, writer) in nodes.iter().chain(nodes).enumerate() {
        for change in [Write::Set, Write::Invalidate, Write::Tag, Write::Clear] {
            let key = format!("{turn}-{change:?}");
            value += 1;
            writer.cache.with_tags(["tag"]).set(&key, value).await.unwrap();
            for node in nodes {
                node.has_copy(&key, value).await;
            }
            let mut expected = None;
            match change {
                Write::Set => {
                    value += 1;
                    writer.cache.set(&key, value).await.unwrap();
                    expected = Some(value);
                }
                Write::Invalidate => writer.cache.invalidate(&key).await.unwrap(),
                Write::Tag => writer.cache.invalidate_tag("tag").await.unwrap(),
                Write::Clear => drop(writer.cache.clear("n").await.unwrap()),
            }
            assert_eq!(writer.read(&key).await, expected, "{change:?} by the node itself");
            for (number, node) in nodes.iter().enumerate() {
                if !until(patience, async || node.read(&key).await == expected).await {
                    return Err(format!("node {number} does not see {change:?} in turn {turn}"));
                }
                assert_eq!(node.read(&key).await, expected, "and then no longer");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_seen_everywhere_on_one_server() {
    let nodes = Node::nodes(3, Redis::shared().await.url(), &own_prefix()).await;
    changes_are_seen_everywhere(&nodes, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_seen_everywhere_on_a_cluster() {
    let nodes = Node::nodes(3, RedisCluster::shared().await.url(), &own_prefix()).await;
    changes_are_seen_everywhere(&nodes, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_seen_everywhere_behind_sentinels() {
    let nodes = Node::nodes(3, RedisSentinel::shared().await.url(), &own_prefix()).await;
    changes_are_seen_everywhere(&nodes, PATIENCE).await.unwrap();
}

/// A store whose subscriptions report no changes, but go on with heartbeats.
#[derive(Debug)]
struct Deaf(RedisBackend);

#[derive(Debug)]
struct Swallowing(Box<dyn Subscription>);

#[async_trait]
impl Subscription for Swallowing {
    async fn next(&mut self) -> Option<Change> {
        loop {
            match self.0.next().await {
                Some(Change::Record(_) | Change::Everything) => {}
                other => return other,
            }
        }
    }
}

#[async_trait]
impl Backend for Deaf {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.0.get(key).await
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        self.0.set(key, value, options).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.0.delete(key).await
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.0.clear(scope).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn subscribe(&self, scope: &Scope, heartbeat: Duration) -> Result<Box<dyn Subscription>, Error> {
        Ok(Box::new(Swallowing(self.0.subscribe(scope, heartbeat).await?)))
    }
}

/// The negative control: without change notifications the check finds old copies.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_told_of_nothing_are_found_out() {
    let (url, prefix) = (Redis::shared().await.url(), own_prefix());
    let mut nodes = Node::nodes(1, url, &prefix).await;
    let deaf = Deaf(RedisBackend::connect(url).await.unwrap());
    nodes.push(Node::over(deaf, &prefix, |builder| builder.near_max_silence(NO_BOUND)).await);
    let found = changes_are_seen_everywhere(&nodes, Duration::from_millis(500)).await;
    assert_eq!(found, Err("node 1 does not see Set in turn 0".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn own_changes_cause_no_echo() {
    const KEYS: u64 = 100;
    let server = Redis::start().await;
    let nodes = Node::nodes(2, server.url(), &own_prefix()).await;
    let [here, there] = &nodes[..] else { unreachable!() };
    wire::redis(server.address(), "CONFIG RESETSTAT").await.unwrap();
    let keys: Vec<String> = (0..KEYS).map(|number| number.to_string()).collect();
    for (number, key) in (0..).zip(&keys) {
        if number % 2 == 0 {
            here.cache.set(key, number).await.unwrap();
        } else {
            let load = move || async move { Ok::<u64, std::convert::Infallible>(number) };
            here.cache.get_or_load(key, load).await.unwrap();
        }
    }
    // When its own write is reported, a node reads the first bytes of the record to check whether that write was the
    // last. The script of a fill reads them too.
    let asked = async || calls(server.address(), "getrange").await;
    assert!(until(PATIENCE, async || asked().await >= KEYS * 3 / 2).await);
    let kept = || (0..).zip(&keys).filter(|(_, key)| here.copy(key).is_some());
    let written = || kept().filter(|(number, _)| number % 2 == 0).count() as u64;
    // A change may end the copy of another key, and a lease is a change too.
    assert!(until(PATIENCE, async || written() >= KEYS * 2 / 5).await);
    let kept: Vec<(u64, &String)> = kept().collect();
    println!(
        "{KEYS} own values, half written, half loaded: {} copies, {} of them of what was written",
        kept.len(),
        written()
    );

    let before = calls(server.address(), "get").await;
    for (number, key) in kept.iter().copied() {
        assert_eq!(here.read(key).await, Some(number));
    }
    assert_eq!(calls(server.address(), "get").await, before, "nothing is read again");
    // The control: copies end when another node changes the keys.
    for (number, key) in kept.iter().copied() {
        there.cache.set(key, number + KEYS).await.unwrap();
        assert!(until(PATIENCE, async || here.read(key).await == Some(number + KEYS)).await);
    }
    assert!(calls(server.address(), "get").await >= before + kept.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_updates_a_second_on_ten_nodes_cause_reads_of_what_is_read_only() {
    const UPDATES: u64 = 3_000;
    const KEYS: u64 = 100;
    let server = Redis::start().await;
    let prefix = own_prefix();
    let nodes = Node::nodes(10, server.url(), &prefix).await;
    let writer = plain(server.url(), &prefix).await;
    let keys: Vec<String> = (0..KEYS).map(|number| number.to_string()).collect();
    for key in &keys {
        writer.set(key, UPDATES).await.unwrap();
    }
    for node in &nodes {
        for key in &keys {
            node.has_copy(key, UPDATES).await;
        }
    }
    wire::redis(server.address(), "CONFIG RESETSTAT").await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    for update in 0..UPDATES {
        pace.tick().await;
        writer.set(&keys[(update % KEYS) as usize], update).await.unwrap();
    }
    let took = begun.elapsed();
    for node in &nodes {
        let told = until(PATIENCE, async || keys.iter().all(|key| node.copy(key).is_none())).await;
        assert!(told, "a node was not told of all");
    }
    let (set, get) = (
        calls(server.address(), "set").await,
        calls(server.address(), "get").await,
    );
    println!("{UPDATES} updates in {took:?}: {set} SET and {get} GET");
    assert_eq!((set, get), (UPDATES, 0));
    for node in &nodes {
        for _ in 0..5 {
            assert_eq!(node.read("7").await, Some(UPDATES - KEYS + 7));
        }
    }
    assert_eq!(calls(server.address(), "get").await, 10, "one for each node");
}
