//! Invalidation from outside: a router for operators and other services.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, Route, post};
use bytes::Bytes;
use cache_engine::Invalidation;
use cache_engine::cache_core::{Error, ErrorKind, Key};
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use tower_layer::Layer;
use tower_service::Service;

use crate::entry::stored::Stored;
use crate::exchange::unsafe_method::parse_url;
use crate::layer::cache::CacheLayer;
use crate::layer::guard::{Schemes, fault, guarded, json, keeps_apart, nothing_found};
use crate::request::shared::Shared;

/// Creates routers with which operators and other services invalidate what a [`CacheLayer`] has stored. Callers must be
/// authorized: there is no router without authentication.
///
/// It accepts `POST` with a JSON body that names one target:
///
/// | body | invalidates |
/// |---|---|
/// | `{"url": "/items/42"}` | the responses of a URL, all of their variants by `Vary`; a path is on the host of the purge request |
/// | `{"key": "42"}`, `{"key": "42", "namespace": "users"}` | a key, in the layer's namespace or another |
/// | `{"tag": "user:42"}`, `{"tags": ["user:42", "prices"]}` | everything that carries one of the tags |
/// | `{"namespace": "users"}` | a namespace |
/// | `{"all": true}` | everything below the cache's prefix |
///
/// A URL is not enough if the layer stores separate responses [per user](CacheLayer::per_user) or by [fields in the
/// key](CacheLayer::key_headers): it reaches only the responses that belong to no user, and those that the fields of
/// the purge request itself select. Give the responses a tag with [`tags_by`](CacheLayer::tags_by), such as their path,
/// and purge that tag.
///
/// With `"soft": true`, the copies are retained for their stale windows. This works for a namespace only if [namespaces
/// are cleared by a tag](cache_engine::CacheBuilder::tag_namespaces).
///
/// The response is JSON too:
///
/// - 200 and what was done, once it takes effect in every process on the store. `removed` is the number of records that
///   were removed, if the store reports it: a URL with several variants has one record that leads to them, and counts
///   as one. If a URL matched nothing, a `note` contains the host and path that were looked up.
/// - 401 without the right token.
/// - 400 or 422 with the reason, if the body does not say what to invalidate, or names a URL that no request can be
///   for.
/// - 502 if the store could not be reached, so that old values may still be found.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::Router;
/// use axum::routing::get;
/// use cache_axum::cache_engine::Cache;
/// use cache_axum::{CacheLayer, PurgeRouter};
/// use cache_memory::MemoryBackend;
///
/// let cache = CacheLayer::new(Cache::builder(MemoryBackend::default()).build());
/// let token = std::env::var("PURGE_TOKEN").unwrap_or_else(|_| "a-long-random-text".to_owned());
/// let app: Router = Router::new()
///     .nest("/purge", PurgeRouter::with_token(&cache, &token)?)
///     .route("/items", get(|| async { "…" }).layer(cache));
/// # let _ = app;
/// # Ok(()) }
/// ```
///
/// ```console
/// $ curl -X POST localhost:3000/purge -H "Authorization: Bearer $PURGE_TOKEN" -d '{"tag": "user:42"}'
/// {"purged":"tag","tags":["user:42"],"soft":false}
/// ```
#[derive(Debug, Clone, Copy)]
pub struct PurgeRouter;

impl PurgeRouter {
    /// Creates a router that requires `Authorization: Bearer` with this token (RFC 6750, section 2.1). The token is
    /// compared in constant time.
    ///
    /// # Errors
    /// [`Configuration`](ErrorKind::Configuration) if the token is empty or contains a character that such a header
    /// cannot carry.
    pub fn with_token<S>(layer: &CacheLayer, token: &str) -> Result<Router<S>, Error>
    where
        S: Clone + Send + Sync + 'static,
    {
        guarded(routes(layer), token, Schemes::Bearer, "purge")
    }

    /// Creates a router behind your own authentication: a tower layer that lets only authorized requests through. If it
    /// uses cookies, it must also refuse requests that other sites make a browser send.
    pub fn behind<S, L>(layer: &CacheLayer, authentication: L) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<std::convert::Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        routes(layer).layer(authentication)
    }
}

fn routes<S: Clone + Send + Sync + 'static>(layer: &CacheLayer) -> Router<S> {
    Router::new().route("/", purges(&layer.shared))
}

/// Returns the handler of the requests to purge.
pub(super) fn purges<S: Clone + Send + Sync + 'static>(shared: &Arc<Shared>) -> MethodRouter<S> {
    post(purge).with_state(Arc::clone(shared))
}

/// What is to be invalidated.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    url: Option<String>,
    key: Option<String>,
    tag: Option<String>,
    tags: Option<Vec<String>>,
    namespace: Option<String>,
    all: Option<bool>,
    #[serde(default)]
    soft: bool,
}

/// What was invalidated.
#[derive(Debug, Serialize)]
#[serde(tag = "purged", rename_all = "lowercase")]
enum Target {
    Url { url: String },
    Key { key: String, namespace: Option<String> },
    Tag { tags: Vec<String> },
    Namespace { namespace: String },
    All,
}

