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

use crate::backend::{MemcachedBackend, Servers};
use crate::discovery::Discovery;
use crate::elasticache;
use crate::error::configuration;
use crate::fleet::{Fleet, WhenDown};
use crate::nodes::{NodeList, Provider};
use crate::record::HEADER_LEN;
use crate::server::{Bounds, Server};
use crate::stream::{Address, BoxedStream, Connector, address};
#[cfg(feature = "rustls")]
use crate::tls::{Certificates, Tls};
use crate::transport::Transport;
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
    endpoints: Vec<Address>,
    nodes: Option<Provider>,
    node_refresh: Duration,
    connector: Option<Connector>,
    tls: bool,
    #[cfg(feature = "rustls")]
    certificates: Certificates,
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
            endpoints: Vec::new(),
            nodes: None,
            node_refresh: Duration::from_secs(30),
            connector: None,
            tls: false,
            #[cfg(feature = "rustls")]
            certificates: Certificates::default(),
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
        match settings.auto_discovery {
            false => self.servers.extend(settings.servers),
            true => self.endpoints.extend(settings.servers),
        }
        self.tls |= settings.tls;
        self.node_refresh = settings.node_refresh.unwrap_or(self.node_refresh);
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
        match self::address(address) {
            Ok(address) => {
                self.servers.push(address);
                self
            }
            Err(problem) => self.problem(problem),
        }
    }

    /// Sets a provider of the list of servers, for servers that come and go: from a service registry, a file, or the API
    /// of a cloud. It takes the place of [`server`](Self::server). Default: none.
    ///
    /// The provider is called when the servers are first needed, then every [`node_refresh`](Self::node_refresh) while
    /// there are calls, and at once when a server tells that another process uses another list. It may take up to ten
    /// seconds; calls do not wait for it while there is a list that can be used, unless there were no calls for two
    /// intervals. If it fails, the last list is kept, a
    /// warning is logged with the target `cache`, and it is called again after 250 ms, then after twice as long, up to
    /// `node_refresh`. An empty list, and one that names a server twice, count as failures.
    ///
    /// See [the crate's front page](crate#servers-that-come-and-go) for what is guaranteed when the list changes. Cannot be
    /// combined with [`WhenDown::Skip`], since only the provider decides which servers there are.
    ///
    /// ```
    /// use cache_memcached::{MemcachedBackend, NodeList};
    ///
    /// # async fn lookup() -> Result<Vec<String>, cache_core::Error> { Ok(vec!["10.0.0.1:11211".into()]) }
    /// # fn main() -> Result<(), cache_core::Error> {
    /// let backend = MemcachedBackend::builder()
    ///     .nodes(|| async { Ok(NodeList::new(lookup().await?)) })
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn nodes<F, R>(mut self, provider: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<NodeList, Error>> + Send + 'static,
    {
        self.nodes = Some(Provider::new(provider));
        self
    }

    /// Reads the list of servers from the configuration endpoint of a cluster with auto discovery, such as Amazon
    /// ElastiCache or Google Memorystore: `host:port`, or `host` for port 11211. Default: none.
    ///
    /// The endpoint is asked by `config get cluster`, or `get AmazonElastiCache:cluster` if it does not know that command,
    /// over the same kind of connection as the servers. It is a [provider](Self::nodes) whose lists have a version.
    /// Servers are named by their host names, so a certificate must be for those. If several endpoints are added, they are
    /// asked one after the other until one answers.
    pub fn auto_discovery(mut self, endpoint: &str) -> Self {
        match self::address(endpoint) {
            Ok(address) => {
                self.endpoints.push(address);
                self
            }
            Err(problem) => self.problem(problem),
        }
    }

    /// Sets how often the list of servers is read, with [`nodes`](Self::nodes) or [`auto_discovery`](Self::auto_discovery).
    /// Default: 30 s. Must not be zero.
    pub fn node_refresh(mut self, interval: Duration) -> Self {
        self.node_refresh = interval;
        self
    }

    /// Encrypts the connections to all servers. Their certificates are checked against the system's authorities, or those
    /// of [`ca_certificates`](Self::ca_certificates), and must be for the host by which a server is named.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Sets the certificate authorities, in PEM, that replace the system's.
    #[cfg(feature = "rustls")]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.authorities = Some(pem.into());
        self
    }

    /// Sets the client's certificate and private key, in PEM. Default: none.
    #[cfg(feature = "rustls")]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificates.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Adds a server that listens on a Unix socket.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.servers.push(Address::Unix(path.into()));
        self
    }

    /// Sets how connections are opened, for example through a tunnel. Default: TCP, by TLS if the URL says so, or a Unix
    /// socket. Cannot be combined with TLS.
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
    /// Calls share the connections: what is asked at the same time is sent together, and answered in order. A second
    /// connection is opened while the first has 4 calls, so that client and server need not wait for each other in turns.
    /// More are opened only while each has 32 calls, or is busy with a long command or answer.
    pub fn connections(mut self, connections: usize) -> Self {
        self.bounds.connections = connections;
        self
    }

    /// Sets how long opening a connection may take. Default: 300 ms. Must not be zero.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.connect_timeout = timeout;
        self
    }

    /// Sets how long a call to a server may take in all, including the time to open a connection. Default: 400 ms. Must not
    /// be zero.
    ///
    /// A connection on which nothing arrives for as long, while a call waits for its answer, is closed.
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
    /// Fails with [`Configuration`](cache_core::ErrorKind::Configuration) if there is no server, one is named twice, a
    /// setting is wrong, or two settings exclude each other.
    pub fn build(self) -> Result<MemcachedBackend, Error> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        for (name, is_zero) in [
            ("connections", self.bounds.connections == 0),
            ("connect_timeout", self.bounds.connect_timeout.is_zero()),
            ("operation_timeout", self.bounds.operation_timeout.is_zero()),
            ("down_after", self.bounds.failures == 0),
            ("node_refresh", self.node_refresh.is_zero()),
            ("max_value_bytes", self.max_value_bytes == 0),
        ] {
            if is_zero {
                return Err(configuration(format!("`{name}` is 0 and must be more")));
            }
        }
        let transport = self.transport()?;
        let servers = match self.provider(&transport)? {
            None => Servers::Fixed(self.fleet(&transport)?),
            Some(provider) => Servers::Discovered(Arc::new(Discovery::new(
                provider,
                transport,
                self.bounds,
                self.node_refresh,
            ))),
        };
        Ok(MemcachedBackend::new(servers, self.clock, self.max_value_bytes))
    }

    fn transport(&self) -> Result<Transport, Error> {
        if let Some(connector) = &self.connector {
            return match self.tls {
                false => Ok(Transport::Own(Arc::clone(connector))),
                true => Err(configuration("`connector` and TLS cannot be combined")),
            };
        }
        if !self.tls {
            return Ok(Transport::Plain);
        }
        if self.servers.iter().any(|server| matches!(server, Address::Unix(_))) {
            return Err(configuration("there is no TLS over Unix sockets"));
        }
        #[cfg(feature = "rustls")]
        return Tls::new(&self.certificates).map(Transport::Tls);
        #[cfg(not(feature = "rustls"))]
        Err(configuration(
            "TLS needs the feature `rustls` of cache-memcached, which is `memcached-rustls` of larder",
        ))
    }

    /// Returns the provider of the list of servers, if they are not named once and for all.
    fn provider(&self, transport: &Transport) -> Result<Option<Provider>, Error> {
        let endpoints = self.endpoints.clone();
        let provider = match &self.nodes {
            Some(_) if !endpoints.is_empty() => {
                return Err(configuration("`nodes` and `auto_discovery` cannot be combined"));
            }
            Some(nodes) => nodes.clone(),
            None if endpoints.is_empty() => return Ok(None),
            None => {
                let transport = transport.clone();
                let bounds = &self.bounds;
                let limit = bounds.connect_timeout.saturating_add(bounds.operation_timeout);
                Provider::new(move || {
                    let (transport, endpoints) = (transport.clone(), endpoints.clone());
                    async move { elasticache::ask(&transport, &endpoints, limit).await }
                })
            }
        };
        if let Some(server) = self.servers.first() {
            return Err(configuration(format!(
                "the server {} is named, but the list of servers comes from `nodes` or `auto_discovery`",
                server.name()
            )));
        }
        if self.when_down == WhenDown::Skip {
            return Err(configuration(
                "`when_down` is skip, but a list of servers that may change needs `WhenDown::Fail`",
            ));
        }
        Ok(Some(provider))
    }

    /// Returns the servers that were named.
    fn fleet(&self, transport: &Transport) -> Result<Fleet, Error> {
        let mut names = HashSet::new();
        if let Some(twice) = self.servers.iter().find(|address| !names.insert(address.name())) {
            return Err(configuration(format!("the server {} is named twice", twice.name())));
        }
        if self.servers.is_empty() {
            return Err(configuration(
                "no server is named: add one by `server`, `unix_socket` or `url`, or a list by `nodes` or `auto_discovery`",
            ));
        }
        let servers = self.servers.iter().map(|address| {
            let connector = transport.connector(address.clone());
            Arc::new(Server::new(address.name(), connector, &self.bounds))
        });
        Ok(Fleet::new(servers.collect(), self.when_down))
    }

    /// Returns the backend after every server has answered. Waits for the list of servers before, if there is a provider.
    ///
    /// # Errors
    /// Fails as [`build`](Self::build) does, if the provider of the list fails, and if a server does not answer.
    pub async fn connect(self) -> Result<MemcachedBackend, Error> {
        let backend = self.build()?;
        let connected = async {
            backend.discovered().await?;
            backend.ping().await
        };
        connected.await.map_err(|error| error.with_operation("connect"))?;
        Ok(backend)
    }

    /// Remembers the first problem, which `build` returns.
    fn problem(mut self, message: String) -> Self {
        self.problem.get_or_insert_with(|| configuration(message));
        self
    }
}

impl fmt::Debug for MemcachedBackendBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcachedBackendBuilder")
            .field("servers", &self.servers)
            .field("when_down", &self.when_down)
            .finish_non_exhaustive()
    }
}
