//! Renewing the lease of a load while it runs.

use std::any::Any;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use cache_core::Error;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::event::Event;
use crate::lease::protocol::Renewed;
use crate::load::fill::Fill;
use crate::load::preview::Preview;
use crate::tags::fault::Fault;
use crate::trace::load::current;
use crate::trace::task::background;

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Fill<T, E> {
    /// Sets a bound on concurrent store operations that several loads share.
    pub(crate) fn limit_renewals(&mut self, calls: &Arc<Semaphore>) {
        self.state.renewals = Some(Arc::clone(calls));
    }

    /// Runs `load`, and renews the lease until it ends.
    ///
    /// Dropping the future drops `load`.
    pub async fn renewing<F: Future>(&mut self, load: F) -> F::Output {
        // Boxed, since the future of `load` would be in this future several times.
        self.renewing_after(self.pause(), Box::pin(load)).await
    }

    /// Returns the time between renewals.
    fn pause(&self) -> Duration {
        self.state.shared.leases.time() / 3
    }

    /// As [`renewing`](Self::renewing), with this time before the first renewal.
    async fn renewing_after<F: Future>(&mut self, mut pause: Duration, load: F) -> F::Output {
        let mut load = pin!(load);
        if self.state.fence.is_none() {
            return self.without_lease(load).await;
        }
        while self.state.fence.is_some() {
            tokio::select! {
                biased;
                result = &mut load => return result,
                () = tokio::time::sleep(pause) => {}
            }
            pause = self.pause();
            // Without known tags the value is for no other caller.
            if self.state.begun.elapsed() >= self.state.shared.leases.longest() || self.dependencies().is_none() {
                self.abandon_lease();
                break;
            }
            let renewals = self.state.renewals.clone();
            // Boxed, since most loads end before they renew anything.
            let renew = Box::pin(async {
                let _permit = match &renewals {
                    Some(renewals) => renewals.acquire().await.ok(),
                    None => None,
                };
                let renewed = self.renew().await;
                if let Ok(true) = renewed {
                    self.prolong_tags().await;
                }
                renewed
            });
            // The load continues while the lease is renewed.
            let renewed = tokio::select! {
                biased;
                renewed = renew => renewed,
                result = &mut load => return result,
            };
            // A failed renewal is retried in the next turn, as long as the lease lasts.
            if let Ok(false) = renewed {
                self.state
                    .shared
                    .events
                    .emit(&Event::LeaseLost { key: &self.state.key });
                // The lease is lost, so the value is for no other caller.
                if let Some(lead) = &self.state.lead {
                    lead.disband();
                }
                break;
            }
        }
        load.await
    }

    /// Runs a load that has no lease, because the store did not answer or accepted none. Others wait for it no longer than
    /// a lease would be renewed.
    async fn without_lease<F: Future>(&mut self, mut load: Pin<&mut F>) -> F::Output {
        let end = self.state.begun.checked_add(self.state.shared.leases.longest());
        // Without a runtime there is no timer.
        let end = end.filter(|end| Instant::now() < *end && Handle::try_current().is_ok());
        if let Some(end) = end.filter(|_| self.state.lead.is_some()) {
            tokio::select! {
                biased;
                result = &mut load => return result,
                () = tokio::time::sleep_until(end) => {}
            }
            self.state
                .shared
                .events
                .emit(&Event::LeaseLost { key: &self.state.key });
            if let Some(lead) = &self.state.lead {
                lead.disband();
            }
        }
        load.await
    }

    /// As [`renewing`](Self::renewing), and meanwhile offers `preview` to callers in this process that wait for the load
    /// and accept previews, until the load ends: see [`Lookup::Preview`](crate::Lookup::Preview).
    ///
    /// A caller gets it only if the key was not invalidated between the beginning of the load and the beginning of the
    /// caller's lookup. If the key was invalidated before the preview could be offered, the waiting callers read again.
    pub async fn renewing_with_preview<F: Future>(
        &mut self,
        preview: Arc<dyn Any + Send + Sync>,
        load: F,
    ) -> F::Output {
        let offer = self.state.lead.as_ref().map(|lead| {
            let preview = Preview {
                value: preview,
                fence: self.state.fence,
                captured: self.state.snapshot.tags.clone(),
                tagger: self.tagger().clone(),
                pending: self.state.pending,
            };
            preview.offer(lead.previewer(), Arc::clone(&self.state.shared), self.state.key.clone())
        });
        // The lease gets the added tags at once, so that no caller waits for this load after one of them is invalidated.
        let pause = if self.tagger().has_added() {
            Duration::ZERO
        } else {
            self.pause()
        };
        let mut load = Box::pin(load);
        self.renewing_after(pause, async move {
            if let Some(offer) = offer {
                // The load continues while the store is read.
                tokio::select! {
                    biased;
                    () = offer => {}
                    result = &mut load => return result,
                }
            }
            load.await
        })
        .await
    }

    /// Prolongs the records of tags that the load has read, so that they do not expire before it can store its value.
    async fn prolong_tags(&self) {
        let tags = &self.state.shared.tier.tags;
        tags.prolong_for_load(&self.state.snapshot.lifetimes).await;
        tags.prolong_for_load(&self.tagger().lifetimes()).await;
    }

    /// Gives up the lease of a load that takes too long, so that others load instead.
    fn abandon_lease(&mut self) {
        self.state
            .shared
            .events
            .emit(&Event::LeaseLost { key: &self.state.key });
        if let Some(fence) = self.state.fence.take() {
            self.state
                .shared
                .release(self.state.key.clone(), fence, self.state.renewal.take());
        }
        if let Some(lead) = &self.state.lead {
            lead.disband();
        }
    }

    /// Renews the lease, or waits for the renewal that is under way. Returns whether the lease was still there.
    /// Dropping the future leaves the renewal under way.
    pub(super) async fn renew(&mut self) -> Result<bool, Error> {
        let Some(fence) = self.state.fence else { return Ok(true) };
        let tags = self.dependencies().unwrap_or_else(|| self.state.snapshot.tags.clone());
        let renewed = if self.state.shared.tier.store.is_local() {
            self.state.shared.leases.renew(&self.state.key, fence, &tags).await
        } else {
            let renewal = self.state.renewal.get_or_insert_with(|| {
                let (leases, key) = (self.state.shared.leases.clone(), self.state.key.clone());
                let renewing = async move { leases.renew(&key, fence, &tags).await };
                self.state.shared.tasks.spawn(background(current(), renewing))
            });
            let renewed = renewal.await;
            self.state.renewal = None;
            // The task is only cancelled if its runtime shuts down.
            renewed.unwrap_or(Ok(Renewed::Lost))
        };
        match renewed? {
            Renewed::Intact(fence) => {
                self.hold(fence);
                Ok(true)
            }
            Renewed::Lost => Ok(false),
            Renewed::Outdated => {
                self.state.fault = Some(Fault::Fenced);
                Ok(false)
            }
        }
    }

    /// Waits for the renewal that is under way, if there is one.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        if self.state.renewal.is_some() {
            // If the lease is gone, the next store operation finds that out. Boxed, since most loads renew nothing.
            Box::pin(self.renew()).await?;
        }
        Ok(())
    }
}