#[derive(Debug, Serialize)]
struct Done {
    #[serde(flatten)]
    target: Target,
    soft: bool,
    /// The number of records that were removed, if the store reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<u64>,
    /// Why a URL matched nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Order {
    fn target(self) -> Result<Target, String> {
        let Self {
            url,
            key,
            tag,
            tags,
            namespace,
            all,
            soft: _,
        } = self;
        match (url, key, tag, tags, namespace, all) {
            (Some(url), None, None, None, None, None) => Ok(Target::Url { url }),
            (None, Some(key), None, None, namespace, None) => Ok(Target::Key { key, namespace }),
            (None, None, Some(tag), None, None, None) => Ok(Target::Tag { tags: vec![tag] }),
            (None, None, None, Some(tags), None, None) if tags.is_empty() => {
                Err("`tags` is empty: name at least one".to_owned())
            }
            (None, None, None, Some(tags), None, None) => Ok(Target::Tag { tags }),
            (None, None, None, None, Some(namespace), None) => Ok(Target::Namespace { namespace }),
            (None, None, None, None, None, Some(true)) => Ok(Target::All),
            (None, None, None, None, None, Some(false)) => {
                Err("`all` is false: name `url`, `key`, `tag`, `tags` or `namespace`, or say `\"all\": true`".to_owned())
            }
            _ => Err(
                "name one of `url`, `key` (with `namespace`, if it is not the layer's), `tag`, `tags`, `namespace` and \
                 `all`"
                    .to_owned(),
            ),
        }
    }
}

async fn purge(State(shared): State<Arc<Shared>>, request: Parts, body: Bytes) -> Response {
    let order: Order = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => {
            let status = if error.is_data() {
                StatusCode::UNPROCESSABLE_ENTITY
            } else {
                StatusCode::BAD_REQUEST
            };
            return fault(status, &format!("the body is not an order to purge: {error}"));
        }
    };
    let soft = order.soft;
    let target = match order.target() {
        Ok(target) => target,
        Err(reason) => return fault(StatusCode::UNPROCESSABLE_ENTITY, &reason),
    };
    match carry_out(&shared, &request, &target, soft).await {
        Ok(Purged { removed, note }) => json(
            StatusCode::OK,
            &Done {
                target,
                soft,
                removed,
                note,
            },
        ),
        Err(error) => {
            let status = match error.kind() {
                ErrorKind::InvalidKey => StatusCode::UNPROCESSABLE_ENTITY,
                // A rejection by the store is not the fault of the purge request.
                ErrorKind::Rejected if error.backend().is_none() => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::BAD_GATEWAY,
            };
            if status == StatusCode::BAD_GATEWAY {
                shared
                    .cache
                    .adapter()
                    .log_error("a purge could not be carried out", Some(&error));
            }
            fault(status, &error.to_string())
        }
    }
}

/// The result of a purge request.
struct Purged {
    removed: Option<u64>,
    note: Option<String>,
}

async fn carry_out(shared: &Shared, request: &Parts, target: &Target, soft: bool) -> Result<Purged, Error> {
    let set = shared.invalidation(soft);
    let set = match target {
        Target::Url { url } => return carry_out_url(shared, request, url, soft).await,
        Target::Key { key, namespace } => set.add_key(match namespace {
            Some(namespace) => shared.cache.adapter().key_in(namespace, key.as_str()),
            None => shared.cache.key(key.as_str()),
        }),
        Target::Tag { tags } => tags.iter().fold(set, Invalidation::add_tag),
        Target::Namespace { namespace } => set.add_namespace(namespace),
        Target::All => set.add_everything(),
    };
    let removed = set.run().await?;
    Ok(Purged { removed, note: None })
}

async fn carry_out_url(shared: &Shared, request: &Parts, url: &str, soft: bool) -> Result<Purged, Error> {
    let uri = parse_url(url)?;
    let keys = shared.keys_at(request, &uri)?;
    // A soft invalidation removes nothing, and so does not report whether anything was stored.
    let is_there = if soft {
        Some(any_is_stored(shared, &keys).await?)
    } else {
        None
    };
    let set = keys.into_iter().fold(shared.invalidation(soft), Invalidation::add_key);
    let tags = shared.url_tags_at(request, &uri);
    // What carries the tags is not counted.
    let may_reach_more = !tags.is_empty();
    let removed = tags.into_iter().fold(set, Invalidation::add_tag).run().await?;
    let reached = may_reach_more || is_there.unwrap_or(removed != Some(0));
    let note = (!reached).then(|| {
        let mut note = nothing_found(request, &uri, "had stored nothing");
        if keeps_apart(shared) {
            note.push_str("; responses that are kept per user, or by fields in the key, are reached by a tag");
        }
        note.push_str(
            "; a layer with another namespace, key builder or query has its own entries and its own purge router",
        );
        note
    });
    Ok(Purged { removed, note })
}

async fn any_is_stored(shared: &Shared, keys: &[Key]) -> Result<bool, Error> {
    for key in keys {
        if shared.adapter().read::<Stored>(key).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
