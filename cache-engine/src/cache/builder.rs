//! How a cache is made.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use cache_core::{Backend, Clock, FunctionCall, Json, KeyBuilder, Prefix, SystemClock};
use tokio_util::task::TaskTracker;

use crate::cache::handle::Cache;
use crate::event::{Event, Events, Observer};
use crate::lease::protocol::Leases;
use crate::load::engine::Engine;
use crate::load::flight::Flights;
use crate::load::policy::Policy;
use crate::load::shared::{CallKeys, Shared};
use crate::near::copies::Near;
use crate::near::subscription::Subscriber;
use crate::store::Store;
use crate::store::breaker::Breaker;
use crate::store::changes::Changes;
use crate::tags::cache::TagCache;
use crate::tags::declared::Declared;
use crate::tags::records::TagRecords;
use crate::tier::storage::Tier;

/// Makes a [`Cache`]; see [`Cache::builder`].
#[must_use]
pub struct CacheBuilder<C = Json> {
    backend: Arc<dyn Backend>,
    coder: C,
    prefix: Prefix,
    namespace: String,
    policy: Policy,
    clock: Option<Arc<dyn Clock>>,
    call_keys: Box<dyn CallKeys>,
    enabled: bool,
    backend_timeout: Duration,
    clear_timeout: Duration,
    breaker_failures: u32,
    breaker_pause: Duration,
    lease_time: Duration,
    tag_namespaces: bool,
    tag_cache_ttl: Duration,
    near: Option<Arc<dyn Backend>>,
    near_max_age: Option<Duration>,
    near_max_silence: Duration,
    observers: Vec<Arc<dyn Observer>>,
}

impl Cache {
    /// Starts to build a cache over `backend`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let cache = Cache::builder(MemoryBackend::default())
    ///     .prefix("shop")
    ///     .ttl(Duration::from_secs(60))
    ///     .stale_while_revalidate(Duration::from_secs(10))
    ///     .build();
    /// # let _ = cache;
    /// ```
    pub fn builder(backend: impl Backend) -> CacheBuilder {
        CacheBuilder::new(Arc::new(backend))
    }

    /// As [`builder`](Self::builder), over a backend that is shared already.
    pub fn builder_shared(backend: Arc<dyn Backend>) -> CacheBuilder {
        CacheBuilder::new(backend)
    }
}

impl CacheBuilder {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            coder: Json,
            prefix: Prefix::new("cache"),
            namespace: String::new(),
            policy: Policy::default(),
            clock: None,
            #[cfg(feature = "md5")]
            call_keys: Box::new(cache_core::HashedCall),
            #[cfg(not(feature = "md5"))]
            call_keys: Box::new(cache_core::ReadableCall),
            enabled: true,
            backend_timeout: Duration::from_millis(500),
            clear_timeout: Duration::from_secs(60),
            breaker_failures: 3,
            breaker_pause: Duration::from_secs(1),
            lease_time: Duration::from_secs(5),
            tag_namespaces: false,
            tag_cache_ttl: Duration::ZERO,
            near: None,
            near_max_age: None,
            near_max_silence: Duration::from_secs(1),
            observers: Vec::new(),
        }
    }
}

