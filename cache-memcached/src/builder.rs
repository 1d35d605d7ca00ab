//! How a backend is set up.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Backend, Clock, Error, SystemClock};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::backend::MemcachedBackend;
use crate::error::configuration;
use crate::fleet::{Fleet, WhenDown};
use crate::record::HEADER_LEN;
use crate::server::{Bounds, Server};
use crate::stream::{Address, BoxedStream, Connector};
use crate::url;

/// memcached's default of `-I`.
const MAX_ITEM_BYTES: usize = 1024 * 1024;

/// What memcached adds to a value before it compares: its own header (up to 56 bytes), the key (250) and some bytes
/// around them. The rest is for later releases.
const ITEM_OVERHEAD: usize = 512;

/// Sets up a [`MemcachedBackend`].
///
/// ```
/// use std::time::Duration;
/// use cache_memcached::MemcachedBackend;
///
/// # fn main() -> Result<(), cache_core::Error> {
/// let backend = MemcachedBackend::builder()
///     .server("cache-1.internal:11211")
///     .server("cache-2.internal:11211")
///     .connections(32)
///     .operation_timeout(Duration::from_millis(250))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
#[derive(Clone)]
pub struct MemcachedBackendBuilder {
    servers: Vec<Address>,
    connector: Option<Connector>,
    bounds: Bounds,
    max_item_bytes: usize,
    when_down: WhenDown,
    clock: Arc<dyn Clock>,
    problem: Option<Error>,
}

impl MemcachedBackendBuilder {
    pub(crate) fn new() -> Self {
        Self {
            servers: Vec::new(),
            connector: None,
            bounds: Bounds {
                connections: 16,
                connect_timeout: Duration::from_millis(300),
                operation_timeout: Duration::from_millis(400),
                failures: 3,
                pause: Duration::from_secs(1),
            },
            max_item_bytes: MAX_ITEM_BYTES,
            when_down: WhenDown::default(),
            clock: Arc::new(SystemClock),
            problem: None,
        }
    }

    /// Takes servers and settings from a URL; see the [crate's front page](crate#urls). A URL that cannot be read is an
    /// error of [`build`](Self::build).
    pub fn url(mut self, url: &str) -> Self {
        let settings = match url::parse(url) {
            Ok(settings) => settings,
            Err(problem) => return self.problem(problem),
        };
        self.servers.extend(settings.servers);
        let bounds = &mut self.bounds;
        bounds.connections = settings.connections.unwrap_or(bounds.connections);
        bounds.connect_timeout = settings.connect_timeout.unwrap_or(bounds.connect_timeout);
        bounds.operation_timeout = settings.operation_timeout.unwrap_or(bounds.operation_timeout);
        self.max_item_bytes = settings.max_item_bytes.unwrap_or(self.max_item_bytes);
        self.when_down = settings.when_down.unwrap_or(self.when_down);
        self
    }

    /// Adds a server: `host:port`, or a host with the port 11211.
    ///
    /// Its keys are found by this text, so every process must write it alike. The order of the servers does not matter.
    pub fn server(mut self, address: &str) -> Self {
        match url::address(address) {
            Ok(address) => {
                self.servers.push(address);
                self
            }
            Err(problem) => self.problem(problem),
        }
    }

