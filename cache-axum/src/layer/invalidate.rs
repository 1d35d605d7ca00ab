//! Invalidation by unsafe requests.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use cache_http::CacheStatus;
use http::request::Parts;
use http::{Request, Response};
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

use crate::exchange::unsafe_method::{Also, UnsafeRequest};
use crate::key::url::in_normal_spelling;
use crate::layer::cache::CacheLayer;
use crate::request::extension::LayerHandle;
use crate::request::shared::Shared;
use crate::response::detail::Detail;

type Names = Arc<dyn Fn(&Parts) -> Vec<String> + Send + Sync>;

/// Invalidates what a [`CacheLayer`] has stored after an unsafe request: a request with an unsafe method (RFC 9110,
/// section 9.2.1) whose response is 2xx, 3xx or 5xx.
///
/// The layer invalidates the target URL, and the URLs of `Location` and `Content-Location` on the same host (RFC 9111,
/// section 4.4). Its methods add other targets. A [`CacheLayer`] that the request passes through invalidates these URLs
/// by itself. Use this layer for everything else that a write makes outdated, and for write routes outside of the
/// `CacheLayer`.
///
/// If the `CacheLayer` stores separate responses [per user](CacheLayer::per_user) or by [fields in the
/// key](CacheLayer::key_headers), invalidating a URL removes the responses that belong to the sender of the request,
/// and those that belong to no one in particular. Responses of others under the same URL stay: use a tag or a namespace
/// to remove them.
///
/// The response waits for the invalidation, so a client that has received it does not find what was stored before. If
/// something could not be invalidated, the response goes out unchanged, because the change was made; its `Cache-Status`
/// then contains `detail=invalidation-failed`, and the cache's observers get an event.
///
/// A 5xx response does not show whether the change was made: the handler may have failed afterwards, for example
/// because it could not invalidate an entry of its own. So this layer then also invalidates everything except the URLs
/// of `Location` and `Content-Location`. A `CacheLayer` alone invalidates only after 2xx and 3xx.
///
/// If the client disconnects or the handler panics before there is a response, it is unknown whether the change was
/// made. This layer then invalidates the same targets in the background; an unnecessary invalidation does no harm. An
/// invalidation that has started continues without the client. [`Cache::shutdown`](cache_engine::Cache::shutdown) waits
/// for both.
///
/// ```
/// use axum::Router;
/// use axum::routing::{get, put};
/// use cache_axum::cache_engine::Cache;
/// use cache_axum::{CacheLayer, InvalidateLayer};
/// use cache_memory::MemoryBackend;
///
/// let cache = CacheLayer::new(Cache::builder(MemoryBackend::default()).build());
/// let app: Router = Router::new()
///     .route("/items", get(|| async { "…" }).layer(cache.clone()))
///     .route("/items/{id}", put(|| async {}).layer(InvalidateLayer::new(&cache).url("/items")));
/// ```
#[derive(Clone)]
#[must_use]
pub struct InvalidateLayer {
    targets: Arc<Targets>,
}

#[derive(Clone)]
struct Targets {
    shared: Arc<Shared>,
    urls: Vec<Names>,
    tags: Vec<Names>,
    namespaces: Vec<String>,
}

impl InvalidateLayer {
    /// Invalidates what `layer` has stored for the target URL.
    pub fn new(layer: &CacheLayer) -> Self {
        Self {
            targets: Arc::new(Targets {
                shared: Arc::clone(&layer.shared),
                urls: Vec::new(),
                tags: Vec::new(),
                namespaces: Vec::new(),
            }),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Targets)) -> Self {
        change(Arc::make_mut(&mut self.targets));
        self
    }

    /// Adds a URL to invalidate; see [`CacheHandle::invalidate_url`](crate::CacheHandle::invalidate_url).
    pub fn url(self, url: &str) -> Self {
        let url = url.to_owned();
        self.urls(move |_| vec![url.clone()])
    }