impl<C> CacheBuilder<C> {
    /// What every key starts with, so that several applications can share a store. `"cache"` unless set.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Prefix::new(prefix);
        self
    }

    /// The namespace of the first handle. The empty one unless set; see
    /// [`Cache::with_namespace`].
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// How long a value is fresh; `None` is for ever. Five minutes unless set.
    pub fn ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.policy = self.policy.with_ttl(ttl);
        self
    }

    /// How long after its freshness a value is answered at once while one load brings a new one. Zero unless set.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.policy = self.policy.with_stale_while_revalidate(window);
        self
    }

    /// How long after its freshness a value is answered if its load fails. Zero unless set.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.policy = self.policy.with_stale_if_error(window);
        self
    }

    /// How long "there is no such value" is remembered. Not at all unless set.
    pub fn negative_ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.policy = self.policy.with_negative_ttl(ttl);
        self
    }

    /// How long a failed load is remembered and not tried again. Not at all unless set.
    pub fn error_ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.policy = self.policy.with_error_ttl(ttl);
        self
    }

    /// The random part, 0 to 1, by which lifetimes are shortened. Zero unless set.
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.policy = self.policy.with_jitter(fraction);
        self
    }

    /// How long a load may take before it is cancelled. Without limit unless set.
    pub fn load_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.policy = self.policy.with_load_timeout(timeout);
        self
    }

    /// How long a caller that holds a stale copy waits for a load. As long as it takes unless set.
    pub fn soft_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.policy = self.policy.with_soft_timeout(timeout);
        self
    }

    /// The whole [`Policy`] at once, in place of what was set before.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How values are coded. [`Json`] unless set. Stores in this process keep values as they are and use the coder
    /// only to weigh them.
    pub fn coder<D>(self, coder: D) -> CacheBuilder<D> {
        CacheBuilder {
            backend: self.backend,
            coder,
            prefix: self.prefix,
            namespace: self.namespace,
            policy: self.policy,
            clock: self.clock,
            call_keys: self.call_keys,
            enabled: self.enabled,
            backend_timeout: self.backend_timeout,
            clear_timeout: self.clear_timeout,
            breaker_failures: self.breaker_failures,
            breaker_pause: self.breaker_pause,
            lease_time: self.lease_time,
            tag_namespaces: self.tag_namespaces,
            tag_cache_ttl: self.tag_cache_ttl,
            near: self.near,
            near_max_age: self.near_max_age,
            near_max_silence: self.near_max_silence,
            observers: self.observers,
        }
    }

    /// How the calls of `#[cached]` functions without a `key` of their own are named. By
    /// [`HashedCall`](cache_core::HashedCall) unless set; [`ReadableCall`](cache_core::ReadableCall) names them in
    /// plain text.
    pub fn key_builder(mut self, builder: impl for<'a> KeyBuilder<FunctionCall<'a>>) -> Self {
        self.call_keys = Box::new(builder);
        self
    }

    /// Where freshness is read from. The wall clock unless set.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Whether the cache starts switched on; see [`Cache::set_enabled`]. It does unless set.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// How long one call of the store may take. 500 ms unless set. Stores in this process are not limited, since they
    /// never wait.
    pub fn backend_timeout(mut self, timeout: Duration) -> Self {
        self.backend_timeout = timeout;
        self
    }

    /// How long clearing a namespace may take in a store that walks through its records for it. 60 s unless set.
    pub fn clear_timeout(mut self, timeout: Duration) -> Self {
        self.clear_timeout = timeout;
        self
    }

    /// After how many calls in a row that timed out or found the store out of reach it is left alone, and for how long
    /// until one call tries it again. Three, and one second, unless set; zero failures switch this off.
    pub fn breaker(mut self, failures: u32, pause: Duration) -> Self {
        self.breaker_failures = failures;
        self.breaker_pause = pause;
        self
    }

    /// How long the lease of a load lasts unless it is renewed, which it is while the load runs: so long may it take
    /// until the load of a killed process is taken over. Five seconds unless set; at least 10 ms.
    pub fn lease_time(mut self, time: Duration) -> Self {
        self.lease_time = time.max(Duration::from_millis(10));
        self
    }

    /// Whether namespaces are cleared by a tag that all of their entries carry, though the store could enumerate them.
    /// Not unless set. [`Cache::clear`] then costs one record, whatever the number of entries, and
    /// [`Cache::clear_soft`] can be used; each look-up reads two records more, in the same round trip, unless they are
    /// [remembered](Self::tag_cache_ttl). Stores that cannot enumerate do so in any case.
    ///
    /// All caches on the same store and prefix must agree on this.
    pub fn tag_namespaces(mut self, tag: bool) -> Self {
        self.tag_namespaces = tag;
        self
    }

    /// For how long this process remembers what the store says of a tag, and of a namespace that is cleared by one.
    /// Not at all unless set: an entry with tags then costs a round trip more than one without. For up to this time, an
    /// invalidation of a tag by another process may go unnoticed here; those of this process are noticed at once.
    pub fn tag_cache_ttl(mut self, time: Duration) -> Self {
        self.tag_cache_ttl = time;
        self
    }

    /// Keeps copies of what is in the store in `near`, which must be a store of this process, such as a
    /// `MemoryBackend`: what is found there costs no round trip, and a tagged entry none for its tags. Give it to no
    /// other cache.
    ///
    /// A store that tells of changes, as Redis does, has copies removed as soon as their records change, whoever
    /// changes them; the delay is that of one message. If it does not tell of them for a while, because the connection
    /// broke or hangs, copies are not used, and none of before is used afterwards; that is an
    /// [event](Event::NoticesLost). With any other store, a [maximum age](Self::near_max_age) must be chosen.
    ///
    /// Only fresh values are answered from there. Loads, leases, fences and stale copies are matters of the store.
    pub fn near(mut self, near: impl Backend) -> Self {
        self.near = Some(Arc::new(near));
        self
    }

    /// The maximum age of near copies, counted from when they were read from the store. For up to this time, plus that
    /// of [`tag_cache_ttl`](Self::tag_cache_ttl), a change by another process may go unnoticed if the store does not
    /// tell of it; those of this process are noticed at once. Where the store tells of changes this is not needed, and
    /// allows to use copies up to this age while it does not.
    pub fn near_max_age(mut self, age: Duration) -> Self {
        self.near_max_age = Some(age);
        self
    }

    /// How long after the last sign of life of a store that tells of changes near copies are still used: so old may
    /// they be at worst, if the connection hangs. One second unless set; the store is asked for a sign of life four
    /// times in this time.
    pub fn near_max_silence(mut self, bound: Duration) -> Self {
        self.near_max_silence = bound.max(Duration::from_millis(4));
        self
    }

    /// Tells `observer` of every [`Event`]. Can be called more than once.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// The cache.
    ///
    /// # Panics
    /// There is a [near](Self::near) tier that is not in this process, or that has no
    /// [maximum age](Self::near_max_age) in front of a store that does not tell of changes.
    #[must_use]
    #[track_caller]
    pub fn build(self) -> Cache<C> {
        self.check_near();
        let observed = !self.observers.is_empty();
        let events = Events::new(self.observers);
        if observed {
            let (events, scope) = (events.clone(), self.prefix.scope());
            self.backend.on_eviction(Box::new(move |key| {
                if scope.contains(key) {
                    events.emit(&Event::Evicted { key });
                }
            }));
        }
        let breaker = Breaker::new(self.breaker_failures, self.breaker_pause);
        let store = Arc::new(Store::new(
            self.backend,
            self.backend_timeout,
            self.clear_timeout,
            breaker,
            events.clone(),
        ));
        let namespace = Arc::new(self.prefix.namespace(&self.namespace));
        let same_clock = self.clock.is_none();
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let changes = Arc::new(Changes::new(self.near_max_silence));
        let near = self
            .near
            .map(|near| Arc::new(Near::new(near, &store, self.near_max_age, &changes)));
        let tag_cache = Arc::new(TagCache::new(
            self.tag_cache_ttl,
            near.as_ref().and_then(|near| near.max_age()).unwrap_or_default(),
            near.is_some().then(|| Arc::clone(&changes)),
        ));
        let told = store.backend().capabilities().subscribe;
        let subscriber = told.then(|| {
            Subscriber::new(
                &store,
                self.prefix.scope(),
                &changes,
                near.as_ref(),
                &tag_cache,
                &events,
            )
        });
        let tags = TagRecords::new(&store, &clock, &self.prefix, self.tag_namespaces, &tag_cache);
        let tier = Arc::new(Tier {
            tags: Arc::new(tags),
            near,
            subscriber,
            store,
            same_clock,
            clock,
            events: events.clone(),
        });
        Cache {
            engine: Engine {
                shared: Arc::new(Shared {
                    prefix: self.prefix,
                    leases: Leases::new(&tier, self.lease_time),
                    tier,
                    flights: Flights::default(),
                    events,
                    call_keys: self.call_keys,
                    tasks: TaskTracker::new(),
                    enabled: AtomicBool::new(self.enabled),
                }),
                policy: self.policy,
                tags: Declared::default(),
                coder: Arc::new(self.coder),
            },
            namespace,
        }
    }
}

impl<C> CacheBuilder<C> {
    #[track_caller]
    fn check_near(&self) {
        let Some(near) = &self.near else { return };
        assert!(
            near.capabilities().shared_objects,
            "the near tier must be a store of this process, and {:?} is not",
            near.name()
        );
        assert!(
            self.near_max_age.is_some() || self.backend.capabilities().subscribe,
            "{:?} does not tell of changes, so near copies would never be removed: choose how old they may be, with \
             `.near_max_age(…)`",
            self.backend.name()
        );
    }
}

impl<C> fmt::Debug for CacheBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("backend", &self.backend)
            .field("prefix", &self.prefix)
            .field("namespace", &self.namespace)
            .field("policy", &self.policy)
            .field("enabled", &self.enabled)
            .field("backend_timeout", &self.backend_timeout)
            .field("lease_time", &self.lease_time)
            .finish_non_exhaustive()
    }
}
