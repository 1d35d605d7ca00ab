//! The settings of a cache, for a service's own configuration file or environment.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_engine::cache_core::{Backend, Error, ErrorKind};
use cache_engine::{Cache, CacheBuilder};
use serde::Deserialize;
use serde::de::Unexpected;

use crate::open;

/// The settings of a cache, as a configuration file states them.
///
/// Every field is optional; a missing one keeps the default of [`CacheBuilder`]. An unknown field is an error, so that
/// you notice a misspelt one. `Debug` shows no password. Durations are numbers with a unit: `"500ms"`, `"60s"`, `"5m"`, `"1h 30m"`. The fields of
/// [`Policy`](crate::Policy) are beside the others.
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
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Settings {
    /// The URL of the store, see [`open`]. May also be called `url`. Both names are one field, so use the same one in every
    /// source: a file with `url` and a variable for `store` are "duplicate field `store`". Default: `memory:`.
    #[serde(alias = "url")]
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
    /// How long it is remembered that there is no value.
    #[serde(deserialize_with = "duration")]
    pub negative_ttl: Option<Duration>,
    /// How long a failed load is remembered.
    #[serde(deserialize_with = "duration")]
    pub error_ttl: Option<Duration>,
    /// By which part of it a lifetime is shortened at random, from 0 to 1.
    pub jitter: Option<f64>,
    /// After which share of its lifetime, from 0 to 1, the next hit refreshes a value in the background.
    pub early_refresh_after: Option<f64>,
    /// How early hits refresh values by chance, before they expire. 1 is the best value for most services.
    pub early_refresh_beta: Option<f64>,
    /// The share of hits, from 0 to 1, whose value is loaded as well and compared with what was found.
    pub verify: Option<f64>,
    /// How long a call waits for a load if it could return a stale value instead.
    #[serde(deserialize_with = "duration")]
    pub soft_timeout: Option<Duration>,
    /// The time limit of a load.
    #[serde(deserialize_with = "duration")]
    pub load_timeout: Option<Duration>,
    /// Whether a call waits for a load in another process.
    pub coalesce_across_processes: Option<bool>,
    /// Whether entries limit the freshness of values that are loaded with them, and pass on their tags.
    pub contributes: Option<bool>,
    /// The time limit of one call to the store.
    #[serde(deserialize_with = "duration")]
    pub backend_timeout: Option<Duration>,
    /// The time limit of `clear` in a store that walks through its keys.
    #[serde(deserialize_with = "duration")]
    pub clear_timeout: Option<Duration>,
    /// How long other processes wait for a load whose process was killed.
    #[serde(deserialize_with = "duration")]
    pub lease_time: Option<Duration>,
    /// How long the lease of a running load is renewed.
    #[serde(deserialize_with = "duration")]
    pub max_lease: Option<Duration>,
    /// Whether namespaces are cleared by a tag.
    pub tag_namespaces: Option<bool>,
    /// How long this process remembers the versions of tags.
    #[serde(deserialize_with = "duration")]
    pub tag_cache_ttl: Option<Duration>,
    /// The file that keeps pending invalidations over a restart.
    pub pending_file: Option<PathBuf>,
    /// Whether callers wait for what would otherwise be done in the background.
    pub foreground: Option<bool>,
    /// The near tier: copies in this process, in front of a shared store.
    pub near: Option<NearSettings>,
}

/// The settings of a near tier: memory in this process, in front of a shared store.
///
/// They are ignored for `memory:`, which needs no near tier: [`CacheBuilder::near`] logs that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NearSettings {
    /// The largest total size of the copies in bytes. With 0 there is no near tier. Default: 256 MiB.
    pub max_bytes: Option<u64>,
    /// The longest time that a copy is served. Required in front of Memcached and DynamoDB, which report no changes.
    #[serde(deserialize_with = "duration")]
    pub max_age: Option<Duration>,
    /// The longest time that copies are served after the last heartbeat of a store that reports changes.
    #[serde(deserialize_with = "duration")]
    pub max_silence: Option<Duration>,
}

