//! Looks into the cache from outside: a router for operators.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, Route, get};
use cache_engine::cache_core::{Error, ErrorKind, Key};
use cache_engine::{InspectedContent, InspectedEntry, Inspection};
use http::header::{CACHE_CONTROL, ETAG};
use http::request::Parts;
use http::{StatusCode, Uri};
use serde::Serialize;
use tower_layer::Layer;
use tower_service::Service;

use crate::entry::stored::Stored;
use crate::exchange::unsafe_method::parse_url;
use crate::layer::cache::CacheLayer;
use crate::layer::guard::{Schemes, fault, guarded, json, keeps_apart, nothing_found};
use crate::request::shared::Shared;

/// Creates routers with which operators look up what a [`CacheLayer`] has stored for a URL or a key, and why it stored
/// nothing. Callers must be authorized, as for the [`PurgeRouter`](crate::PurgeRouter): there is no router without
/// authentication.
///
/// It accepts `GET` with one target in its query:
///
/// | query | looks up |
/// |---|---|
/// | `?url=/items/42` | the responses of a URL, with its variants; a path is on the host of the request |
/// | `?key=42`, `?key=42&namespace=users` | a key, in the layer's namespace or another |
///
/// The response is JSON: for each key of the URL what is in the near tier (`near`) and in the `store`, with `state`, age
/// and lifetimes in seconds, tags and size; status, size and validator of the response; the request fields that it varies
/// by, and its variants; and the reasons of the last refusals (`refused`), which are the words of `detail` in
/// `Cache-Status`. If nothing is known about a URL, a `note` contains the host and path that were looked up, and says where
/// its responses may be. The response contains no bodies, and no response fields but `Cache-Control` and `ETag`. Looking up
/// counts as no request, and changes nothing.
///
/// URLs are looked up as by the layer: if you have several layers with different namespaces, key builders or queries, pass the
/// one whose URLs matter most, or build a router for each. Keys can be looked up through any of them.
///
/// - 401 without the right token.
/// - 422 with the reason, if the query does not say what to look up, or names a URL that no request can be for.
/// - 502 if the store could not be reached.
///
/// ```console
/// $ curl -H "Authorization: Bearer $TOKEN" 'localhost:3000/inspect?url=/items/42'
/// ```
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::Router;
/// use axum::routing::get;
/// use cache_axum::cache_engine::Cache;
/// use cache_axum::{CacheLayer, InspectRouter, PurgeRouter};
/// use cache_memory::MemoryBackend;
///
/// let cache = CacheLayer::new(Cache::builder(MemoryBackend::default()).build());
/// let token = std::env::var("OPERATOR_TOKEN").unwrap_or_else(|_| "a-long-random-text".to_owned());
/// let app: Router = Router::new()
///     .nest("/purge", PurgeRouter::with_token(&cache, &token)?)
///     .nest("/inspect", InspectRouter::with_token(&cache, &token)?)
///     .route("/items", get(|| async { "…" }).layer(cache));
/// # let _ = app;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct InspectRouter;

impl InspectRouter {
    /// Creates a router that requires `Authorization: Bearer` with this token, like
    /// [`PurgeRouter::with_token`](crate::PurgeRouter::with_token).
    ///
    /// # Errors
    /// [`Configuration`](ErrorKind::Configuration) if the token is empty or contains a character that such a header
    /// cannot carry.
    pub fn with_token<S>(layer: &CacheLayer, token: &str) -> Result<Router<S>, Error>
    where
        S: Clone + Send + Sync + 'static,
    {
        guarded(routes(layer), token, Schemes::Bearer, "inspect")
    }

    /// Creates a router behind your own authentication: a tower layer that lets only authorized requests through.
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
    Router::new().route("/", lookups(&layer.shared))
}

/// Returns the handler of the requests to look something up.
pub(super) fn lookups<S: Clone + Send + Sync + 'static>(shared: &Arc<Shared>) -> MethodRouter<S> {
    get(inspect).with_state(Arc::clone(shared))
}

async fn inspect(State(shared): State<Arc<Shared>>, request: Parts) -> Response {
    let (keys, url) = match keys(&shared, &request) {
        Ok(sought) => sought,
        Err(reason) => return fault(StatusCode::UNPROCESSABLE_ENTITY, &reason),
    };
    let mut found = Vec::new();
    for key in keys {
        match look(&shared, key).await {
            Ok(seen) => found.push(seen),
            Err(error) if error.kind() == ErrorKind::InvalidKey => {
                return fault(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string());
            }
            Err(error) => return fault(StatusCode::BAD_GATEWAY, &error.to_string()),
        }
    }
    let note = url
        .filter(|_| found.iter().all(Seen::is_nothing))
        .map(|url| note(&shared, &request, &url));
    json(StatusCode::OK, &Answer { found, note })
}

/// Returns where else the responses of a URL may be for which nothing was found.
fn note(shared: &Shared, request: &Parts, url: &Uri) -> String {
    let mut note = nothing_found(request, url, "has stored nothing");
    if keeps_apart(shared) {
        note.push_str(
            "; responses that are kept per user, or by fields in the key, are found by their key, which `Cache-Debug: explain` \
             tells (`CacheLayer::debug_if`)",
        );
    }
    note.push_str(
        "; what a layer with another namespace, key builder or query has stored is found by a router for that layer, or by \
         its key",
    );
    note
}

