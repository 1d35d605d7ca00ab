//! Every option, and all ways to write it.

use std::time::Duration;

use cache_engine::cache_core::Json;
use cache_engine::{Cache, cached};

#[derive(Clone)]
struct App {
    cache: Cache,
    ttl: Duration,
    tenant: String,
}

impl App {
    /// Documented.
    #[cached(
        cache = self.cache,
        ttl = self.ttl,
        stale_while_revalidate = "5m",
        stale_if_error = Duration::from_secs(60 * 60),
        negative_ttl = "30s",
        namespace = self.tenant,
        skip(self, trace),
        coder = Json,
        when = id > 0 && id < 1_000,
        store_if = |user| !user.is_empty(),
        error_ttl = "1s",
        jitter = 0.1,
        early_refresh_after = 0.8,
        early_refresh_beta = 1.0,
        verify = 0.01,
        version = 2,
    )]
    pub async fn everything(&self, id: u32, trace: &str) -> Result<Option<String>, String> {
        Ok(Some(format!("{id} {trace} {}", self.tenant)))
    }
}

fn lifetime(seconds: &u64) -> Option<Duration> {
    Some(Duration::from_secs(*seconds))
}

#[cached(cache = app.cache, skip(app), ttl_of = lifetime, load_timeout = "5s")]
async fn seconds(app: &App) -> anyhow::Result<u64> {
    Ok(app.ttl.as_secs())
}

#[cached(cache = app.cache, key = "user:{id}", namespace = "users", unless = fresh, detached = false, entry = true)]
async fn text_keys(app: &App, id: u32, fresh: bool) -> u32 {
    id
}

#[cached(cache = &app.cache.clone(), key = app.tenant.as_str(), detached)]
async fn expression_keys(app: App) -> u32 {
    drop(app);
    1
}

#[cached(crate = ::cache_engine)]
async fn r#type(r#match: u32) -> u32 {
    r#match
}

fn main() {
    let _ = type_entry;
    let _ = text_keys_entry;
}
