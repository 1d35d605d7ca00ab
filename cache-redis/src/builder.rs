//! Sets up a backend.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Backend, Clock, Error, ErrorKind, SystemClock};
use fred::clients::Pool;
use fred::interfaces::ClientLike;
use fred::types::Builder;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, CredentialProvider, PerformanceConfig, ReconnectError,
    ReconnectPolicy, Server, ServerConfig, TcpConfig, UnresponsiveConfig,
};

use crate::backend::RedisBackend;
use crate::connection::Connection;
use crate::credentials::{Credentials, Provider};
use crate::error::{configuration, error};
use crate::format::HEADER_LEN;
use crate::lane::Lane;
#[cfg(feature = "rustls")]
use crate::tls::Tls;
use crate::url::{self, Target};

/// The largest string that Redis allows, less the header.
const MAX_VALUE_BYTES: usize = 512 * 1024 * 1024 - HEADER_LEN;

/// The limits for a pool of the user's, whose own settings may be unsafe.
const POOL_OPERATION_TIMEOUT: Duration = Duration::from_secs(1);
const POOL_MAX_IN_FLIGHT: usize = 10_000;

/// The shortest interval in which connections can be authenticated again.
const SHORTEST_REFRESH: Duration = Duration::from_millis(100);

impl RedisBackend {
    /// Connects to the servers of a URL, with the defaults of the [builder](Self::builder). See the [crate's front
    /// page](crate#urls) for its form.
    ///
    /// # Errors
    /// Fails as [`RedisBackendBuilder::connect`] does. Messages name the URL without its secrets.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder().url(url).connect().await
    }

    /// Returns a builder, for all settings.
    pub fn builder() -> RedisBackendBuilder {
        RedisBackendBuilder::new()
    }

    /// Uses a connected pool of [fred](https://docs.rs/fred/10)'s.
    ///
    /// The pool stays yours: its settings are not changed, and [`close`](cache_core::Backend::close) ends only this
    /// handle. A command fails after a second, and at once while there is no connection; it is never repeated after a
    /// connection broke. This is the only place where a type of fred's is public, so it follows fred's major version.
    #[must_use]
    pub fn from_pool(pool: Pool) -> Self {
        let clustered = pool.client_config().server.is_clustered();
        let lanes = pool.clients().iter().map(|client| Lane::over(client.clone())).collect();
        drop(pool);
        let connection = Connection::new(lanes, POOL_OPERATION_TIMEOUT, POOL_MAX_IN_FLIGHT, clustered);
        Self::new(connection, Arc::new(SystemClock), MAX_VALUE_BYTES)
    }
}

/// The pause between two attempts of [`RedisBackendBuilder::connect_within`].
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Sets up a [`RedisBackend`].
///
/// By default every wait and every queue is bounded. You can change each bound.
///
/// ```no_run
/// use std::time::Duration;
///
/// use cache_redis::RedisBackend;
///
/// # async fn example() -> Result<(), cache_core::Error> {
/// let redis = RedisBackend::builder()
///     .cluster([("cache-1.example", 6379), ("cache-2.example", 6379)])
///     .username("app")
///     .password("…")
///     .operation_timeout(Duration::from_millis(250))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisBackendBuilder {
    target: Result<Target, Error>,
    sentinel_credentials: Option<(Option<String>, String)>,
    credentials: Option<Arc<Provider>>,
    credential_refresh: Option<Duration>,
    connections: usize,
    operation_timeout: Duration,
    connect_timeout: Duration,
    unresponsive_timeout: Duration,
    reconnect_delay: (Duration, Duration),
    max_in_flight: usize,
    max_value_bytes: usize,
    tcp_nodelay: bool,
    clock: Arc<dyn Clock>,
    #[cfg(feature = "rustls")]
    certificates: Tls,
}

