//! Builds a cache.

use std::any::TypeId;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use cache_core::{
    Backend, Clock, Error, ErrorKind, FunctionCall, Json, KeyBuilder, MemoryOnly, Namespace, Prefix, SystemClock,
};
use tokio::sync::Semaphore;

use crate::cache::handle::Cache;
use crate::event::{Event, Events, Observer};
use crate::lease::protocol::Leases;
use crate::load::engine::Engine;
use crate::load::flight::Flights;
use crate::load::fresh_keys::FreshKeys;
use crate::load::on_hit::{DueKeys, OnHit, Random};
use crate::load::policy::Policy;
use crate::load::shared::{CallKeys, Shared};
use crate::load::verify::VERIFICATIONS;
use crate::near::copies::Near;
use crate::near::subscription::Subscriber;
use crate::stats::snapshot::CacheTier;
use crate::store::Store;
use crate::store::breaker::Breaker;
use crate::store::changes::Changes;
use crate::tags::cache::TagCache;
use crate::tags::declared::Declared;
use crate::tags::records::TagRecords;
use crate::tasks::Tasks;
use crate::tier::pending::Pending;
use crate::tier::purger::Purger;
use crate::tier::purges::Purges;
use crate::tier::storage::Tier;

type PolicyChange = Box<dyn FnOnce(Policy) -> Policy + Send + Sync>;

/// The limit for longer times, which could not be added to a time.
const LONGEST_SILENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Builds a [`Cache`]; see [`Cache::builder`].
#[must_use]
pub struct CacheBuilder<C = Json> {
    backend: Arc<dyn Backend>,
    coder: C,
    /// Whether the coder is [`MemoryOnly`].
    memory_only: bool,
    prefix: Prefix,
    namespace: String,
    policy: Policy,
    policy_changes: Vec<PolicyChange>,
    clock: Option<Arc<dyn Clock>>,
    call_keys: Box<dyn CallKeys>,
    enabled: bool,
    backend_timeout: Duration,
    clear_timeout: Duration,
    breaker_failures: u32,
    breaker_pause: Duration,
    lease_time: Duration,
    max_lease: Duration,
    tag_namespaces: bool,
    tag_cache_ttl: Duration,
    near: Option<Arc<dyn Backend>>,
    near_max_age: Option<Duration>,
    near_max_silence: Duration,
    pending_file: Option<PathBuf>,
    purger: Option<Arc<dyn Purger>>,
    foreground: bool,
    random: Random,
    name: Option<String>,
    observers: Vec<Arc<dyn Observer>>,
}

impl Cache {
    /// Returns a builder for a cache over `backend`.
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

    /// Like [`builder`](Self::builder), for a backend that is already shared.
    pub fn builder_shared(backend: Arc<dyn Backend>) -> CacheBuilder {
        CacheBuilder::new(backend)
    }
}

impl CacheBuilder {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            coder: Json,
            memory_only: false,
            prefix: Prefix::new("cache"),
            namespace: String::new(),
            policy: Policy::default(),
            policy_changes: Vec::new(),
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
            max_lease: Duration::from_secs(10 * 60),
            tag_namespaces: false,
            tag_cache_ttl: Duration::ZERO,
            near: None,
            near_max_age: None,
            near_max_silence: Duration::from_secs(1),
            pending_file: None,
            purger: None,
            foreground: false,
            random: Random::default(),
            name: None,
            observers: Vec::new(),
        }
    }
}