/// Returns the keys that the query names, with the URL that they are of, or what is wrong with it.
fn keys(shared: &Shared, request: &Parts) -> Result<(Vec<Key>, Option<Uri>), String> {
    let (mut url, mut key, mut namespace) = (None, None, None);
    for (name, value) in form_urlencoded::parse(request.uri.query().unwrap_or_default().as_bytes()) {
        let place = match &*name {
            "url" => &mut url,
            "key" => &mut key,
            "namespace" => &mut namespace,
            _ => return Err("the query has a parameter other than `url`, `key` and `namespace`".to_owned()),
        };
        if place.replace(value.into_owned()).is_some() {
            return Err("the query has a parameter twice".to_owned());
        }
    }
    match (url, key, namespace) {
        (Some(url), None, None) => {
            let keys = parse_url(&url).and_then(|uri| Ok((shared.keys_at(request, &uri)?, Some(uri))));
            keys.map_err(|error| error.to_string())
        }
        (None, Some(key), None) => Ok((vec![shared.cache.key(key)], None)),
        (None, Some(key), Some(namespace)) => Ok((vec![shared.cache.adapter().key_in(&namespace, key)], None)),
        _ => Err("name `url`, or `key` (with `namespace`, if it is not the layer's)".to_owned()),
    }
}

#[derive(Debug, Serialize)]
struct Answer {
    found: Vec<Seen>,
    /// Where else the responses of a URL may be, if nothing was found for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// What is known about a key.
#[derive(Debug, Serialize)]
struct Seen {
    key: String,
    near: Option<Entry>,
    store: Option<Entry>,
    /// The response, if a usable one is stored under the key.
    response: Option<Head>,
    /// The request fields that select among the variants, if an index of variants is stored under the key.
    varies_by: Option<Vec<String>>,
    variants: Vec<Seen>,
    refused: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Entry {
    content: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    state: &'static str,
    age: f64,
    /// `None` is for ever.
    fresh_for: Option<f64>,
    stale_while_revalidate: f64,
    stale_if_error: f64,
    /// `None` is until it is evicted.
    kept_for: Option<f64>,
    tags: Vec<String>,
    bytes: usize,
}

#[derive(Debug, Serialize)]
struct Head {
    status: u16,
    body_bytes: usize,
    cache_control: Option<String>,
    etag: Option<String>,
}

#[derive(Debug, Serialize)]
struct Refused {
    reason: &'static str,
    seconds_ago: f64,
}

impl Seen {
    /// Returns whether nothing is known about the key.
    fn is_nothing(&self) -> bool {
        self.near.is_none() && self.store.is_none() && self.refused.is_empty()
    }
}

async fn look(shared: &Shared, key: Key) -> Result<Seen, Error> {
    let (mut seen, stored) = look_at(shared, &key).await?;
    if let Some(Stored::Index(index)) = stored.as_deref() {
        seen.varies_by = Some(index.fields.iter().map(ToString::to_string).collect());
        for name in &index.listed {
            let key = index.listed_key(&shared.cache, &key, name);
            let (variant, _) = look_at(shared, &key).await?;
            seen.variants.push(variant);
        }
    }
    Ok(seen)
}

/// Returns what is known about a key, apart from its variants, and what is stored under it if that is usable.
async fn look_at(shared: &Shared, key: &Key) -> Result<(Seen, Option<Arc<Stored>>), Error> {
    let Inspection {
        near, store, refused, ..
    } = shared.cache.inspect(key).await?;
    let found = shared.part_adapter().read::<Stored>(key).await?;
    let stored = found.map(|found| found.value);
    let response = stored.as_deref().and_then(|stored| match stored {
        Stored::Response(response) => {
            let field = |name| {
                let value = response.headers.get(name)?;
                Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            Some(Head {
                status: response.status.as_u16(),
                body_bytes: response.body.len(),
                cache_control: field(CACHE_CONTROL),
                etag: field(ETAG),
            })
        }
        Stored::Index(_) => None,
    });
    let refused = refused.into_iter().map(|(reason, ago)| Refused {
        reason,
        seconds_ago: ago.as_secs_f64(),
    });
    let seen = Seen {
        key: key.to_string(),
        near: near.map(entry),
        store: store.map(entry),
        response,
        varies_by: None,
        variants: Vec::new(),
        refused: refused.collect(),
    };
    Ok((seen, stored))
}

fn entry(entry: InspectedEntry) -> Entry {
    let (content, detail) = match entry.content {
        InspectedContent::Value { coder } => ("value", coder),
        InspectedContent::Absent => ("absent", None),
        InspectedContent::Failure { message } => ("failure", Some(message)),
        InspectedContent::Lease => ("lease", None),
        InspectedContent::Unreadable { error } => ("unreadable", Some(error)),
        _ => ("other", None),
    };
    Entry {
        content,
        detail,
        state: entry.state.as_str(),
        age: entry.age.as_secs_f64(),
        fresh_for: entry.windows.fresh.map(|time| time.as_secs_f64()),
        stale_while_revalidate: entry.windows.stale_while_revalidate.as_secs_f64(),
        stale_if_error: entry.windows.stale_if_error.as_secs_f64(),
        kept_for: entry.remaining.map(|time| time.as_secs_f64()),
        tags: entry.tags,
        bytes: entry.size,
    }
}
