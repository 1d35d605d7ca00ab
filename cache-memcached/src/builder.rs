//! Sets up a backend.

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
const ITEM_BYTES: usize = 1024 * 1024;

/// The difference between memcached's `-I` and the largest value: this crate's header, memcached's own (up to 56
/// bytes), the key (250), some bytes around them, and a reserve for later releases.
const OVERHEAD: usize = 512 + HEADER_LEN;

impl MemcachedBackend {
    /// Uses the servers of a URL, with the defaults of the [builder](Self::builder), after each has answered. See the
    /// [crate's front page](crate#urls) for the URL's form.
    ///
    /// # Errors
    /// Fails as [`MemcachedBackendBuilder::connect`] does.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder().url(url).connect().await
    }

    /// Returns a builder, for all settings.
    pub fn builder() -> MemcachedBackendBuilder {
        MemcachedBackendBuilder::new()
    }
}

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
    max_value_bytes: usize,
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
            max_value_bytes: ITEM_BYTES - OVERHEAD,
            when_down: WhenDown::default(),
            clock: Arc::new(SystemClock),
            problem: None,
        }
    }

    /// Adds servers and sets limits from a URL. See the [crate's front page](crate#urls) for its form.
    /// [`build`](Self::build) fails if it cannot be read.
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
        self.max_value_bytes = settings.max_value_bytes.unwrap_or(self.max_value_bytes);
        self.when_down = settings.when_down.unwrap_or(self.when_down);
        self
    }

    /// Adds a server: `host:port`, or `host` for port 11211.
    ///
    /// The text decides which keys the server has, so every process must write it alike. The order of the servers does
    /// not matter.
    pub fn server(mut self, address: &str) -> Self {
        match url::address(address) {
            Ok(address) => {
                self.servers.push(address);
                self
            }
            Err(problem) => self.problem(problem),
        }
    }

    /// Adds a server that listens on a Unix socket.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.servers.push(Address::Unix(path.into()));
        self
    }

    /// Sets how connections are opened, for example to use TLS. Default: plain TCP or a Unix socket.
    ///
    /// `connect` takes a server as it was named (`host:port`, or the path of the socket) and returns any stream that tokio
    /// reads and writes. Set `TCP_NODELAY` on the socket below it. [`connect_timeout`](Self::connect_timeout) bounds the
    /// time that it may take.
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

    /// Sets the most connections to each server. Default: 16. Must not be 0.
    ///
    /// Each call has a connection to itself. If all are in use, the next call waits, within its
    /// [`operation_timeout`](Self::operation_timeout).
    pub fn connections(mut self, connections: usize) -> Self {
        self.bounds.connections = connections;
        self
    }

    /// Sets how long opening a connection may take. Default: 300 ms. Must not be zero.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.connect_timeout = timeout;
        self
    }

    /// Sets how long a call to a server may take in all, including the time to wait for a connection or open one. Default:
    /// 400 ms. Must not be zero.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.operation_timeout = timeout;
        self
    }

    /// Sets the number of failed calls in a row after which a server is down, and the pause before each probe. Default:
    /// 3 calls, 1 s. `failures` must not be 0.
    ///
    /// While a server is down, calls to it fail at once. After each pause one call probes whether the server is back.
    pub fn down_after(mut self, failures: u32, pause: Duration) -> Self {
        self.bounds.failures = failures;
        self.bounds.pause = pause;
        self
    }

    /// Sets what happens to the keys of a server that is down. Default: [`WhenDown::Fail`].
    pub fn when_down(mut self, when_down: WhenDown) -> Self {
        self.when_down = when_down;
        self
    }

    /// Sets the largest value in bytes. Default: 1,048,021, which is memcached's default limit of an item, 1 MiB, less 555
    /// bytes. Must not be 0.
    ///
    /// To raise it, start the servers with `-I` of at least 555 bytes more.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Sets the clock by which lifetimes end. Default: the system's clock. The servers use their own, and keep records a
    /// little longer.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Returns the backend. It opens connections when it needs them.
    ///
    /// # Errors
    /// Fails with [`Configuration`](cache_core::ErrorKind::Configuration) if there is no server, one is named twice, or a
    /// setting is wrong.
    pub fn build(self) -> Result<MemcachedBackend, Error> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let mut names = HashSet::new();
        if let Some(twice) = self.servers.iter().find(|address| !names.insert(address.name())) {
            return Err(configuration(format!("the server {} is named twice", twice.name())));
        }
        if self.servers.is_empty() {
            return Err(configuration(
                "no server is named: add one by `server`, `unix_socket` or `url`",
            ));
        }
        for (name, is_zero) in [
            ("connections", self.bounds.connections == 0),
            ("connect_timeout", self.bounds.connect_timeout.is_zero()),
            ("operation_timeout", self.bounds.operation_timeout.is_zero()),
            ("down_after", self.bounds.failures == 0),
            ("max_value_bytes", self.max_value_bytes == 0),
        ] {
            if is_zero {
                return Err(configuration(format!("`{name}` is 0 and must be more")));
            }
        }
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
        Ok(MemcachedBackend::new(fleet, self.clock, self.max_value_bytes))
    }

    /// Returns the backend after every server has answered.
    ///
    /// # Errors
    /// Fails as [`build`](Self::build) does, and if a server does not answer.
    pub async fn connect(self) -> Result<MemcachedBackend, Error> {
        let backend = self.build()?;
        backend.ping().await.map_err(|error| error.with_operation("connect"))?;
        Ok(backend)
    }

    /// Remembers the first problem, which `build` returns.
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