    /// Adds the URLs that `urls` returns for a request. It sees the host and the path in their [normal
    /// spelling](crate::UrlKey), and the whole query. On a nested router, the URI is the [rest of the
    /// path](CacheLayer::tags_by), but the URLs that you return are whole ones.
    pub fn urls(self, urls: impl Fn(&Parts) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.with(|targets| targets.urls.push(Arc::new(urls)))
    }

    /// Adds tags. All responses, and all other entries of the cache, that carry one of them are invalidated.
    pub fn tags<N: Into<String>>(self, tags: impl IntoIterator<Item = N>) -> Self {
        let tags: Vec<String> = tags.into_iter().map(Into::into).collect();
        self.tags_by(move |_| tags.clone())
    }

    /// Adds the tags that `tags` returns for a request. It sees the host and the path in their [normal
    /// spelling](crate::UrlKey), as [`CacheLayer::tags_by`] does, so a write reaches the tag of its target however either is
    /// spelled. On a nested router, the URI is the [rest of the path](CacheLayer::tags_by).
    ///
    /// ```
    /// # use cache_axum::cache_engine::Cache;
    /// # use cache_axum::{CacheLayer, InvalidateLayer};
    /// # use cache_memory::MemoryBackend;
    /// # let cache = CacheLayer::new(Cache::builder(MemoryBackend::default()).build());
    /// let writes = InvalidateLayer::new(&cache)
    ///     .tags_by(|request| vec![format!("item:{}", request.uri.path().trim_start_matches("/items/"))]);
    /// ```
    pub fn tags_by(self, tags: impl Fn(&Parts) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.with(|targets| targets.tags.push(Arc::new(tags)))
    }

    /// Sets whether this layer invalidates softly: what it invalidates is retained in case a new response takes time or
    /// cannot be loaded. See [`CacheLayer::invalidate_softly`]. Default: the setting of that method. A namespace can be
    /// cleared softly only if it is cleared by a tag; see
    /// [`CacheBuilder::tag_namespaces`](cache_engine::CacheBuilder::tag_namespaces).
    pub fn soft(self, soft: bool) -> Self {
        self.with(|targets| Arc::make_mut(&mut targets.shared).config.invalidate_softly = soft)
    }

    /// Adds a namespace. Everything in it is invalidated.
    pub fn namespace(self, namespace: &str) -> Self {
        self.with(|targets| targets.namespaces.push(namespace.to_owned()))
    }
}

impl fmt::Debug for InvalidateLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidateLayer")
            .field("namespaces", &self.targets.namespaces)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for InvalidateLayer {
    type Service = InvalidateService<S>;

    fn layer(&self, inner: S) -> InvalidateService<S> {
        InvalidateService {
            inner,
            targets: Arc::clone(&self.targets),
        }
    }
}

/// The service that [`InvalidateLayer`] creates.
#[derive(Clone)]
pub struct InvalidateService<S> {
    inner: S,
    targets: Arc<Targets>,
}

impl<S: fmt::Debug> fmt::Debug for InvalidateService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidateService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, A, B> Service<Request<A>> for InvalidateService<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    A: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let inner = self.inner.clone();
        let targets = Arc::clone(&self.targets);
        LayerHandle::leave(&targets.shared, &mut request);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let write = UnsafeRequest::of(&targets.shared, &parts, |parts| {
                in_normal_spelling(parts, |parts| targets.also(parts))
            });
            let response = inner.oneshot(Request::from_parts(parts, body)).await?;
            let Some(write) = write else { return Ok(response) };
            let (mut head, body) = response.into_parts();
            if write.completed(&head).await.is_err() {
                CacheStatus::generated()
                    .detail(Detail::InvalidationFailed.as_str())
                    .append_to(&targets.shared.config.name, &mut head.headers);
            }
            Ok(Response::from_parts(head, body))
        })
    }
}

impl Targets {
    fn also(&self, request: &Parts) -> Also {
        Also {
            urls: self.urls.iter().flat_map(|urls| urls(request)).collect(),
            tags: self.tags.iter().flat_map(|tags| tags(request)).collect(),
            namespaces: self.namespaces.clone(),
            after_server_errors: true,
            is_search: false,
        }
    }
}