impl<C> CacheBuilder<C> {
    /// Sets the text that every key starts with, so that several applications can share a store. Default: `"cache"`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Prefix::new(prefix);
        self
    }

    /// Sets the namespace of the first handle. Default: the empty one. See [`Cache::with_namespace`].
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Sets how long a value is fresh. `None` is for ever. Default: five minutes.
    pub fn ttl(self, ttl: impl Into<Option<Duration>>) -> Self {
        let ttl = ttl.into();
        self.policy_with(move |policy| policy.with_ttl(ttl))
    }

    /// Sets how long after its freshness a value is returned at once while one load brings a new one. Default: zero.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.policy_with(move |policy| policy.with_stale_while_revalidate(window))
    }

    /// Sets how long after its freshness a value is returned if its load fails. Default: zero.
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.policy_with(move |policy| policy.with_stale_if_error(window))
    }

    /// Sets how long the result "there is no such value" is stored. Default: not at all.
    pub fn negative_ttl(self, ttl: impl Into<Option<Duration>>) -> Self {
        let ttl = ttl.into();
        self.policy_with(move |policy| policy.with_negative_ttl(ttl))
    }

    /// Sets how long a failed load is stored and not retried. Default: not at all.
    pub fn error_ttl(self, ttl: impl Into<Option<Duration>>) -> Self {
        let ttl = ttl.into();
        self.policy_with(move |policy| policy.with_error_ttl(ttl))
    }

    /// Sets the largest fraction, 0 to 1, by which lifetimes are shortened at random. Default: zero.
    pub fn jitter(self, fraction: f64) -> Self {
        self.policy_with(move |policy| policy.with_jitter(fraction))
    }

    /// Sets the share of its lifetime, 0 to 1, after which the next hit refreshes a value in the background, before it
    /// expires; see [`Policy::early_refresh_after`]. Default: `None`, not before it has expired.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use cache_engine::Cache;
    /// # use cache_memory::MemoryBackend;
    /// let cache = Cache::builder(MemoryBackend::default())
    ///     .ttl(Duration::from_secs(60))
    ///     .early_refresh_after(0.8)
    ///     .build();
    /// # let _ = cache;
    /// ```
    pub fn early_refresh_after(self, share: impl Into<Option<f64>>) -> Self {
        let share = share.into();
        self.policy_with(move |policy| policy.with_early_refresh_after(share))
    }

    /// Sets how early hits refresh values by chance, before they expire; see [`Policy::early_refresh_beta`]. 1 is the best
    /// value for most services. Default: 0, never.
    pub fn early_refresh_beta(self, beta: f64) -> Self {
        self.policy_with(move |policy| policy.with_early_refresh_beta(beta))
    }

    /// Sets the share of hits, 0 to 1, whose value is loaded as well and compared with what was found. Default: 0, none.
    ///
    /// If the two differ, and the entry was not replaced or invalidated meanwhile, [`Event::Diverged`] reports the key and
    /// the age of the entry: the source has changed, and nothing has invalidated the entry. Use it to find an invalidation
    /// or a tag that is missing. The caller gets what was found in any case, and what was loaded is not stored.
    ///
    /// The load runs in the background and [bypasses](crate::bypass) all caches; at most 16 run at a time, and further hits
    /// are not verified. A load that borrows from its caller runs in its caller's task, which waits for it. Values are
    /// compared by [`Coder::is_same`](cache_core::Coder::is_same). Concerns values and functions; an HTTP layer does not
    /// compare responses.
    pub fn verify(self, share: f64) -> Self {
        self.policy_with(move |policy| policy.with_verify(share))
    }

    /// Sets the source of random numbers, from 0 up to but not including 1, by which early refreshes and verifications are
    /// drawn. For tests. Default: numbers seeded by the operating system.
    pub fn random(mut self, random: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.random = Random::by(random);
        self
    }

    /// Sets how long a load may take before it is cancelled. Default: no limit.
    pub fn load_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.policy_with(move |policy| policy.with_load_timeout(timeout))
    }

    /// Sets how long a caller that holds a stale copy waits for a load. Default: as long as the load takes.
    pub fn soft_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.policy_with(move |policy| policy.with_soft_timeout(timeout))
    }

    /// Sets whether entries limit the freshness of values that are loaded with them, and pass on their tags; see
    /// [`Policy::contributes`]. Default: `true`.
    pub fn contributes(self, contributes: bool) -> Self {
        self.policy_with(move |policy| policy.with_contributes(contributes))
    }

    /// Sets the [`Policy`] that the other settings change, whether they are called before or after this method.
    /// Default: [`Policy::default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Changes the policy, for settings that have no method here.
    ///
    /// ```
    /// # use cache_engine::Cache;
    /// # use cache_memory::MemoryBackend;
    /// let cache = Cache::builder(MemoryBackend::default())
    ///     .policy_with(|policy| policy.with_coalesce_across_processes(false))
    ///     .build();
    /// # let _ = cache;
    /// ```
    pub fn policy_with(mut self, change: impl FnOnce(Policy) -> Policy + Send + Sync + 'static) -> Self {
        self.policy_changes.push(Box::new(change));
        self
    }

    /// Sets how values are encoded. Default: [`Json`]. Stores in this process hold values as they are, and use the
    /// coder only to determine their size. With the coder [`MemoryOnly`], such a store takes values that cannot be
    /// serialized.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use cache_engine::Cache;
    /// use cache_engine::cache_core::MemoryOnly;
    /// use cache_memory::MemoryBackend;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// struct Template(Box<dyn Fn(&str) -> String + Send + Sync>);
    ///
    /// let templates = Cache::builder(MemoryBackend::default()).coder(MemoryOnly).build();
    /// let compile = || async { Ok::<_, Infallible>(Template(Box::new(|name| format!("Hello, {name}!")))) };
    /// let template = templates.get_or_load("greeting", compile).await?;
    /// assert_eq!((template.0)("Ada"), "Hello, Ada!");
    /// # Ok(()) }
    /// ```
    pub fn coder<D: 'static>(self, coder: D) -> CacheBuilder<D> {
        CacheBuilder {
            backend: self.backend,
            coder,
            memory_only: TypeId::of::<D>() == TypeId::of::<MemoryOnly>(),
            prefix: self.prefix,
            namespace: self.namespace,
            policy: self.policy,
            policy_changes: self.policy_changes,
            clock: self.clock,
            call_keys: self.call_keys,
            enabled: self.enabled,
            backend_timeout: self.backend_timeout,
            clear_timeout: self.clear_timeout,
            breaker_failures: self.breaker_failures,
            breaker_pause: self.breaker_pause,
            lease_time: self.lease_time,
            max_lease: self.max_lease,
            tag_namespaces: self.tag_namespaces,
            tag_cache_ttl: self.tag_cache_ttl,
            near: self.near,
            near_max_age: self.near_max_age,
            near_max_silence: self.near_max_silence,
            pending_file: self.pending_file,
            purger: self.purger,
            foreground: self.foreground,
            random: self.random,
            name: self.name,
            observers: self.observers,
        }
    }

    /// Sets how the calls of `#[cached]` functions without a `key` of their own are named. Default:
    /// [`HashedCall`](cache_core::HashedCall). [`ReadableCall`](cache_core::ReadableCall) names them in plain text.
    pub fn key_builder(mut self, builder: impl for<'a> KeyBuilder<FunctionCall<'a>>) -> Self {
        self.call_keys = Box::new(builder);
        self
    }

    /// Sets the clock by which freshness is determined. Default: the wall clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets whether the cache is initially switched on; see [`Cache::set_enabled`]. Default: `true`.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Sets the time limit for one call to the store. Default: 500 ms. Stores in this process have no limit, since they
    /// never wait.
    pub fn backend_timeout(mut self, timeout: Duration) -> Self {
        self.backend_timeout = timeout;
        self
    }

    /// Sets the time limit for clearing a namespace in a store that walks through its records for it. Default: 60 s.
    pub fn clear_timeout(mut self, timeout: Duration) -> Self {
        self.clear_timeout = timeout;
        self
    }

    /// Sets after how many failures in a row the circuit breaker opens, and after which pause one call probes the
    /// store. Default: three, and one second. With zero failures, the breaker is switched off.
    ///
    /// A failure is a timeout, a lost connection, refused credentials, a missing table, or a call that its caller
    /// cancelled after at least a tenth of the [time limit](Self::backend_timeout). If the store refuses writes, for
    /// example because it is full, only writes stop. A refusal that soon passes, since the store or the client is busy,
    /// counts neither as a failure nor as a success.
    pub fn breaker(mut self, failures: u32, pause: Duration) -> Self {
        self.breaker_failures = failures;
        self.breaker_pause = pause;
        self
    }

    /// Sets how long the lease of a load lasts without a renewal. The lease is renewed while the load runs, so another
    /// process takes over the load of a killed one after at most this time. Default: 5 s; at least 10 ms.
    ///
    /// A load that another load waits for waits no longer than this for the lease of another process. It then runs at
    /// the same time as the load of that process.
    pub fn lease_time(mut self, time: Duration) -> Self {
        self.lease_time = time.max(Duration::from_millis(10));
        self
    }

    /// Sets the maximum time for which a lease is renewed. A load that takes longer loses its lease: its value is not
    /// stored, and other callers load in its place. A refresh in the background is cancelled then. Default: ten minutes; see
    /// also [`load_timeout`](Self::load_timeout).
    pub fn max_lease(mut self, time: Duration) -> Self {
        self.max_lease = time;
        self
    }

    /// Sets whether namespaces are cleared by a tag that all of their entries carry, even if the store can enumerate
    /// them. Default: `false`. If `true`, [`Cache::clear`] costs one record, however many entries there are, and
    /// [`Soft::clear`](crate::Soft::clear) works. Each lookup then reads two more records, in the same round trip,
    /// unless they are [remembered](Self::tag_cache_ttl). For stores that cannot enumerate their records, this is
    /// always on.
    ///
    /// All caches on the same store and prefix must use the same setting.
    pub fn tag_namespaces(mut self, tag: bool) -> Self {
        self.tag_namespaces = tag;
        self
    }

    /// Sets how long this process remembers the version of a tag, and of a namespace that is cleared by a tag. Default:
    /// not at all; an entry with tags then costs one more round trip than one without. For up to this time, this
    /// process may not see that another process has invalidated a tag. Invalidations by this process take effect at
    /// once.
    pub fn tag_cache_ttl(mut self, time: Duration) -> Self {
        self.tag_cache_ttl = time;
        self
    }

    /// Holds copies of the store's records in `near`, which must be a store in this process, such as a `MemoryBackend`.
    /// A hit there costs no round trip, and a tagged entry costs none for its tags either. Use `near` for no other
    /// cache.
    ///
    /// If the store has a change subscription, like Redis, copies are removed as soon as their records change,
    /// whichever process changes them. The delay is that of one message. While the subscription is broken or silent,
    /// copies are not used, and copies from before are not used afterwards either. The loss is reported as an
    /// [event](Event::SubscriptionLost). For any other store, you must set a [maximum age](Self::near_max_age).
    ///
    /// Near copies only serve fresh values. Loads, leases, fences and stale copies belong to the store.
    ///
    /// In front of a store in this process, `near` has no effect, and an event of level `INFO` says so. So the same
    /// settings work for every store.
    pub fn near(mut self, near: impl Backend) -> Self {
        self.near = Some(Arc::new(near));
        self
    }

    /// Sets the maximum age of near copies, counted from when they were read from the store. If the store has no change
    /// subscription, this process may not see a change by another process for up to this time, plus that of
    /// [`tag_cache_ttl`](Self::tag_cache_ttl). Changes by this process take effect at once. Default: none.
    ///
    /// With a subscription, copies up to this age are also used while it is lost, and a change whose report is late or
    /// lost goes unnoticed for no longer than without a subscription. That concerns changes of tags too: their versions
    /// are read again after this time.
    pub fn near_max_age(mut self, age: Duration) -> Self {
        self.near_max_age = Some(age);
        self
    }

    /// Serves near copies for at most this long after the last heartbeat of the change subscription. Bounds their
    /// staleness if the connection hangs. Default: 1 s. A heartbeat is requested from the store four times in this
    /// time.
    pub fn near_max_silence(mut self, bound: Duration) -> Self {
        self.near_max_silence = bound.clamp(Duration::from_millis(4), LONGEST_SILENCE);
        self
    }

    /// Also stores [pending invalidations](Cache::pending_invalidations) in the file at `path`, so that they survive a
    /// restart. A cache that is built with this file reads it at once, and what it names counts as invalid until it is
    /// carried out. Default: none.
    ///
    /// Each instance of the service needs a file of its own, on a disk that survives the restart. The file is small: it
    /// contains at most 10,000 invalidations, and beyond that whole namespaces. An invalidation that fails returns only
    /// when it is on the disk. A file that is damaged, or of another cache, is renamed with the suffix `.damaged` and
    /// reported as [`PendingFileFailed`](Event::PendingFileFailed), as is a disk that fails. If another process writes
    /// the same file, its invalidations are taken over, and that is reported too. A store in this process never fails, so
    /// the file stays empty with one.
    ///
    /// What a [purger](Self::purger) was not told of is stored in a second file beside it, with the suffix `.purges`.
    pub fn pending_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.pending_file = Some(path.into());
        self
    }

    /// Sets what tells caches downstream, such as a CDN, of invalidations: of keys, tags, namespaces and everything, hard
    /// and soft, after the store has carried them out. Default: none.
    ///
    /// An invalidation does not wait for the purger, unless the cache works in the [foreground](Self::foreground);
    /// [`Cache::settled`] does. If the purger fails, it is told again until it succeeds, with pauses of 250 ms that grow
    /// to 30 s; see [`Cache::pending_purges`], [`Event::PurgeFailed`] and [`pending_file`](Self::pending_file). Of more
    /// than 10,000 pending ones, keys are replaced by their namespaces, and tags by everything. Only the process that
    /// invalidates tells its purger, so build the caches of all processes with one.
    ///
    /// ```
    /// use cache_engine::cache_core::{Error, async_trait};
    /// use cache_engine::{Cache, Purge, Purger};
    /// use cache_memory::MemoryBackend;
    ///
    /// struct Cdn;
    ///
    /// #[async_trait]
    /// impl Purger for Cdn {
    ///     async fn purge(&self, purges: &[Purge]) -> Result<(), Error> {
    ///         // Call the CDN.
    /// #       let _ = purges;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let cache = Cache::builder(MemoryBackend::default()).purger(Cdn).build();
    /// # let _ = cache;
    /// ```
    pub fn purger(mut self, purger: impl Purger) -> Self {
        self.purger = Some(Arc::new(purger));
        self
    }

    /// Sets whether callers wait for what the cache would otherwise do in the background. For processes that run only
    /// while they handle a request, such as serverless functions, and are frozen after it. Default: `false`.
    ///
    /// If `true`:
    ///
    /// - The caller that finds a stale value and is to refresh it waits for the new value, up to the
    ///   [soft timeout](Policy::soft_timeout), and gets it. If the load fails, it gets the stale value.
    /// - An invalidation waits for one attempt to tell the [purger](Self::purger).
    /// - An HTTP layer does not send the last piece of a response before what the request has started has ended: until
    ///   then it has refreshed and stored what it can, and holds no lease. It waits for at most its `max_wait`.
    ///
    /// Where there is no HTTP layer, call [`Cache::settled`] at the end of each request: after a load that failed, for
    /// example, the lease is released in the background.
    pub fn foreground(mut self, foreground: bool) -> Self {
        self.foreground = foreground;
        self
    }

    /// Sets the name of the cache, by which [observers](Observer::on_event_of) and [`Cache::stats`] tell caches apart.
    /// Default: the [prefix](Self::prefix).
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Adds an observer of every [`Event`].
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Builds the cache. Leaves out a [near](Self::near) tier that cannot be used, and logs an error;
    /// [`try_build`](Self::try_build) returns the error instead. With a coder that the store cannot use, logs an error and
    /// stores nothing.
    #[must_use]
    pub fn build(mut self) -> Cache<C> {
        if let Err(error) = self.check_coder() {
            tracing::error!(target: "cache", %error, "nothing is stored");
        }
        if let Err(error) = self.check_near() {
            tracing::error!(target: "cache", %error, "the near tier is left out");
            self.near = None;
        }
        self.assemble()
    }

    /// Builds the cache, or returns what is wrong with the settings.
    ///
    /// # Errors
    /// [`Configuration`](ErrorKind::Configuration): there is a [near](Self::near) tier that is not in this process, or
    /// one without a [maximum age](Self::near_max_age) in front of a store without a change subscription. Or the coder is
    /// [`MemoryOnly`], and the store is not in this process.
    pub fn try_build(self) -> Result<Cache<C>, Error> {
        self.check_coder()?;
        self.check_near()?;
        Ok(self.assemble())
    }

    fn check_coder(&self) -> Result<(), Error> {
        if !self.memory_only || self.backend.capabilities().shared_objects {
            return Ok(());
        }
        let message = format!(
            "the coder `MemoryOnly` encodes nothing, and {:?} is not in this process: use a `MemoryBackend`, or another \
             coder",
            self.backend.name()
        );
        Err(Error::new(ErrorKind::Configuration, message).with_operation("build"))
    }

    fn check_near(&self) -> Result<(), Error> {
        let Some(near) = &self.near else { return Ok(()) };
        if self.backend.capabilities().shared_objects {
            return Ok(());
        }
        let wrong = |message| Err(Error::new(ErrorKind::Configuration, message).with_operation("build"));
        if !near.capabilities().shared_objects {
            return wrong(format!(
                "the near tier must be a store of this process, such as a `MemoryBackend`, and {:?} is not",
                near.name()
            ));
        }
        if self.near_max_age.is_none() && !self.backend.capabilities().subscribe {
            return wrong(format!(
                "{:?} has no change subscription, so near copies would never be removed: set their maximum age with \
                 `.near_max_age(…)`",
                self.backend.name()
            ));
        }
        Ok(())
    }

    fn assemble(mut self) -> Cache<C> {
        if self.backend.capabilities().shared_objects && self.near.take().is_some() {
            tracing::info!(target: "cache", "the near tier is not used, since the store is in this process itself");
        }
        let namespace = self.prefix.namespace(&self.namespace);
        let name = self.name.unwrap_or_else(|| prefix_text(&namespace));
        let events = Events::new(&name, self.observers);
        let tiers = [
            (Some(&self.backend), CacheTier::Store),
            (self.near.as_ref(), CacheTier::Near),
        ];
        for (backend, tier) in tiers {
            let (events, scope) = (events.clone(), self.prefix.scope());
            if let Some(backend) = backend {
                (**backend).on_eviction(Box::new(move |key| {
                    if scope.contains(key) {
                        events.emit(&Event::Evicted { key, tier });
                    }
                }));
            }
        }
        let breaker = || Breaker::new(self.breaker_failures, self.breaker_pause);
        let store = Arc::new(Store::new(
            self.backend,
            self.backend_timeout,
            self.clear_timeout,
            breaker(),
            breaker(),
            events.clone(),
        ));
        let same_clock = self.clock.is_none();
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let changes = Arc::new(Changes::new(self.near_max_silence));
        let near = self
            .near
            .map(|near| Arc::new(Near::new(near, &store, self.near_max_age, &changes)));
        let tag_cache = Arc::new(TagCache::new(
            self.tag_cache_ttl,
            near.as_ref().and_then(|near| near.max_age()),
            near.is_some().then(|| Arc::clone(&changes)),
        ));
        let subscribes = store.backend().capabilities().subscribe;
        let subscriber = subscribes.then(|| {
            Subscriber::new(
                &store,
                self.prefix.scope(),
                &changes,
                near.as_ref(),
                &tag_cache,
                &events,
            )
        });
        let renewal = self.lease_time.min(self.max_lease);
        let tags = TagRecords::new(&store, &clock, &self.prefix, self.tag_namespaces, &tag_cache, renewal);
        let purges = self.purger.map(|purger| {
            let pending = Pending::of_purges(self.pending_file.clone(), &self.prefix);
            Purges::new(purger, pending, &clock, &events, self.foreground)
        });
        let tasks = Tasks::new();
        let tier = Arc::new(Tier {
            purges,
            tags: Arc::new(tags),
            near,
            subscriber,
            store,
            same_clock,
            clock,
            events: events.clone(),
            prefix: self.prefix.clone(),
            pending: Arc::new(Pending::new(self.pending_file, &self.prefix)),
        });
        tier.restore_pending();
        let policy = self
            .policy_changes
            .into_iter()
            .fold(self.policy, |policy, change| change(policy));
        let cache = Cache {
            counters: events.stats().of(&namespace),
            namespace: Arc::new(namespace),
            engine: Engine {
                on_hit: OnHit::of(&policy),
                policy,
                shared: Arc::new(Shared {
                    prefix: self.prefix,
                    leases: Leases::new(&tier, &tasks, self.lease_time, self.max_lease),
                    tier,
                    flights: Flights::default(),
                    fresh_keys: FreshKeys::default(),
                    events,
                    call_keys: self.call_keys,
                    tasks,
                    foreground: self.foreground,
                    random: self.random,
                    due: DueKeys::default(),
                    verifications: Arc::new(Semaphore::new(VERIFICATIONS)),
                    enabled: AtomicBool::new(self.enabled),
                }),
                tags: Declared::default(),
                coder: Arc::new(self.coder),
            },
        };
        cache.introduce();
        cache
    }
}

/// Returns the text of a namespace's prefix, as it is written in keys.
fn prefix_text(namespace: &Namespace) -> String {
    let prefix = namespace.prefix().scope();
    prefix.as_str().strip_suffix(':').unwrap_or_default().to_owned()
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
