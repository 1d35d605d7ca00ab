//! The store that the command line names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_axum::cache_engine::cache_core::{Backend, Error};
use cache_dynamodb::DynamoBackend;
use cache_memcached::MemcachedBackend;
use cache_memory::MemoryBackend;
use cache_redis::RedisBackend;

/// What `--store` can name, for the usage text.
pub(crate) const STORES: &str = "where STORE is one of
    memory                        in this process; so it is unless set
    redis://host:port             also rediss, redis-cluster and redis-sentinel
    memcached://host:port         or several: memcached://host:port,host:port
    dynamodb://table?region=…     for DynamoDB Local with &endpoint=http://host:port";

/// Takes `--name value` and `--name=value` into the values of the options that there are. Any other argument is an
/// error.
pub(crate) fn read_options<const N: usize>(
    arguments: impl IntoIterator<Item = String>,
    mut options: [(&str, &mut String); N],
) -> Result<(), String> {
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let Some((name, option)) = options.iter_mut().find(|(known, _)| *known == name) else {
            return Err(format!("unknown argument {argument:?}"));
        };
        **option = value
            .or_else(|| arguments.next())
            .ok_or_else(|| format!("{name} needs a value"))?;
    }
    Ok(())
}

#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) backend: Arc<dyn Backend>,
    /// Only memory can tell how much it holds.
    pub(crate) memory: Option<MemoryBackend>,
}

/// Makes the store. It need not be within reach: until it is, the handlers answer for themselves.
pub(crate) async fn open(name: &str) -> Result<Store, String> {
    // The errors name the URL, without what is secret in it.
    let wrong = |error: Error| error.to_string();
    let backend: Arc<dyn Backend> = match name.split_once("://").map_or(name, |(scheme, _)| scheme) {
        "memory" if name == "memory" => {
            let memory = MemoryBackend::default();
            return Ok(Store {
                backend: Arc::new(memory.clone()),
                memory: Some(memory),
            });
        }
        scheme if scheme.starts_with("redis") || scheme.starts_with("valkey") => {
            Arc::new(RedisBackend::builder().url(name).build().map_err(wrong)?)
        }
        scheme if scheme.starts_with("memcache") => {
            Arc::new(MemcachedBackend::builder().url(name).build().map_err(wrong)?)
        }
        "dynamodb" => {
            let dynamo = DynamoBackend::builder().url(name).create_table_if_missing(false);
            let dynamo = dynamo.connect().await.map_err(wrong)?;
            if let Err(error) = dynamo.create_table_if_missing().await {
                eprintln!("warning: the table is not ready: {error}");
            }
            Arc::new(dynamo)
        }
        _ => return Err(format!("unknown store {name:?}")),
    };
    Ok(Store { backend, memory: None })
}

/// Asks the store for a sign of life. It has two seconds, since connections may be under way.
pub(crate) async fn ping(store: &Store) -> Result<(), Error> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        match store.backend.ping().await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(50)).await,
            answer => return answer,
        }
    }
}
