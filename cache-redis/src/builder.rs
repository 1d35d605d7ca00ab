//! How a backend is set up.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Clock, Error, SystemClock};
use fred::types::Builder;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, ReconnectError, ReconnectPolicy, Server,
    ServerConfig, TcpConfig, UnresponsiveConfig,
};

use crate::RedisBackend;
use crate::connection::Connection;
use crate::error::configuration;
use crate::format::HEADER_LEN;
use crate::lane::Lane;
#[cfg(feature = "rustls")]
use crate::tls::Tls;
use crate::url::{self, Target};

/// The largest string that Redis takes, less what is put before the value.
const MAX_VALUE_BYTES: usize = 512 * 1024 * 1024 - HEADER_LEN;

/// Sets up a [`RedisBackend`].
///
/// The default is safe: every wait has an end, and nothing queues without a bound. Each bound can be moved.
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
///     .command_timeout(Duration::from_millis(250))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisBackendBuilder {
    target: Result<Target, Error>,
    connections: usize,
    command_timeout: Duration,
    connection_timeout: Duration,
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
            connections: 2,
            command_timeout: Duration::from_secs(1),
            connection_timeout: Duration::from_secs(1),
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

    /// Everything that a URL says: servers, TLS, credentials and database. See the [crate's front page](crate#urls).
    ///
    /// It replaces what was said of these before. A URL that cannot be read is reported by [`connect`](Self::connect)
    /// and [`build`](Self::build).
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

    /// One server; 127.0.0.1 and 6379 unless set.
    pub fn server(self, host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        self.target(|target| target.server = ServerConfig::new_centralized(host, port))
    }

    /// A Cluster, of which some nodes are known. It names the others.
    pub fn cluster<H: Into<String>>(self, nodes: impl IntoIterator<Item = (H, u16)>) -> Self {
        let hosts = servers(nodes);
        self.target(|target| {
            target.server = ServerConfig::Clustered {
                hosts,
                policy: ClusterDiscoveryPolicy::UseCache,
            };
        })
    }

    /// The master that Sentinels know by the name `service`. Some of the Sentinels are known; they name the others.
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

    /// The credentials for the Sentinels themselves, which are asked without any otherwise. To be called after
    /// [`sentinel`](Self::sentinel).
    pub fn sentinel_credentials(self, user: Option<&str>, secret: &str) -> Self {
        self.target(|target| {
            if let ServerConfig::Sentinel { username, password, .. } = &mut target.server {
                *username = user.map(str::to_owned);
                *password = Some(secret.to_owned());
            }
        })
    }

    /// A server on this machine, by its socket.
    pub fn unix_socket(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.target(|target| target.server = ServerConfig::Unix { path })
    }

    /// The ACL user; Redis's `default` unless set. Without a [password](Self::password) it has no effect.
    pub fn username(self, username: impl Into<String>) -> Self {
        let username = username.into();
        self.target(|target| target.username = Some(username))
    }

    /// The password.
    pub fn password(self, password: impl Into<String>) -> Self {
        let password = password.into();
        self.target(|target| target.password = Some(password))
    }

    /// The database number; 0 unless set. A Cluster has no other.
    pub fn database(self, database: u8) -> Self {
        self.target(|target| target.database = Some(database))
    }

    /// Encrypts the connections, to Sentinels too. The servers are checked against the system's certificates, or those
    /// of [`ca_certificates`](Self::ca_certificates).
    #[cfg(feature = "rustls")]
    pub fn tls(self) -> Self {
        self.target(|target| target.tls = true)
    }

    /// The certificates, in PEM, that vouch for the servers, in place of the system's.
    #[cfg(feature = "rustls")]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates.authorities = Some(pem.into());
        self
    }

    /// The certificate and its private key, in PEM, by which this client shows who it is.
    #[cfg(feature = "rustls")]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.certificates.identity = Some((certificate.into(), key.into()));
        self
    }

    /// How many connections there are to each server; 2 unless set, and at least 1. Calls share them: more help only
    /// where one is busy with its processor or with large values.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// How long a command may take; 1 second unless set, and at least 1 millisecond. A call that takes longer ends with
    /// [`Timeout`](cache_core::ErrorKind::Timeout). A caller may give up earlier, as an engine does after its own time
    /// limit; whether the server is silent is then asked on the same connection, for as long as this.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long one attempt to connect may take, and how long the greetings that follow; 1 second each unless set.
    pub fn connection_timeout(mut self, timeout: Duration) -> Self {
        self.connection_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long a connection may leave commands without an answer before it is given up for a new one; 2 seconds unless
    /// set.
    pub fn unresponsive_timeout(mut self, timeout: Duration) -> Self {
        self.unresponsive_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// The pause before the first attempt to reconnect, which doubles up to `longest`; 50 and 250 milliseconds unless
    /// set. Attempts never end. Until one succeeds, calls fail at once.
    pub fn reconnect_delay(mut self, first: Duration, longest: Duration) -> Self {
        self.reconnect_delay = (first, longest.max(first));
        self
    }

    /// How many commands may be under way at a time; 10,000 unless set. One more fails at once with
    /// [`Unavailable`](cache_core::ErrorKind::Unavailable), so a store that is slower than its users costs no memory
    /// without end. A batch counts each of its keys, up to 512 at a time.
    pub fn max_in_flight(mut self, commands: usize) -> Self {
        self.max_in_flight = commands.max(1);
        self
    }

    /// The largest value in bytes; what Redis takes, 512 MiB less a header of 26 bytes, unless set. To be lowered with
    /// the server's `proto-max-bulk-len`.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes.min(MAX_VALUE_BYTES);
        self
    }

    /// Sends each command at once rather than waiting for more to fill a packet (`TCP_NODELAY`); on unless set.
    pub fn tcp_nodelay(mut self, nodelay: bool) -> Self {
        self.tcp_nodelay = nodelay;
        self
    }

    /// Where [`Record::remaining`](cache_core::Record::remaining) is read from; the system's clock unless set.
    ///
    /// Whether a record is there is decided by the server's clock alone. A record also says when it ends by the clock
    /// of its writer, so on machines whose clocks differ, `remaining` differs by as much; it is never below zero.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Connects, and fails if that does not succeed at once.
    ///
    /// # Errors
    /// [`Configuration`](cache_core::ErrorKind::Configuration), [`Auth`](cache_core::ErrorKind::Auth),
    /// [`Unavailable`](cache_core::ErrorKind::Unavailable) or [`Timeout`](cache_core::ErrorKind::Timeout).
    ///
    /// # Cancellation
    /// Connections that were begun are ended.
    pub async fn connect(self) -> Result<RedisBackend, Error> {
        let builder = self.client()?;
        let lanes = (0..self.connections).map(|_| Lane::connect(&builder));
        let lanes = futures_util::future::try_join_all(lanes)
            .await
            .map_err(|error| error.with_operation("connect"))?;
        Ok(self.backend(&builder, lanes))
    }

    /// Connects in the background, so that a service starts without its store. Until the store is there, calls fail at
    /// once with [`Unavailable`](cache_core::ErrorKind::Unavailable).
    ///
    /// # Errors
    /// [`Configuration`](cache_core::ErrorKind::Configuration).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<RedisBackend, Error> {
        let builder = self.client()?;
        let lanes = (0..self.connections)
            .map(|_| Lane::start(&builder))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.backend(&builder, lanes))
    }

    fn backend(&self, builder: &Builder, lanes: Vec<(Arc<Lane>, tokio::task::JoinHandle<()>)>) -> RedisBackend {
        let clustered = builder.get_config().is_some_and(|config| config.server.is_clustered());
        let lanes = lanes.into_iter().map(|(lane, task)| (lane, Some(task))).collect();
        let connection = Connection::new(lanes, self.command_timeout, self.max_in_flight, clustered);
        RedisBackend::new(connection, self.clock.clone(), self.max_value_bytes)
    }

    /// What makes a client of fred's with these settings.
    fn client(&self) -> Result<Builder, Error> {
        let target = self.target.clone()?;
        if target.server.is_clustered() && target.database.is_some_and(|database| database != 0) {
            return Err(configuration("a Cluster has no databases to choose from"));
        }
        if target.username.is_some() && target.password.is_none() {
            return Err(configuration("there is a username and no password"));
        }
        #[cfg(feature = "rustls")]
        let tls = target.tls.then(|| self.certificates.config()).transpose()?;
        #[cfg(not(feature = "rustls"))]
        if target.tls {
            return Err(configuration("TLS needs the feature `rustls` of cache-redis"));
        }
        let mut builder = Builder::from_config(Config {
            // The first attempt is made once. What follows is for the supervisor and for the policy.
            fail_fast: true,
            username: target.username,
            password: target.password,
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
            default_command_timeout: self.command_timeout,
            ..PerformanceConfig::default()
        });
        builder.set_connection_config(ConnectionConfig {
            connection_timeout: self.connection_timeout,
            internal_command_timeout: self.connection_timeout,
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(self.unresponsive_timeout),
                interval: (self.unresponsive_timeout / 4).max(Duration::from_millis(10)),
            },
            tcp: TcpConfig {
                nodelay: Some(self.tcp_nodelay),
                ..TcpConfig::default()
            },
            // A master that has become a replica: the new one is found by connecting again.
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
            .field("connections", &self.connections)
            .field("command_timeout", &self.command_timeout)
            .field("connection_timeout", &self.connection_timeout)
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
    use cache_core::ErrorKind;

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
                "no databases",
            ),
            (RedisBackendBuilder::new().username("ada"), "no password"),
            (RedisBackendBuilder::new().url("http://a"), "http://a"),
        ] {
            let Err(error) = builder.clone().connect().await else {
                panic!("{builder:?} is taken");
            };
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(part), "{error}");
            assert!(builder.build().is_err());
        }
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
