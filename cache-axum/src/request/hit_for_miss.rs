//! Remembers URLs whose last response was for one caller only (hit-for-miss). Requests for them do not wait for each
//! other.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache_engine::cache_core::{Key, Timestamp};
use http::HeaderName;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, ORIGIN,
    PRAGMA, RANGE,
};

use crate::entry::variant_index::Selecting;

/// How many URLs can be remembered. One more replaces another.
const SLOTS: usize = 4096;

/// The fields that make no difference to handlers whose responses are stored.
const OF_THE_CACHE: [HeaderName; 6] = [CACHE_CONTROL, PRAGMA, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE];

/// The fields whose values most often select a variant.
const SELECTING: [HeaderName; 4] = [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ORIGIN];

/// How long a URL is remembered.
const KEPT: Duration = Duration::from_secs(10);

/// How long it is remembered that a response could be stored.
const STORABLE: Duration = Duration::from_secs(60);

/// How long it is remembered that spellings of a path lead to different routes, which do not change while a process runs.
const ROUTED: Duration = Duration::from_secs(3600);

/// The longest time to remember that a response is being loaded. It is forgotten when the load ends.
const DECIDED_WITHIN: Duration = Duration::from_secs(600);

/// What is remembered about a URL. With each of these, requests do not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// Responses to requests with different values in their fields were refused. This applies only to requests with the
    /// same fields, because one of them may be the reason.
    Refused,
    /// The same for responses with `Vary`, which say nothing about other variants. This applies only to requests that also
    /// have the same values in the fields that most often select a variant.
    VariantRefused,
    /// A response was refused. This applies only to requests with the same fields and values, because one of them may be the
    /// reason.
    RefusedAlike,
    /// A response was refused, and another refusal with other values will show that the values are not the reason.
    RefusedOnce,
    /// The same for a response with `Vary`.
    VariantRefusedOnce,
    /// A response could be stored. So what is refused is refused for the values of fields.
    Storable,
    /// A response was refused because the request had credentials. This applies only to requests with credentials.
    RefusedToCredentials,
    /// The whole response is too large to be stored, so the handler is called for ranges of it.
    TooLarge,
    /// Another route serves other spellings of the path. This applies only to requests with such a spelling.
    OtherRoute,
    /// The response to a POST was not one that also answers a later GET.
    NotForGet,
    /// The response to a request with credentials is being loaded, and may turn out to be for that request only.
    Undecided,
}

/// Remembers, until it is dropped, that a response is being loaded that may turn out to be for one request only.
#[derive(Debug)]
pub(crate) struct Probe {
    hit_for_miss: Arc<HitForMiss>,
    key: Key,
    distinguishing: u64,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.hit_for_miss
            .clear(&self.key, Remembered::Undecided, self.distinguishing);
    }
}

/// A small, lossy set of keys. If an entry is lost, a request waits once. If two keys collide, an entry for one of them
/// prevents a shared load for the other.
pub(crate) struct HitForMiss {
    hasher: RandomState,
    /// The upper half of each slot is a fingerprint, the lower half the deadline in units of 64 ms since `origin`.
    slots: Box<[AtomicU64]>,
    origin: Timestamp,
    /// The latest of all deadlines, so that nothing is hashed while the set is empty.
    latest: AtomicU64,
}

