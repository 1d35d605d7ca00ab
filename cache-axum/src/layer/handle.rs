//! Access to the cache for handlers.

use std::future::Future;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use cache_engine::cache_core::{Error, Json};
use cache_engine::{Cache, Deferred, IntoKey, Invalidation, Tagger};
use http::StatusCode;
use http::request::Parts;

use crate::exchange::unsafe_method::parse_url;
use crate::key::url::target;
use crate::request::extension::LayerHandle;
use crate::request::shared::Shared;

/// Extracts the cache of the [`CacheLayer`](crate::CacheLayer) that the request passed through, so that the handler can
/// invalidate what it has stored.
///
/// A successful request with an unsafe method invalidates its own URL without this.
///
/// ```
/// use axum::extract::Path;
/// use cache_axum::{CacheHandle, Error};
///
/// async fn rename(Path(id): Path<u64>, cache: CacheHandle) -> Result<&'static str, Error> {
///     // … change the item, and then what shows it:
///     cache.invalidate_url(&format!("/items/{id}")).await?;
///     cache.clear("lists").await?;
///     Ok("renamed")
/// }
/// ```
#[derive(Clone)]
pub struct CacheHandle {
    shared: Arc<Shared>,
    request: Arc<Parts>,
    tagger: Tagger,
    is_soft: bool,
}

impl CacheHandle {
    /// Returns a handle whose invalidations are soft: what they invalidate is retained for the windows in which it may
    /// be served stale.
    #[must_use]
    pub fn soft(&self) -> Self {
        Self {
            is_soft: true,
            ..self.clone()
        }
    }

    /// Invalidates all variants of the responses that are stored for a URL. Once this method has returned, no request
    /// is answered with an earlier response of the handler.
    ///
    /// `url` is a path with or without a query, on the host of the current request, or a whole URL. The other parts of
    /// the keys are taken from the current request: if responses are stored separately [per
    /// user](crate::CacheLayer::per_user) or by [fields in the key](crate::CacheLayer::key_headers), only those that
    /// belong to the current request are invalidated. The same path with another query is another URL; use
    /// [namespaces](crate::StoreFor::namespace) and tags to invalidate such URLs together.
    ///
    /// Returns how many records were removed: 0 if nothing was stored for the URL. The variants of a URL hang on one
    /// record, so that they count as one, however many there are. Returns `None` if nothing was removed in the first
    /// place: for [soft](Self::soft) invalidations, which retain the responses, and in the
    /// [scope](cache_engine::Deferred::scope) of a transaction, which invalidates later.
    ///
    /// # Errors
    /// [`InvalidKey`](cache_engine::cache_core::ErrorKind::InvalidKey) if `url` is not a URL that a request can be for:
    /// it has no path, like `user:42`, or a scheme other than HTTP or HTTPS, or names a user. Any other error means
    /// that the store could not be reached, so that old responses may still be found.
    pub async fn invalidate_url(&self, url: &str) -> Result<Option<u64>, Error> {
        self.invalidation_of_url(url)?.run().await
    }

    /// Invalidates the URL of the current request. See [`invalidate_url`](Self::invalidate_url).
    ///
    /// # Errors
    /// The same as for [`invalidate_url`](Self::invalidate_url).
    pub async fn invalidate_target(&self) -> Result<Option<u64>, Error> {
        let set = self
            .shared
            .add_uri(self.invalidation(), &self.request, target(&self.request))?;
        set.run().await
    }

    /// Returns an empty set of invalidations, to which you can add several targets and invalidate them together. Its
    /// [`run`](Invalidation::run) tries all of them, returns how many records were removed if the store reports it, and
    /// continues if the client of the current request disconnects.
    ///
    /// ```
    /// use cache_axum::CacheHandle;
    /// use cache_axum::cache_engine::cache_core::Error;
    ///
    /// async fn publish(cache: CacheHandle) -> Result<String, String> {
    ///     let outdated = || Ok::<_, Error>(cache.invalidation_of_url("/news")?.add_tag("headlines").add_namespace("lists"));
    ///     let outdated = outdated().map_err(|error| error.to_string())?;
    ///     let removed = outdated.run().await.map_err(|error| error.to_string())?;
    ///     Ok(format!("{removed:?} records were removed"))
    /// }
    /// ```
    pub fn invalidation(&self) -> Invalidation {
        self.shared.invalidation(self.is_soft)
    }

    /// Begins to collect invalidations for a database transaction; see [`Deferred`]. Add the URLs that the transaction
    /// changes too: the layers invalidate after the response, and if the client leaves during the commit, before it.
    ///
    /// ```
    /// # struct Transaction;
    /// # impl Transaction { async fn commit(self) -> Result<(), std::io::Error> { Ok(()) } }
    /// use cache_axum::CacheHandle;
    /// use http::StatusCode;
    ///
    /// async fn rename(cache: CacheHandle) -> Result<(), StatusCode> {
    ///     let urls = cache.invalidation_of_url("/items/7").map_err(|_| StatusCode::BAD_REQUEST)?;
    ///     let deferred = cache.deferred();
    ///     let transaction = Transaction; // …
    ///     deferred.add_tag("items").add(urls);
    ///     let commit = async move { transaction.commit().await };
    ///     deferred.commit(commit).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
    /// }
    /// ```
    pub fn deferred(&self) -> Deferred {
        if self.is_soft {
            self.shared.cache.soft().deferred()
        } else {
            self.shared.cache.deferred()
        }
    }

