//! A Redis Cluster.

use std::time::Duration;

use tokio::sync::OnceCell;

use crate::container::{Container, Inner, Spec};
use crate::redis_node::{self, PRELUDE, redis_image, shell};
use crate::{external, wire};

const VARIABLE: &str = "CACHE_TEST_REDIS_CLUSTER_URL";

/// The number of nodes, masters and replicas.
pub(crate) const NODES: usize = 6;

/// Nodes announce 127.0.0.1 and their ports as seen from outside. The ports of the bus are below the range of outgoing
/// connections.
const SCRIPT: &str = r#"
for p in "$@"; do
    node $p "cluster-enabled yes" "cluster-config-file nodes.conf" "cluster-port $((p - 10000))" \
        "cluster-announce-ip 127.0.0.1" "cluster-node-timeout 1500" "repl-diskless-sync-delay 0"
done
ready "$@"
nodes=
for p in "$@"; do nodes="$nodes 127.0.0.1:$p"; done
[ -e /tmp/created ] || redis-cli --cluster create $nodes --cluster-replicas 1 --cluster-yes
touch /tmp/created
while :; do wait; sleep 1; done
"#;

/// Three masters with a replica each.
#[derive(Debug)]
pub struct RedisCluster {
    url: String,
    nodes: Vec<String>,
    /// The addresses past the proxies, if there are any.
    direct: Vec<String>,
    container: Option<Container>,
}

impl RedisCluster {
    /// Returns the cluster that all tests of this process share: the one in `CACHE_TEST_REDIS_CLUSTER_URL`, or a
    /// container.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RedisCluster> = OnceCell::const_new();
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

    /// Starts a container whose nodes announce these ports of 127.0.0.1, where a proxy to each of
    /// [`direct`](Self::direct) is to listen. Inside of the container they are the nodes' own ports, so the nodes see each
    /// other past the proxies.
    pub(crate) async fn start_behind(ports: Vec<u16>) -> Self {
        Self::start_with(Inner::Announced(ports)).await
    }

    async fn start_with(inner: Inner) -> Self {
        let spec = Spec {
            image: redis_image(),
            ports: NODES,
            inner,
            variable: VARIABLE,
        };
        let container = Container::start(&spec, |ports| {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            shell(&format!("{PRELUDE}{SCRIPT}"), &ports)
        })
        .await;
        let direct = container.addresses();
        let nodes = spec.inner.announced().unwrap_or_else(|| direct.clone());
        let others: Vec<String> = nodes[1..].iter().map(|node| format!("node={node}")).collect();
        let cluster = Self {
            url: format!("redis-cluster://{}?{}", nodes[0], others.join("&")),
            nodes,
            direct,
            container: Some(container),
        };
        cluster.ready().await;
        cluster
    }

    async fn running(value: String) -> Self {
        let url = external::parse(
            VARIABLE,
            &value,
            &["redis-cluster", "rediss-cluster", "valkey-cluster", "valkeys-cluster"],
        );
        let nodes = external::addresses(&url, 6379);
        external::must_answer(VARIABLE, &nodes).await;
        Self {
            url: value,
            direct: nodes.clone(),
            nodes,
            container: None,
        }
    }

    /// Returns `redis-cluster://host:port?node=host:port&…`, or the value of the environment variable.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns `host:port` of every node in the URL, masters and replicas.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// Returns `host:port` of every node past the proxies, in the same order.
    pub(crate) fn direct(&self) -> &[String] {
        &self.direct
    }

    /// Kills all nodes. Their data is lost.
    pub(crate) async fn kill_all(&self) {
        self.container().kill().await;
    }

    /// Starts all nodes again, empty and with their slots, and waits until all slots are served.
    pub(crate) async fn restart_all(&self) {
        self.container().restart().await;
        self.ready().await;
    }

    /// Freezes all nodes: connections stay open, and nothing answers.
    pub(crate) async fn freeze(&self) {
        self.container().freeze().await;
    }

    /// Ends [`freeze`](Self::freeze), and waits until all slots are served.
    pub(crate) async fn thaw(&self) {
        self.container().thaw().await;
        self.ready().await;
    }

    /// Shuts a node down at once. A master's replica takes over within about three seconds.
    pub async fn kill(&self, node: &str) {
        redis_node::kill(self.container(), node).await;
    }

    /// Starts a node again after [`kill`](Self::kill).
    pub async fn restart(&self, node: &str) {
        redis_node::restart(self.container(), node).await;
    }

    /// Kills a master, and waits until its replica serves its slots and every other node sees all slots served.
    ///
    /// # Panics
    ///
    /// Panics if that takes more than thirty seconds.
    pub async fn fail_over(&self, master: &str) {
        self.kill(master).await;
        let answer = wire::until(Duration::from_secs(30), || async {
            let others = self.nodes.iter().zip(&self.direct);
            for (_, node) in others.filter(|(node, _)| *node != master) {
                let info = ask(node, "CLUSTER INFO").await?;
                let slots = ask(node, "CLUSTER SLOTS").await?;
                let port = master.rsplit(':').next().unwrap_or_default();
                if !info.contains("cluster_state:ok") || slots.split(' ').any(|word| word == port) {
                    return Err(format!("{node} says {info} and {slots}"));
                }
            }
            Ok(())
        })
        .await;
        if let Err(error) = answer {
            panic!("no failover: {error}\n{}", self.container().logs().await);
        }
    }

    fn container(&self) -> &Container {
        self.container
            .as_ref()
            .expect("only a cluster from `RedisCluster::start` may be broken")
    }

    /// Waits until every node sees all slots served and the others' roles, and every replica has its master's data.
    async fn ready(&self) {
        let answer = wire::until(Duration::from_secs(60), || async {
            for node in &self.direct {
                let info = ask(node, "CLUSTER INFO").await?;
                let nodes = ask(node, "CLUSTER NODES").await?;
                let masters = nodes.lines().filter(|line| line.contains("master")).count();
                let replicas = nodes.lines().filter(|line| line.contains("slave")).count();
                if !info.contains("cluster_state:ok") || (masters, replicas) != (NODES / 2, NODES / 2) {
                    return Err(format!("{node} says {info} and {nodes}"));
                }
                let info = ask(node, "INFO replication").await?;
                if !info.contains("connected_slaves:1") && !info.contains("master_link_status:up") {
                    return Err(format!("{node} says {info}"));
                }
            }
            Ok(())
        })
        .await;
        if let Err(error) = answer {
            panic!(
                "the Redis Cluster is not ready: {error}\n{}",
                self.container().logs().await
            );
        }
    }
}

async fn ask(node: &str, command: &str) -> Result<String, String> {
    wire::redis(node, command)
        .await
        .map_err(|error| format!("{node}: {error}"))
}
