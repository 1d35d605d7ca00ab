//! How long entries live and how they are loaded.

use std::time::Duration;

use cache_core::{FreshnessWindows, OptionalDuration};

/// How long entries live and how they are loaded.
///
/// A [`Cache`](crate::Cache) has a default policy, which its [builder](crate::Cache::builder) sets.
/// [`Cache::with_policy`](crate::Cache::with_policy) returns a handle with another policy.
///
/// All durations are rounded up to whole milliseconds.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub struct Policy {
    /// How long a value is fresh. `None` means for ever. Default: five minutes.
    pub ttl: Option<Duration>,
    /// How long after its freshness a value is still returned at once, while one load refreshes it (RFC 5861 §3).
    /// Default: zero.
    pub stale_while_revalidate: Duration,
    /// How long after its freshness a value is still returned if the load fails or takes longer than
    /// [`soft_timeout`](Self::soft_timeout) (RFC 5861 §4). Default: zero.
    pub stale_if_error: Duration,
    /// How long "there is no such value" is remembered. Default: `None`, not at all.
    pub negative_ttl: Option<Duration>,
    /// How long a failed load is remembered and not retried. Default: `None`, not at all.
    pub error_ttl: Option<Duration>,
    /// The fraction, from 0 to 1, by which each lifetime is shortened at most. The actual part is random, so that
    /// entries that were stored together do not expire together. Default: zero.
    ///
    /// Concerns how long an entry is fresh: the [`ttl`](Self::ttl), a lifetime that the loader
    /// [sets](crate::Loaded::with_ttl), [`negative_ttl`](Self::negative_ttl) and [`error_ttl`](Self::error_ttl). The stale
    /// windows keep their lengths, and begin sooner. Of an HTTP layer, it concerns the lifetimes that come from the
    /// layer's settings, and none that the handler states.
    pub jitter: f64,
    /// Refreshes a value before it expires: the share of its lifetime, from 0 to 1, after which the next hit starts a load
    /// in the background. With 0.8, a value that is fresh for a minute is refreshed by the first hit after 48 s. All
    /// callers get the old value meanwhile, and it is a hit. Without hits, nothing is loaded. Default: `None`, not before
    /// it has expired.
    ///
    /// Loads that [borrow](crate::Cache::borrowing) from their caller cannot run in the background, so they refresh
    /// nothing early. If the early load fails, the value stays, and the next hit tries again.
    pub early_refresh_after: Option<f64>,
    /// Refreshes a value before it expires, by chance: each hit starts a load in the background with the probability
    /// *e*<sup>−*r*/(*β·d*)</sup>, where *r* is how long the value is still fresh, *d* is how long its load took, and *β*
    /// is this number. So the load begins early enough to end before the value expires, values whose loads are slow are
    /// refreshed sooner, and processes that share a store rarely start at the same time. 1 is the best value for most
    /// services; a larger one refreshes earlier. Default: 0, never.
    ///
    /// This is "XFetch" of Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention" (VLDB
    /// 2015). The time of the load is stored with the value if this is set when it is stored. Values that were
    /// [set](crate::Cache::set) have none. Otherwise as [`early_refresh_after`](Self::early_refresh_after); if both are
    /// set, whichever comes first starts the load.
    pub early_refresh_beta: f64,
    /// The share of hits, from 0 to 1, whose value is loaded as well and compared with what was found. If they differ,
    /// [`Event::Diverged`](crate::Event::Diverged) reports it. For finding missing invalidations; see
    /// [`CacheBuilder::verify`](crate::CacheBuilder::verify). Default: 0, none.
    pub verify: f64,
    /// How long a caller waits for a load if there is a stale copy that [`stale_if_error`](Self::stale_if_error)
    /// permits it to use. Default: `None`, as long as the load takes.
    pub soft_timeout: Option<Duration>,
    /// How long a load may take before it is cancelled. Default: `None`, no limit, except for refreshes in the background:
    /// they are cancelled after [`max_lease`](crate::CacheBuilder::max_lease) in any case.
    pub load_timeout: Option<Duration>,
    /// Whether to wait for a load that another process is running, so that the cluster loads a key once. Default:
    /// `true`. If `false`, each process loads for itself, and the first to finish stores its value. An invalidation ends
    /// all of them either way.
    pub coalesce_across_processes: bool,
    /// Whether an entry contributes to values that are loaded with it, of this cache or another: each is fresh no longer
    /// than the entry, and carries the entry's tags. If the entry is stale, the value is stale too. Default: `true`.
    ///
    /// Set it to `false` for entries that are only looked up on the way to a value, such as a session or a switch, and
    /// whose change does not make the value outdated.
    ///
    /// What else contributes:
    /// - "there is no value", for as long as that is remembered, or for the `ttl` if it is not;
    /// - an error, for as long as it is remembered; if it is not, or if the loader says not to store its value, the
    ///   value that is loaded with it is not fresh;
    /// - an entry that waited for the load of another caller, or was loaded while its store was unavailable.
    ///
    /// A value gets at most 256 tags from other entries, and no tags of another cache. Otherwise it is returned and not
    /// stored, since an invalidation of a tag that was left out would be missed; see
    /// [`StoreOutcome::Uncarried`](crate::StoreOutcome::Uncarried).
    pub contributes: bool,
}

