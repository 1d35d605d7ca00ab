//! The settings of a cache, for a service's own configuration file or environment.

use std::time::Duration;

use cache_engine::cache_core::{Error, ErrorKind};
use cache_engine::{Cache, CacheBuilder};
use serde::Deserialize;

use crate::open;

/// The settings of a cache, as a configuration file states them.
///
/// Every field is optional; a missing one keeps the default of [`CacheBuilder`]. An unknown field is an error, so that
/// you notice a misspelt one. Durations are numbers with a unit: `"500ms"`, `"60s"`, `"5m"`, `"1h 30m"`.
///
/// ```
/// use larder::Settings;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings: Settings = serde_json::from_str(
///     r#"{ "store": "memory:", "prefix": "shop", "ttl": "60s", "stale_if_error": "1h" }"#,
/// )?;
/// let cache = settings.open().await?.build();
/// assert_eq!(cache.key("1").to_string(), "shop::1");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Settings {
    /// The URL of the store, see [`open`]. Default: `memory:`.
    pub store: Option<String>,
    /// The prefix of all keys.
    pub prefix: Option<String>,
    /// The namespace of the handle.
    pub namespace: Option<String>,
    /// Whether the cache is enabled at the start.
    pub enabled: Option<bool>,
    /// How long a value is fresh.
    #[serde(deserialize_with = "duration")]
    pub ttl: Option<Duration>,
    /// How long a stale value is still returned while a new one is loaded.
    #[serde(deserialize_with = "duration")]
    pub stale_while_revalidate: Option<Duration>,
    /// How long a stale value is returned if the load fails.
    #[serde(deserialize_with = "duration")]
    pub stale_if_error: Option<Duration>,
    /// The time limit of one call to the store.
    #[serde(deserialize_with = "duration")]
    pub backend_timeout: Option<Duration>,
    /// The near tier: copies in this process, in front of a shared store.
    pub near: Option<NearSettings>,
}

/// The settings of a near tier: memory in this process, in front of a shared store.
///
/// They are ignored for `memory:`, which needs no near tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NearSettings {
    /// The largest total size of the copies in bytes.
    pub max_bytes: Option<u64>,
    /// The longest time that a copy is served. Required in front of Memcached and DynamoDB, which report no changes.
    #[serde(deserialize_with = "duration")]
    pub max_age: Option<Duration>,
    /// The longest time that copies are served after the last heartbeat of a store that reports changes.
    #[serde(deserialize_with = "duration")]
    pub max_silence: Option<Duration>,
}

impl Settings {
    /// Opens the store, and returns a builder with these settings. Use the builder for settings that a file cannot
    /// express, such as an observer.
    ///
    /// # Errors
    /// Fails as [`open`] does, and with [`Configuration`](ErrorKind::Configuration) for a near tier without the feature
    /// `memory`, or without a maximum age in front of a store that reports no changes.
    pub async fn open(&self) -> Result<CacheBuilder, Error> {
        let backend = open(self.store.as_deref().unwrap_or("memory:")).await?;
        let is_local = backend.capabilities().shared_objects;
        let announces = backend.capabilities().subscribe;
        let mut builder = Cache::builder(backend);
        if let Some(prefix) = &self.prefix {
            builder = builder.prefix(prefix);
        }
        if let Some(namespace) = &self.namespace {
            builder = builder.namespace(namespace);
        }
        if let Some(enabled) = self.enabled {
            builder = builder.enabled(enabled);
        }
        if let Some(ttl) = self.ttl {
            builder = builder.ttl(ttl);
        }
        if let Some(window) = self.stale_while_revalidate {
            builder = builder.stale_while_revalidate(window);
        }
        if let Some(window) = self.stale_if_error {
            builder = builder.stale_if_error(window);
        }
        if let Some(limit) = self.backend_timeout {
            builder = builder.backend_timeout(limit);
        }
        match &self.near {
            Some(near) if !is_local => near.put_before(builder, announces),
            _ => Ok(builder),
        }
    }
}

impl NearSettings {
    #[cfg(feature = "memory")]
    fn put_before(&self, mut builder: CacheBuilder, announces: bool) -> Result<CacheBuilder, Error> {
        if !announces && self.max_age.is_none() {
            return Err(Error::new(
                ErrorKind::Configuration,
                "this store announces no changes, so its near tier needs an end for each copy: set near.max_age, \
                 as in \"1s\"",
            ));
        }
        let mut memory = cache_memory::MemoryBackend::builder();
        if let Some(bytes) = self.max_bytes {
            memory = memory.max_bytes(bytes);
        }
        builder = builder.near(memory.build());
        if let Some(age) = self.max_age {
            builder = builder.near_max_age(age);
        }
        if let Some(silence) = self.max_silence {
            builder = builder.near_max_silence(silence);
        }
        Ok(builder)
    }

    #[cfg(not(feature = "memory"))]
    fn put_before(&self, _: CacheBuilder, _: bool) -> Result<CacheBuilder, Error> {
        Err(Error::new(
            ErrorKind::Configuration,
            "a near tier is kept in memory: add the feature `memory` to the dependency on `larder`",
        ))
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    humantime::parse_duration(&text).map(Some).map_err(|error| {
        serde::de::Error::custom(format!(
            "`{text}` is no duration: {error}. Write a number with a unit, as in \"500ms\", \"60s\" or \"5m\""
        ))
    })
}
