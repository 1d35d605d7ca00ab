//! Memcached as a store of the caching toolkit: one server, or several by consistent hashing.
//!
//! Use [`MemcachedBackend`] for values that several processes share and that may be lost: memcached keeps what fits into its
//! memory. Many calls share a connection: what is asked at the same time is sent together. An answer reaches the call that it
//! belongs to and no other, writes are confirmed, keys may be any text, lifetimes are in milliseconds, records have versions
//! and compare-and-set, and waits are bounded.
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
//! // The process that writes the lease loads the value.
//! let SetOutcome::Stored(lease) = memcached.set(&key, Bytes::new().into(), minute.if_absent()).await? else {
//!     panic!("another process loads it")
//! };
//! // Meanwhile the user changes, so the value being loaded is out of date.
//! memcached.delete(&key).await?;
//! // It is not stored.
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
//! | the same by TLS | `memcacheds://…`, with the feature `rustls` |
//! | the nodes of a cluster with auto discovery | `memcached://endpoint[:11211]?auto_discovery=true`, or `memcacheds://…` |
//! | sockets of this machine | `memcached+unix:///path/to/memcached.sock[,/another.sock…]` |
//!
//! `memcacheds` is to `memcached` as `https` is to `http`. The spelling of the `memcache` crate, `memcache+tls`, is understood
//! too. An IPv6 address stands in brackets. Parameters, all optional, as in `memcached://a,b?connections=32&when_down=skip`:
//!
//! | parameter | is |
//! |---|---|
//! | `connections` | [`connections`](MemcachedBackendBuilder::connections) to each server |
//! | `connect_timeout_ms` | [`connect_timeout`](MemcachedBackendBuilder::connect_timeout) |
//! | `operation_timeout_ms` | [`operation_timeout`](MemcachedBackendBuilder::operation_timeout) |
//! | `max_value_bytes` | [`max_value_bytes`](MemcachedBackendBuilder::max_value_bytes) |
//! | `when_down` | `fail` or `skip`, see [`WhenDown`] |
//! | `auto_discovery` | `true`: the hosts are [configuration endpoints](MemcachedBackendBuilder::auto_discovery) |
//! | `node_refresh_ms` | [`node_refresh`](MemcachedBackendBuilder::node_refresh) |
//!
//! [`MemcachedBackend::builder`] has a method for each of these and for all other [settings](MemcachedBackendBuilder).
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | fleet | the servers of a backend, and the rule by which a key finds its server |
//! | line | a connection that calls share. A task of its own sends what is queued, and hands out the answers in order |
//! | session | the commands of one call on one line |
//! | token | memcached's own number of a write (`cas unique`), by which a compare-and-swap is decided |
//! | stand-in | a record on the next server of the ring, while the one it belongs to is skipped |
//! | down, probe | a server that failed too often in a row is down: calls to it fail at once, except for one probe at a time |
//! | membership | the servers of a fleet that may change, and since when each has been one |
//! | epoch, stamp | an epoch is the time between two changes of the membership. Its stamp is stored on each server |
//!
//! # TLS
//!
//! The feature `rustls` adds `memcacheds://`, by rustls with ring. A server's certificate must be for the host by which
//! the server is named, and is checked against the system's authorities, or
//! those of [`ca_certificates`](MemcachedBackendBuilder#method.ca_certificates).
//! [`client_certificate`](MemcachedBackendBuilder#method.client_certificate) is for servers that ask for one.
//!
//! ```no_run
//! # #[cfg(feature = "rustls")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use cache_memcached::MemcachedBackend;
//!
//! let memcached = MemcachedBackend::builder()
//!     .url("memcacheds://cache-1.internal,cache-2.internal")
//!     .ca_certificates(std::fs::read("/etc/ssl/internal.pem")?)
//!     .connect()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! For all else, such as another TLS library or a tunnel, [`connector`](MemcachedBackendBuilder::connector) takes a function
//! that opens streams your way.
//!
//! # How records are stored
//!
//! | | |
//! |---|---|
//! | keys | as they are read: `get shop:users:42`. Spaces, control characters, `%` and non-ASCII characters are percent-encoded. Of a key over 250 bytes, the first 216, `%~` and a hash are kept |
//! | values | a header of 43 bytes (mark, version, deadline, half of a hash of the whole key), then the value; together up to `-I` less 512 bytes |
//! | lifetimes | to the millisecond, by the [clock](MemcachedBackendBuilder::clock) of the reader. memcached keeps a record 2 to 3 seconds longer |
//! | where servers come and go | 8 bytes more in each header, the epoch; and on each server the keys `%~larder-stamp` and `%~larder-servers` |
//! | `get`, `set` | one round trip (`get`; `set`, which the server confirms) |
//! | `get_or_add`, `set` of a lease | one round trip (`add` and `gets` together); more only if there is a dead record |
//! | `set` with `IfAbsent` | one round trip (`add`); more only if there is a record |
//! | `delete` | one round trip (`get` and `delete` together) |
//! | `set` with `IfVersion`, `delete_if` | one round trip (`cas`) if the record is a lease of this process; otherwise two (`gets`, `cas`), the first of which reads the record |
//! | `get_many` | one round trip to each server for up to 128 keys, all servers at once |
//! | `set_many`, `delete_many` | one call for each key, 16 at a time |
//! | compare-and-set | atomic on the server, by its `cas` |
//! | `clear` | not supported, since memcached cannot enumerate its keys. The engine clears a namespace by a record that each of its entries refers to |
//! | what others wrote | counts as absent, and is replaced by the next write |
//! | a dropped future | its answer is read and discarded; no other call sees it |
//!
//! # Several servers
//!
//! A key's server is found by consistent hashing as in libketama: 160 points for each server, by the MD5 of `host:port-0` to
//! `host:port-39`. Each process must name the servers alike; the order does not matter. Adding or removing a server moves
//! only its own keys.
//!
//! **A server that does not answer** is down after three failures in a row: calls for its keys fail at once, without being
//! sent. The keys of other servers are not affected. Once a second, one call probes whether the server is back. The engine
//! loads a key that fails, and does not cache it.
//!
//! Why do its keys not move to another server? Because of what happens when it returns. If it was unreachable but not
//! restarted, it still holds everything that was invalidated elsewhere meanwhile. With [`WhenDown::Skip`] the keys do move,
//! at a price: the process that finds the server back empties it, stand-ins live for ten seconds at most, and processes
//! that disagree on which servers are down may read old values until they agree.
//!
//! # Servers that come and go
//!
//! A provider names the servers: [`auto_discovery`](MemcachedBackendBuilder::auto_discovery) asks the configuration
//! endpoint of an ElastiCache or Memorystore cluster, and [`nodes`](MemcachedBackendBuilder::nodes) takes a function of
//! yours. The list is read every 30 s, and at once when a server tells that another process uses another list.
//!
//! ```no_run
//! # async fn example() -> Result<(), cache_core::Error> {
//! use cache_memcached::MemcachedBackend;
//!
//! let url = "memcached://shop.abc123.cfg.use1.cache.amazonaws.com:11211?auto_discovery=true";
//! let memcached = MemcachedBackend::connect(url).await?;
//! # Ok(())
//! # }
//! ```
//!
//! **What a change costs.** The keys of a server that leaves, and the share of one that joins, are missing on their new
//! server, so they are loaded again. All other keys stay. If the record of a tag or of a namespace moves, every entry that
//! refers to it is loaded again.
//!
//! **No old value comes back.** A key that moves leaves its record behind. If it moves back, because a server returns or
//! because one that had joined leaves again, the old record counts as absent: each record holds the epoch of the list in
//! which it was written, and is read only if the key has belonged to that server ever since. No server is emptied, so
//! other applications on it are not affected.
//!
//! **Two lists are not used at the same time.** Every call compares the stamp on its server with the list that it uses, in
//! the same round trip as a read, and in one more before a write. A process uses a new list only after it has told all servers
//! of the old and the new one. From then on, a process with the old list does nothing by it: its call reads the list again
//! and goes to the right server, or fails with [`Unavailable`]. So an invalidation never ends on one server while
//! another process reads the value on another one. There is one exception: a server that the process which made the change
//! could not reach. Other processes that still reach it use it until they call any other server or read the list again,
//! which they do every [`node_refresh`](MemcachedBackendBuilder::node_refresh). What they invalidate there meanwhile, and
//! the first process has loaded before, stays on the new server for its lifetime. So remove a server from the list after it
//! has been switched off for everybody, or while all processes reach it.
//!
//! **If the lists of two processes differ**, the one with the higher [version](NodeList::with_version) is used, and the
//! process with the other one fails its calls and asks its provider twice a second. Without versions, the process whose
//! provider changed its list is followed. A process that keeps another list puts it through after two intervals of
//! `node_refresh`, so that a wrong list somewhere does not last. Processes that never agree take turns: that is safe,
//! slow, and logged.
//!
//! A list that has no server in common with that of before is told to the old servers by the processes that used them. A
//! process that starts with such a list does not know of the old servers, so start none until the others have read the list.
//!
//! **A process that starts needs more than half of the servers**, since a server that was away may know an outdated list.
//! Until so many answer, its calls fail. With two servers, that is both. A process that runs goes on
//! with those that it reaches.
//!
//! **Limits.** All processes that share a server share one list, written alike, whatever they use it for. A process
//! with servers that are named once and for all takes no part in this: it never learns of a change, and what it wrote counts as
//! absent for the others. To change over, deploy the provider with the list of before, and change the list afterwards.
//! The last 64 servers that left are remembered one by one; if more leave, records from before the earliest of them count as
//! absent, whatever server they are on.
//!
//! # When things fail
//!
//! | what happens | what a call returns |
//! |---|---|
//! | the server does not answer | [`Timeout`](cache_core::ErrorKind::Timeout) after [`operation_timeout`](MemcachedBackendBuilder::operation_timeout); after three such calls, [`Unavailable`] at once |
//! | there is no server | [`Unavailable`] |
//! | the server comes back | calls succeed again within about a second. After a restart that is over, no call fails |
//! | all connections are in use | [`Rejected`](cache_core::ErrorKind::Rejected), marked as retryable, if none becomes free in time |
//! | the connection breaks during a write | [`Unavailable`]. The write is not repeated, since it may have been carried out |
//! | out of memory | [`Rejected`](cache_core::ErrorKind::Rejected), marked as retryable |
//! | a value over the limit, ours or the server's | [`TooLarge`](cache_core::ErrorKind::TooLarge). The record that it was to replace is removed |
//! | the provider of the list fails or panics | nothing: the last list is kept. Without one, the provider's error |
//! | the list changes | the call goes to the right server. [`Unavailable`] if this process has no list that others agree with |
//! | the certificate is not trusted, or for another name | [`Unavailable`], with the reason |
//! | the backend was closed | [`Unavailable`], marked as not retryable |
//!
//! [`connect`](MemcachedBackendBuilder::connect) fails if a server does not answer. [`build`](MemcachedBackendBuilder::build)
//! opens connections when they are needed, for services that start without their store.
//!
//! # What to know
//!
//! - **memcached evicts.** An evicted lease repeats a load. If the record of a namespace or tag is evicted, it counts as
//!   changed, so every entry that refers to it is loaded again.
//! - **Clocks.** A deadline is written by one process's clock and read by another's, so keep them in step (NTP). A clock that
//!   is ahead ends records early by as much. One that is behind keeps no record longer than memcached does.
//! - **A write that timed out may still be on its way**, and a server that was frozen carries it out when it wakes up. A
//!   plain `set` can undo a later one this way. A fill of the engine cannot, since it is a compare-and-set.
//! - **No authentication.** The text protocol's is not supported. Run memcached on a private network, or with TLS and client
//!   certificates (`-Z -o ssl_verify_mode=2`). Whoever can write to a server can change what is cached, and where servers come and
//!   go, can make processes connect to a host and port.
//! - **No proxies** that spread the commands of one connection over several servers (mcrouter, twemproxy): the order of
//!   commands on a connection matters. `-C`, which switches compare-and-swap off, is detected and is an error.
//! - **A large value holds up the calls behind it** on its connection, until its last byte has arrived. Where each call has to be
//!   quick, keep values of megabytes in a backend of their own.
//!
//! [`Unavailable`]: cache_core::ErrorKind::Unavailable

mod agreement;
mod backend;
mod builder;
mod discovery;
mod elasticache;
mod error;
mod fleet;
mod health;
mod ketama;
mod key;
mod lifetime;
mod line;
mod membership;
mod nodes;
mod pool;
mod protocol;
mod record;
mod server;
mod session;
mod stream;
#[cfg(feature = "rustls")]
mod tls;
mod tokens;
mod transport;
mod url;

pub use self::backend::MemcachedBackend;
pub use self::builder::MemcachedBackendBuilder;
pub use self::fleet::{STAND_IN_MILLIS, WhenDown};
pub use self::nodes::NodeList;

/// The README's code is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
