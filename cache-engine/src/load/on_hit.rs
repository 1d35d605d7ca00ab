//! What a call does about a fresh value besides returning it: refresh it before it expires, or verify it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_core::{Key, Timestamp};

use crate::load::policy::Policy;
use crate::store::record::Found;

/// What a policy has calls do about hits. Public for the code that the attributes generate.
#[cfg_attr(not(feature = "functions"), expect(unreachable_pub))]
#[derive(Debug, Clone, Copy)]
pub struct OnHit {
    after: Option<f64>,
    beta: f64,
    verify: f64,
}

/// What a call does about one fresh value besides returning it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Due {
    #[default]
    Nothing,
    /// Refresh it in the background.
    EarlyRefresh,
    /// Load it as well, and compare.
    Verification,
}

impl OnHit {
    /// Returns what `policy` has calls do. `None` if that is nothing.
    #[cfg_attr(not(feature = "functions"), expect(unreachable_pub))]
    #[must_use]
    pub fn of(policy: &Policy) -> Option<Self> {
        let Policy {
            early_refresh_after: after,
            early_refresh_beta: beta,
            verify,
            ..
        } = *policy;
        (after.is_some() || beta > 0.0 || verify > 0.0).then_some(Self { after, beta, verify })
    }

    /// Returns whether calls refresh values before they expire.
    pub(crate) fn may_refresh(&self) -> bool {
        self.after.is_some() || self.beta > 0.0
    }

    /// Draws what a call does about the fresh value `found`.
    pub(crate) fn due<T>(&self, found: &Found<T>, now: Timestamp, random: &Random) -> Due {
        if self.verify > 0.0 && random.draw() < self.verify {
            Due::Verification
        } else if self.refreshes_early(found, now, random) {
            Due::EarlyRefresh
        } else {
            Due::Nothing
        }
    }

    /// Draws whether a call refreshes the fresh value `found` before it expires.
    pub(crate) fn refreshes_early<T>(&self, found: &Found<T>, now: Timestamp, random: &Random) -> bool {
        let Some(fresh) = found.windows.fresh else { return false };
        if let Some(share) = self.after
            && found.age(now).as_secs_f64() >= share * fresh.as_secs_f64()
        {
            return true;
        }
        let Some(load_time) = found.load_time.filter(|_| self.beta > 0.0) else {
            return false;
        };
        let left = fresh.saturating_sub(found.age(now)).as_secs_f64();
        // Vattani et al., figure 3: recompute if now − δ·β·ln(rand()) ≥ expiry. The number is never 0 here, since its
        // logarithm is infinite.
        let drawn = 1.0 - random.draw();
        -load_time.as_secs_f64() * self.beta * drawn.ln() >= left
    }
}

/// A source of random numbers, from 0 up to but not including 1.
#[derive(Clone, Default)]
pub(crate) struct Random(Option<Arc<dyn Fn() -> f64 + Send + Sync>>);

impl Random {
    pub(crate) fn by(random: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(random)))
    }

    fn draw(&self) -> f64 {
        match &self.0 {
            Some(random) => random(),
            None => cache_core::random(),
        }
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

/// The number of keys that may be marked at the same time. A key takes the place of another one by chance, whose refresh
/// is then drawn again.
const SLOTS: usize = 64;

/// Marks entries whose early refresh was drawn by a read that cannot start it. The lookup that follows at once does, and
/// does not draw again.
#[derive(Debug)]
pub(crate) struct DueKeys {
    hasher: RandomState,
    /// The hashes of the entries.
    slots: [AtomicU64; SLOTS],
}

impl Default for DueKeys {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl DueKeys {
    pub(crate) fn mark<T>(&self, key: &Key, found: &Found<T>) {
        let (slot, hash) = self.slot(key, found);
        slot.store(hash, Ordering::Relaxed);
    }

    /// Returns whether the entry is marked, and removes the mark.
    pub(crate) fn take<T>(&self, key: &Key, found: &Found<T>) -> bool {
        let (slot, hash) = self.slot(key, found);
        slot.compare_exchange(hash, 0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn slot<T>(&self, key: &Key, found: &Found<T>) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one((key.as_str(), found.version)) | 1;
        let slot = usize::try_from((hash >> 1) % SLOTS as u64).unwrap_or(0);
        (&self.slots[slot], hash)
    }
}
