//! Redis servers of a Cluster or behind Sentinels: several in one container, each with a folder and a configuration file
//! of its own, on the same port inside as outside, so that the addresses they announce hold for the client too.

use std::sync::LazyLock;

use crate::container::Container;
use crate::external;

/// Names another image, `name:tag`, for everything that starts a Redis server: that of Valkey.
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

/// The shell function `node PORT [line…]` starts a server in the background; `ready PORT…` waits until they answer. The
/// shell stays as the container's first process, so a server that is shut down does not take the others with it.
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

/// The port in `127.0.0.1:port`.
fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

/// Shuts one server down, at once.
pub(crate) async fn kill(container: &Container, address: &str) {
    let script = format!(
        "redis-cli -p {0} shutdown nosave now force; ! redis-cli -p {0} ping",
        port(address)
    );
    container.exec(shell(&script, &[])).await;
}

/// Starts a server again that was shut down, with the configuration it had.
pub(crate) async fn restart(container: &Container, address: &str) {
    let script = format!("redis-server /tmp/{0}/redis.conf --daemonize yes", port(address));
    container.exec(shell(&script, &[])).await;
}

/// `sh -c script sh argument…`
pub(crate) fn shell(script: &str, arguments: &[String]) -> Vec<String> {
    let mut command = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    command.extend_from_slice(arguments);
    command
}
