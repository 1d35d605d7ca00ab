//! Redis (or Valkey) as a store of the caching toolkit: one server, a Cluster, or a master behind Sentinels.
//!
//! [`RedisBackend`] is for values that several processes share. It is built on [fred], which speaks to the servers,
//! follows the Cluster and asks the Sentinels; this crate adds what a cache needs of it: records with versions and
//! compare-and-set, an end to every wait, and errors that say what to do.
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
//! // One of many processes gets to load: the one that wrote the lease.
//! let SetOutcome::Stored(lease) = redis.set(&key, Bytes::new().into(), minute.if_absent()).await? else {
//!     panic!("somebody else loads")
//! };
//! // Meanwhile the user changes, and what is being loaded is out of date.
//! redis.delete(&key).await?;
//! // So it is not stored.
//! let fill = redis.set(&key, Bytes::from("Ada").into(), minute.if_version(lease)).await?;
//! assert_eq!(fill, SetOutcome::Refused);
//! # Ok(())
//! # }
//! ```
//!
//! # URLs
//!
//! | to | URL |
//! |---|---|
//! | one server | `redis://[[user]:password@]host[:6379][/database]` |
//! | a Cluster | `redis-cluster://[[user]:password@]host[:6379][?node=host:port&node=…]` |
//! | a master behind Sentinels | `redis-sentinel://[[user]:password@]host[:26379][/database]?sentinelServiceName=name[&node=host:port&…][&sentinelUsername=…][&sentinelPassword=…]` |
//! | a socket of this machine | `redis+unix:///path/to/redis.sock[?db=database]` |
//!
//! `rediss`, `rediss-cluster` and `rediss-sentinel` are the same by TLS, which needs the feature `rustls`. `valkey` and
//! `valkeys` stand for `redis` and `rediss`, `+` for `-`, and `unix` for `redis+unix`. In a user's name and a password
//! `/ ? # @ : %` are written `%2F %3F %23 %40 %3A %25`. A parameter that has no meaning is an error, and an error names
//! the URL without its secrets.
//!
//! [`RedisBackend::builder`] has a method for each of these and for all [settings](RedisBackendBuilder);
//! [`RedisBackend::from_pool`] takes a pool of fred's that is there already.
//!
//! # What it keeps to
//!
//! | | |
//! |---|---|
//! | keys | as they are read: `redis-cli get shop:users:42` |
//! | values | a Redis string: a mark of 2 bytes, the version in 16, the deadline in 8, the value; up to 512 MiB in all |
//! | lifetimes | `PX`, to the millisecond of the server's clock; no clock of a client decides whether a record is there |
//! | `Record::remaining` | from the deadline in the record, by the [clocks](RedisBackendBuilder::clock) of who wrote and who reads; off by as much as these differ |
//! | `get`, `set`, `delete`, `delete_if` | one round trip each; a `get` is a plain `GET`, in a Cluster a script |
//! | `version` | one round trip that reads 26 bytes; two where nothing is or others wrote it; in a Cluster a script |
//! | `get_many`, `set_many`, `delete_many` | one round trip to each server for up to 512 keys |
//! | compare-and-set | atomic on the server, by a script that is sent by its hash and in full only when the server does not know it |
//! | `clear` | by `SCAN` and `UNLINK`, 1,000 keys a step, on every master; exact boundary, literal names, counted |
//! | what others wrote | read as it is, with a version that follows from its bytes, so that it can be replaced; outside of a Cluster a read of it is two round trips; to the engine it is a miss |
//! | a dropped future | its answer is read and thrown away; no other call sees it |
//!
//! # Notices of changes
//!
//! [`Backend::subscribe`](cache_core::Backend::subscribe) is Redis's [client tracking] in broadcasting mode:
//! the server says that a key was changed when it changes it, whoever does it and however: a write, a delete, a script,
//! the end of its life, an eviction, a flush. Nothing is written or published for it.
//!
//! | | |
//! |---|---|
//! | connections | each stream has one of its own to the server, or to each master of a Cluster |
//! | on the server | for each write below the scope's text, the key is sent to each stream once; keys that change together go in one message. Each `heartbeat` costs two small questions for each connection |
//! | moments | an [`Heartbeat`] is the moment at which a question was sent that every master has answered since |
//! | own changes | are told of like those of others |
//! | a slow listener | 10,000 notices wait for it; if there are more, it hears [`Everything`] in their place |
//! | other databases | the server does not tell them apart, so a key of the same text in another one is told of, too |
//!
//! A stream is [`Lost`] when a connection breaks, when a server has not answered for
//! [`operation_timeout`](RedisBackendBuilder::operation_timeout), when it has become a replica, when the Sentinels name
//! another master, and in a Cluster when a master was replaced, came in or is about to be replaced, which shows in the
//! number of the vote (`cluster_current_epoch`); slots that move may do so, too. All its connections are then made anew.
//! It needs Redis 6 or later, or Valkey.
//!
//! What it cannot know: which of two servers is the master while both take writes, as in a failover in which the old
//! one lives on behind Sentinels. It hears the one that the handle reads from. In a Cluster, a replica that takes over
//! without a vote (`CLUSTER FAILOVER TAKEOVER`) is known of as soon as the other masters are told.
//!
//! # When things fail
//!
//! | what happens | what a call sees |
//! |---|---|
//! | the server does not answer | [`Timeout`] after [`operation_timeout`](RedisBackendBuilder::operation_timeout), once on each connection; then as below, also for callers who gave up earlier |
//! | there is no connection | [`Unavailable`] at once, with the reason; never a wait, and never a queue |
//! | the server comes back, or a replica takes over | it is used again within two seconds |
//! | the connection breaks under a command | [`Unavailable`]; the command is not sent again, since it may have been carried out |
//! | more than [`max_in_flight`](RedisBackendBuilder::max_in_flight) | [`Unavailable`] at once |
//! | `OOM`, `MISCONF`, `READONLY`, `LOADING`, `BUSY` | [`Rejected`](cache_core::ErrorKind::Rejected); the last three say that a retry can help |
//! | `NOAUTH`, `WRONGPASS`, `NOPERM` | [`Auth`](cache_core::ErrorKind::Auth) |
//! | the handle was closed | [`Unavailable`], and that a retry cannot help |
//!
//! A server that has become a replica is left: the connection is made anew, through the Sentinels or the name that
//! leads to the new master.
//!
//! [`connect`](RedisBackendBuilder::connect) fails where there is no server; [`build`](RedisBackendBuilder::build)
//! connects in the background, for services that start without their store.
//!
//! # What to know
//!
//! - **A failover can lose writes**, an invalidation for one: Redis replicates after it has answered. What must not be
//!   lost waits for replicas on the server (`min-replicas-to-write`).
//! - **A full server with `noeviction` refuses writes.** A cache wants `maxmemory-policy allkeys-lru` or the like.
//! - In a **Cluster**, while one master is down and not yet replaced, fred serves no key at all, and a command that is
//!   under way when a connection breaks may be sent twice. Compare-and-set bears that: the second finds its own write.
//!   A plain `set` may undo one that came between.
//! - `clear` takes time in proportion to all keys of the server. In a Cluster it may miss keys that are moved from one
//!   master to another meanwhile.
//! - Connections belong to the tokio runtime that made them.
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

mod backend;
mod builder;
mod clear;
mod connection;
mod error;
mod format;
mod lane;
mod script;
#[cfg(feature = "rustls")]
mod tls;
mod tracking;
mod url;

pub use self::backend::RedisBackend;
pub use self::builder::RedisBackendBuilder;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
