//! Invalidation by requests that change something.

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
use crate::layer::cache::CacheLayer;
use crate::request::extension::LayerHandle;
use crate::request::shared::Shared;
use crate::response::detail::Detail;

type Names = Arc<dyn Fn(&Parts) -> Vec<String> + Send + Sync>;

/// Invalidates what a [`CacheLayer`] has stored when a request that changes something has succeeded: one with an
/// unsafe method (RFC 9110, section 9.2.1) whose answer is 2xx, 3xx or 5xx.
///
/// The target URL goes, and those of `Location` and `Content-Location` on the same host (RFC 9111, section 4.4); what
/// else goes is set here. A [`CacheLayer`] that the request comes through does the first by itself, so this layer is for what else a
/// write makes outdated, and for write routes that are outside of the `CacheLayer`.
///
/// Where the `CacheLayer` keeps responses apart [per user](CacheLayer::per_user) or by [fields in the
/// key](CacheLayer::key_headers), URLs reach those of the writer, and those for nobody in particular. What others have under
/// the same URL stays: name a tag or a namespace for that.
///
/// The answer waits for the invalidation, so whoever has it does not find what was there before. If something could
/// not be invalidated, the answer goes out as it is, since the change was made; its `Cache-Status` then says
/// `detail=invalidation-failed`, and the cache's observers get an event.
///
/// An answer of 5xx does not say whether the change was made: the handler may have failed after it, for example because it
/// could not invalidate an entry of its own. So all this is invalidated then too, but for `Location` and
/// `Content-Location`. A `CacheLayer` alone invalidates after 2xx and 3xx only.
///
/// If the client goes away, or the handler panics, before there is an answer, nobody knows whether the change was made.
/// Then too all this is invalidated, in the background; an invalidation too many does no harm. An invalidation that has
/// begun goes on without the client. [`Cache::shutdown`](cache_engine::Cache::shutdown) waits for both.
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

    /// This URL too; see [`CacheHandle::invalidate_url`](crate::CacheHandle::invalidate_url).
    pub fn url(self, url: &str) -> Self {
        let url = url.to_owned();
        self.urls(move |_| vec![url.clone()])
    }

    /// The URLs too that `urls` names for a request.
    pub fn urls(self, urls: impl Fn(&Parts) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.with(|targets| targets.urls.push(Arc::new(urls)))
    }

    /// All responses too, and all other entries of the cache, that carry one of these tags.
    pub fn tags<N: Into<String>>(self, tags: impl IntoIterator<Item = N>) -> Self {
        let tags: Vec<String> = tags.into_iter().map(Into::into).collect();
        self.tags_by(move |_| tags.clone())
    }

    /// The same for the tags that `tags` names for a request.
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

    /// Whether this layer invalidates softly: what it invalidates is kept for the case that a new answer takes time or
    /// cannot be had; see [`CacheLayer::invalidate_softly`], whose setting counts unless this is called. A namespace can
    /// only be cleared softly where it is cleared by a tag; see
    /// [`CacheBuilder::tag_namespaces`](cache_engine::CacheBuilder::tag_namespaces).
    pub fn soft(self, soft: bool) -> Self {
        self.with(|targets| Arc::make_mut(&mut targets.shared).config.invalidate_softly = soft)
    }

    /// Everything in this namespace too.
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

/// What [`InvalidateLayer`] makes of a service.
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
            let write = UnsafeRequest::of(&targets.shared, &parts, |parts| targets.also(parts));
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
        }
    }
}
