//! Acquiring the lease of a load, or finding that the load is unnecessary.

use cache_core::Coder;

use crate::load::backoff::Backoff;
use crate::load::engine::Engine;
use crate::load::fill::{Fill, Outcome};
use crate::load::step::{Ask, Take, remembered};
use crate::tier::precondition::Precondition;
use crate::tier::read::Read;

/// What became of a lead before its load.
#[expect(clippy::large_enum_variant, reason = "made once a load, and taken apart at once")]
pub(crate) enum Prepared<T, E> {
    /// Load.
    Go(Fill<T, E>),
    /// Somebody else was faster.
    Answered(Outcome<T, E>),
}

impl<C: Send + Sync + 'static> Engine<C> {
    /// Puts up the fence of a load, or finds that somebody else in the cluster has made the load unnecessary.
    pub(crate) async fn prepare<T, E>(&self, take: Take<T, E>, ask: Ask) -> Prepared<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Take {
            mut fill,
            mut basis,
            outage,
        } = take;
        if outage || fill.inherit(&self.tags).await {
            return Prepared::Go(fill);
        }
        let mut backoff = Backoff::new();
        let mut listener = None;
        loop {
            if let Some(basis) = basis
                && fill.put_up_fence(basis, &self.tags).await
            {
                return Prepared::Go(fill);
            }
            fill.seal();
            let key = fill.key();
            let heard = listener.replace(self.shared.tier.listen(key));
            drop(heard);
            let outcome = match self.shared.tier.see(key, &*self.coder).await {
                Read::Fresh(found, version) | Read::Usable(found, version) if ask.not != Some(version) => {
                    Ok(Some(found))
                }
                Read::Absent(_) if ask.absent => Ok(None),
                Read::Failed(error, message, version) if ask.not != Some(version) => Err(remembered(error, message)),
                Read::Fresh(found, version) | Read::Usable(found, version) => {
                    // Somebody else is replacing it.
                    fill.set_stale(Some(found));
                    backoff.wait_or(None, listener.take().flatten()).await;
                    basis = Some(Precondition::Record(version));
                    continue;
                }
                Read::Absent(version) | Read::Failed(_, _, version) => {
                    fill.set_stale(None);
                    backoff.wait_or(None, listener.take().flatten()).await;
                    basis = Some(Precondition::Record(version));
                    continue;
                }
                Read::Missing(found, stale) => {
                    if basis.replace(found) == Some(found) {
                        backoff.wait_or(None, listener.take().flatten()).await;
                    }
                    fill.set_stale(stale);
                    continue;
                }
                Read::Leased(_, lease) if !self.policy.coalesce_across_processes => {
                    fill.load_beside(lease, &self.tags).await;
                    return Prepared::Go(fill);
                }
                Read::Leased(remaining, _) => {
                    fill.set_stale(None);
                    backoff.wait_or(remaining, listener.take().flatten()).await;
                    // Whoever finds the lease gone finds out with the next look what there is instead.
                    basis = None;
                    continue;
                }
                Read::Outage => return Prepared::Go(fill),
            };
            fill.answer(outcome.clone());
            return Prepared::Answered(outcome);
        }
    }

    /// As [`prepare`](Self::prepare), without waiting for anybody: `None` if somebody else has a fence up.
    pub(crate) async fn prepare_at_once<T, E>(&self, take: Take<T, E>) -> Option<Fill<T, E>>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
    {
        let Take {
            mut fill,
            basis,
            outage,
        } = take;
        if outage || fill.inherit(&self.tags).await {
            return Some(fill);
        }
        if let Some(basis) = basis
            && fill.put_up_fence(basis, &self.tags).await
        {
            return Some(fill);
        }
        if self.policy.coalesce_across_processes {
            return None;
        }
        match self.shared.tier.see::<T, C>(fill.key(), &self.coder).await {
            Read::Leased(_, lease) => {
                fill.load_beside(lease, &self.tags).await;
                Some(fill)
            }
            _ => None,
        }
    }
}
