//! A page for operators.

mod cross_site;
mod history;
mod overview;
mod page;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{Route, get};
use cache_engine::cache_core::Error;
use http::StatusCode;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tower_layer::Layer;
use tower_service::Service;

use crate::layer::cache::CacheLayer;
use crate::layer::guard::{Schemes, guarded, json};
use crate::layer::inspect::lookups;
use crate::layer::purge::purges;
use crate::request::shared::Shared;

use self::history::{Faults, History};

/// Creates routers with a page on which operators see what a cache does, and act. Callers must be authorized, as for the
/// [`PurgeRouter`](crate::PurgeRouter): there is no router without authentication.
///
/// The page shows the hit ratio and the times of loads over the last hour, requests by outcome, what is not cached and why,
/// the states of the circuit breaker and of the change subscription, the largest namespaces, and the last invalidations of
/// this process. On it, operators look up URLs and keys, and purge URLs, keys, tags and namespaces. It needs no other
/// assets than itself. It asks for its figures every five seconds while it is visible:
///
/// | route | answers |
/// |---|---|
/// | `GET /` | the page |
/// | `GET /stats` | its figures, as JSON. Durations are in seconds |
/// | `GET /inspect?…` | what is stored, as [`InspectRouter`](crate::InspectRouter) does |
/// | `POST /purge` | purges, as [`PurgeRouter`](crate::PurgeRouter) does, but with `Content-Type: application/json` only |
///
/// `of` is a reference to a layer, or to a [`Cache`](cache_engine::Cache). All figures are those of the whole cache in this
/// process, whatever layers it has. URLs are looked up and purged as by the layer: if you have several layers with
/// different keys, pass the one whose URLs matter most. With a cache, they are those of a layer without settings.
///
/// # History
///
/// The counters of the cache are sampled in the background, by a task that begins when the router is built, or with the
/// first request if it is built outside of a tokio runtime, and ends when the router and its clones are dropped. It begins
/// with one sample a second and keeps at most 120, with which it reaches back an hour: whenever there are more, every second
/// one is dropped, and the pauses double, up to 32 s. Names are recorded for the last 50 invalidations and the last 50
/// refused responses. Hits pay nothing for any of this.
///
/// # Security
///
/// - Keys, tags and namespaces may be whatever clients have sent. The page inserts them as text only, and its
///   `Content-Security-Policy` allows no script but its own.
/// - Requests that other sites make a browser send are refused with 403, by `Sec-Fetch-Site`, or else by `Origin`, which must
///   name the `Host` of the request: a proxy in front must pass `Host` on. Purges must also have a content type that no
///   form can send, or they are refused with 415. So a guard may use cookies.
/// - Responses are not stored by any cache, and the page cannot be framed.
///
/// Whoever gets in sees keys and tags, and can make every request reach your handlers.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::Router;
/// use axum::routing::get;
/// use cache_axum::cache_engine::Cache;
/// use cache_axum::{AdminRouter, CacheLayer};
/// use cache_memory::MemoryBackend;
///
/// let cache = CacheLayer::new(Cache::builder(MemoryBackend::default()).build());
/// let token = std::env::var("OPERATOR_TOKEN").unwrap_or_else(|_| "a-long-random-text".to_owned());
/// let app: Router = Router::new()
///     .nest("/admin", AdminRouter::with_token(&cache, &token)?)
///     .route("/items", get(|| async { "…" }).layer(cache));
/// # let _ = app;
/// # Ok(()) }
/// ```
///
/// A router without a guard does not compile:
///
/// ```compile_fail
/// # use cache_axum::{AdminRouter, CacheLayer};
/// # fn admin(layer: &CacheLayer) -> axum::Router {
/// AdminRouter::new(layer)
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct AdminRouter;

impl AdminRouter {
    /// Creates a router that requires this token. Browsers ask for it: it is the password, of any user (RFC 7617). Programs
    /// may send `Authorization: Bearer` instead. The token is compared in constant time. It crosses the network with
    /// every request, so use TLS.
    ///
    /// # Errors
    /// [`Configuration`](cache_engine::cache_core::ErrorKind::Configuration) if the token is empty or contains a character
    /// that a header cannot carry.
    pub fn with_token<S>(of: impl Into<CacheLayer>, token: &str) -> Result<Router<S>, Error>
    where
        S: Clone + Send + Sync + 'static,
    {
        let router = guarded(routes(&of.into()), token, Schemes::BearerOrPassword, "admin")?;
        Ok(router.layer(map_response(page::protect)))
    }

    /// Creates a router behind your own authentication: a tower layer that lets only authorized requests through, such as
    /// one that checks the session of an operator.
    pub fn behind<S, L>(of: impl Into<CacheLayer>, authentication: L) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<std::convert::Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        let router = routes(&of.into()).layer(map_response(page::protect));
        // What it answers itself, such as a page to log in, is its own.
        router.layer(authentication)
    }
}

fn routes<S: Clone + Send + Sync + 'static>(layer: &CacheLayer) -> Router<S> {
    let shared = &layer.shared;
    // All but the page itself, to which other sites may have links.
    let data = Router::new()
        .route("/stats", get(stats).with_state(Watch::begin(shared)))
        .route("/inspect", lookups(shared))
        .route("/purge", purges(shared))
        .layer(from_fn(cross_site::refuse));
    Router::new().route("/", get(page::page)).merge(data)
}

async fn stats(State(watch): State<Arc<Watch>>) -> Response {
    watch.keep_sampling();
    watch.sample();
    json(StatusCode::OK, &watch.overview())
}

/// Watches a cache, for as long as the router exists.
struct Watch {
    shared: Arc<Shared>,
    history: Mutex<History>,
    /// The task that samples, once there is one.
    task: Mutex<Option<AbortHandle>>,
}

impl Watch {
    fn begin(shared: &Arc<Shared>) -> Arc<Self> {
        // The first call begins the recording.
        drop(shared.cache.adapter().recent_events());
        let stats = shared.cache.stats();
        let watch = Arc::new(Self {
            shared: Arc::clone(shared),
            history: Mutex::new(History::new(stats.total(), Faults::of(&stats))),
            task: Mutex::default(),
        });
        watch.keep_sampling();
        watch
    }

    /// Starts the task that samples, unless it runs or there is no runtime.
    fn keep_sampling(self: &Arc<Self>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let watch = Arc::downgrade(self);
        let sampling = runtime.spawn(async move {
            while let Some(pause) = watch.upgrade().map(|watch| watch.sample()) {
                tokio::time::sleep(pause).await;
            }
        });
        *task = Some(sampling.abort_handle());
    }

    /// Takes a sample if it is time, and returns how long to wait for the next one.
    fn sample(&self) -> std::time::Duration {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.sample_if_due(|| {
            let stats = self.shared.cache.stats();
            (stats.total(), Faults::of(&stats))
        })
    }

    fn overview(&self) -> overview::Overview {
        let stats = self.shared.cache.stats();
        let recent = self.shared.cache.adapter().recent_events();
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        overview::Overview::of(&stats, self.shared.cache.is_enabled(), recent, &history)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}
