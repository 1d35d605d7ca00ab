//! The cache layer and its settings.

use std::sync::Arc;
use std::time::Duration;

use cache_engine::Cache;
use cache_engine::cache_core::{KeyBuilder, OptionalDuration};
use cache_http::MAX_SECONDS;
use cache_http::{CacheName, Normalization, Policy, Statuses};
use http::request::Parts;
use http::{HeaderName, StatusCode};
use tower_layer::Layer;

use crate::config::client_caching::ClientCaching;
use crate::config::conditions::Conditions;
use crate::config::surrogate_keys::SurrogateKeys;
use crate::config::tags::RouteTags;
use crate::config::{Allow, Config};
use crate::entry::coder::ResponseCoder;
use crate::entry::response::OwnEtag;
use crate::exchange::stale_if_error::is_failure;
use crate::key::query::Query;
use crate::key::request::RequestKeys;
use crate::key::url::UrlKey;
use crate::layer::service::CacheService;
use crate::request::hit_for_miss::HitForMiss;
use crate::request::shared::Shared;

/// Caches the responses of the service that it wraps: a `Router`, a route, a `MethodRouter`, or any tower service.
///
/// Default lifetimes and windows are those of the cache's policy; the setters of this type override them. A handler's
/// `Cache-Control` takes precedence over both. Clones share what they remember.
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use cache_axum::CacheLayer;
/// use cache_axum::cache_engine::Cache;
/// use cache_memory::MemoryBackend;
///
/// let cache = Cache::builder(MemoryBackend::default()).prefix("shop").build();
/// let app: Router = Router::new()
///     .route("/items", get(|| async { "…" }))
///     .layer(CacheLayer::new(cache).ttl(Duration::from_secs(60)));
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct CacheLayer {
    pub(crate) shared: Arc<Shared>,
}

impl From<&CacheLayer> for CacheLayer {
    fn from(layer: &Self) -> Self {
        layer.clone()
    }
}

impl<C> From<&Cache<C>> for CacheLayer {
    /// Creates a layer with safe defaults; see [`new`](Self::new).
    fn from(cache: &Cache<C>) -> Self {
        Self::new(cache.clone())
    }
}

impl CacheLayer {
    /// Creates a layer with safe defaults over `cache`, in the namespace of that handle.
    ///
    /// It stores responses to GET with status 2xx, if the request has neither `Authorization` nor `Cookie`, and the
    /// response sets no cookie and does not contain `private`, `no-store`, `no-cache` or `Vary: *`. HEAD is answered
    /// from them too.
    pub fn new<C>(cache: Cache<C>) -> Self {
        let cache = cache.with_coder(ResponseCoder);
        let defaults = *cache.policy();
        let mut policy = Policy::route();
        policy.default_ttl = Some(defaults.ttl.unwrap_or(FOR_EVER));
        policy.stale_while_revalidate = some(defaults.stale_while_revalidate);
        policy.stale_if_error = some(defaults.stale_if_error);
        let config = Config {
            keys: RequestKeys {
                url: UrlKey::new(),
                no_vary_search: false,
                builder: None,
                fields: Vec::new(),
                identity: None,
                normalization: Normalization::by_quality_and_order(),
            },
            vary: Vec::new(),
            vary_value: None,
            identified: policy.clone(),
            policy: policy.clone(),
            base: policy,
            allow: Allow::default(),
            credentials: Vec::new(),
            post: None,
            query_method: None,
            client: None,
            status_header: Some(HeaderName::from_static("x-cache")),
            own_etag: OwnEtag::Strong,
            is_gateway: false,
            name: CacheName::new(DEFAULT_NAME),
            hit: hit_line(DEFAULT_NAME),
            max_variants: 100,
            max_body: 2 * 1024 * 1024,
            max_body_time: Duration::from_secs(10),
            max_wait: Duration::from_secs(5),
            max_detached: 64,
            failures: Statuses::predicate(is_failure),
            invalidate_on_write: true,
            invalidate_softly: false,
            bypass_if: Conditions::default(),
            tags: RouteTags::default(),
            surrogate_keys: None,
            debug_if: Conditions::default(),
            trace_outcome: false,
            foreground: cache.adapter().is_foreground(),
            finishes: false,
        };
        let shared = Shared {
            config,
            hit_for_miss: Arc::new(HitForMiss::new(cache.adapter().now())),
            detached: Arc::default(),
            variant_uses: Arc::default(),
            prepared: Arc::default(),
            cache,
        };
        Self {
            shared: Arc::new(shared),
        }
        .with(|_| {})
    }