impl HitForMiss {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            hasher: RandomState::new(),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            origin: now,
            latest: AtomicU64::new(0),
        }
    }

    fn ticks(&self, now: Timestamp) -> u64 {
        (now.saturating_since(self.origin).as_millis() as u64 >> 6) & u64::from(u32::MAX)
    }

    fn slot(&self, key: &Key, mark: Remembered, distinguishing: u64) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one((key.as_str(), mark as u8, distinguishing));
        // The lower bits choose the slot. The upper bits are the fingerprint.
        let index = (hash & (SLOTS as u64 - 1)) as usize;
        (&self.slots[index], hash & !u64::from(u32::MAX))
    }

    /// Returns a hash of what distinguishes a request from others with the same key: the query, if the key does not
    /// contain it, the route, if the path is not spelled in its normal form, and for a refusal the names of its fields and
    /// some of their values, in any order. Handlers whose responses are stored do not read the fields that are about caching
    /// or about the requested part.
    fn distinguishing(&self, mark: Remembered, request: Selecting<'_>) -> u64 {
        let mut query = request.query.map_or(0, |query| self.hasher.hash_one(query));
        if request.routing.is_respelled && mark != Remembered::OtherRoute {
            query = query.wrapping_add(self.hasher.hash_one(request.routing.route));
        }
        let is_of_fields = matches!(
            mark,
            Remembered::Refused
                | Remembered::VariantRefused
                | Remembered::RefusedAlike
                | Remembered::RefusedOnce
                | Remembered::VariantRefusedOnce
                | Remembered::Storable
        );
        if !is_of_fields {
            return query;
        }
        let add = |sum: u64, hash: u64| sum.wrapping_add(hash);
        let named = || request.headers.keys().filter(|name| !OF_THE_CACHE.contains(name));
        let names = named().fold(query, |sum, name| add(sum, self.hasher.hash_one(name)));
        let add_values = |sum: u64, name: &HeaderName| {
            let values = request.headers.get_all(name).iter();
            values.fold(sum, |sum, value| add(sum, self.hasher.hash_one((name, value))))
        };
        match mark {
            Remembered::VariantRefused | Remembered::VariantRefusedOnce => SELECTING.iter().fold(names, add_values),
            Remembered::RefusedAlike => named().fold(names, add_values),
            _ => names,
        }
    }

    pub(crate) fn contains(&self, key: &Key, mark: Remembered, request: Selecting<'_>, now: Timestamp) -> bool {
        let now = self.ticks(now);
        if now >= self.latest.load(Ordering::Relaxed) {
            return false;
        }
        let (slot, fingerprint) = self.slot(key, mark, self.distinguishing(mark, request));
        is_live(slot.load(Ordering::Relaxed), fingerprint, now)
    }

    pub(crate) fn insert(&self, key: &Key, mark: Remembered, request: Selecting<'_>, now: Timestamp) {
        self.insert_for(KEPT, key, mark, request, now);
    }

    /// Remembers that a response to `request` was refused. `mark` is [`Remembered::Refused`] or
    /// [`Remembered::VariantRefused`], and says which other requests will probably be refused too. That they are is believed
    /// only if requests with other values were, and none with the same fields was not.
    pub(crate) fn refuse(&self, key: &Key, mark: Remembered, request: Selecting<'_>, now: Timestamp) {
        let once = match mark {
            Remembered::VariantRefused => Remembered::VariantRefusedOnce,
            _ => Remembered::RefusedOnce,
        };
        let is_remembered = |what| self.contains(key, what, request, now);
        let is_by_value = is_remembered(Remembered::RefusedAlike) || is_remembered(Remembered::Storable);
        if is_remembered(mark) || is_remembered(once) && !is_by_value {
            self.insert(key, mark, request, now);
        }
        self.insert(key, once, request, now);
        self.insert(key, Remembered::RefusedAlike, request, now);
    }

    /// Remembers that a response to `request` could be stored, and forgets that others were refused.
    pub(crate) fn accept(&self, key: &Key, request: Selecting<'_>, now: Timestamp) {
        for mark in [
            Remembered::Refused,
            Remembered::VariantRefused,
            Remembered::RefusedAlike,
            Remembered::RefusedOnce,
            Remembered::VariantRefusedOnce,
        ] {
            self.remove(key, mark, request);
        }
        self.insert_for(STORABLE, key, Remembered::Storable, request, now);
    }

    /// Returns whether nothing is remembered.
    pub(crate) fn is_empty(&self, now: Timestamp) -> bool {
        self.ticks(now) >= self.latest.load(Ordering::Relaxed)
    }

    /// Remembers that different routes serve the spellings of a path.
    pub(crate) fn insert_other_route(&self, key: &Key, request: Selecting<'_>, now: Timestamp) {
        self.insert_for(ROUTED, key, Remembered::OtherRoute, request, now);
    }

    /// Like [`insert`](Self::insert), but for this time if it is longer.
    pub(crate) fn insert_for(
        &self,
        time: Duration,
        key: &Key,
        mark: Remembered,
        request: Selecting<'_>,
        now: Timestamp,
    ) {
        let deadline = (self.ticks(now) + (time.max(KEPT).as_millis() as u64 >> 6) + 1).min(u64::from(u32::MAX));
        let (slot, fingerprint) = self.slot(key, mark, self.distinguishing(mark, request));
        slot.store(fingerprint | deadline, Ordering::Relaxed);
        self.latest.fetch_max(deadline, Ordering::Relaxed);
    }

    /// Remembers a URL as undecided until the result is dropped. Returns `None` if it already is.
    pub(crate) fn probe(self: &Arc<Self>, key: &Key, request: Selecting<'_>, now: Timestamp) -> Option<Probe> {
        let deadline = self.ticks(now + DECIDED_WITHIN) + 1;
        let now = self.ticks(now);
        let distinguishing = self.distinguishing(Remembered::Undecided, request);
        let (slot, fingerprint) = self.slot(key, Remembered::Undecided, distinguishing);
        let marked = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |other| {
            (!is_live(other, fingerprint, now)).then_some(fingerprint | deadline)
        });
        self.latest.fetch_max(deadline, Ordering::Relaxed);
        marked.is_ok().then(|| Probe {
            hit_for_miss: Arc::clone(self),
            key: key.clone(),
            distinguishing,
        })
    }

    pub(crate) fn remove(&self, key: &Key, mark: Remembered, request: Selecting<'_>) {
        self.clear(key, mark, self.distinguishing(mark, request));
    }

    fn clear(&self, key: &Key, mark: Remembered, distinguishing: u64) {
        let (slot, fingerprint) = self.slot(key, mark, distinguishing);
        let mark = slot.load(Ordering::Relaxed);
        if mark & !u64::from(u32::MAX) == fingerprint {
            // Leaves an entry that another request has written in between.
            let _ = slot.compare_exchange(mark, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

fn is_live(mark: u64, fingerprint: u64, now: u64) -> bool {
    mark & !u64::from(u32::MAX) == fingerprint && mark & u64::from(u32::MAX) > now
}

impl fmt::Debug for HitForMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HitForMiss").finish_non_exhaustive()
    }
}
