//! How long entries live and how they are loaded.

use std::time::Duration;

use cache_core::FreshnessWindows;

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
    pub jitter: f64,
    /// How long a caller waits for a load if there is a stale copy that [`stale_if_error`](Self::stale_if_error)
    /// permits it to use. Default: `None`, as long as the load takes.
    pub soft_timeout: Option<Duration>,
    /// How long a load may take before it is cancelled. Default: `None`, no limit.
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
    pub fn with_ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.ttl = ttl.into();
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
    pub fn with_negative_ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.negative_ttl = ttl.into();
        self
    }

    /// Sets [`error_ttl`](Self::error_ttl).
    pub fn with_error_ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.error_ttl = ttl.into();
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

    /// Sets [`soft_timeout`](Self::soft_timeout).
    pub fn with_soft_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.soft_timeout = timeout.into();
        self
    }

    /// Sets [`load_timeout`](Self::load_timeout).
    pub fn with_load_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.load_timeout = timeout.into();
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
            soft_timeout: None,
            load_timeout: None,
            coalesce_across_processes: true,
            contributes: true,
        }
    }
}
