//! Redis servers of a Cluster or behind Sentinels. Several run in one container, each with its own folder and
//! configuration file. The port is the same inside and outside, so that clients can use the addresses that servers
//! announce.

use std::sync::LazyLock;

use crate::container::Container;
use crate::external;

/// The variable for another image, `name:tag`, to start all Redis servers from, such as Valkey's.
const IMAGE_VARIABLE: &str = "CACHE_TEST_REDIS_IMAGE";

/// Returns the name and the tag of the image that Redis servers are started from.
///
/// # Panics
/// Panics if `CACHE_TEST_REDIS_IMAGE` is set and has no tag.
pub(crate) fn redis_image() -> (&'static str, &'static str) {
    static IMAGE: LazyLock<Option<String>> = LazyLock::new(|| external::variable(IMAGE_VARIABLE));
    match IMAGE.as_deref() {
        None => ("redis", "8"),
        Some(image) => match image.rsplit_once(':') {
            Some(name_and_tag) => name_and_tag,
            None => panic!("{IMAGE_VARIABLE} must be `name:tag`, not {image:?}"),
        },
    }
}

/// The shell function `node PORT [line…]` starts a server in the background; `ready PORT…` waits until servers answer.
/// The shell stays the container's first process, so shutting one server down does not end the others.
pub(crate) const PRELUDE: &str = r#"
set -eu
trap 'exit 0' TERM INT
node() {
    port=$1; shift
    mkdir -p /tmp/$port
    {
        printf 'port %s\ndir /tmp/%s\nbind * -::*\nprotected-mode no\nsave ""\nappendonly no\n' $port $port
        for line in "$@"; do printf '%s\n' "$line"; done
    } > /tmp/$port/redis.conf
    redis-server /tmp/$port/redis.conf &
}
ready() {
    for port in "$@"; do
        until redis-cli -p $port ping | grep -q PONG; do sleep 0.05; done
    done
}
"#;

/// Returns the port in `127.0.0.1:port`.
fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

/// Shuts a server down at once.
pub(crate) async fn kill(container: &Container, address: &str) {
    let script = format!(
        "redis-cli -p {0} shutdown nosave now force; ! redis-cli -p {0} ping",
        port(address)
    );
    container.exec(shell(&script, &[])).await;
}

/// Starts a server again after [`kill`], with its configuration.
pub(crate) async fn restart(container: &Container, address: &str) {
    let script = format!("redis-server /tmp/{0}/redis.conf --daemonize yes", port(address));
    container.exec(shell(&script, &[])).await;
}

/// Returns the command `sh -c script sh argument…`.
pub(crate) fn shell(script: &str, arguments: &[String]) -> Vec<String> {
    let mut command = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    command.extend_from_slice(arguments);
    command
}
