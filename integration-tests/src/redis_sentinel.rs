//! A Redis master and its replica, watched by Sentinels.

use std::time::Duration;

use tokio::sync::OnceCell;

use crate::container::{Container, Inner, Spec};
use crate::redis_node::{self, PRELUDE, redis_image, shell};
use crate::{external, wire};

const VARIABLE: &str = "CACHE_TEST_REDIS_SENTINEL_URL";
const SERVICE: &str = "cache-test";

/// The number of servers: a master, a replica and three Sentinels.
pub(crate) const SERVERS: usize = 5;

/// Sentinels act within about ten seconds. But a Sentinel that notices that its machine stood still does nothing for
/// thirty.
const PATIENCE: Duration = Duration::from_secs(90);

/// Sentinels ask the master for its replicas at the start and then every ten seconds, so they start after the replica
/// is connected.
const SCRIPT: &str = r#"
master=$1 replica=$2
service=$3
shift 3
announce="replica-announce-ip 127.0.0.1"
node $master "$announce" "replica-announce-port $master" "repl-diskless-sync-delay 0"
ready $master
node $replica "$announce" "replica-announce-port $replica" "repl-diskless-sync-delay 0" "replicaof 127.0.0.1 $master"
until redis-cli -p $replica info replication | grep -q master_link_status:up; do sleep 0.05; done
for p in "$@"; do
    mkdir -p /tmp/$p
    cat > /tmp/$p/redis.conf <<END
port $p
dir /tmp/$p
bind * -::*
protected-mode no
sentinel monitor $service 127.0.0.1 $master 2
sentinel down-after-milliseconds $service 500
sentinel failover-timeout $service 3000
sentinel announce-ip 127.0.0.1
sentinel announce-port $p
END
    redis-server /tmp/$p/redis.conf --sentinel &
done
while :; do wait; sleep 1; done
"#;

/// A master, a replica and three Sentinels, of which two must agree.
#[derive(Debug)]
pub struct RedisSentinel {
    url: String,
    service: String,
    sentinels: Vec<String>,
    /// The addresses of a container's servers past the proxies, if there are any: the first master, the first replica, the
    /// Sentinels.
    direct: Vec<String>,
    container: Option<Container>,
}

