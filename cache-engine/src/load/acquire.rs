//! Acquiring the lease of a load, or finding that the load is unnecessary.

use std::time::Duration;

use cache_core::{Coder, Error};
use tokio::time::Instant;

use crate::load::backoff::Backoff;
use crate::load::call::Accepts;
use crate::load::engine::Engine;
use crate::load::fill::{Fill, Outcome};
use crate::load::flight::Lead;
use crate::load::step::{LoadStart, remembered};
use crate::tags::declared::Declared;
use crate::tags::snapshot::TagSnapshot;
use crate::tier::precondition::Precondition;
use crate::tier::read::Read;

/// The result of [`acquire`](Engine::acquire).
pub(crate) enum Acquired<T, E> {
    /// Load.
    Load(Fill<T, E>),
    /// Another load was faster: this is its outcome.
    Answered(Outcome<T, E>),
}

impl<C: Send + Sync + 'static> Engine<C> {
    /// Acquires the lease of a load, or finds that another process in the cluster has made the load unnecessary.
    ///
    /// A load that another load waits for must not wait for a lease without a bound, because the holder of the lease
    /// may in turn wait for it. After one lease time it therefore runs beside that lease.
    pub(crate) async fn acquire<T, E>(&self, start: LoadStart<T, E>, accepts: Accepts) -> Acquired<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        // Without a store there is no lease, and the read may have brought it.
        if start.outage || start.fill.is_storable() {
            return Acquired::Load(start.fill);
        }
        // Boxed, to keep the future of a load whose read brought the lease small.
        Box::pin(self.acquire_now(start, accepts)).await
    }

    async fn acquire_now<T, E>(&self, start: LoadStart<T, E>, accepts: Accepts) -> Acquired<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let LoadStart {
            mut fill,
            mut precondition,
            nested,
            beside_from,
            ..
        } = start;
        if fill.inherit(&self.tags).await {
            return Acquired::Load(fill);
        }
        let mut backoff = Backoff::new();
        let mut listener = None;
        let begun = Instant::now();
        loop {
            if let Some(precondition) = precondition
                && fill.acquire(precondition, &self.tags).await
            {
                return Acquired::Load(fill);
            }
            fill.seal();
            let key = fill.key();
            let heard = listener.replace(self.shared.tier.listen(key));
            drop(heard);
            let bounded = nested || fill.lead().is_some_and(Lead::is_awaited_by_load);
            let left = beside_from.saturating_duration_since(Instant::now());
            let beside = bounded && left.is_zero();
            // A store may refuse every lease although it holds none.
            let is_futile = beside || begun.elapsed() >= self.shared.leases.longest();
            let at_most = |remaining: Option<Duration>| match remaining {
                Some(remaining) if bounded => Some(remaining.min(left)),
                None if bounded => Some(left),
                remaining => remaining,
            };
            let (outcome, terms) = match self.shared.tier.read_store(key, &*self.coder).await {
                Read::Fresh(found, version) | Read::Stale(found, version) if accepts.except != Some(version) => {
                    let terms = found.terms();
                    (Ok(Some(found)), terms)
                }
                Read::NegativeHit(version, terms) if accepts.absence(version) => (Ok(None), *terms),
                Read::FailedLoad(error, message, version, terms) if accepts.failure::<E>(error.as_ref(), version) => {
                    (Err(remembered(error, message)), *terms)
                }
                Read::Unavailable(_) => return Acquired::Load(fill),
                Read::Leased(_, lease)
                    if beside || !self.policy.coalesce_across_processes || self.shared.leases.take_doubt(key) =>
                {
                    fill.load_beside(lease, &self.tags).await;
                    return Acquired::Load(fill);
                }
                Read::Leased(remaining, _) => {
                    fill.set_stale(None);
                    backoff.wait_or(at_most(remaining), listener.take().flatten()).await;
                    // The next read finds out what is there once the lease is gone.
                    precondition = None;
                    continue;
                }
                Read::Miss(found, stale) => {
                    if precondition.replace(found) == Some(found) {
                        if is_futile {
                            fill.refuse();
                            return Acquired::Load(fill);
                        }
                        backoff.wait_or(at_most(None), listener.take().flatten()).await;
                    }
                    fill.set_stale(stale);
                    continue;
                }
                // Another process is replacing the record.
                Read::Fresh(..) | Read::Stale(..) if is_futile => {
                    fill.refuse();
                    return Acquired::Load(fill);
                }
                Read::Fresh(found, version) | Read::Stale(found, version) => {
                    fill.set_stale(Some(found));
                    backoff.wait_or(at_most(None), listener.take().flatten()).await;
                    precondition = Some(Precondition::Record(version));
                    continue;
                }
                Read::NegativeHit(..) | Read::FailedLoad(..) if is_futile => {
                    fill.set_stale(None);
                    fill.refuse();
                    return Acquired::Load(fill);
                }
                Read::NegativeHit(version, _) | Read::FailedLoad(_, _, version, _) => {
                    fill.set_stale(None);
                    backoff.wait_or(at_most(None), listener.take().flatten()).await;
                    precondition = Some(Precondition::Record(version));
                    continue;
                }
            };
            self.contribute_terms(|| terms.clone());
            fill.answer(outcome.clone(), terms);
            return Acquired::Answered(outcome);
        }
    }

    /// As [`acquire`](Self::acquire), without waiting: `None` if another process holds the lease.
    pub(crate) async fn try_acquire<T, E>(&self, start: LoadStart<T, E>) -> Option<Fill<T, E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        self.try_acquire_captured(start, &self.tags, None).await
    }

    /// As [`try_acquire`](Self::try_acquire), for an entry with the tags `declared`, which may have been captured before.
    pub(crate) async fn try_acquire_captured<T, E>(
        &self,
        start: LoadStart<T, E>,
        declared: &Declared,
        captured: Option<Result<TagSnapshot, Error>>,
    ) -> Option<Fill<T, E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let LoadStart {
            mut fill,
            precondition,
            outage,
            nested,
            beside_from,
        } = start;
        if outage || fill.is_storable() || fill.inherit(declared).await {
            return Some(fill);
        }
        let acquired = match (precondition, captured) {
            (Some(precondition), Some(captured)) => fill.acquire_captured(precondition, captured).await,
            (Some(precondition), None) => fill.acquire(precondition, declared).await,
            (None, _) => false,
        };
        if acquired {
            return Some(fill);
        }
        let bounded = nested || fill.lead().is_some_and(Lead::is_awaited_by_load);
        let beside = bounded && Instant::now() >= beside_from;
        if self.policy.coalesce_across_processes && !beside && !self.shared.leases.take_doubt(fill.key()) {
            return None;
        }
        match self.shared.tier.read_store::<T, C>(fill.key(), &self.coder).await {
            Read::Leased(_, lease) => {
                fill.load_beside(lease, declared).await;
                Some(fill)
            }
            _ => None,
        }
    }
}