impl Policy {
    /// Creates a policy with this [`ttl`](Self::ttl), and the defaults for everything else.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl: Some(ttl),
            ..Self::default()
        }
    }

    /// Sets [`ttl`](Self::ttl). `None` means for ever.
    pub fn with_ttl(mut self, ttl: impl OptionalDuration) -> Self {
        self.ttl = ttl.into_option();
        self
    }

    /// Sets [`stale_while_revalidate`](Self::stale_while_revalidate).
    pub fn with_stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = window;
        self
    }

    /// Sets [`stale_if_error`](Self::stale_if_error).
    pub fn with_stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = window;
        self
    }

    /// Sets [`negative_ttl`](Self::negative_ttl).
    pub fn with_negative_ttl(mut self, ttl: impl OptionalDuration) -> Self {
        self.negative_ttl = ttl.into_option();
        self
    }

    /// Sets [`error_ttl`](Self::error_ttl).
    pub fn with_error_ttl(mut self, ttl: impl OptionalDuration) -> Self {
        self.error_ttl = ttl.into_option();
        self
    }

    /// Sets [`jitter`](Self::jitter). Values outside of 0 to 1 are clamped.
    pub fn with_jitter(mut self, fraction: f64) -> Self {
        self.jitter = if fraction.is_nan() {
            0.0
        } else {
            fraction.clamp(0.0, 1.0)
        };
        self
    }

    /// Sets [`early_refresh_after`](Self::early_refresh_after). Values outside of 0 to 1 are clamped.
    pub fn with_early_refresh_after(mut self, share: impl Into<Option<f64>>) -> Self {
        self.early_refresh_after = share
            .into()
            .filter(|share| !share.is_nan())
            .map(|share| share.clamp(0.0, 1.0));
        self
    }

    /// Sets [`early_refresh_beta`](Self::early_refresh_beta). Negative values count as 0.
    pub fn with_early_refresh_beta(mut self, beta: f64) -> Self {
        self.early_refresh_beta = beta.max(0.0);
        self
    }

    /// Sets [`verify`](Self::verify). Values outside of 0 to 1 are clamped.
    pub fn with_verify(mut self, share: f64) -> Self {
        self.verify = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self
    }

    /// Sets [`soft_timeout`](Self::soft_timeout).
    pub fn with_soft_timeout(mut self, timeout: impl OptionalDuration) -> Self {
        self.soft_timeout = timeout.into_option();
        self
    }

    /// Sets [`load_timeout`](Self::load_timeout).
    pub fn with_load_timeout(mut self, timeout: impl OptionalDuration) -> Self {
        self.load_timeout = timeout.into_option();
        self
    }

    /// Sets [`coalesce_across_processes`](Self::coalesce_across_processes).
    pub fn with_coalesce_across_processes(mut self, wait: bool) -> Self {
        self.coalesce_across_processes = wait;
        self
    }

    /// Sets [`contributes`](Self::contributes).
    pub fn with_contributes(mut self, contributes: bool) -> Self {
        self.contributes = contributes;
        self
    }

    /// Returns the windows of a value that is stored now, with jitter applied.
    pub(crate) fn windows(&self) -> FreshnessWindows {
        FreshnessWindows::new(self.ttl.map(|ttl| self.jittered(ttl)))
            .with_stale_while_revalidate(self.stale_while_revalidate)
            .with_stale_if_error(self.stale_if_error)
    }

    /// Returns how long the store retains a record after all of its windows have ended. A refresh that began before that
    /// replaces the record under the condition that it is still there, so it must be given the time to end.
    pub(crate) fn grace(&self, lease_time: Duration, load_time: Option<Duration>) -> Duration {
        const AT_MOST: Duration = Duration::from_secs(60);
        if self.early_refresh_after.is_none() && self.early_refresh_beta <= 0.0 {
            return Duration::ZERO;
        }
        let usual = load_time.map_or(lease_time, |load_time| lease_time.max(load_time.saturating_mul(2)));
        usual.min(AT_MOST)
    }

    /// Returns whether a value may be used at any time after it was stored.
    #[cfg(feature = "functions")]
    pub(crate) fn keeps_values(&self) -> bool {
        self.ttl.is_none_or(|ttl| !ttl.is_zero())
            || !self.stale_while_revalidate.is_zero()
            || !self.stale_if_error.is_zero()
    }

    /// Returns the windows of an entry that records that there is no value, or that the load failed.
    pub(crate) fn negative_windows(&self, ttl: Duration) -> FreshnessWindows {
        FreshnessWindows::new(Some(self.jittered(ttl)))
    }

    /// Returns the windows of a result that is not remembered.
    pub(crate) fn not_remembered() -> FreshnessWindows {
        FreshnessWindows::new(Duration::ZERO)
    }

    fn jittered(&self, ttl: Duration) -> Duration {
        cache_core::jittered(ttl, self.jitter)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ttl: Some(Duration::from_secs(5 * 60)),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            negative_ttl: None,
            error_ttl: None,
            jitter: 0.0,
            early_refresh_after: None,
            early_refresh_beta: 0.0,
            verify: 0.0,
            soft_timeout: None,
            load_timeout: None,
            coalesce_across_processes: true,
            contributes: true,
        }
    }
}
