//! Reservations: the right to replace what is stored under a key, if nothing changes it in the meantime.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, Key, Version};
use tokio::time::Instant;

use crate::lease::fence::Fence;
use crate::load::engine::Engine;
use crate::load::fill::{Fill, Outcome};
use crate::load::flight::ResultType;
use crate::load::shared::Shared;
use crate::tags::scope::Tagger;
use crate::tags::snapshot::TagSnapshot;
use crate::tier::precondition::{Lease, Precondition};
use crate::tier::read::Read;
use crate::trace::load::RunsFor;

/// The right to replace what is stored under a key, if nothing changes it in the meantime.
///
/// Unlike a [`Fill`], it keeps nobody waiting: other callers find what is stored, or load. Use it for work that may turn
/// out to bring a value. When it has, [begin](Self::begin) the fill. Otherwise drop the reservation.
#[must_use = "dropping it gives up the right"]
pub struct Reservation<T, E = Infallible> {
    shared: Arc<Shared>,
    key: Key,
    /// The record that is to be replaced.
    record: Version,
    /// Whether the record is a placeholder of this reservation.
    is_placed: bool,
    /// The tags of the value, as they were when the reservation was made.
    snapshot: TagSnapshot,
    /// A time before the snapshot was taken.
    since: Instant,
    /// Adds further tags during the work.
    tagger: Tagger,
    result: PhantomData<fn() -> Outcome<T, E>>,
}

impl<C: Send + Sync + 'static> Engine<C> {
    /// Reserves a key. Returns `None` if another caller loads it, or if the store does not answer.
    pub(crate) async fn reserve<T, E>(&self, key: &Key) -> Option<Reservation<T, E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let (tier, since) = (&self.shared.tier, Instant::now());
        let snapshot = tier.capture(key, &self.tags, None).await.ok()?;
        let (record, is_placed) = match tier.read_store::<T, C>(key, &self.coder).await {
            Read::Fresh(_, version)
            | Read::Stale(_, version)
            | Read::NegativeHit(version, _)
            | Read::FailedLoad(_, _, version, _)
            | Read::Miss(Precondition::Record(version) | Precondition::Lease(version), _) => (version, false),
            Read::Miss(Precondition::Nothing, _) => (
                self.shared.leases.place(key, &snapshot.tags).await.ok().flatten()?,
                true,
            ),
            Read::Leased(..) | Read::Unavailable(_) => return None,
        };
        Some(Reservation {
            shared: Arc::clone(&self.shared),
            key: key.clone(),
            record,
            is_placed,
            snapshot,
            since,
            tagger: Tagger::new(&tier.tags),
            result: PhantomData,
        })
    }
}

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Reservation<T, E> {
    /// Adds tags to the value that the work may bring. Run the work in its [scope](Tagger::scope).
    #[must_use]
    pub fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    /// Returns how long the value is fresh at most, as [`Fill::fresh_at_most`] does.
    #[must_use]
    pub fn fresh_at_most(&self) -> Option<Duration> {
        self.tagger.fresh_for(&self.snapshot.tags)
    }

    /// Removes what is stored under the key, and begins the fill that replaces it. From now on other callers wait for
    /// the fill. Returns `None` if the key was invalidated or written since it was reserved, or if the store does not
    /// answer.
    ///
    /// If you drop the future, what was stored may have been removed or not.
    pub async fn begin(mut self) -> Option<Fill<T, E>> {
        let result = ResultType::of::<Outcome<T, E>>(0);
        let lead = self.shared.flights.lead_instead(&self.key, result);
        let replaced = self
            .shared
            .leases
            .replace(&self.key, self.record, &self.snapshot.tags)
            .await;
        self.shared.tier.forget_near(&self.key);
        let fence = replaced.ok().flatten()?;
        self.is_placed = false;
        let mut fill = Fill::new(Arc::clone(&self.shared), self.key.clone(), lead, None);
        fill.arm((fence, std::mem::take(&mut self.snapshot)));
        fill.reserved_at(self.since);
        fill.set_tagger(&self.tagger);
        fill.begin_context(RunsFor::Caller);
        fill.begin();
        Some(fill)
    }
}

impl<T, E> Drop for Reservation<T, E> {
    fn drop(&mut self) {
        if self.is_placed {
            let placeholder = Fence::Lease(Lease::new(self.record));
            self.shared.release(self.key.clone(), placeholder, None);
        }
    }
}

impl<T, E> fmt::Debug for Reservation<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
