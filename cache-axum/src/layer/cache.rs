//! The layer, and what it can be set to.

use std::sync::Arc;
use std::time::Duration;

use cache_engine::Cache;
use cache_engine::cache_core::KeyBuilder;
use cache_http::MAX_SECONDS;
use cache_http::{CacheName, Normalization, Policy, Statuses};
use http::request::Parts;
use http::{HeaderName, StatusCode};
use tower_layer::Layer;

use crate::config::client_caching::ClientCaching;
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

/// Caches the responses of what it is wrapped around: a `Router`, a route, a `MethodRouter`, or any tower service.
///
/// Lifetimes and windows are those of the cache's policy unless set here; what a handler says in `Cache-Control` wins
/// over both. Clones share what they remember.
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

impl CacheLayer {
    /// Makes a layer with safe defaults over `cache`, in the namespace of that handle.
    ///
    /// It stores responses of status 2xx to GET, from requests without `Authorization` and `Cookie`, that set no cookie and do
    /// not say `private`, `no-store`, `no-cache` or `Vary: *`. HEAD is answered from them too.
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
            tags: RouteTags::default(),
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

    /// A shared cache by the book (RFC 9111), for gateways and reverse proxies: the service behind it speaks for itself.
    ///
    /// Responses are stored by what their headers say, for as long as those say; the lifetimes and windows of the
    /// cache's policy do not count here. Nothing is added for clients: no `Cache-Control`, no `ETag`.
    /// [`Policy::shared`] has the details, and each setter changes one of them.
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