impl RedisBackendBuilder {
    pub(crate) fn new() -> Self {
        Self {
            target: Ok(Target {
                server: ServerConfig::new_centralized("127.0.0.1", 6379),
                tls: false,
                username: None,
                password: None,
                database: None,
            }),
            sentinel_credentials: None,
            credentials: None,
            credential_refresh: None,
            connections: 2,
            operation_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            unresponsive_timeout: Duration::from_secs(2),
            reconnect_delay: (Duration::from_millis(50), Duration::from_millis(250)),
            max_in_flight: 10_000,
            max_value_bytes: MAX_VALUE_BYTES,
            tcp_nodelay: true,
            clock: Arc::new(SystemClock),
            #[cfg(feature = "rustls")]
            certificates: Tls::default(),
        }
    }

    /// Sets servers, TLS, credentials and database from a URL. See the [crate's front page](crate#urls) for its form.
    ///
    /// It replaces what was set of these before. [`connect`](Self::connect) and [`build`](Self::build) fail if the URL
    /// cannot be read.
    pub fn url(mut self, url: &str) -> Self {
        self.target = url::parse(url);
        self
    }

    fn target(mut self, change: impl FnOnce(&mut Target)) -> Self {
        if let Ok(target) = &mut self.target {
            change(target);
        }
        self
    }

    /// Connects to one server. Default: 127.0.0.1, port 6379.
    pub fn server(self, host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        self.target(|target| target.server = ServerConfig::new_centralized(host, port))
    }

    /// Connects to a Cluster. Some of its nodes are enough: they name the others.
    pub fn cluster<H: Into<String>>(self, nodes: impl IntoIterator<Item = (H, u16)>) -> Self {
        let hosts = servers(nodes);
        self.target(|target| {
            target.server = ServerConfig::Clustered {
                hosts,
                policy: ClusterDiscoveryPolicy::UseCache,
            };
        })
    }

    /// Connects to the master that Sentinels know by the name `service`. Some of the Sentinels are enough: they name the
    /// others.
    pub fn sentinel<H: Into<String>>(
        self,
        service: impl Into<String>,
        sentinels: impl IntoIterator<Item = (H, u16)>,
    ) -> Self {
        let (hosts, service_name) = (servers(sentinels), service.into());
        self.target(|target| {
            target.server = ServerConfig::Sentinel {
                hosts,
                service_name,
                username: None,
                password: None,
            };
        })
    }

    /// Sets the credentials for the Sentinels themselves. Default: none.
    pub fn sentinel_credentials(mut self, user: Option<&str>, secret: &str) -> Self {
        self.sentinel_credentials = Some((user.map(str::to_owned), secret.to_owned()));
        self
    }

    /// Connects to a server on this machine through its socket.
    pub fn unix_socket(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.target(|target| target.server = ServerConfig::Unix { path })
    }

    /// Sets the ACL user. Default: Redis's `default` user. It needs a [password](Self::password).
    pub fn username(self, username: impl Into<String>) -> Self {
        let username = username.into();
        self.target(|target| target.username = Some(username))
    }

    /// Sets the password. Default: none.
    pub fn password(self, password: impl Into<String>) -> Self {
        let password = password.into();
        self.target(|target| target.password = Some(password))
    }

    /// Sets a provider of credentials, for passwords that rotate and for the tokens of a cloud's IAM. It is called whenever
    /// connections are made, those of change subscriptions included, and takes the place of [`username`](Self::username) and
    /// [`password`](Self::password). Default: none.
    ///
    /// Connections that are made within a second share one call. During an outage it is called up to once a second, so it
    /// should keep a token until shortly before its end. It may take up to ten seconds: an attempt to connect that
    /// does not get credentials within [`connect_timeout`](Self::connect_timeout) fails, and a later one uses them.
    /// [`connect`](Self::connect) waits for the first ones.
    ///
    /// Works with one server and with a Cluster, but not behind Sentinels, since fred would use it for the Sentinels too.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use cache_redis::{Credentials, RedisBackend};
    ///
    /// # async fn signed_token() -> Result<String, cache_core::Error> { Ok("…".to_owned()) }
    /// # async fn example() -> Result<(), cache_core::Error> {
    /// let redis = RedisBackend::builder()
    ///     .url("redis://cache.example:6379")
    ///     .credentials(|| async { Ok(Credentials::new(signed_token().await?).with_username("app")) })
    ///     .credential_refresh(Duration::from_secs(600))
    ///     .connect()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn credentials<F, R>(mut self, provider: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Credentials, Error>> + Send + 'static,
    {
        self.credentials = Some(Arc::new(Provider::new(provider)));
        self
    }