    /// Creates a shared cache that follows the standard (RFC 9111), for gateways and reverse proxies: the headers of
    /// the service behind it decide.
    ///
    /// The headers of a response determine whether and for how long it is stored; the lifetimes and windows of the
    /// cache's policy do not apply. The layer adds nothing for clients: no `Cache-Control`, no `ETag`. See
    /// [`Policy::shared`] for the details. Each setter changes one of them.
    ///
    /// ```
    /// use axum::Router;
    /// use cache_axum::CacheLayer;
    /// use cache_axum::cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// async fn forward() -> &'static str {
    ///     "what the origin said"
    /// }
    ///
    /// let cache = Cache::builder(MemoryBackend::default()).prefix("proxy").build();
    /// let app: Router = Router::new().fallback(forward).layer(CacheLayer::shared(cache));
    /// ```
    pub fn shared<C>(cache: Cache<C>) -> Self {
        Self::new(cache)
            .client_caching(ClientCaching::Silent)
            .cache_groups(true)
            .with(|config| {
                config.base = Policy::shared();
                config.keys.url = UrlKey::new().query(Query::exact());
                config.own_etag = OwnEtag::Absent;
                config.keys.normalization = Normalization::by_quality();
                config.is_gateway = true;
            })
    }

    /// Changes the HTTP caching rules of this layer for which there is no other setter.
    ///
    /// Use it for rules that are rarely changed, such as the [fields obeyed before `Cache-Control`](Policy::targets),
    /// the [heuristic lifetime](Policy::heuristic), or whether responses are [retained for
    /// revalidation](Policy::keep_for_validation). Each `allow_…` field of the policy lifts one refusal: a response
    /// with [`private`](Policy::allow_private), for example, is then shared among all users. What the setters of the
    /// layer allow is allowed whatever the policy says.
    ///
    /// ```
    /// use cache_axum::CacheLayer;
    /// use cache_axum::cache_engine::Cache;
    /// use cache_axum::cache_http::CDN_CACHE_CONTROL;
    /// use cache_memory::MemoryBackend;
    /// use http::HeaderName;
    ///
    /// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build()).policy_with(|policy| {
    ///     policy.targets = vec![HeaderName::from_static("shop-cache-control"), CDN_CACHE_CONTROL];
    ///     policy.request_directives = false;
    /// });
    /// ```
    pub fn policy_with(self, change: impl FnOnce(&mut Policy)) -> Self {
        self.with(|config| change(&mut config.base))
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        change(&mut shared.config);
        shared.config.derive_policies();
        // The fields of prepared responses may depend on what was changed.
        shared.prepared = Arc::default();
        self
    }

    /// Sets how long a response is fresh. `None` means forever. Default: that of the cache's policy.
    pub fn ttl(self, ttl: impl OptionalDuration) -> Self {
        let ttl = ttl.into_option().unwrap_or(FOR_EVER);
        self.policy_with(|policy| policy.default_ttl = Some(ttl))
    }

