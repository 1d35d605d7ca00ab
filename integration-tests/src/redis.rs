//! One Redis server.

use std::time::Duration;

use tokio::sync::OnceCell;

use crate::container::{Container, Inner, Spec};
use crate::redis_node::redis_image;
use crate::{external, wire};

const VARIABLE: &str = "CACHE_TEST_REDIS_URL";

/// A Redis server without persistence, otherwise with default settings.
#[derive(Debug)]
pub struct Redis {
    url: String,
    address: String,
    container: Option<Container>,
}

impl Redis {
    /// Returns the server that all tests of this process share: the one in `CACHE_TEST_REDIS_URL`, or a container.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match external::variable(VARIABLE) {
                    Some(value) => Self::running(value).await,
                    None => Self::start().await,
                }
            })
            .await
    }

    /// Starts a container for one test, which is removed on drop.
    pub async fn start() -> Self {
        let spec = Spec {
            image: redis_image(),
            ports: 1,
            inner: Inner::One(6379),
            variable: VARIABLE,
        };
        let container = Container::start(&spec, |_| {
            [
                "redis-server",
                "--save",
                "",
                "--appendonly",
                "no",
                "--protected-mode",
                "no",
            ]
            .map(str::to_owned)
            .to_vec()
        })
        .await;
        let address = container.addresses().remove(0);
        let redis = Self {
            url: format!("redis://{address}"),
            address,
            container: Some(container),
        };
        redis.ready().await;
        redis
    }

    async fn running(value: String) -> Self {
        let url = external::parse(VARIABLE, &value, &["redis", "rediss", "valkey", "valkeys"]);
        let addresses = external::addresses(&url, 6379);
        external::must_answer(VARIABLE, &addresses).await;
        Self {
            url: value,
            address: addresses[0].clone(),
            container: None,
        }
    }

    /// Returns `redis://host:port`, or the value of the environment variable.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Kills the server. Its data is lost.
    pub async fn kill(&self) {
        self.container().kill().await;
    }

    /// Starts the server again, empty, at the same address, and waits until it answers.
    pub async fn restart(&self) {
        self.container().restart().await;
        self.ready().await;
    }

    /// Freezes the server: connections stay open, and nothing answers.
    pub async fn freeze(&self) {
        self.container().freeze().await;
    }

    /// Ends [`freeze`](Self::freeze).
    pub async fn thaw(&self) {
        self.container().thaw().await;
    }

    /// Removes all keys, if the server is one that was started here. Others may have keys that matter to somebody.
    pub async fn empty(&self) {
        if self.container.is_some() {
            wire::redis(&self.address, "FLUSHALL").await.expect("Redis answers");
        }
    }

    fn container(&self) -> &Container {
        self.container
            .as_ref()
            .expect("only a server from `Redis::start` may be broken")
    }

    async fn ready(&self) {
        let answer = wire::until(Duration::from_secs(30), || async {
            wire::redis(&self.address, "PING")
                .await
                .map_err(|error| error.to_string())
        })
        .await;
        if let Err(error) = answer {
            panic!("Redis does not answer: {error}\n{}", self.container().logs().await);
        }
    }
}