/// Shows of the store's URL no more than its scheme and where the store is, whatever the scheme: programs log their settings.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names all fields, so that none can be forgotten.
        let Self {
            store,
            prefix,
            namespace,
            enabled,
            ttl,
            stale_while_revalidate,
            stale_if_error,
            negative_ttl,
            error_ttl,
            jitter,
            early_refresh_after,
            early_refresh_beta,
            verify,
            soft_timeout,
            load_timeout,
            coalesce_across_processes,
            contributes,
            backend_timeout,
            clear_timeout,
            lease_time,
            max_lease,
            tag_namespaces,
            tag_cache_ttl,
            pending_file,
            foreground,
            near,
        } = self;
        f.debug_struct("Settings")
            .field("store", &store.as_deref().map(without_secrets))
            .field("prefix", prefix)
            .field("namespace", namespace)
            .field("enabled", enabled)
            .field("ttl", ttl)
            .field("stale_while_revalidate", stale_while_revalidate)
            .field("stale_if_error", stale_if_error)
            .field("negative_ttl", negative_ttl)
            .field("error_ttl", error_ttl)
            .field("jitter", jitter)
            .field("early_refresh_after", early_refresh_after)
            .field("early_refresh_beta", early_refresh_beta)
            .field("verify", verify)
            .field("soft_timeout", soft_timeout)
            .field("load_timeout", load_timeout)
            .field("coalesce_across_processes", coalesce_across_processes)
            .field("contributes", contributes)
            .field("backend_timeout", backend_timeout)
            .field("clear_timeout", clear_timeout)
            .field("lease_time", lease_time)
            .field("max_lease", max_lease)
            .field("tag_namespaces", tag_namespaces)
            .field("tag_cache_ttl", tag_cache_ttl)
            .field("pending_file", pending_file)
            .field("foreground", foreground)
            .field("near", near)
            .finish()
    }
}

/// Replaces in a store's URL what may be secret: the user and the password, and the settings.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else {
        return "***".to_owned();
    };
    let Some(rest) = rest.strip_prefix("//") else {
        let hidden = if rest.is_empty() { "" } else { "***" };
        return format!("{scheme}:{hidden}");
    };
    // At the last `@`, since a password that is not encoded may contain others, and any other separator.
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    let (place, settings) = rest.split_once('?').map_or((rest, ""), |(place, _)| (place, "?***"));
    format!("{scheme}://{user}{place}{settings}")
}

impl Settings {
    /// Opens the store, and returns a builder with these settings. Use the builder for settings that a file cannot
    /// express, such as an observer.
    ///
    /// # Errors
    /// Fails as [`open`] does, and with [`Configuration`](ErrorKind::Configuration) for a near tier without the feature
    /// `memory`, or without a maximum age in front of a store that reports no changes.
    pub async fn open(&self) -> Result<CacheBuilder, Error> {
        self.on(open(self.store.as_deref().unwrap_or("memory:")).await?)
    }

    /// Returns a builder with these settings for a cache on `backend`, whatever [`store`](Self::store) says. For stores
    /// that a URL cannot express, such as one that is wrapped.
    ///
    /// ```
    /// # use larder::MemoryBackend;
    /// use larder::Settings;
    ///
    /// # fn main() -> Result<(), larder::cache_core::Error> {
    /// let settings = Settings::default();
    /// let cache = settings.builder(MemoryBackend::default())?.build();
    /// # let _ = cache;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Fails with [`Configuration`](ErrorKind::Configuration) for the near tier, as [`open`](Self::open) does.
    pub fn builder(&self, backend: impl Backend) -> Result<CacheBuilder, Error> {
        self.on(Arc::new(backend))
    }

    fn on(&self, backend: Arc<dyn Backend>) -> Result<CacheBuilder, Error> {
        let is_local = backend.capabilities().shared_objects;
        let announces = backend.capabilities().subscribe;
        let mut builder = Cache::builder_shared(backend);
        macro_rules! set {
            ($($name:ident),*) => {
                $(if let Some(value) = self.$name {
                    builder = builder.$name(value);
                })*
            };
        }
        set!(
            enabled,
            ttl,
            stale_while_revalidate,
            stale_if_error,
            negative_ttl,
            error_ttl,
            jitter,
            early_refresh_after,
            early_refresh_beta,
            verify
        );
        set!(
            soft_timeout,
            load_timeout,
            backend_timeout,
            clear_timeout,
            lease_time,
            max_lease
        );
        set!(tag_namespaces, tag_cache_ttl, foreground);
        if let Some(prefix) = &self.prefix {
            builder = builder.prefix(prefix);
        }
        if let Some(namespace) = &self.namespace {
            builder = builder.namespace(namespace);
        }
        if let Some(path) = &self.pending_file {
            builder = builder.pending_file(path);
        }
        if let Some(wait) = self.coalesce_across_processes {
            builder = builder.policy_with(move |policy| policy.with_coalesce_across_processes(wait));
        }
        if let Some(contributes) = self.contributes {
            builder = builder.contributes(contributes);
        }
        match &self.near {
            // Such a store takes none, as the builder reports.
            Some(near) if !near.is_off() => near.put_before(builder, announces || is_local),
            _ => Ok(builder),
        }
    }
}

impl NearSettings {
    /// Whether it is switched off, for example by a variable of the environment that overrides a file.
    fn is_off(&self) -> bool {
        self.max_bytes == Some(0)
    }

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
    deserializer.deserialize_any(DurationVisitor)
}

struct DurationVisitor;

impl<'de> serde::de::Visitor<'de> for DurationVisitor {
    type Value = Option<Duration>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number with a unit, as in \"500ms\", \"60s\" or \"5m\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let duration = humantime::parse_duration(text);
        duration
            .map(Some)
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        duration(deserializer)
    }
}