    /// Sets how often connections that are in use are authenticated again, with what the
    /// [provider](Self::credentials) then returns. For stores that end a connection when its token has expired. Default:
    /// never. Must be at least 100 ms.
    ///
    /// A connection whose authentication is refused is still that of its credentials from before. It is tried again after
    /// five seconds, or sooner with a shorter interval. In a Cluster, the connection by which fred learns where the slots
    /// are is not authenticated again. If it ends, a new one is made.
    pub fn credential_refresh(mut self, interval: Duration) -> Self {
        self.credential_refresh = Some(interval);
        self
    }

    /// Sets the database number. Default: 0. A Cluster has no other.
    pub fn database(self, database: u8) -> Self {
        self.target(|target| target.database = Some(database))
    }

    /// Encrypts the connections, also those to Sentinels. The servers' certificates are checked against the system's
    /// authorities, or those of [`ca_certificates`](Self::ca_certificates).
    #[cfg(feature = "rustls")]
    pub fn tls(self) -> Self {
        self.target(|target| target.tls = true)
    }

    /// Sets the certificate authorities, in PEM, that replace the system's.
    #[cfg(feature = "rustls")]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.authorities = Some(pem.into());
        self
    }

    /// Sets the client's certificate and private key, in PEM.
    #[cfg(feature = "rustls")]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificates.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Sets the number of connections to each server. Default: 2. Must not be 0.
    ///
    /// Calls share the connections. More of them help only if one is limited by its processor or by large values.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Sets how long one command may take. Default: 1 s. Must not be zero.
    ///
    /// A call that takes longer fails with [`Timeout`](cache_core::ErrorKind::Timeout). If a caller drops its call
    /// earlier, as an engine with a shorter limit does, the backend itself checks whether the server still answers on
    /// that connection, for as long as this.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// Sets how long opening a connection may take, and how long the greeting that follows. Default: 1 s each. Must not
    /// be zero.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a connection may leave commands unanswered before it is replaced. Default: 2 s. Must not be zero.
    pub fn unresponsive_timeout(mut self, timeout: Duration) -> Self {
        self.unresponsive_timeout = timeout;
        self
    }

    /// Sets the pause before the first attempt to reconnect, and the longest pause, up to which it doubles. Default: 50
    /// and 250 ms. `longest` must not be shorter than `first`.
    ///
    /// Attempts go on until one succeeds. Meanwhile calls fail at once.
    pub fn reconnect_delay(mut self, first: Duration, longest: Duration) -> Self {
        self.reconnect_delay = (first, longest);
        self
    }

    /// Sets how many commands may be in flight at a time. Default: 10,000. Must not be 0.
    ///
    /// One more fails at once with [`Rejected`](cache_core::ErrorKind::Rejected), so that a slow store costs a bounded
    /// amount of memory. Each key of a batch counts, up to 512 at a time.
    pub fn max_in_flight(mut self, commands: usize) -> Self {
        self.max_in_flight = commands;
        self
    }

    /// Sets the largest value in bytes. Default, and most: 512 MiB less a header of 26 bytes, which is what Redis takes.
    /// Lower it together with the server's `proto-max-bulk-len`. Must not be 0.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Sets `TCP_NODELAY`: whether each command is sent at once, without waiting for more to fill a packet. Default:
    /// `true`.
    pub fn tcp_nodelay(mut self, nodelay: bool) -> Self {
        self.tcp_nodelay = nodelay;
        self
    }

    /// Sets the clock from which [`Record::remaining`](cache_core::Record::remaining) is calculated. Default: the
    /// system's clock.
    ///
    /// The server's clock alone decides whether a record is there. The record also holds the time of its end by the clock
    /// of its writer. If the clocks of writer and reader differ, `remaining` is wrong by as much; it is never negative.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Connects, and returns the backend when all connections are established.
    ///
    /// # Errors
    /// Fails with [`Configuration`](cache_core::ErrorKind::Configuration) if a setting is wrong. Fails with
    /// [`Auth`](cache_core::ErrorKind::Auth), [`Unavailable`](cache_core::ErrorKind::Unavailable) or
    /// [`Timeout`](cache_core::ErrorKind::Timeout) if the first attempt to connect fails.
    ///
    /// # Cancel safety
    /// If the future is dropped, connections that were begun are closed.
    pub async fn connect(self) -> Result<RedisBackend, Error> {
        let builder = self.client()?;
        if let Some(provider) = &self.credentials {
            provider
                .prepare()
                .await
                .map_err(|error| error.with_operation("connect"))?;
        }
        let lanes = (0..self.connections).map(|_| Lane::connect(&builder, self.credential_refresh));
        let lanes = futures_util::future::try_join_all(lanes)
            .await
            .map_err(|error| error.with_operation("connect"))?;
        let backend = self.backend(&builder, lanes);
        backend
            .verify()
            .await
            .map_err(|error| error.with_operation("connect"))?;
        Ok(backend)
    }

    /// Connects, and tries again until the store answers or `limit` is over. For services that start together with
    /// their store.
    ///
    /// # Errors
    /// Fails at once with [`Configuration`](cache_core::ErrorKind::Configuration) or
    /// [`Auth`](cache_core::ErrorKind::Auth), since waiting does not help. After `limit`, fails with the error of the
    /// last attempt.
    ///
    /// # Cancel safety
    /// If the future is dropped, connections that were begun are closed.
    pub async fn connect_within(self, limit: Duration) -> Result<RedisBackend, Error> {
        let backend = self.build()?;
        let mut last = None;
        let attempts = async {
            loop {
                match backend.verify().await {
                    Ok(()) => return Ok(()),
                    Err(error) if matches!(error.kind(), ErrorKind::Configuration | ErrorKind::Auth) => {
                        return Err(error);
                    }
                    Err(error) => last = Some(error),
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
        };
        let failed = match tokio::time::timeout(limit, attempts).await {
            Ok(Ok(())) => return Ok(backend),
            Ok(Err(error)) => error,
            Err(_) => last.unwrap_or_else(|| error(ErrorKind::Timeout, format!("no connection within {limit:?}"))),
        };
        // An error does not matter here: the connections are closed in any case.
        let _ = backend.close().await;
        Err(failed.with_operation("connect"))
    }

    /// Returns the backend at once, and connects in the background. For services that start without their store.
    ///
    /// Calls wait until the first attempt to connect has ended, for at most
    /// [`operation_timeout`](Self::operation_timeout). After that, while there is no connection, they fail at once with
    /// [`Unavailable`](cache_core::ErrorKind::Unavailable) and the reason.
    ///
    /// # Errors
    /// Fails with [`Configuration`](cache_core::ErrorKind::Configuration) if a setting is wrong, or outside of a tokio
    /// runtime.
    pub fn build(self) -> Result<RedisBackend, Error> {
        let builder = self.client()?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(configuration(
                "there is no tokio runtime to connect on: call `build` within one",
            ));
        }
        let lanes = (0..self.connections)
            .map(|_| Lane::start(&builder, self.credential_refresh))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.backend(&builder, lanes))
    }

    /// Fails if a setting makes no sense.
    fn check(&self) -> Result<(), Error> {
        for (name, value) in [
            ("connections", self.connections),
            ("max_in_flight", self.max_in_flight),
            ("max_value_bytes", self.max_value_bytes),
        ] {
            if value == 0 {
                return Err(configuration(format!("`{name}` is 0 and must be at least 1")));
            }
        }
        for (name, timeout) in [
            ("operation_timeout", self.operation_timeout),
            ("connect_timeout", self.connect_timeout),
            ("unresponsive_timeout", self.unresponsive_timeout),
        ] {
            if timeout.is_zero() {
                return Err(configuration(format!("`{name}` is zero: nothing could ever succeed")));
            }
        }
        if self.max_value_bytes > MAX_VALUE_BYTES {
            return Err(configuration(format!(
                "`max_value_bytes` is {}, and Redis takes at most {MAX_VALUE_BYTES}",
                self.max_value_bytes
            )));
        }
        let (first, longest) = self.reconnect_delay;
        if longest < first {
            return Err(configuration(format!(
                "`reconnect_delay`: the longest pause, {longest:?}, is shorter than the first, {first:?}"
            )));
        }
        Ok(())
    }

    fn backend(&self, builder: &Builder, lanes: Vec<Arc<Lane>>) -> RedisBackend {
        let clustered = builder.get_config().is_some_and(|config| config.server.is_clustered());
        let connection = Connection::new(lanes, self.operation_timeout, self.max_in_flight, clustered);
        RedisBackend::new(connection, self.clock.clone(), self.max_value_bytes)
    }

    /// Returns a builder of fred's clients with these settings.
    fn client(&self) -> Result<Builder, Error> {
        let mut target = self.target.clone()?;
        self.check()?;
        if let Some((user, secret)) = &self.sentinel_credentials {
            let ServerConfig::Sentinel { username, password, .. } = &mut target.server else {
                return Err(configuration(
                    "there are `sentinel_credentials` and no Sentinels: name them by `sentinel`",
                ));
            };
            *username = user.clone();
            *password = Some(secret.clone());
        }
        if target.server.is_clustered() && target.database.is_some_and(|database| database != 0) {
            return Err(configuration("a Cluster has only database 0: remove `database`"));
        }
        if self.credentials.is_some() && (target.username.is_some() || target.password.is_some()) {
            return Err(configuration(
                "there are `credentials`, and a `username` or `password` as well: remove these",
            ));
        }
        if self.credentials.is_some() && target.server.is_sentinel() {
            return Err(configuration(
                "there are `credentials` and Sentinels: a provider works with one server or a Cluster, so set a `password`",
            ));
        }
        if self.credential_refresh.is_some() && self.credentials.is_none() {
            return Err(configuration(
                "there is a `credential_refresh` and no provider: set one by `credentials`",
            ));
        }
        if self
            .credential_refresh
            .is_some_and(|interval| interval < SHORTEST_REFRESH)
        {
            return Err(configuration(format!(
                "`credential_refresh` must be at least {SHORTEST_REFRESH:?}: leave it out for never"
            )));
        }
        if target.username.is_some() && target.password.is_none() {
            return Err(configuration("there is a `username` and no `password`"));
        }
        #[cfg(feature = "rustls")]
        let tls = target.tls.then(|| self.certificates.config()).transpose()?;
        #[cfg(not(feature = "rustls"))]
        if target.tls {
            return Err(configuration(
                "TLS needs the feature `rustls` of cache-redis, which is `redis-rustls` of larder",
            ));
        }
        let mut builder = Builder::from_config(Config {
            // The first attempt is not repeated here. The supervisor and the reconnect policy make further ones.
            fail_fast: true,
            username: target.username,
            password: target.password,
            credential_provider: self
                .credentials
                .clone()
                .map(|provider| provider as Arc<dyn CredentialProvider>),
            server: target.server,
            database: target.database,
            #[cfg(feature = "rustls")]
            tls,
            ..Config::default()
        });
        let (first, longest) = self.reconnect_delay;
        let mut policy = ReconnectPolicy::new_exponential(0, millis(first), millis(longest), 2);
        policy.set_jitter(millis(first).max(2) / 2);
        builder.set_policy(policy);
        builder.set_performance_config(PerformanceConfig {
            default_command_timeout: self.operation_timeout,
            ..PerformanceConfig::default()
        });
        builder.set_connection_config(ConnectionConfig {
            connection_timeout: self.connect_timeout,
            internal_command_timeout: self.connect_timeout,
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(self.unresponsive_timeout),
                interval: (self.unresponsive_timeout / 4).max(Duration::from_millis(10)),
            },
            tcp: TcpConfig {
                nodelay: Some(self.tcp_nodelay),
                ..TcpConfig::default()
            },
            // The master has become a replica. Connecting again leads to the new master.
            reconnect_errors: vec![ReconnectError::ReadOnly],
            ..ConnectionConfig::default()
        });
        Ok(builder)
    }
}

