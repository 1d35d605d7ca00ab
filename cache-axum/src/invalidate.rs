//! Invalidation by requests that change something.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use cache_engine::cache_core::Error;
use cache_http::{CacheStatus, invalidated_uris, is_safe};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Uri, response};
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

use crate::extract::LayerHandle;
use crate::key::target;
use crate::layer::CacheLayer;
use crate::options::Options;

type Urls = Arc<dyn Fn(&Parts) -> Vec<String> + Send + Sync>;

/// Invalidates what a [`CacheLayer`] has stored when a request that changes something has succeeded: one with an
/// unsafe method (RFC 9110, section 9.2.1) whose answer is 2xx or 3xx.
///
/// The target URL goes, and those of `Location` and `Content-Location` (RFC 9111, section 4.4); what else goes is set
/// here. A [`CacheLayer`] that the request comes through does the first by itself, so this layer is for what else a
/// write makes outdated, and for write routes that are outside of the `CacheLayer`.
///
/// The answer waits for the invalidation, so whoever has it does not find what was there before. If something could
/// not be invalidated, the answer goes out as it is, since the change was made; its `Cache-Status` then says
/// `detail=invalidation-failed`, and the cache's observers get an event.
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
    options: Arc<Options>,
    urls: Vec<Urls>,
    namespaces: Vec<String>,
}

impl InvalidateLayer {
    /// Invalidates what `layer` has stored for the target URL.
    pub fn new(layer: &CacheLayer) -> Self {
        Self {
            targets: Arc::new(Targets {
                options: Arc::clone(&layer.options),
                urls: Vec::new(),
                namespaces: Vec::new(),
            }),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Targets)) -> Self {
        change(Arc::make_mut(&mut self.targets));
        self
    }

    /// This URL too; see [`CacheHandle::invalidate`](crate::CacheHandle::invalidate).
    pub fn url(self, url: &str) -> Self {
        let url = url.to_owned();
        self.urls(move |_| vec![url.clone()])
    }

    /// The URLs too that `urls` names for a request.
    pub fn urls(self, urls: impl Fn(&Parts) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.with(|targets| targets.urls.push(Arc::new(urls)))
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
        request
            .extensions_mut()
            .insert(LayerHandle(Arc::clone(&targets.options)));
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let write = Write::of(&parts);
            let urls = write.as_ref().map_or_else(Vec::new, |_| targets.urls_of(&parts));
            let response = inner.oneshot(Request::from_parts(parts, body)).await?;
            let Some(write) = write else { return Ok(response) };
            let (mut head, body) = response.into_parts();
            if write
                .succeeded(&targets.options, &head, &urls, &targets.namespaces)
                .await
                .is_err()
            {
                CacheStatus::generated()
                    .detail(INVALIDATION_FAILED)
                    .append_to(&targets.options.name, &mut head.headers);
            }
            Ok(Response::from_parts(head, body))
        })
    }
}

impl Targets {
    fn urls_of(&self, request: &Parts) -> Vec<String> {
        self.urls.iter().flat_map(|urls| urls(request)).collect()
    }
}

pub(crate) const INVALIDATION_FAILED: &str = "invalidation-failed";

/// A request that may change something.
pub(crate) struct Write {
    method: Method,
    target: Uri,
    headers: HeaderMap,
}

impl Write {
    /// `None` if the method is safe.
    pub(crate) fn of(request: &Parts) -> Option<Self> {
        (!is_safe(&request.method)).then(|| Self {
            method: request.method.clone(),
            target: target(request).clone(),
            headers: request.headers.clone(),
        })
    }

    /// Invalidates what the exchange is about, and what is named, if its answer is a success (RFC 9111, section 4.4).
    /// All is tried, whatever becomes of one; the first error is returned.
    pub(crate) async fn succeeded(
        &self,
        options: &Options,
        head: &response::Parts,
        urls: &[String],
        namespaces: &[String],
    ) -> Result<(), Error> {
        let uris = invalidated_uris(&self.method, &self.target, head.status, &head.headers);
        if uris.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        for uri in uris {
            result = result.and(options.invalidate_uri(&self.headers, &uri, false).await);
        }
        for url in urls {
            result = result.and(options.invalidate_url(&self.headers, url, false).await);
        }
        for namespace in namespaces {
            result = result.and(options.cache.clear(namespace).await.map(drop));
        }
        if let Err(error) = &result {
            tracing::error!(target: "cache", %error, "a write could not invalidate everything that it has changed");
        }
        result
    }
}