impl RedisSentinel {
    /// Returns the set that all tests of this process share: the one in `CACHE_TEST_REDIS_SENTINEL_URL`, or a
    /// container.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RedisSentinel> = OnceCell::const_new();
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
        Self::start_with(Inner::Same).await
    }

    /// Starts a container whose servers announce these ports of 127.0.0.1, where a proxy to each of
    /// [`direct`](Self::direct) is to listen. Inside of the container they are the servers' own ports, so the servers see
    /// each other past the proxies.
    pub(crate) async fn start_behind(ports: Vec<u16>) -> Self {
        Self::start_with(Inner::Announced(ports)).await
    }

    async fn start_with(inner: Inner) -> Self {
        let spec = Spec {
            image: redis_image(),
            ports: SERVERS,
            inner,
            variable: VARIABLE,
        };
        let container = Container::start(&spec, |ports| {
            let mut arguments: Vec<String> = ports.iter().map(ToString::to_string).collect();
            arguments.insert(2, SERVICE.to_owned());
            shell(&format!("{PRELUDE}{SCRIPT}"), &arguments)
        })
        .await;
        let direct = container.addresses();
        let sentinels = spec.inner.announced().unwrap_or_else(|| direct.clone()).split_off(2);
        let others: Vec<String> = sentinels[1..].iter().map(|node| format!("node={node}")).collect();
        let redis = Self {
            url: format!(
                "redis-sentinel://{}?{}&sentinelServiceName={SERVICE}",
                sentinels[0],
                others.join("&")
            ),
            service: SERVICE.to_owned(),
            sentinels,
            direct,
            container: Some(container),
        };
        redis.ready().await;
        redis
    }

    async fn running(value: String) -> Self {
        let url = external::parse(
            VARIABLE,
            &value,
            &[
                "redis-sentinel",
                "rediss-sentinel",
                "valkey-sentinel",
                "valkeys-sentinel",
            ],
        );
        let sentinels = external::addresses(&url, 26379);
        let service = url.query_pairs().find(|(name, _)| name == "sentinelServiceName");
        let Some((_, service)) = service else {
            panic!("{VARIABLE} names no master: add &sentinelServiceName=… to {value:?}");
        };
        let service = service.into_owned();
        external::must_answer(VARIABLE, &sentinels).await;
        Self {
            url: value,
            service,
            direct: Vec::new(),
            sentinels,
            container: None,
        }
    }

    /// Returns `redis-sentinel://host:port?node=host:port&sentinelServiceName=name`, or the value of the environment
    /// variable.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the Sentinels' name of the master.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Returns `host:port` of each Sentinel.
    #[must_use]
    pub fn sentinels(&self) -> &[String] {
        &self.sentinels
    }

    /// Returns `host:port` of a container's servers past the proxies: the first master, the first replica, the Sentinels.
    pub(crate) fn direct(&self) -> &[String] {
        &self.direct
    }

    /// Returns `host:port` of each Sentinel past the proxies.
    fn direct_sentinels(&self) -> &[String] {
        self.direct.get(2..).unwrap_or(&self.sentinels)
    }

    /// Kills all servers. Their data is lost.
    pub(crate) async fn kill_all(&self) {
        self.container().kill().await;
    }

    /// Starts all servers again, empty and in their first roles, and waits until the Sentinels know them.
    pub(crate) async fn restart_all(&self) {
        self.container().restart().await;
        self.ready().await;
    }

    /// Freezes all servers: connections stay open, and nothing answers.
    pub(crate) async fn freeze(&self) {
        self.container().freeze().await;
    }

    /// Ends [`freeze`](Self::freeze).
    pub(crate) async fn thaw(&self) {
        self.container().thaw().await;
    }

    /// Returns `host:port` of the current master, as the first Sentinel reports it.
    ///
    /// # Panics
    ///
    /// Panics if the Sentinel does not answer or knows no such master.
    pub async fn master(&self) -> String {
        let command = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {}", self.service);
        match wire::redis(&self.direct_sentinels()[0], &command).await {
            Ok(answer) if answer.contains(' ') => answer.replace(' ', ":"),
            answer => panic!("{} knows no master {:?}: {answer:?}", self.sentinels[0], self.service),
        }
    }

    /// Shuts a server down at once. If it is the master, the Sentinels promote its replica within a few seconds.
    pub async fn kill(&self, node: &str) {
        redis_node::kill(self.container(), node).await;
    }

    /// Starts a server again after [`kill`](Self::kill). A former master becomes a replica.
    pub async fn restart(&self, node: &str) {
        redis_node::restart(self.container(), node).await;
    }

    /// Kills the master, and waits until the Sentinels have promoted the replica. Returns the new master.
    ///
    /// # Panics
    ///
    /// Panics if that takes more than ninety seconds.
    pub async fn fail_over(&self) -> String {
        let old = self.master().await;
        self.kill(&old).await;
        let new = wire::until(PATIENCE, || async {
            let new = self.master().await;
            match wire::redis(&new, "ROLE").await {
                Ok(role) if new != old && role.starts_with("master") => Ok(new),
                answer => Err(format!("{new} says {answer:?}")),
            }
        })
        .await;
        match new {
            Ok(new) => new,
            Err(error) => panic!("no failover: {error}\n{}", self.container().logs().await),
        }
    }

    /// Waits until the Sentinels have made a server a replica, as they do with a former master that is back.
    ///
    /// # Panics
    ///
    /// When that takes more than ninety seconds.
    pub async fn demoted(&self, node: &str) {
        let demoted = wire::until(PATIENCE, || async {
            match wire::redis(node, "ROLE").await {
                Ok(role) if role.starts_with("slave") => Ok(()),
                answer => Err(format!("{node} says {answer:?}")),
            }
        })
        .await;
        if let Err(error) = demoted {
            panic!("no replica: {error}\n{}", self.container().logs().await);
        }
    }

    fn container(&self) -> &Container {
        self.container
            .as_ref()
            .expect("only servers from `RedisSentinel::start` may be broken")
    }

    /// Waits until every Sentinel knows the master, the replica and the other Sentinels.
    async fn ready(&self) {
        let wanted = format!("name={SERVICE},status=ok");
        let answer = wire::until(Duration::from_secs(60), || async {
            for sentinel in self.direct_sentinels() {
                let info = wire::redis(sentinel, "INFO sentinel")
                    .await
                    .map_err(|error| format!("{sentinel}: {error}"))?;
                if !info.contains(&wanted) || !info.contains("slaves=1,sentinels=3") {
                    return Err(format!("{sentinel} says {info}"));
                }
            }
            Ok(())
        })
        .await;
        if let Err(error) = answer {
            panic!(
                "the Sentinels are not ready: {error}\n{}",
                self.container().logs().await
            );
        }
    }
}