fn servers<H: Into<String>>(nodes: impl IntoIterator<Item = (H, u16)>) -> Vec<Server> {
    nodes
        .into_iter()
        .map(|(host, port)| Server::new(host.into(), port))
        .collect()
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

impl fmt::Debug for RedisBackendBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RedisBackendBuilder");
        match &self.target {
            Ok(target) => debug
                .field(
                    "servers",
                    &target
                        .server
                        .hosts()
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>(),
                )
                .field("tls", &target.tls)
                .field("username", &target.username)
                .field("password", &target.password.as_ref().map(|_| "***"))
                .field("database", &target.database),
            Err(error) => debug.field("error", error),
        };
        debug
            .field("credentials", &self.credentials)
            .field("credential_refresh", &self.credential_refresh)
            .field("connections", &self.connections)
            .field("operation_timeout", &self.operation_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("unresponsive_timeout", &self.unresponsive_timeout)
            .field("reconnect_delay", &self.reconnect_delay)
            .field("max_in_flight", &self.max_in_flight)
            .field("max_value_bytes", &self.max_value_bytes)
            .field("tcp_nodelay", &self.tcp_nodelay)
            .field("clock", &self.clock)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_has_no_secrets() {
        let builder = RedisBackendBuilder::new()
            .sentinel("main", [("a", 1)])
            .sentinel_credentials(Some("watcher"), "hunter1")
            .username("ada")
            .password("hunter2");
        let debug = format!("{builder:?}");
        assert!(debug.contains("ada") && debug.contains("a:1"), "{debug}");
        assert!(!debug.contains("hunter"), "{debug}");
        let debug = format!("{:?}", RedisBackendBuilder::new().url("redis://u:hunter2@host/x"));
        assert!(
            debug.contains("redis://***@host/x") && !debug.contains("hunter"),
            "{debug}"
        );
    }

    #[tokio::test]
    async fn contradictions_are_refused_before_anything_is_sent() {
        for (builder, part) in [
            (
                RedisBackendBuilder::new().cluster([("a", 1)]).database(1),
                "only database 0",
            ),
            (RedisBackendBuilder::new().username("ada"), "no `password`"),
            (
                RedisBackendBuilder::new()
                    .password("secret")
                    .credentials(|| async { Ok(Credentials::new("secret")) }),
                "remove these",
            ),
            (
                RedisBackendBuilder::new()
                    .sentinel("main", [("a", 1)])
                    .credentials(|| async { Ok(Credentials::new("secret")) }),
                "Sentinels",
            ),
            (
                RedisBackendBuilder::new().credential_refresh(Duration::from_secs(1)),
                "no provider",
            ),
            (RedisBackendBuilder::new().url("http://a"), "http://a"),
            (
                RedisBackendBuilder::new().sentinel_credentials(None, "secret"),
                "`sentinel`",
            ),
            (RedisBackendBuilder::new().connections(0), "`connections`"),
            (RedisBackendBuilder::new().max_in_flight(0), "`max_in_flight`"),
            (RedisBackendBuilder::new().max_value_bytes(0), "`max_value_bytes`"),
            (RedisBackendBuilder::new().max_value_bytes(1 << 30), "536870886"),
            (
                RedisBackendBuilder::new().operation_timeout(Duration::ZERO),
                "`operation_timeout`",
            ),
            (
                RedisBackendBuilder::new().connect_timeout(Duration::ZERO),
                "`connect_timeout`",
            ),
            (
                RedisBackendBuilder::new().unresponsive_timeout(Duration::ZERO),
                "`unresponsive_timeout`",
            ),
            (
                RedisBackendBuilder::new().reconnect_delay(Duration::from_secs(2), Duration::from_secs(1)),
                "`reconnect_delay`",
            ),
        ] {
            let Err(error) = builder.clone().connect().await else {
                panic!("{builder:?} is taken");
            };
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(part), "{error}");
            assert!(builder.build().is_err());
        }
    }

    #[test]
    fn without_a_runtime_there_is_nothing_to_connect_on() {
        let error = RedisBackendBuilder::new().build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("runtime"), "{error}");
    }

    #[cfg(not(feature = "rustls"))]
    #[tokio::test]
    async fn tls_without_the_feature_names_the_feature() {
        let Err(error) = RedisBackendBuilder::new().url("rediss://a").connect().await else {
            panic!("there is no TLS");
        };
        assert!(error.to_string().contains("`rustls`"), "{error}");
    }
}