    /// Adds a server that listens at a unix socket.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.servers.push(Address::Unix(path.into()));
        self
    }

    /// Opens the connections in the caller's way, by TLS for example.
    ///
    /// `connect` is given a server as it was named (`host:port`, or the path of the socket) and gives any stream that
    /// tokio reads and writes. Set `TCP_NODELAY` on what is below it. The time that it may take is bounded by
    /// [`connect_timeout`](Self::connect_timeout).
    pub fn connector<F, Fut, S>(mut self, connect: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.connector = Some(Arc::new(move |server| {
            let connecting = connect(server);
            Box::pin(async move {
                let stream: BoxedStream = Box::new(connecting.await?);
                Ok(stream)
            })
        }));
        self
    }

    /// The most connections to each server; 16 by default. A call has one for itself. When all are in use, the next
    /// call waits, for no longer than a call may take.
    pub fn connections(mut self, connections: usize) -> Self {
        self.bounds.connections = connections;
        self
    }

    /// How long opening a connection may take; 300 ms by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.connect_timeout = timeout;
        self
    }

    /// How long a call to a server may take in all, with waiting for a connection and opening one; 400 ms by default.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.operation_timeout = timeout;
        self
    }

    /// Leaves a server alone for `pause` when so many calls in a row have failed or timed out; 3 and one second by
    /// default. After each pause one call finds out whether it is back.
    pub fn down_after(mut self, failures: u32, pause: Duration) -> Self {
        self.bounds.failures = failures;
        self.bounds.pause = pause;
        self
    }

    /// What happens to the keys of a server that is left alone; [`WhenDown::Fail`] by default.
    pub fn when_down(mut self, when_down: WhenDown) -> Self {
        self.when_down = when_down;
        self
    }

    /// The largest item of the servers, as they were told by `-I`; 1 MiB by default. The largest value is smaller by
    /// 555 bytes.
    pub fn max_item_bytes(mut self, bytes: usize) -> Self {
        self.max_item_bytes = bytes;
        self
    }

    /// The clock that lifetimes go by; the system's by default. The servers go by their own, and are told to keep
    /// records for a little longer.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Builds the backend. Connections are opened when they are needed.
    ///
    /// # Errors
    /// [`Configuration`](cache_core::ErrorKind::Configuration): no server, one that is named twice, or a setting that
    /// cannot be.
    pub fn build(self) -> Result<MemcachedBackend, Error> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let mut names = HashSet::new();
        if let Some(twice) = self.servers.iter().find(|address| !names.insert(address.name())) {
            return Err(configuration(format!("the server {} is named twice", twice.name())));
        }
        if self.servers.is_empty() {
            return Err(configuration("no server is named"));
        }
        if self.bounds.connections == 0 {
            return Err(configuration("there must be at least one connection"));
        }
        if self.bounds.connect_timeout.is_zero() || self.bounds.operation_timeout.is_zero() {
            return Err(configuration("a timeout must be longer than nothing"));
        }
        let max_value_bytes = self
            .max_item_bytes
            .checked_sub(ITEM_OVERHEAD + HEADER_LEN)
            .ok_or_else(|| configuration(format!("items of {} bytes hold no value", self.max_item_bytes)))?;
        let servers: Result<Vec<Server>, Error> = self
            .servers
            .into_iter()
            .map(|address| {
                let connector = self.connector.clone();
                Server::new(
                    address.name(),
                    connector.unwrap_or_else(|| plain(address)),
                    &self.bounds,
                )
            })
            .collect();
        let fleet = Fleet::new(servers?, self.when_down);
        Ok(MemcachedBackend::new(fleet, self.clock, max_value_bytes))
    }

    /// Builds the backend and asks every server for a sign of life.
    ///
    /// # Errors
    /// As [`build`](Self::build) and [`ping`](Backend::ping).
    pub async fn connect(self) -> Result<MemcachedBackend, Error> {
        let backend = self.build()?;
        backend.ping().await.map_err(|error| error.with_operation("connect"))?;
        Ok(backend)
    }

    /// The first problem is kept.
    fn problem(mut self, message: String) -> Self {
        self.problem.get_or_insert_with(|| configuration(message));
        self
    }
}

fn plain(address: Address) -> Connector {
    let address = Arc::new(address);
    Arc::new(move |_| {
        let address = Arc::clone(&address);
        Box::pin(async move { address.open().await })
    })
}

impl fmt::Debug for MemcachedBackendBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcachedBackendBuilder")
            .field("servers", &self.servers)
            .field("when_down", &self.when_down)
            .finish_non_exhaustive()
    }
}
