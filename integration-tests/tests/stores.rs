//! Each store of the fixtures answers, is of the right kind, and breaks and recovers on demand. Checked over plain TCP,
//! so that no client library hides a fault.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::time::Duration;

use integration_tests::{DynamoDb, Memcached, Redis, RedisCluster, RedisSentinel, wire};
use tokio::time::sleep;

#[tokio::test]
async fn redis_answers() {
    let redis = Redis::shared().await;
    assert_eq!(wire::redis(redis.address(), "PING").await.unwrap(), "PONG");
    assert_eq!(
        wire::redis(redis.address(), "SET stores:a 1 PX 60000").await.unwrap(),
        "OK"
    );
    assert_eq!(wire::redis(redis.address(), "GET stores:a").await.unwrap(), "1");
    let mode = wire::redis(redis.address(), "INFO server").await.unwrap();
    assert!(mode.contains("redis_mode:standalone"), "{mode}");
}

#[tokio::test]
async fn redis_of_ones_own_freezes_and_comes_back_at_its_address() {
    let redis = Redis::start().await;
    redis.freeze().await;
    let frozen = wire::redis(redis.address(), "PING").await.unwrap_err();
    assert_eq!(frozen.kind(), io::ErrorKind::TimedOut);
    redis.thaw().await;
    assert_eq!(wire::redis(redis.address(), "SET a 1").await.unwrap(), "OK");

    redis.kill().await;
    wire::redis(redis.address(), "PING").await.unwrap_err();
    redis.restart().await;
    assert_eq!(wire::redis(redis.address(), "EXISTS a").await.unwrap(), "0");
}

#[tokio::test]
async fn cluster_nodes_can_be_reached_where_the_cluster_says_they_are() {
    let cluster = RedisCluster::shared().await;
    let nodes = wire::redis(&cluster.nodes()[0], "CLUSTER NODES").await.unwrap();
    let mut masters = 0;
    let mut replicas = 0;
    for node in nodes.lines() {
        let mut fields = node.split(' ').skip(1);
        let address = fields.next().unwrap().split('@').next().unwrap();
        assert_eq!(wire::redis(address, "PING").await.unwrap(), "PONG", "{node}");
        let role = fields.next().unwrap();
        masters += usize::from(role.contains("master"));
        replicas += usize::from(role.contains("slave"));
    }
    assert!(masters >= 3, "{nodes}");
    assert!(replicas >= masters, "{nodes}");
}

#[tokio::test]
async fn a_cluster_replaces_a_killed_master() {
    let cluster = RedisCluster::start().await;
    let master = &cluster.nodes()[0];
    assert!(wire::redis(master, "ROLE").await.unwrap().starts_with("master"));
    cluster.fail_over(master).await;
    wire::redis(master, "PING").await.unwrap_err();
    let nodes = wire::redis(&cluster.nodes()[1], "CLUSTER NODES").await.unwrap();
    let masters = nodes
        .lines()
        .filter(|node| node.contains("master") && !node.contains("fail"));
    assert_eq!(masters.count(), 3, "{nodes}");

    cluster.restart(master).await;
    let a_replica = || async {
        let role = wire::redis(master, "ROLE").await;
        role.is_ok_and(|role| role.starts_with("slave"))
    };
    eventually(a_replica).await;
}

#[tokio::test]
async fn sentinels_name_a_master_that_can_be_reached() {
    let redis = RedisSentinel::shared().await;
    let role = wire::redis(&redis.master().await, "ROLE").await.unwrap();
    assert!(role.starts_with("master"), "{role}");
    for sentinel in redis.sentinels() {
        assert_eq!(wire::redis(sentinel, "PING").await.unwrap(), "PONG");
    }
}

#[tokio::test]
async fn sentinels_promote_the_replica_of_a_killed_master() {
    let redis = RedisSentinel::start().await;
    let old = redis.master().await;
    assert_eq!(wire::redis(&old, "SET a 1").await.unwrap(), "OK");
    assert_eq!(wire::redis(&old, "WAIT 1 5000").await.unwrap(), "1");

    let new = redis.fail_over().await;
    assert_ne!(new, old);
    assert_eq!(wire::redis(&new, "GET a").await.unwrap(), "1");

    redis.restart(&old).await;
    redis.demoted(&old).await;
}

#[tokio::test]
async fn memcached_answers() {
    let memcached = Memcached::shared().await;
    let address = &memcached.addresses()[0];
    let version = wire::memcached(address, "version").await.unwrap();
    assert!(version[0].starts_with("VERSION 1.6."), "{version:?}");
    let stored = wire::memcached(address, "set stores:a 0 60 1\r\n1").await.unwrap();
    assert_eq!(stored, ["STORED"]);
    let got = wire::memcached(address, "get stores:a").await.unwrap();
    assert_eq!(got, ["VALUE stores:a 0 1", "1", "END"]);
}

#[tokio::test]
async fn memcached_servers_of_a_fleet_are_different_servers() {
    let fleet = Memcached::shared_fleet().await;
    let [first, second, third] = fleet.addresses() else {
        panic!("{:?}", fleet.addresses());
    };
    let stored = wire::memcached(first, "set stores:b 0 60 1\r\n1").await.unwrap();
    assert_eq!(stored, ["STORED"]);
    for other in [second, third] {
        assert_eq!(wire::memcached(other, "get stores:b").await.unwrap(), ["END"]);
    }
}

#[tokio::test]
async fn a_killed_memcached_leaves_the_others_and_comes_back_at_its_address() {
    let fleet = Memcached::start(2).await;
    fleet.kill(0).await;
    wire::memcached(&fleet.addresses()[0], "version").await.unwrap_err();
    wire::memcached(&fleet.addresses()[1], "version").await.unwrap();
    fleet.restart(0).await;
    wire::memcached(&fleet.addresses()[0], "version").await.unwrap();
}

#[tokio::test]
async fn dynamodb_makes_a_table() {
    let dynamodb = DynamoDb::shared().await;
    let table = r#"{"TableName":"stores","BillingMode":"PAY_PER_REQUEST",
        "AttributeDefinitions":[{"AttributeName":"key","AttributeType":"S"}],
        "KeySchema":[{"AttributeName":"key","KeyType":"HASH"}]}"#;
    let (status, body) = wire::dynamodb(dynamodb.address(), "CreateTable", table).await.unwrap();
    assert_eq!(status, 200, "{body}");
    let item = r#"{"TableName":"stores","Item":{"key":{"S":"a"},"value":{"B":"AA=="}}}"#;
    let (status, body) = wire::dynamodb(dynamodb.address(), "PutItem", item).await.unwrap();
    assert_eq!(status, 200, "{body}");
    let (status, _) = wire::dynamodb(dynamodb.address(), "DeleteTable", r#"{"TableName":"stores"}"#)
        .await
        .unwrap();
    assert_eq!(status, 200);
}

/// Waits until the condition holds, with a time limit.
async fn eventually<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    for _ in 0..300 {
        if condition().await {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("not within thirty seconds");
}
