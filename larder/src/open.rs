//! Opens a store by its URL.

use std::sync::Arc;

use cache_engine::cache_core::{Backend, Error, ErrorKind};

/// Opens the store that `url` names.
///
/// | URL | store | feature |
/// |---|---|---|
/// | `memory:` | this process; `memory:?max_bytes=…&max_entries=…` sets its bounds | `memory` (default) |
/// | `redis://host:port/db` | one Redis or Valkey server | `redis` |
/// | `redis-cluster://host:port?node=host:port` | a Redis Cluster | `redis` |
/// | `redis-sentinel://host:port?sentinelServiceName=name` | a primary behind Sentinels | `redis` |
/// | `memcached://host:port,host:port` | one or several Memcached servers; `memcached+unix:///path` for a socket | `memcached` |
/// | `memcacheds://host:port,host:port` | the same by TLS | `memcached-rustls` |
/// | `dynamodb://table?region=…` | a DynamoDB table, which must exist | `dynamodb` |
///
/// The crate of each store documents its URL in full.
///
/// The store need not be reachable yet. Until it is, a [`Cache`](crate::Cache) loads each value from its source. The
/// store is asked once whether it answers, which takes no longer than its own time limits allow: a second by default.
/// If it does not, a warning with the reason is logged with the target `cache`.
///
/// # Errors
/// Fails with [`Configuration`](ErrorKind::Configuration) if the URL cannot be parsed, if its scheme is unknown, or if
/// the feature of its store is switched off; the message then names the feature. No message shows a password.
pub async fn open(url: &str) -> Result<Arc<dyn Backend>, Error> {
    let backend = unasked(url).await?;
    // Without this, a wrong address or password would show at the first request only.
    if let Err(error) = backend.ping().await {
        tracing::warn!(
            target: "cache",
            store = backend.name(),
            at = place(url),
            %error,
            "the store does not answer yet: until it does, each value is loaded from its source"
        );
    }
    Ok(backend)
}

/// Returns the hosts, the socket or the table of a URL: what stands between the secrets and the settings.
fn place(url: &str) -> &str {
    let place = url.split_once("://").map_or("", |(_, rest)| rest);
    let place = place.split('?').next().unwrap_or_default();
    place.rsplit('@').next().unwrap_or_default()
}

/// Opens the store, without asking it anything.
async fn unasked(url: &str) -> Result<Arc<dyn Backend>, Error> {
    let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
    match scheme {
        "memory" => memory(url),
        _ if ["redis", "valkey"].iter().any(|name| scheme.starts_with(name)) => redis(url),
        _ if scheme.starts_with("memcache") => memcached(url),
        "dynamodb" => dynamodb(url).await,
        _ => Err(unusable(format!(
            "`{scheme}:` names no store: use memory:, redis://, redis-cluster://, redis-sentinel://, memcached:// or \
             dynamodb://"
        ))),
    }
}

fn unusable(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message).with_operation("open")
}

#[cfg(not(all(feature = "memory", feature = "redis", feature = "memcached", feature = "dynamodb")))]
fn switched_off(feature: &str) -> Error {
    unusable(format!(
        "this program was built without the store: add the feature `{feature}` to the dependency on `larder`"
    ))
}

#[cfg(feature = "memory")]
fn memory(url: &str) -> Result<Arc<dyn Backend>, Error> {
    let mut builder = cache_memory::MemoryBackend::builder();
    let settings = url.trim_start_matches("memory:").trim_start_matches("//");
    let settings = settings.strip_prefix('?').map_or_else(
        || match settings {
            "" => Ok(""),
            other => Err(unusable(format!(
                "`memory:` takes settings only, as in `memory:?max_bytes=1000000`, but not `{other}`"
            ))),
        },
        Ok,
    )?;
    for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
        let wrong = |_| unusable(format!("`{setting}` is no whole number, as in `max_bytes=1000000`"));
        builder = match setting.split_once('=') {
            Some(("max_bytes", bytes)) => builder.max_bytes(bytes.parse().map_err(wrong)?),
            Some(("max_entries", entries)) => builder.max_entries(entries.parse().map_err(wrong)?),
            _ => {
                return Err(unusable(format!(
                    "`memory:` has no setting `{setting}`: it takes max_bytes and max_entries"
                )));
            }
        };
    }
    Ok(Arc::new(builder.build()))
}

#[cfg(not(feature = "memory"))]
fn memory(_: &str) -> Result<Arc<dyn Backend>, Error> {
    Err(switched_off("memory"))
}

#[cfg(feature = "redis")]
fn redis(url: &str) -> Result<Arc<dyn Backend>, Error> {
    Ok(Arc::new(cache_redis::RedisBackend::builder().url(url).build()?))
}

#[cfg(not(feature = "redis"))]
fn redis(url: &str) -> Result<Arc<dyn Backend>, Error> {
    let is_tls = url.starts_with("rediss") || url.starts_with("valkeys");
    Err(switched_off(if is_tls { "redis-rustls" } else { "redis" }))
}

#[cfg(feature = "memcached")]
fn memcached(url: &str) -> Result<Arc<dyn Backend>, Error> {
    Ok(Arc::new(cache_memcached::MemcachedBackend::builder().url(url).build()?))
}

#[cfg(not(feature = "memcached"))]
fn memcached(url: &str) -> Result<Arc<dyn Backend>, Error> {
    let is_tls = url.starts_with("memcacheds:") || url.contains("+tls:");
    Err(switched_off(if is_tls { "memcached-rustls" } else { "memcached" }))
}

#[cfg(feature = "dynamodb")]
async fn dynamodb(url: &str) -> Result<Arc<dyn Backend>, Error> {
    Ok(Arc::new(
        cache_dynamodb::DynamoBackend::builder().url(url).connect().await?,
    ))
}

#[cfg(not(feature = "dynamodb"))]
#[expect(clippy::unused_async, reason = "as it is where the store can be opened")]
async fn dynamodb(_: &str) -> Result<Arc<dyn Backend>, Error> {
    Err(switched_off("dynamodb"))
}