    /// Sets how long after its lifetime a response is still served while one request in the background refreshes it
    /// (RFC 5861, section 3). Default: that of the cache's policy.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.policy_with(|policy| policy.stale_while_revalidate = some(window))
    }

    /// Sets how long after its lifetime a response is still served if the handler fails (RFC 5861, section 4). What
    /// counts as a failure is set by [`failure_statuses`](Self::failure_statuses). Default: that of the cache's policy.
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.policy_with(|policy| policy.stale_if_error = some(window))
    }

    /// Sets the namespace of the stored responses, which [`Cache::clear`] and
    /// [`CacheHandle::clear`](crate::CacheHandle::clear) clear. Default: that of the cache's handle.
    pub fn namespace(mut self, name: &str) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        shared.cache = shared.cache.with_namespace(name);
        self
    }

    /// Sets the builder that names a request's entry. Default: a [`UrlKey`]. A request for which the builder returns an
    /// error bypasses the cache.
    ///
    /// In addition to what the builder returns, the key always contains the method, with HEAD as GET, and what
    /// [`key_headers`](Self::key_headers), [`per_user`](Self::per_user) and [`post`](Self::post) add. Replaces
    /// [`query`](Self::query).
    ///
    /// The builder sees the host and the path in their [normal spelling](UrlKey), and the whole query. On a nested router, the
    /// URI is the [rest of the path](Self::tags_by); [`UrlKey`] uses the whole.
    ///
    /// The layer does not know which request fields the builder reads, so it sends `no-cache` to clients and shared
    /// caches downstream, unless you set [`client_caching`](Self::client_caching). If you set it, name those fields in
    /// `Vary`.
    pub fn key_builder(self, builder: impl KeyBuilder<Parts>) -> Self {
        self.with(|config| config.keys.builder = Some(Arc::new(builder)))
    }

    /// Sets which part of the query is in the key, and in which order. Default: all of it, sorted by parameter name. A
    /// [`key_builder`](Self::key_builder) replaces this setting.
    pub fn query(self, query: Query) -> Self {
        self.with(|config| config.keys.url = UrlKey::new().query(query))
    }

    /// Sets whether to obey `No-Vary-Search` in responses (draft-ietf-httpbis-no-vary-search). It states which
    /// parameters do not matter, and whether their order does. Queries that differ in nothing else share a response.
    /// Default: `false`.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use cache_axum::CacheLayer;
    /// use cache_axum::cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build()).no_vary_search(true);
    /// let page = || async { ([("no-vary-search", "key-order, params=(\"utm_source\")")], "…") };
    /// let app: Router = Router::new().route("/items", get(page)).layer(layer);
    /// ```
    ///
    /// All responses of a path are then found through one record, whatever their queries. So a hit reads one more
    /// record, an invalidation of one query reaches all queries of the path, and [`max_variants`](Self::max_variants)
    /// counts the variants by `Vary` of all of them together. If the responses of a path state different rules, every
    /// difference matters. A URL that was [rewritten](UrlKey) between two routers, and a URL with a
    /// [`key_builder`](Self::key_builder), is looked up by its whole query.
    pub fn no_vary_search(self, obey: bool) -> Self {
        self.with(|config| config.keys.no_vary_search = obey)
    }

    /// Sets how request fields are normalised before they select among variants or become part of the key. Default:
    /// `Accept-Encoding` and `Accept-Language` are sorted by quality, so that requests that state the same preferences
    /// in different ways share a response. Languages of the same quality keep their order
    /// ([`Normalization::by_quality_and_order`]), except with [`shared`](Self::shared) ([`Normalization::by_quality`]).
    ///
    /// If there are only a few forms of a response, name them to get more hits:
    ///
    /// ```
    /// use cache_axum::CacheLayer;
    /// use cache_axum::cache_engine::Cache;
    /// use cache_axum::cache_http::{Normalization, Preference};
    /// use cache_memory::MemoryBackend;
    ///
    /// let mut normalization = Normalization::by_quality();
    /// normalization.accept_encoding = Some(Preference::OneOf(vec!["br".into(), "gzip".into()]));
    /// normalization.accept_language = Some(Preference::OneOf(vec!["de".into(), "en".into()]));
    /// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build()).normalization(normalization);
    /// ```
    ///
    /// With [`OneOf`], the layer chooses, and the handler sees the name that was chosen in place of what the client has sent, so
    /// its own rules make no difference: `br`, `gzip` or `identity`, and `de`, `en` or no `Accept-Language`. This holds for all
    /// requests that are looked up. Requests that bypass the layer are passed on as they are, and middleware outside of the
    /// layer sees the client's own fields. A response that varies by such a field, and declares another `Content-Encoding` or
    /// `Content-Language` than the one that was chosen, is not stored (`detail=other-variant`).
    ///
    /// With the other rules, the handler sees the client's own field. It must not go by what the rule ignores: the case of
    /// names, and with [`Ranked`] the order of those of equal quality.
    ///
    /// [`OneOf`]: cache_http::Preference::OneOf
    /// [`Ranked`]: cache_http::Preference::Ranked
    pub fn normalization(self, normalization: Normalization) -> Self {
        self.with(|config| config.keys.normalization = normalization)
    }

    /// Sets the maximum number of responses that are stored for one URL, one for each selection that its `Vary` makes.
    /// Default: 100. With 0, responses that vary are not stored.
    ///
    /// One more replaces the least recently used one. Storing a response counts as a use, and so does a hit. Hits are
    /// counted in memory, so a process that makes room knows only its own hits; all processes know when a response was
    /// stored. The limit also holds for concurrent requests, in one process or in several on one store.
    pub fn max_variants(self, variants: usize) -> Self {
        self.with(|config| config.max_variants = variants)
    }

    /// Makes these request fields part of the key. You do not need this for fields that the handler names in `Vary`. If
    /// the layer sends clients a lifetime, it also names these fields in `Vary`. Values are compared as they are, in upper and
    /// lower case: let a middleware outside of the layer join those that mean the same. Default: none.
    pub fn key_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|config| {
            let fields = &mut config.keys.fields;
            *fields = names.into_iter().collect();
            fields.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
            fields.dedup();
        })
    }

    /// Sets which request fields are credentials, like `Authorization`: an API key, or the field in which a proxy
    /// forwards a client certificate. Requests with one of them bypass the cache, unless [`allow_authorization`] or
    /// [`per_user`](Self::per_user) allows them. The layer names these fields in `Vary` when it names `Authorization`.
    /// Default: none.
    ///
    /// ```
    /// use cache_axum::CacheLayer;
    /// use cache_axum::cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    /// use http::HeaderName;
    ///
    /// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build())
    ///     .credentials([HeaderName::from_static("x-api-key")]);
    /// ```
    ///
    /// [`allow_authorization`]: Self::allow_authorization
    pub fn credentials(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|config| config.credentials = names.into_iter().collect())
    }

    /// Stores separate responses for each user. If `identity` returns a name for a request, the response is cached
    /// under that name, even if the request has credentials or the response says `private`. Other requests are handled
    /// as on any other route.
    ///
    /// `identity` sees the host and the path in their [normal spelling](UrlKey), however the client has spelled them, and
    /// the whole query. On a nested router, the URI is the [rest of the path](Self::tags_by).
    ///
    /// The request must have proved the name: use a session or token that was **verified**, and not a part of the
    /// request that any client can set.
    ///
    /// By default the layer sends `private, no-cache` to clients, so that no shared cache downstream and no browser
    /// shows one user's response to another; the `ETag` makes revalidation cheap. If you set
    /// [`client_caching`](Self::client_caching), the layer sends that together with `private`.
    pub fn per_user(self, identity: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        self.with(|config| config.keys.identity = Some(Arc::new(identity)))
    }

    /// Caches POST as well. The content, up to `max_bytes`, its media type and its encoding are part of the key. A
    /// request with more content bypasses the cache unchanged. Use it only for POST requests that change nothing, such
    /// as a search. Default: not cached.
    pub fn post(self, max_bytes: usize) -> Self {
        self.with(|config| config.post = Some(max_bytes))
    }

    /// Caches `QUERY` (RFC 10008) as well. The content, up to `max_bytes`, its media type and its encoding are part of
    /// the key. A request with more content bypasses the cache unchanged. 304, ranges and `Cache-Status` work as for
    /// GET. Default: not cached.
    pub fn query_method(self, max_bytes: usize) -> Self {
        self.with(|config| config.query_method = Some(max_bytes))
    }

    /// Sets which status codes are stored. 206 and 304 never are. Default: 2xx.
    pub fn statuses(self, predicate: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.policy_with(|policy| policy.statuses = Statuses::predicate(predicate))
    }

    /// Sets what the layer sends to clients in `Cache-Control` if the handler sends nothing. Default: what is safe for
    /// the key. That is [`ClientCaching::Lifetime`], or [`ClientCaching::Revalidate`] with [`per_user`](Self::per_user), a
    /// [`key_builder`](Self::key_builder) or [`bypass_if`](Self::bypass_if).
    pub fn client_caching(self, client: ClientCaching) -> Self {
        self.with(|config| config.client = Some(client))
    }

    /// Sets the name of the plain status header, whose value is `HIT`, `MISS`, `STALE` or `BYPASS`. With `None`, the
    /// header is not sent. `Cache-Status` contains more detail and is always sent. Default: `X-Cache`.
    pub fn status_header(self, name: impl Into<Option<HeaderName>>) -> Self {
        self.with(|config| config.status_header = name.into())
    }

    /// Sets the name of this cache in `Cache-Status` (RFC 9211). Only the first 40 characters are used. Default:
    /// `cache`.
    pub fn name(self, name: &str) -> Self {
        let end = name.char_indices().nth(40).map_or(name.len(), |(end, _)| end);
        let name = &name[..end];
        self.with(|config| {
            config.name = CacheName::new(name);
            config.hit = hit_line(name);
        })
    }

    /// Sets whether the entity-tags that the layer adds to responses without one are weak. Default: `false`, because
    /// they identify the stored bytes.
    ///
    /// Use weak tags for a layer inside one that changes the bytes afterwards and leaves the tags unchanged, like
    /// tower-http's compression: otherwise one strong tag would identify several codings (RFC 9110, section 8.8.3.3).
    /// Compression inside of this layer needs no weak tags, because each coding is stored with its own tag. Conditional
    /// requests are answered as before; `If-Range` never matches a weak tag, so an interrupted download starts over.
    pub fn weak_etags(self, weak: bool) -> Self {
        self.with(|config| {
            if config.own_etag != OwnEtag::Absent {
                config.own_etag = if weak { OwnEtag::Weak } else { OwnEtag::Strong };
            }
        })
    }

    /// Sets the size of the largest body that is stored, in bytes. Default: 2 MiB.
    ///
    /// A larger body is passed on as it arrives, to all requests that have begun to read it. At most this much of it is
    /// held in memory for slower readers; see [`max_wait`](Self::max_wait). Later requests call the handler.
    pub fn max_body(self, bytes: usize) -> Self {
        self.with(|config| config.max_body = bytes)
    }

    /// Sets how long a body may take to arrive, counted from the head of the response. A body that takes longer is not
    /// stored. It is passed on as it arrives, to all requests that have begun to read it, and later requests call the
    /// handler. Default: 10 s.
    pub fn max_body_time(self, time: Duration) -> Self {
        self.with(|config| config.max_body_time = time)
    }

    /// Sets how long requests wait for a load that another request has started, counted from the start of the load.
    /// Default: 5 s.
    ///
    /// After that, a stale copy is served if [`stale_if_error`](Self::stale_if_error) allows it. Otherwise one of the
    /// waiting requests loads instead, and its response is stored. The late handler continues for its own caller.
    ///
    /// Once the head of a storable response has arrived, requests no longer wait: they read the body together with the
    /// first request. This setting then also limits readers of a body that has outgrown [`max_body`](Self::max_body). A
    /// reader that is that far behind may delay the other readers for this long in total, and then gets an error.
    pub fn max_wait(self, wait: Duration) -> Self {
        self.with(|config| config.max_wait = wait)
    }

    /// Sets how many loads may continue after their callers have disconnected. One more cancels the oldest. Default:
    /// 64.
    ///
    /// This counts handlers that have not responded, and bodies that no request reads. A refresh of a stale response, for
    /// which nobody waits, counts once it has taken longer than [`max_wait`](Self::max_wait). With 0, a load is cancelled as
    /// soon as its caller, and all other readers of its body, have disconnected. If other requests wait for it, one of
    /// them loads instead.
    pub fn max_detached(self, loads: usize) -> Self {
        self.with(|config| config.max_detached = loads)
    }

    /// Sets which status codes count as a failure of the handler, so that a stale copy replaces the response within
    /// [`stale_if_error`](Self::stale_if_error). A panic and an error of the service always count. Default: 500, 502,
    /// 503 and 504.
    pub fn failure_statuses(self, predicate: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.failures = Statuses::predicate(predicate))
    }

    /// Sets whether a successful request with an unsafe method invalidates what is stored for its URL (RFC 9111,
    /// section 4.4). It also does so if its client disconnects before there is a response. Responses that are stored
    /// [for other users](Self::per_user) under that URL stay; see [`InvalidateLayer`](crate::InvalidateLayer). Default:
    /// `true`.
    pub fn invalidate_on_write(self, invalidate: bool) -> Self {
        self.with(|config| config.invalidate_on_write = invalidate)
    }

    /// Sets whether to store responses that set a cookie, and send **the same cookie to every client**. Default:
    /// `false`; with [`shared`](Self::shared) the response decides.
    pub fn allow_set_cookie(self, allow: bool) -> Self {
        self.with(|config| config.allow.set_cookie = allow)
    }

    /// Sets whether to share responses to requests with `Authorization` among all users, regardless of who sent the
    /// request. Default: `false`; with [`shared`](Self::shared) the response decides.
    pub fn allow_authorization(self, allow: bool) -> Self {
        self.with(|config| config.allow.authorization = allow)
    }

    /// Sets whether to share responses to requests with cookies among all users. Use it for routes that do not read
    /// cookies. Default: `false`; with [`shared`](Self::shared) the response decides.
    pub fn allow_cookies(self, allow: bool) -> Self {
        self.with(|config| config.allow.cookies = allow)
    }

    /// Adds tags to all responses.
    ///
    /// A tag is invalidated by [`CacheHandle::invalidate_tag`](crate::CacheHandle::invalidate_tag),
    /// [`InvalidateLayer::tags`](crate::InvalidateLayer::tags), a [`PurgeRouter`](crate::PurgeRouter), or
    /// [`Cache::invalidate_tag`]. It belongs to the whole cache, regardless of the namespace. Tags are read before the
    /// handler runs, so an invalidation that happens while it runs is not missed. A hit reads the records of the tags
    /// too.
    pub fn tags<N: Into<String>>(self, tags: impl IntoIterator<Item = N>) -> Self {
        self.with(|config| config.tags.fixed.extend(tags.into_iter().map(Into::into)))
    }

    /// Adds the tags that `tags` returns for a request. It sees the request as the handler does whose response is stored:
    /// the host and the path in their [normal spelling](UrlKey), and no parameter that [`query`](Self::query) leaves out of
    /// the key.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use cache_axum::CacheLayer;
    /// use cache_axum::cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build())
    ///     .tags(["pages"])
    ///     .tags_by(|request| {
    ///         let id = request.uri.path().trim_start_matches("/items/");
    ///         vec![format!("item:{id}")]
    ///     });
    /// let app: Router = Router::new().route("/items/{id}", get(|| async { "…" })).layer(layer);
    /// ```
    ///
    /// # Nested routers
    ///
    /// On a nested router, the URI of the request is the rest of the path, as it is for the handler. The whole path is in
    /// [`OriginalUri`](axum::extract::OriginalUri), in the normal spelling too:
    ///
    /// ```
    /// use axum::extract::OriginalUri;
    /// use axum::{Router, routing::get};
    /// use cache_axum::CacheLayer;
    /// use cache_axum::cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build()).tags_by(|request| {
    ///     let whole = request.extensions.get::<OriginalUri>();
    ///     let uri = whole.map_or(&request.uri, |whole| &whole.0);
    ///     vec![uri.path().to_owned()]
    /// });
    /// let items = Router::new().route("/{id}", get(|| async { "…" })).layer(layer);
    /// // The tag is `/items/1`, and not `/1`.
    /// let app: Router = Router::new().nest("/items", items);
    /// ```
    pub fn tags_by(self, tags: impl Fn(&Parts) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.with(|config| config.tags.by.push(Arc::new(tags)))
    }

    /// Lets the requests for which `condition` is true go past the layer: the handler answers them, and nothing is read,
    /// stored or waited for (`detail=bypass-if`). What an unsafe request changes is invalidated all the same. If this is
    /// called several times, one of the conditions suffices. Default: no condition.
    ///
    /// `condition` sees the host and the path in their [normal spelling](UrlKey), however the client has spelled them: a
    /// condition on the path holds for all spellings. On a nested router, the URI is the [rest of the path](Self::tags_by).
    ///
    /// The layer cannot know the fields that the condition reads, and so not name them in `Vary`. So that no cache downstream
    /// gives a stored response to such a request, it sends `no-cache` instead of a lifetime, unless you set
    /// [`client_caching`](Self::client_caching).
    ///
    /// For previews and debugging, for example. The condition is evaluated for each request, hits included. Cached
    /// functions that the handler calls are not affected: see [`bypass`](cache_engine::bypass).
    ///
    /// A client can set any header, so a condition on one lets each client reach the handler. Check a secret, or the
    /// client's rights, if your handler cannot bear that.
    ///
    /// ```
    /// # use cache_axum::CacheLayer;
    /// # use cache_axum::cache_engine::Cache;
    /// # use cache_memory::MemoryBackend;
    /// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build())
    ///     .bypass_if(|request| request.uri.path().starts_with("/preview/"));
    /// # let _ = layer;
    /// ```
    pub fn bypass_if(self, condition: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.bypass_if.add(condition))
    }

    /// Lets operators ask how a response came about, or for the handler's own response. The requests for which
    /// `condition` is true may have the field [`Cache-Debug`](crate::CACHE_DEBUG), with one of these words or both; from
    /// others it is ignored. If this is called several times, one of the conditions suffices. Default: no condition.
    ///
    /// | word | what it does |
    /// |---|---|
    /// | `explain` | `Cache-Status` gets more parameters, and the response is `no-store` |
    /// | `bypass` | the request goes past the layer and past all cached functions and values that the handler uses (`detail=debug`) |
    ///
    /// | parameter | meaning |
    /// |---|---|
    /// | `key` | the key of the request, or the one that it would have if it were looked up |
    /// | `identified` | the key contains the user |
    /// | `vary`, `variant` | the fields that select among the variants of the URL, and the key of the selected one |
    /// | `tier` | where the entry is: `near` or `store` |
    /// | `state` | what it can be used for: `fresh`, `stale-while-revalidate`, `stale-if-error`, `expired`, `invalidated` or `not-usable` |
    /// | `age`, `lifetime`, `stale-while-revalidate`, `stale-if-error` | its age, how long it is fresh and how long it may be used after that, in seconds |
    /// | `tags`, `size` | its tags, separated by spaces, and its size in bytes |
    /// | `refused` | why the last responses for the key were not stored, and when |
    /// | `store-error` | why the store could not be asked |
    /// | `cache-control`, `expires` | what the response would say to others |
    ///
    /// If there was a usable entry before the request, these parameters are about it, and otherwise about what is stored
    /// after it. Texts end after 1,024 bytes.
    ///
    /// `condition` sees the host and the path in their [normal spelling](UrlKey), however the client has spelled them. On a nested
    /// router, the URI is the [rest of the path](Self::tags_by).
    ///
    /// Keys and tags may tell more than clients may know, and each `bypass` calls the handler, so check a secret or the
    /// operator's rights. A request with `Authorization` or `Cookie` is explained as one with credentials, which bypasses
    /// the cache; a field of its own leaves the request as a client would send it.
    ///
    /// ```
    /// # use cache_axum::CacheLayer;
    /// # use cache_axum::cache_engine::Cache;
    /// # use cache_memory::MemoryBackend;
    /// use subtle::ConstantTimeEq;
    ///
    /// let token = std::env::var("OPERATOR_TOKEN").unwrap_or_default();
    /// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build()).debug_if(move |request| {
    ///     let given = request.headers.get("x-operator-token");
    ///     // In constant time, so that the time tells nothing about the token.
    ///     !token.is_empty() && given.is_some_and(|given| given.as_bytes().ct_eq(token.as_bytes()).into())
    /// });
    /// # let _ = layer;
    /// ```
    ///
    /// ```console
    /// $ curl -sI -H "X-Operator-Token: $TOKEN" -H "Cache-Debug: explain" localhost:3000/items/42 | grep -i cache-status
    /// cache-status: cache; hit; ttl=37; key="shop::GET /items/42"; tier=store; state=fresh; age=23.1; lifetime=60.0; …
    /// ```
    pub fn debug_if(self, condition: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.debug_if.add(condition))
    }

    /// Sets whether to record the outcome of each request in its span, the one in which the layer is called, for example
    /// that of tower-http's `TraceLayer`. Default: `false`. Loads and refreshes are spans of their own in any case; see
    /// [Traces](cache_engine#traces).
    ///
    /// | attribute | value |
    /// |---|---|
    /// | `cache.request.type` | `hit`, `stale`, `miss`, `outage` or `bypass`: the [event](cache_engine::Event) that the request is |
    /// | `cache.status` | what this layer says in `Cache-Status` |
    ///
    /// `tracing` records only what the span declares:
    ///
    /// ```
    /// # use tracing::{Span, field, info_span};
    /// # fn make_span(request: &http::Request<axum::body::Body>) -> Span {
    /// info_span!(
    ///     "request",
    ///     path = request.uri().path(),
    ///     cache.request.type = field::Empty,
    ///     cache.status = field::Empty,
    /// )
    /// # }
    /// ```
    pub fn trace_outcome(self, trace: bool) -> Self {
        self.with(|config| config.trace_outcome = trace)
    }

    /// Writes the tags of each response into a field by which caches downstream, such as a CDN, purge it. Together with a
    /// [purger](cache_engine::CacheBuilder::purger), an invalidation then also reaches their copies. Default: no field.
    ///
    /// Hits, misses, stale responses and 304s have the field, with the tags that the stored response carries. Set it on
    /// the outermost layer: a layer around this one would store the field like any other.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use cache_axum::cache_engine::Cache;
    /// use cache_axum::{CacheLayer, SurrogateKeys};
    /// use cache_memory::MemoryBackend;
    ///
    /// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build())
    ///     .tags(["pages"])
    ///     .surrogate_keys(SurrogateKeys::surrogate_key().prefix("shop/"));
    /// let app: Router = Router::new().route("/", get(|| async { "…" })).layer(layer);
    /// ```
    pub fn surrogate_keys(self, keys: impl Into<Option<SurrogateKeys>>) -> Self {
        self.with(|config| config.surrogate_keys = keys.into())
    }

    /// Sets whether responses may name tags with [`StoreFor::tags`](crate::StoreFor::tags). If `false`, a response that
    /// names tags is not stored (`detail=late-tags`). Default: `false`.
    ///
    /// A tag that is known only when the handler has responded cannot be read in advance. So each load reads one more
    /// record when it starts, and a few when it ends, which show whether one of its tags was invalidated in the
    /// meantime. If so, the response is not stored. If you know the tags earlier, name them with
    /// [`tags_by`](Self::tags_by), or in the handler with [`CacheHandle::tagged`](crate::CacheHandle::tagged).
    pub fn late_tags(self, late: bool) -> Self {
        self.with(|config| config.tags.late = late)
    }

    /// Sets whether `Cache-Groups` puts responses into groups, which `Cache-Group-Invalidation` in the response to a
    /// request with an unsafe method invalidates (RFC 9875). Default: `false`; `true` with [`shared`](Self::shared).
    ///
    /// Groups belong to the origin: the host and port of the request, regardless of the scheme, as in the keys. They
    /// are [late tags](Self::late_tags), and have the same cost.
    pub fn cache_groups(self, groups: bool) -> Self {
        self.with(|config| config.tags.groups = groups)
    }

    /// Sets whether unsafe requests invalidate softly: responses are no longer fresh, but may still be served within
    /// [`stale_while_revalidate`](Self::stale_while_revalidate) and [`stale_if_error`](Self::stale_if_error). Default:
    /// `false`.
    pub fn invalidate_softly(self, soft: bool) -> Self {
        self.with(|config| config.invalidate_softly = soft)
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> CacheService<S> {
        CacheService::new(inner, Arc::clone(&self.shared))
    }
}

/// The longest lifetime that HTTP can express: 68 years.
const FOR_EVER: Duration = Duration::from_secs(MAX_SECONDS as u64);

const DEFAULT_NAME: &str = "cache";

fn hit_line(name: &str) -> Box<str> {
    format!("{}; hit; ttl=", CacheName::new(name)).into()
}

fn some(window: Duration) -> Option<Duration> {
    (!window.is_zero()).then_some(window)
}