    /// Changes the rules of HTTP caching that this layer follows: what no other setter is for.
    ///
    /// Use it for what is rarely changed, such as the [fields obeyed before `Cache-Control`](Policy::targets), the
    /// [heuristic lifetime](Policy::heuristic), or what is [kept to be revalidated](Policy::keep_for_validation). The `allow_…`
    /// fields of the policy lift a refusal each: a response that says [`private`](Policy::allow_private) is then shared
    /// among all. What the setters of the layer allow is allowed whatever the policy says.
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
        // What answers say may follow from what was changed.
        shared.prepared = Arc::default();
        self
    }

    /// Sets how long a response is fresh; `None` is for ever. Default: that of the cache's policy.
    pub fn ttl(self, ttl: impl Into<Option<Duration>>) -> Self {
        let ttl = ttl.into().unwrap_or(FOR_EVER);
        self.policy_with(|policy| policy.default_ttl = Some(ttl))
    }

    /// Sets how long after its lifetime a response is still served while one request in the background refreshes it (RFC 5861,
    /// section 3). Default: that of the cache's policy.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.policy_with(|policy| policy.stale_while_revalidate = some(window))
    }

    /// Sets how long after its lifetime a response is still served if the handler fails (RFC 5861, section 4). What counts as a
    /// failure is set by [`failure_statuses`](Self::failure_statuses). Default: that of the cache's policy.
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.policy_with(|policy| policy.stale_if_error = some(window))
    }

    /// Sets the namespace of the stored responses, which [`Cache::clear`] and
    /// [`CacheHandle::clear`](crate::CacheHandle::clear) empty. Default: that of the cache's handle.
    pub fn namespace(mut self, name: &str) -> Self {
        let shared = Arc::make_mut(&mut self.shared);
        shared.cache = shared.cache.with_namespace(name);
        self
    }

    /// Sets what names a request's entry. Default: a [`UrlKey`]. A request for which the builder returns an error bypasses the
    /// cache.
    ///
    /// Whatever the builder does, the method is part of the key, with HEAD as GET, and so is what
    /// [`key_headers`](Self::key_headers), [`per_user`](Self::per_user) and [`post`](Self::post) add. Takes the place of
    /// [`query`](Self::query).
    ///
    /// The layer cannot tell which request fields the builder reads, so it tells clients and shared caches downstream
    /// `no-cache` unless [`client_caching`](Self::client_caching) is set. Name those fields in `Vary` if you set it.
    pub fn key_builder(self, builder: impl KeyBuilder<Parts>) -> Self {
        self.with(|config| config.keys.builder = Some(Arc::new(builder)))
    }

    /// Sets which part of the query is in the key, and in which order. Default: all of it, in the order of the names. A
    /// [`key_builder`](Self::key_builder) takes the place of this.
    pub fn query(self, query: Query) -> Self {
        self.with(|config| config.keys.url = UrlKey::new().query(query))
    }

    /// Sets whether `No-Vary-Search` in responses is obeyed (draft-ietf-httpbis-no-vary-search): which parameters do not
    /// matter, and whether their order does. Queries that differ in nothing else share a response. Default: `false`.
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
    /// All responses of a path are then found through one record, whatever their queries. So a hit reads one record more, an
    /// invalidation of one query reaches all of the path, and [`max_variants`](Self::max_variants) counts the variants by
    /// `Vary` of all of them. If the responses of a path do not say the same, every difference matters. A URL that was
    /// [rewritten](UrlKey) between two routers, and one with a [`key_builder`](Self::key_builder), is looked up by its
    /// whole query.
    pub fn no_vary_search(self, obey: bool) -> Self {
        self.with(|config| config.keys.no_vary_search = obey)
    }

    /// Sets how request fields are normalised before they select among variants or become part of the key. Default:
    /// `Accept-Encoding` and `Accept-Language` are sorted by quality, so that requests that state the same preferences in
    /// other words share a response. Languages of one quality keep their order
    /// ([`Normalization::by_quality_and_order`]), except with [`shared`](Self::shared) ([`Normalization::by_quality`]).
    ///
    /// If there are only a few forms of a response, name them for more hits:
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
    pub fn normalization(self, normalization: Normalization) -> Self {
        self.with(|config| config.keys.normalization = normalization)
    }

    /// Sets how many responses are stored for one URL at most, one for each selection that its `Vary` makes. Default: 100.
    /// With 0, responses that vary are not stored.
    ///
    /// One more takes the place of the one that was used least recently. A use is a hit, or being stored. Hits are counted in
    /// memory, so a process that makes room knows its own hits and not those of others; that a response was stored, all
    /// processes know. The bound holds for concurrent requests too, in one process or several on one store.
    pub fn max_variants(self, variants: usize) -> Self {
        self.with(|config| config.max_variants = variants)
    }

    /// Makes these fields of the request part of the key. Not needed for fields that the handler names in `Vary`. Where the
    /// layer tells clients how long to keep a response, it names them in `Vary`. Default: none.
    pub fn key_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|config| {
            let fields = &mut config.keys.fields;
            *fields = names.into_iter().collect();
            fields.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
            fields.dedup();
        })
    }

    /// Declares request fields that are credentials, as `Authorization` is: an API key, or the field by which a proxy hands
    /// on a client certificate. Requests with one of them bypass the cache, unless [`allow_authorization`] or
    /// [`per_user`](Self::per_user) says otherwise, and the fields are named in `Vary` where `Authorization` is. Default:
    /// none.
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

    /// Keeps each user's responses apart. Requests for which `identity` returns a name are cached under that name, also if
    /// they have credentials or the response says `private`. The others are handled as on any route.
    ///
    /// The name must be one that the request has proved: a session or token that was **verified**, and not a part of
    /// the request that anyone can write.
    ///
    /// Clients are told `private, no-cache` by default, so that no shared cache downstream and no browser shows one user's
    /// response to another; the `ETag` keeps that cheap. With [`client_caching`](Self::client_caching) set, they are told
    /// that beside `private`.
    pub fn per_user(self, identity: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        self.with(|config| config.keys.identity = Some(Arc::new(identity)))
    }

    /// Caches POST as well. The content, up to `max_bytes`, its media type and its encoding are part of the key; a
    /// request with more passes the cache by, whole. Only for POST that changes nothing, such as a search. Default: not
    /// cached.
    pub fn post(self, max_bytes: usize) -> Self {
        self.with(|config| config.post = Some(max_bytes))
    }

    /// Caches `QUERY` (RFC 10008) as well. The content, up to `max_bytes`, its media type and its encoding are part of the
    /// key; a request with more passes the cache by, whole. 304, ranges and `Cache-Status` are as for GET. Default: not
    /// cached.
    pub fn query_method(self, max_bytes: usize) -> Self {
        self.with(|config| config.query_method = Some(max_bytes))
    }

    /// Sets which status codes are stored. 206 and 304 never are. Default: 2xx.
    pub fn statuses(self, predicate: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.policy_with(|policy| policy.statuses = Statuses::predicate(predicate))
    }

    /// Sets what clients are told in `Cache-Control` where the handler says nothing. Default: what is safe by the key. That is
    /// [`ClientCaching::Lifetime`], or [`ClientCaching::Revalidate`] with [`per_user`](Self::per_user) or a
    /// [`key_builder`](Self::key_builder).
    pub fn client_caching(self, client: ClientCaching) -> Self {
        self.with(|config| config.client = Some(client))
    }

    /// Sets the name of the plain status header, whose value is `HIT`, `MISS`, `STALE` or `BYPASS`. `None` leaves it out.
    /// `Cache-Status` says more and is always there. Default: `X-Cache`.
    pub fn status_header(self, name: impl Into<Option<HeaderName>>) -> Self {
        self.with(|config| config.status_header = name.into())
    }

    /// Sets the name of this cache in `Cache-Status` (RFC 9211). Only the first 40 characters are used. Default: `cache`.
    pub fn name(self, name: &str) -> Self {
        let end = name.char_indices().nth(40).map_or(name.len(), |(end, _)| end);
        let name = &name[..end];
        self.with(|config| {
            config.name = CacheName::new(name);
            config.hit = hit_line(name);
        })
    }

    /// Sets whether the entity-tags are weak that the layer gives to responses without one. Default: `false`, since they stand
    /// for the stored bytes.
    ///
    /// For a layer within one that changes the bytes afterwards and leaves the tags as they are, as tower-http's
    /// compression does: a strong tag would stand for each of its codings (RFC 9110, section 8.8.3.3). Compression
    /// inside of this layer needs no weak tags, since each coding is stored with a tag of its own. Conditional requests
    /// are answered as before; `If-Range` never matches a weak tag, so a download that broke off starts anew.
    pub fn weak_etags(self, weak: bool) -> Self {
        self.with(|config| {
            if config.own_etag != OwnEtag::Absent {
                config.own_etag = if weak { OwnEtag::Weak } else { OwnEtag::Strong };
            }
        })
    }

    /// Sets the size of the largest body that is stored, in bytes. Default: 2 MiB.
    ///
    /// A larger one is passed on as it comes, to all who have begun to read it. At most this much of it is kept in memory
    /// for those who are behind; see [`max_wait`](Self::max_wait). Later requests call the handler.
    pub fn max_body(self, bytes: usize) -> Self {
        self.with(|config| config.max_body = bytes)
    }

    /// Sets how long a body may take to arrive, counted from the head of the response. One that takes longer is not stored.
    /// It is passed on as it comes, to all who have begun to read it, and later requests call the handler. Default: 10 s.
    pub fn max_body_time(self, time: Duration) -> Self {
        self.with(|config| config.max_body_time = time)
    }

    /// Sets how long requests wait for a load that another request has started, counted from the beginning of the load.
    /// Default: 5 s.
    ///
    /// After that, a stale copy is used if [`stale_if_error`](Self::stale_if_error) allows it. Otherwise one of those who
    /// wait loads in its place, and its response is stored. The handler that is late goes on for its own caller.
    ///
    /// Once the head of a response is there that may be stored, requests do not wait any longer: they read the body along with
    /// the first one. The same bound then holds for readers of a body that has outgrown [`max_body`](Self::max_body). One
    /// who is that much behind holds up the others for this long in all, and then gets an error.
    pub fn max_wait(self, wait: Duration) -> Self {
        self.with(|config| config.max_wait = wait)
    }

    /// Sets how many loads may go on although their callers have gone away. One more cancels the oldest. Default: 64.
    ///
    /// That counts handlers that have not answered, and bodies that nobody reads. With 0, a load is cancelled as soon as its
    /// caller, and all who read its body along, have gone away; if others wait for it, one of them loads in its place.
    pub fn max_detached(self, loads: usize) -> Self {
        self.with(|config| config.max_detached = loads)
    }

    /// Sets which status codes count as a failure of the handler, so that a stale copy takes the place of the response
    /// within [`stale_if_error`](Self::stale_if_error). A panic and an error of the service always count. Default: 500,
    /// 502, 503 and 504.
    pub fn failure_statuses(self, predicate: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.failures = Statuses::predicate(predicate))
    }

    /// Sets whether a successful request with an unsafe method invalidates what is stored for its URL (RFC 9111, section 4.4).
    /// It does so also if its client leaves before there is an answer. The responses that other users have [of their
    /// own](Self::per_user) under that URL stay; see [`InvalidateLayer`](crate::InvalidateLayer). Default: `true`.
    pub fn invalidate_on_write(self, invalidate: bool) -> Self {
        self.with(|config| config.invalidate_on_write = invalidate)
    }

    /// Sets whether to store responses that set a cookie, and hand **the same cookie to everyone**. Default: `false`; with
    /// [`shared`](Self::shared) the response decides.
    pub fn allow_set_cookie(self, allow: bool) -> Self {
        self.with(|config| config.allow.set_cookie = allow)
    }

    /// Sets whether to share responses to requests with `Authorization` among all, whoever they are from. Default: `false`;
    /// with [`shared`](Self::shared) the response decides.
    pub fn allow_authorization(self, allow: bool) -> Self {
        self.with(|config| config.allow.authorization = allow)
    }

    /// Sets whether to share responses to requests with cookies among all. Right for routes that do not look at cookies.
    /// Default: `false`; with [`shared`](Self::shared) the response decides.
    pub fn allow_cookies(self, allow: bool) -> Self {
        self.with(|config| config.allow.cookies = allow)
    }

    /// Adds tags to all responses.
    ///
    /// A tag is invalidated by [`CacheHandle::invalidate_tag`](crate::CacheHandle::invalidate_tag),
    /// [`InvalidateLayer::tags`](crate::InvalidateLayer::tags), a [`PurgeRouter`](crate::PurgeRouter), or
    /// [`Cache::invalidate_tag`]. It belongs to the whole cache, whatever the namespace. Tags are read before the handler runs,
    /// so an invalidation while it runs is not missed. A hit reads their records too.
    pub fn tags<N: Into<String>>(self, tags: impl IntoIterator<Item = N>) -> Self {
        self.with(|config| config.tags.fixed.extend(tags.into_iter().map(Into::into)))
    }

    /// The tags that `tags` names for a request, beside those that are named elsewhere.
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
    pub fn tags_by(self, tags: impl Fn(&Parts) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.with(|config| config.tags.by.push(Arc::new(tags)))
    }

    /// Sets whether responses may name tags, by [`StoreFor::tags`](crate::StoreFor::tags). If `false`, a response that does is not
    /// stored (`detail=late-tags`). Default: `false`.
    ///
    /// A tag that is known only when the handler has answered could not be read before. So each load reads one record more when it
    /// begins, and a few when it ends, which tell whether one of its tags was invalidated meanwhile. If so, the response is not
    /// stored. If you know the tags earlier, name them by [`tags_by`](Self::tags_by), or in the handler by [`CacheHandle::tagged`](crate::CacheHandle::tagged).
    pub fn late_tags(self, late: bool) -> Self {
        self.with(|config| config.tags.late = late)
    }

    /// Sets whether `Cache-Groups` put responses into groups, which `Cache-Group-Invalidation` in the response to a request with
    /// an unsafe method invalidates (RFC 9875). Default: `false`; `true` with [`shared`](Self::shared).
    ///
    /// Groups belong to the origin: the host and port of the request, whatever the scheme, as in the keys. They are
    /// [late tags](Self::late_tags), and cost as much.
    pub fn cache_groups(self, groups: bool) -> Self {
        self.with(|config| config.tags.groups = groups)
    }

    /// Sets whether requests that change something invalidate softly: responses are no longer fresh, but may still be served
    /// within [`stale_while_revalidate`](Self::stale_while_revalidate) and [`stale_if_error`](Self::stale_if_error). Default:
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

/// The longest lifetime that HTTP can speak of: 68 years.
const FOR_EVER: Duration = Duration::from_secs(MAX_SECONDS as u64);

const DEFAULT_NAME: &str = "cache";

fn hit_line(name: &str) -> Box<str> {
    format!("{}; hit; ttl=", CacheName::new(name)).into()
}

fn some(window: Duration) -> Option<Duration> {
    (!window.is_zero()).then_some(window)
}
