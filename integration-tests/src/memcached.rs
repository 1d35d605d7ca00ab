//! One or several memcached servers.

use std::time::Duration;

use tokio::sync::OnceCell;

use crate::container::{Container, Inner, Spec};
use crate::{external, wire};

const VARIABLE: &str = "CACHE_TEST_MEMCACHED_URL";
const FLEET: usize = 3;

const SPEC: Spec = Spec {
    image: ("memcached", "1.6"),
    ports: 1,
    inner: Inner::One(11211),
    variable: VARIABLE,
};

/// Independent memcached servers with the default limits (items up to 1 MiB).
#[derive(Debug)]
pub struct Memcached {
    addresses: Vec<String>,
    containers: Vec<Container>,
}

impl Memcached {
    /// Returns the one server that all tests of this process share: the first in `CACHE_TEST_MEMCACHED_URL`, or a
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

    /// Returns the three servers that all tests of this process share: those in `CACHE_TEST_MEMCACHED_URL`, or
    /// containers.
    ///
    /// # Panics
    ///
    /// Panics if the variable names fewer than three.
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

    /// Starts this many servers for one test, in containers that are removed on drop.
    pub async fn start(servers: usize) -> Self {
        Self::start_with(servers, &["-m", "256"]).await
    }

    /// Starts one server that refuses what it has no memory for, instead of evicting items. Its limit is 64 MB.
    pub async fn start_without_eviction() -> Self {
        Self::start_with(1, &["-m", "64", "-M"]).await
    }

    async fn start_with(servers: usize, options: &[&str]) -> Self {
        let mut fleet = Self {
            addresses: Vec::new(),
            containers: Vec::new(),
        };
        let words = [&["memcached"][..], options].concat();
        for server in 0..servers {
            let command = |_: &[u16]| words.iter().map(|&word| word.to_owned()).collect();
            let container = Container::start(&SPEC, command).await;
            fleet.addresses.extend(container.addresses());
            fleet.containers.push(container);
            fleet.ready(server).await;
        }
        fleet
    }

    /// Starts a server that speaks TLS only, with this certificate and private key, in PEM. It may take a moment until it
    /// answers. With `clients`, only clients with a certificate of that authority are served.
    pub async fn start_with_tls(certificate: &str, key: &str, clients: Option<&str>) -> Self {
        let files = format!("{certificate}{key}");
        let command = |_: &[u16]| {
            let mut options = "ssl_chain_cert=/tmp/own.pem,ssl_key=/tmp/own.pem".to_owned();
            if clients.is_some() {
                options += ",ssl_verify_mode=2,ssl_ca_cert=/tmp/clients.pem";
            }
            let script = format!(
                "printf '%s' \"$1\" >/tmp/own.pem; printf '%s' \"$2\" >/tmp/clients.pem; \
                 exec memcached -m 64 -Z -o {options}"
            );
            let arguments = ["sh", "-c", &script, "sh", &files, clients.unwrap_or_default()];
            arguments.map(str::to_owned).to_vec()
        };
        let container = Container::start(&SPEC, command).await;
        Self {
            addresses: container.addresses(),
            containers: vec![container],
        }
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

    /// Returns `memcached://host:port,host:port,…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("memcached://{}", self.addresses.join(","))
    }

    /// Returns `host:port` of each server.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Kills a server. Its data is lost.
    pub async fn kill(&self, server: usize) {
        self.container(server).kill().await;
    }

    /// Starts a server again, empty, at the same address, and waits until it answers.
    pub async fn restart(&self, server: usize) {
        self.container(server).restart().await;
        self.ready(server).await;
    }

    /// Freezes a server: connections stay open, and nothing answers.
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
