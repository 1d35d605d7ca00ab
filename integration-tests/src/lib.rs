//! Real stores for the tests of the toolkit.
//!
//! | store | shared by the tests of a process | one's own, to break it | or use a running one |
//! |---|---|---|---|
//! | Redis | [`Redis::shared`] | [`Redis::start`] | `CACHE_TEST_REDIS_URL=redis://host:port` |
//! | Redis Cluster, three masters with a replica each | [`RedisCluster::shared`] | [`RedisCluster::start`] | `CACHE_TEST_REDIS_CLUSTER_URL=redis-cluster://host:port?node=host:port` |
//! | Redis with three Sentinels | [`RedisSentinel::shared`] | [`RedisSentinel::start`] | `CACHE_TEST_REDIS_SENTINEL_URL=redis-sentinel://host:port?node=host:port&sentinelServiceName=name` |
//! | memcached, one server | [`Memcached::shared`] | [`Memcached::start`] | `CACHE_TEST_MEMCACHED_URL=memcached://host:port` |
//! | memcached, three servers | [`Memcached::shared_fleet`] | [`Memcached::start`] | `CACHE_TEST_MEMCACHED_URL=memcached://host:port,host:port,host:port` |
//! | DynamoDB Local | [`DynamoDb::shared`] | [`DynamoDb::start`] | `CACHE_TEST_DYNAMODB_URL=http://host:port` |
//!
//! [`Postgres`] is a database for tests of invalidation, a program of this machine: see `scripts/postgres`.
//!
//! Without a variable the store is a container, which testcontainers starts on free ports of 127.0.0.1. It is removed
//! when the test process ends, for any reason. `TESTCONTAINERS_COMMAND=keep` keeps it for debugging.
//!
//! `CACHE_TEST_REDIS_IMAGE=valkey/valkey:8` starts Valkey wherever a Redis server is started.
//!
//! If a store is not available, the test panics with a message that says what to do. It is never skipped. The same
//! holds for a variable that is empty, malformed or incomplete, or names a server that does not answer.
//!
//! Tests of a shared store write under a prefix of their own, and clear only that.
//!
//! ```no_run
//! # async fn example() {
//! let redis = integration_tests::Redis::shared().await;
//! println!("redis-cli -u {}", redis.url());
//! # }
//! ```
#![allow(clippy::expect_used, reason = "a fixture that fails is a failed test")]

pub mod chaos;
mod container;
mod dynamodb;
mod external;
pub mod histories;
mod memcached;
mod ports;
pub mod postgres;
mod reaper;
mod redis;
mod redis_cluster;
mod redis_node;
mod redis_sentinel;
pub mod wire;
pub mod worker;

pub use dynamodb::DynamoDb;
pub use memcached::Memcached;
pub use postgres::Postgres;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use redis_sentinel::RedisSentinel;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
