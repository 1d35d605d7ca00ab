//! Memcached as a store of the caching toolkit: one server, or several by consistent hashing.
//!
//! [`MemcachedBackend`] is for values that several processes share and that may be lost: memcached keeps what fits into
//! its memory. It is built on [memcache-async], which speaks the protocol and nothing more. This crate adds what makes
//! it safe to use: connections that never answer one question with the answer to another, writes that are confirmed,
//! keys of any text, lifetimes in milliseconds, versions and compare-and-set, an end to every wait.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use cache_core::{Backend, Prefix, SetOptions, SetOutcome};
//! use cache_memcached::MemcachedBackend;
//!
//! # async fn example() -> Result<(), cache_core::Error> {
//! let memcached = MemcachedBackend::connect("memcached://127.0.0.1:11211").await?;
//! let key = Prefix::new("shop").namespace("users").key("42");
//! let minute = SetOptions::new(Duration::from_secs(60));
//!
//! // One of many processes gets to load: the one that wrote the lease.
//! let SetOutcome::Stored(lease) = memcached.set(&key, Bytes::new().into(), minute.if_absent()).await? else {
//!     panic!("somebody else loads")
//! };
//! // Meanwhile the user changes, and what is being loaded is out of date.
//! memcached.delete(&key).await?;
//! // So it is not stored.
//! let fill = memcached.set(&key, Bytes::from("Ada").into(), minute.if_version(lease)).await?;
//! assert_eq!(fill, SetOutcome::Refused);
//! # Ok(())
//! # }
//! ```
//!
//! # URLs
//!
//! | to | URL |
//! |---|---|
//! | one server or several | `memcached://host[:11211][,host[:11211]…]` |
//! | sockets of this machine | `memcached+unix:///path/to/memcached.sock[,/another.sock…]` |
//!
//! An IPv6 address stands in brackets. Parameters, all optional, as in `memcached://a,b?connections=32&when_down=skip`:
//!
//! | parameter | is |
//! |---|---|
//! | `connections` | [`connections`](MemcachedBackendBuilder::connections) to each server |
//! | `connect_timeout_ms` | [`connect_timeout`](MemcachedBackendBuilder::connect_timeout) |
//! | `operation_timeout_ms` | [`operation_timeout`](MemcachedBackendBuilder::operation_timeout) |
//! | `max_value_bytes` | [`max_value_bytes`](MemcachedBackendBuilder::max_value_bytes) |
//! | `when_down` | `fail` or `skip`, see [`WhenDown`] |
//!
//! [`MemcachedBackend::builder`] has a method for each of these and for all other [settings](MemcachedBackendBuilder).
//!
//! # TLS
//!
//! The stream is the caller's: whatever tokio can read and write will do.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use cache_memcached::MemcachedBackend;
//! use tokio::net::TcpStream;
//! use tokio_rustls::TlsConnector;
//! use tokio_rustls::rustls::ClientConfig;
//! use tokio_rustls::rustls::pki_types::ServerName;
//!
//! # fn example(config: ClientConfig) -> Result<(), cache_core::Error> {
//! let tls = TlsConnector::from(Arc::new(config));
//! let memcached = MemcachedBackend::builder()
//!     .server("cache-1.internal:11211")
//!     .connector(move |server| {
//!         let tls = tls.clone();
//!         async move {
//!             let stream = TcpStream::connect(&server).await?;
//!             stream.set_nodelay(true)?;
//!             let host = server.rsplit_once(':').map_or(&*server, |(host, _)| host).to_owned();
//!             let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
//!             tls.connect(name, stream).await
//!         }
//!     })
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it keeps to
//!
//! | | |
//! |---|---|
//! | keys | as they are read: `get shop:users:42`; spaces, control characters, `%` and what is not ASCII are percent-encoded; of a key over 250 bytes the first 216, `%~` and a hash are left |
//! | values | a header of 43 bytes (mark, version, deadline, half of a hash of the whole key) and the value; together up to `-I` less 512 bytes |
//! | lifetimes | to the millisecond, by the [clock](MemcachedBackendBuilder::clock) of who reads; memcached is told to keep a record for 2 to 3 seconds longer |
//! | `get` | one round trip (`get`) |
//! | `set`, always | one round trip: `set`, and in the same breath a question whether it was done |
//! | `set` with `IfAbsent` | one round trip (`add`); more only if something is there |
//! | `set` with `IfVersion`, `delete`, `delete_if` | two round trips (`gets`, `cas`), the first of which reads the record |
//! | `get_many` | one round trip to each server for up to 128 keys, all servers at once |
//! | `set_many`, `delete_many` | a call for each key, 16 at a time |
//! | compare-and-set | atomic on the server, by its `cas` |
//! | `clear` | there is none, since memcached cannot enumerate its keys; the engine clears a namespace by a record that each of its entries refers to |
//! | what others wrote | absent, and replaced by the next write |
//! | a dropped future | its connection is closed; no other call reads its answer |
//!
//! # Several servers
//!
//! A key's server is found by consistent hashing as in libketama: 160 points for each server, by the MD5 of
//! `host:port-0` to `host:port-39`. Each process must name the servers alike; the order does not matter. A server that is
//! added or removed moves no keys but its own.
//!
//! **A server that does not answer** is left alone after three failures in a row: its keys fail at once, without being
//! asked for, and the other servers' keys are not concerned. Once a second one call finds out whether it is back. To the
//! engine, a key that fails is one that is loaded and not cached.
//!
//! Why do its keys not go to another server? Because of what happens when it returns. It may have been unreachable and
//! not restarted, and then it still holds all that was invalidated meanwhile, elsewhere. With [`WhenDown::Skip`] the keys
//! do go to the next server, and the price is named there: who finds the server back empties it, stand-ins live for ten
//! seconds, and processes that disagree on who is alive may read old values until they agree.
//!
//! # When things fail
//!
//! | what happens | what a call sees |
//! |---|---|
//! | the server does not answer | [`Timeout`](cache_core::ErrorKind::Timeout) after [`operation_timeout`](MemcachedBackendBuilder::operation_timeout); after three calls, [`Unavailable`] at once |
//! | there is no server | [`Unavailable`] |
//! | the server comes back | it is used again within a second or so; a restart costs no failed call, once it is over |
//! | all connections are in use | [`Timeout`](cache_core::ErrorKind::Timeout), if none becomes free in time |
//! | the connection breaks under a write | [`Unavailable`]; it is not sent again, since it may have been carried out |
//! | out of memory | [`Rejected`](cache_core::ErrorKind::Rejected), and that a retry can help |
//! | a value over the limit | [`TooLarge`](cache_core::ErrorKind::TooLarge), ours or the server's; what it was to replace is gone |
//! | the handle was closed | [`Unavailable`], and that a retry cannot help |
//!
//! [`connect`](MemcachedBackendBuilder::connect) fails where a server does not answer;
//! [`build`](MemcachedBackendBuilder::build) opens connections when they are needed, for services that start without
//! their store.
//!
//! # What to know
//!
//! - **memcached evicts.** A lease that is evicted costs a repeated load; a namespace's or tag's record that is evicted
//!   counts as changed, so everything that refers to it is loaded anew.
//! - **Clocks.** A deadline is written by one process's clock and read by another's. Keep them in step (NTP): a clock that
//!   is ahead ends records early by as much. One that is behind keeps none for longer than memcached does.
//! - **A write that timed out may still be on its way**, and a server that was frozen carries it out when it wakes up. A
//!   plain `set` may so undo a later one. A fill of the engine cannot: it is a compare-and-set.
//! - **No authentication.** The text protocol's is not spoken. memcached belongs on a private network, or behind TLS with
//!   client certificates.
//! - **No proxies** that spread one connection's commands over several (mcrouter, twemproxy): the order of commands on a
//!   connection counts. `-C`, which switches compare-and-swap off, is found out and refused.
//! - The protocol's crate is small and changes seldom; version 0.10.1 is what the tests of this crate know.
//!
//! [memcache-async]: https://docs.rs/memcache-async/0.10.1
//! [`Unavailable`]: cache_core::ErrorKind::Unavailable

mod backend;
mod builder;
mod error;
mod fleet;
mod health;
mod ketama;
mod key;
mod lifetime;
mod record;
mod server;
mod session;
mod stream;
mod url;

pub use self::backend::MemcachedBackend;
pub use self::builder::MemcachedBackendBuilder;
pub use self::fleet::{STAND_IN_MILLIS, WhenDown};

/// The README's code is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
