//! Redis (or Valkey) as a store of the caching toolkit: one server, a Cluster, or a master behind Sentinels.
//!
//! Use [`RedisBackend`] for values that several processes share. It is built on [fred], which speaks the protocol, follows
//! the Cluster and asks the Sentinels. This crate adds what a cache needs: records with versions and compare-and-set,
//! bounded waits, and errors that say what to do.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use cache_core::{Backend, Prefix, SetOptions, SetOutcome};
//! use cache_redis::RedisBackend;
//!
//! # async fn example() -> Result<(), cache_core::Error> {
//! let redis = RedisBackend::connect("redis://127.0.0.1:6379").await?;
//! let key = Prefix::new("shop").namespace("users").key("42");
//! let minute = SetOptions::new(Duration::from_secs(60));
//!
//! // The process that writes the lease loads the value.
//! let SetOutcome::Stored(lease) = redis.set(&key, Bytes::new().into(), minute.if_absent()).await? else {
//!     panic!("another process loads it")
//! };
//! // Meanwhile the user changes, so the value being loaded is out of date.
//! redis.delete(&key).await?;
//! // It is not stored.
//! let fill = redis.set(&key, Bytes::from("Ada").into(), minute.if_version(lease)).await?;
//! assert_eq!(fill, SetOutcome::Refused);
//! # Ok(())
//! # }
//! ```
//!
//! # URLs
//!
//! | for | URL |
//! |---|---|
//! | one server | `redis://[[user]:password@]host[:6379][/database]` |
//! | a Cluster | `redis-cluster://[[user]:password@]host[:6379][?node=host:port&node=…]` |
//! | a master behind Sentinels | `redis-sentinel://[[user]:password@]host[:26379][/database]?sentinelServiceName=name[&node=host:port&…][&sentinelUsername=…][&sentinelPassword=…]` |
//! | a Unix socket | `redis+unix:///path/to/redis.sock[?db=database]` |
//!
//! `rediss`, `rediss-cluster` and `rediss-sentinel` use TLS, which needs the feature `rustls`. You can write `valkey` and
//! `valkeys` for `redis` and `rediss`, `+` for `-`, and `unix` for `redis+unix`. In a user name and a password, write
//! `/ ? # @ : %` as `%2F %3F %23 %40 %3A %25`. An unknown parameter is an error. Errors name the URL without its secrets.
//!
//! [`RedisBackend::builder`] has a method for each of these and for all other [settings](RedisBackendBuilder).
//! [`RedisBackend::from_pool`] takes a ready pool of fred's.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | lane | one client of fred's, with one connection to each server; calls take the lanes in turn |
//! | supervisor | the task that replaces a lane's client when it has ended or stopped answering |
//! | foreign record | a value that another program wrote, without this crate's header |
//! | subscription, change, heartbeat | as in [`Subscription`](cache_core::Subscription) |
//! | session | the connections of a subscription while nothing is wrong with them |
//! | marker | a small record of the subscription's own, by which it notices that its database was replaced |
//!
//! # How records are stored
//!
//! | | |
//! |---|---|
//! | keys | as they are read: `redis-cli get shop:users:42` |
//! | values | a Redis string: a mark of 2 bytes, the version in 16, the deadline in 8, then the value; up to 512 MiB in all |
//! | lifetimes | `PX`, to the millisecond of the server's clock. No client's clock decides whether a record is there |
//! | `Record::remaining` | from the deadline in the record, by the [clocks](RedisBackendBuilder::clock) of writer and reader; wrong by as much as these differ |
//! | `get`, `set`, `delete`, `delete_if` | one round trip each. A `get` is a plain `GET`, in a Cluster a script |
//! | `get_or_add` | one round trip: a `SET` with `NX` and `GET`; in a Cluster, and before Redis 7, a script |
//! | `version` | one round trip that reads 26 bytes; two if there is no record or a foreign one; in a Cluster a script |
//! | `get_many`, `set_many`, `delete_many` | one round trip to each server for up to 512 keys |
//! | compare-and-set | atomic on the server, by a script. It is sent by its hash, and in full only if the server does not know it |
//! | `clear` | `SCAN` and `UNLINK`, 1,000 keys a step, on every master; exact boundaries, literal names |
//! | foreign records | returned as they are, with a version calculated from their bytes, so that they can be replaced; outside a Cluster this takes two round trips. To the engine they are misses |
//! | a dropped future | its answer is read and discarded; no other call sees it |
//!
//! # Change subscriptions
//!
//! [`Backend::subscribe`](cache_core::Backend::subscribe) uses Redis's [client tracking] in broadcasting mode. The server
//! reports every changed key, whoever changed it and how: by a write, a delete, a script, expiry, eviction or a flush. It
//! needs Redis 6 or later, or Valkey.
//!
//! | | |
//! |---|---|
//! | connections | each subscription has its own: one to the server, or one to each master of a Cluster |
//! | load on the server | each changed key in the scope is sent once per subscription. Each heartbeat asks two small questions per connection |
//! | heartbeats | a [`Heartbeat`] carries the moment when a question was sent that every master has answered since |
//! | own changes | are reported too |
//! | a slow reader | 10,000 changes wait for it; more of them become one [`Everything`] |
//! | other databases | the server does not tell them apart, so a key of the same text in another database is reported too |
//! | `SWAPDB` | Redis reports nothing. Each subscription keeps a marker below `prefix:!subscription:`, and a heartbeat that does not find it reports [`Everything`]. If the user may not write it, or the server is full, a swap goes unnoticed |
//!
//! A subscription is [`Lost`] when a connection breaks, when a server has not answered for
//! [`operation_timeout`](RedisBackendBuilder::operation_timeout), when the server has become a replica, or when the
//! Sentinels name another master. In a Cluster it is also lost when a master was added, was replaced or is about to be,
//! which shows in `cluster_current_epoch`; slots that move can have the same effect. It then connects anew by itself.
//!
//! One thing it cannot know: which of two servers is the master while both accept writes, as in a failover in which the old
//! master lives on behind Sentinels. It listens to the one that the backend reads from. In a Cluster, a replica that takes
//! over without a vote (`CLUSTER FAILOVER TAKEOVER`) is noticed once the other masters know of it.
//!
//! # When things fail
//!
//! | what happens | what a call returns |
//! |---|---|
//! | the server does not answer | [`Timeout`] after [`operation_timeout`](RedisBackendBuilder::operation_timeout), once on each connection; then as in the next row |
//! | there is no connection | [`Unavailable`] at once, with the reason. Calls never queue |
//! | the first connection is still being made | the call waits for it, for at most [`operation_timeout`](RedisBackendBuilder::operation_timeout); then [`Unavailable`] with "not connected yet" |
//! | the server comes back, or a replica takes over | calls succeed again within two seconds |
//! | the connection breaks during a command | [`Unavailable`]. The command is not repeated, since it may have been carried out |
//! | more than [`max_in_flight`](RedisBackendBuilder::max_in_flight) commands | [`Rejected`](cache_core::ErrorKind::Rejected) at once, marked as retryable |
//! | `OOM`, `MISCONF`, `READONLY`, `LOADING`, `BUSY` | [`Rejected`](cache_core::ErrorKind::Rejected). The last three are marked as retryable |
//! | `NOAUTH`, `WRONGPASS`, `NOPERM` | [`Auth`](cache_core::ErrorKind::Auth) |
//! | the backend was closed | [`Unavailable`], marked as not retryable |
//!
//! If a server has become a replica, the backend connects anew, through the Sentinels or the host name that leads to the
//! new master.
//!
//! | start the service with | if there is no server |
//! |---|---|
//! | [`connect`](RedisBackendBuilder::connect) | fails |
//! | [`connect_within`](RedisBackendBuilder::connect_within) | tries again until the limit |
//! | [`build`](RedisBackendBuilder::build) | returns a backend that connects in the background |
//!
//! # What to know
//!
//! - **A failover can lose writes**, including an invalidation: Redis replicates after it has answered. If no write may be
//!   lost, make the server wait for replicas (`min-replicas-to-write`).
//! - **A full server with `noeviction` refuses writes.** For a cache, use `maxmemory-policy allkeys-lru` or similar.
//! - **In a Cluster**, while one master is down and not yet replaced, fred serves no key at all. A command in flight when a
//!   connection breaks may be sent twice. Compare-and-set recognises its own write; a plain `set` may undo a write that
//!   came between.
//! - `clear` takes time in proportion to all keys of the server. In a Cluster it may miss keys that are moved to another
//!   master meanwhile.
//! - **Runtimes.** Connections belong to the tokio runtime that made them. When that runtime has ended, the next call makes
//!   new ones on its own runtime, so a backend in a `static` works for several runtimes, one after the other. While the
//!   first runtime exists but is not polled, calls from another one time out.
//!
//! # Features
//!
//! | feature | by default | what it adds |
//! |---|---|---|
//! | `rustls` | no | TLS by rustls with ring |
//!
//! [client tracking]: https://redis.io/docs/latest/develop/reference/client-side-caching/
//! [fred]: https://docs.rs/fred
//! [`Everything`]: cache_core::Change::Everything
//! [`Lost`]: cache_core::Change::Lost
//! [`Timeout`]: cache_core::ErrorKind::Timeout
//! [`Unavailable`]: cache_core::ErrorKind::Unavailable
//! [`Heartbeat`]: cache_core::Change::Heartbeat

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod builder;
mod clear;
mod connection;
mod credentials;
mod error;
mod format;
mod gather;
mod lane;
mod reply;
mod script;
mod swap;
#[cfg(feature = "rustls")]
mod tls;
mod tracking;
mod url;

pub use self::backend::RedisBackend;
pub use self::builder::RedisBackendBuilder;
pub use self::credentials::Credentials;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