    /// Returns a set with the responses of a URL, as for [`invalidate_url`](Self::invalidate_url), to which you can add
    /// more. See [`invalidation`](Self::invalidation).
    ///
    /// # Errors
    /// [`InvalidKey`](cache_engine::cache_core::ErrorKind::InvalidKey) if `url` is not a URL that a request can be for.
    pub fn invalidation_of_url(&self, url: &str) -> Result<Invalidation, Error> {
        self.shared
            .add_uri(self.invalidation(), &self.request, &parse_url(url)?)
    }

    /// Invalidates all responses and all other values of the cache that carry `tag`. See [`Cache::invalidate_tag`].
    ///
    /// How many there are is unknown: the version of the tag is replaced, and the entries with another version are no
    /// longer used. That costs the same for ten entries and ten million.
    ///
    /// # Errors
    /// Returns an error if the store could not be reached, so that old responses may still be found.
    pub async fn invalidate_tag(&self, tag: impl AsRef<str>) -> Result<(), Error> {
        self.invalidation().add_tag(tag.as_ref()).run().await.map(drop)
    }

    /// Invalidates a key of the cache, such as the key of a cached function. Names belong to the layer's namespace. Returns
    /// how many records were removed, as [`invalidate_url`](Self::invalidate_url) does: 0 or 1.
    ///
    /// # Errors
    /// Returns an error if the store could not be reached.
    pub async fn invalidate_key(&self, key: impl IntoKey) -> Result<Option<u64>, Error> {
        self.invalidation().add_key(key).run().await
    }

    /// Clears a namespace, and returns how many records it had, if the store reports it. See [`Cache::clear`], and
    /// [`Cache::soft`] for soft clearing, which needs namespaces that are cleared by a tag.
    ///
    /// # Errors
    /// Returns an error if any part failed, so that some responses may still be found.
    pub async fn clear(&self, namespace: &str) -> Result<Option<u64>, Error> {
        self.invalidation().add_namespace(namespace).run().await
    }

    /// Takes a snapshot of `tags`, and then calls `read`, which reads the data that the tags cover. The response to
    /// this request carries the tags. If the response is not to be stored, only calls `read`.
    ///
    /// ```
    /// use axum::extract::Path;
    /// use cache_axum::CacheHandle;
    /// # struct Article { author: u64, text: String }
    /// # async fn read_article(id: u64) -> Article { Article { author: 7, text: String::new() } }
    /// # async fn read_author(id: u64) -> String { String::new() }
    ///
    /// async fn article(Path(id): Path<u64>, cache: CacheHandle) -> String {
    ///     let article = cache.tagged([format!("article:{id}")], || read_article(id)).await;
    ///     let author = cache.tagged([format!("author:{}", article.author)], || read_author(article.author)).await;
    ///     format!("{} (by {author})", article.text)
    /// }
    /// ```
    pub async fn tagged<N, R, Fut>(&self, tags: impl IntoIterator<Item = N>, read: R) -> Fut::Output
    where
        N: AsRef<str>,
        R: FnOnce() -> Fut,
        Fut: Future,
    {
        self.tagger.tagged(tags, read).await
    }

    /// Returns the tagger, which adds tags to the response from functions and tasks that the handler calls. In the
    /// handler's own task, [`tagged`](cache_engine::tagged) finds it by itself.
    #[must_use]
    pub fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    /// Returns the cache itself, in the layer's namespace.
    #[must_use]
    pub fn cache(&self) -> Cache {
        self.shared.cache.with_coder(Json)
    }
}

impl std::fmt::Debug for CacheHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheHandle")
            .field("target", target(&self.request))
            .finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequestParts<S> for CacheHandle {
    type Rejection = NoCacheLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoCacheLayer> {
        let LayerHandle { shared, uri } = parts.extensions.get().ok_or(NoCacheLayer)?;
        let mut request = parts.clone();
        request.uri.clone_from(uri);
        Ok(Self {
            shared: Arc::clone(shared),
            request: Arc::new(request),
            tagger: parts.extensions.get().cloned().unwrap_or_default(),
            is_soft: false,
        })
    }
}

/// The request did not pass through a [`CacheLayer`](crate::CacheLayer) or an
/// [`InvalidateLayer`](crate::InvalidateLayer). The response is 500, because the router is set
/// up incorrectly.
#[derive(Debug, Clone, Copy)]
pub struct NoCacheLayer;

impl IntoResponse for NoCacheLayer {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl std::fmt::Display for NoCacheLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "`CacheHandle`: this route has no `CacheLayer` and no `InvalidateLayer`: add one to it with `.layer(…)`",
        )
    }
}

impl std::error::Error for NoCacheLayer {}
