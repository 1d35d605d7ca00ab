//! memcached, one server or several.

use std::time::Duration;

use tokio::sync::OnceCell;

use crate::container::{Container, Spec};
use crate::{external, wire};

const VARIABLE: &str = "CACHE_TEST_MEMCACHED_URL";
const FLEET: usize = 3;

/// memcached servers that know nothing of each other, with the limits of a fresh install (items up to 1 MiB).
#[derive(Debug)]
pub struct Memcached {
    addresses: Vec<String>,
    containers: Vec<Container>,
}

impl Memcached {
    /// The one server that all tests of this process share: the first that `CACHE_TEST_MEMCACHED_URL` names, or a
    /// container.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Memcached> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match external::variable(VARIABLE) {
                    Some(value) => Self::running(&value, 1).await,
                    None => Self::start(1).await,
                }
            })
            .await
    }

    /// The three servers that all tests of this process share: those that `CACHE_TEST_MEMCACHED_URL` names, or
    /// containers.
    ///
    /// # Panics
    ///
    /// When the variable names fewer than three.
    pub async fn shared_fleet() -> &'static Self {
        static SHARED: OnceCell<Memcached> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match external::variable(VARIABLE) {
                    Some(value) => Self::running(&value, FLEET).await,
                    None => Self::start(FLEET).await,
                }
            })
            .await
    }

    /// So many servers in containers of the test's own, removed when dropped.
    pub async fn start(servers: usize) -> Self {
        let spec = Spec {
            image: ("memcached", "1.6"),
            ports: 1,
            inner_port: Some(11211),
            variable: VARIABLE,
        };
        let mut fleet = Self {
            addresses: Vec::new(),
            containers: Vec::new(),
        };
        for server in 0..servers {
            let container = Container::start(&spec, |_| ["memcached", "-m", "256"].map(str::to_owned).to_vec()).await;
            fleet.addresses.extend(container.addresses());
            fleet.containers.push(container);
            fleet.ready(server).await;
        }
        fleet
    }

    async fn running(value: &str, servers: usize) -> Self {
        let addresses: Vec<String> = value
            .strip_prefix("memcached://")
            .unwrap_or_else(|| panic!("{VARIABLE} must read memcached://host:port,host:port…, not {value:?}"))
            .split(',')
            .map(|address| match address.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => address.to_owned(),
                _ => panic!("{VARIABLE} must read memcached://host:port,host:port…, not {value:?}"),
            })
            .take(servers)
            .collect();
        assert!(
            addresses.len() == servers,
            "{VARIABLE} names {} of the {servers} servers that these tests need: {value:?}",
            addresses.len()
        );
        external::must_answer(VARIABLE, &addresses).await;
        Self {
            addresses,
            containers: Vec::new(),
        }
    }

    /// `memcached://host:port,host:port,…`
    #[must_use]
    pub fn url(&self) -> String {
        format!("memcached://{}", self.addresses.join(","))
    }

    /// `host:port` of each server.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Kills a server, whose data is lost.
    pub async fn kill(&self, server: usize) {
        self.container(server).kill().await;
    }

    /// Starts it again, empty, at the same address, and waits until it answers.
    pub async fn restart(&self, server: usize) {
        self.container(server).restart().await;
        self.ready(server).await;
    }

    /// Freezes a server: connections stay open and nothing answers.
    pub async fn freeze(&self, server: usize) {
        self.container(server).freeze().await;
    }

    /// Ends [`freeze`](Self::freeze).
    pub async fn thaw(&self, server: usize) {
        self.container(server).thaw().await;
    }

    fn container(&self, server: usize) -> &Container {
        self.containers
            .get(server)
            .expect("only servers from `Memcached::start` may be broken")
    }

    async fn ready(&self, server: usize) {
        let address = &self.addresses[server];
        let answer = wire::until(Duration::from_secs(30), || async {
            wire::memcached(address, "version")
                .await
                .map_err(|error| error.to_string())
        })
        .await;
        if let Err(error) = answer {
            let logs = self.container(server).logs().await;
            panic!("memcached at {address} does not answer: {error}\n{logs}");
        }
    }
}
