//! The protocol of leases: acquire, renew, fill, release.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Error, ErrorKind, FreshnessWindows, Key, SetOptions, SetOutcome, Tags, Ttl, Value, Version};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::lease::doubt::Doubts;
use crate::lease::fence::Fence;
use crate::store::record;
use crate::tags::declared::Declared;
use crate::tags::records::Verdict;
use crate::tags::snapshot::TagSnapshot;
use crate::tasks::Tasks;
use crate::tier::precondition::{Lease, Precondition};
use crate::tier::storage::Tier;
use crate::trace::load::current;
use crate::trace::task::background;

/// The outcome of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    Stored(Version),
    /// The fence was no longer intact.
    Fenced,
}

/// The outcome of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// The lease was extended. This is the fence from now on.
    Intact(Fence),
    /// The lease is no longer there. The fill determines whether the fence is intact nevertheless.
    Lost,
    /// The value of the load is of no use to anybody, because of an invalidation or a write.
    Outdated,
}

impl Renewed {
    /// Returns the fence, if the lease was extended.
    pub(crate) fn fence(self) -> Option<Fence> {
        match self {
            Self::Intact(fence) => Some(fence),
            Self::Lost | Self::Outdated => None,
        }
    }
}

/// A renewal that runs in a task of its own, so that it completes even if no caller waits for it.
pub(crate) type Renewal = tokio::task::JoinHandle<Result<Renewed, Error>>;

/// The leases of one store.
#[derive(Debug, Clone)]
pub(crate) struct Leases {
    tier: Arc<Tier>,
    tasks: Tasks,
    /// How long a lease lasts without a renewal.
    time: Duration,
    /// The maximum time for which a lease is renewed.
    longest: Duration,
    doubts: Arc<Doubts>,
}

impl Leases {
    pub(crate) fn new(tier: &Arc<Tier>, tasks: &Tasks, time: Duration, longest: Duration) -> Self {
        Self {
            tier: Arc::clone(tier),
            tasks: tasks.clone(),
            time,
            longest,
            doubts: Arc::default(),
        }
    }

    pub(super) fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// Returns whether a lease under `key` may be one of this process that nobody holds, so that it is not to be waited for.
    /// Only the first caller that asks is told so.
    pub(crate) fn take_doubt(&self, key: &Key) -> bool {
        // A lease that is written late ends later.
        self.doubts.take(key, self.time().saturating_mul(4))
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(super) fn tier(&self) -> &Tier {
        &self.tier
    }

    /// Returns the maximum time for which a lease is renewed.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// Returns how long a lease lasts without a renewal.
    pub(crate) fn time(&self) -> Duration {
        self.time
    }

    /// Acquires a fence, and returns it with the tag snapshot of a load that begins now. Returns `None` if another load
    /// holds a lease, or if the precondition no longer holds.
    ///
    /// If the future is dropped, a lease that was written all the same is released in the background.
    pub(crate) async fn acquire(
        &self,
        key: &Key,
        precondition: Precondition,
        declared: &Declared,
        of_stale: Option<&Tags>,
    ) -> Result<Option<(Fence, TagSnapshot)>, Error> {
        let (leases, key_, declared, of_stale) = (self.clone(), key.clone(), declared.clone(), of_stale.cloned());
        self.to_the_end(key, async move {
            leases
                .try_acquire(&key_, precondition, &declared, of_stale.as_ref())
                .await
        })
        .await
    }

    /// As [`acquire`](Self::acquire), for a load whose tags were `captured` before.
    pub(crate) async fn acquire_captured(
        &self,
        key: &Key,
        precondition: Precondition,
        captured: TagSnapshot,
    ) -> Result<Option<(Fence, TagSnapshot)>, Error> {
        let (leases, key_) = (self.clone(), key.clone());
        self.to_the_end(key, async move {
            let fence = leases.try_lease(&key_, precondition, &captured.tags).await?;
            Ok(fence.map(|fence| (fence, captured)))
        })
        .await
    }

    /// Writes a record without a value where there is none, so that a later [`replace`](Self::replace) can depend on
    /// it. No caller waits for it. Returns `None` if there is a record.
    ///
    /// If the future is dropped, a record that was written all the same is removed in the background.
    pub(crate) async fn place(&self, key: &Key, tags: &Tags) -> Result<Option<Version>, Error> {
        let (leases, key_, tags) = (self.clone(), key.clone(), tags.clone());
        let placed = self.to_the_end(key, async move {
            let value = leases
                .tier
                .writer(&tags)
                .absent(&key_, 0, FreshnessWindows::new(Duration::ZERO))?;
            let options = SetOptions::new(leases.longest).if_absent().lease();
            let outcome = leases.tier.store.set(&key_, value, options).await?;
            Ok(outcome
                .version()
                .map(|version| (Fence::Lease(Lease::new(version)), version)))
        });
        Ok(placed.await?.map(|(_, version)| version))
    }

    /// Replaces the record `version` by a lease. Returns `None` if it is no longer there.
    ///
    /// If the future is dropped, a lease that was written all the same is released in the background.
    pub(crate) async fn replace(&self, key: &Key, version: Version, tags: &Tags) -> Result<Option<Fence>, Error> {
        let (leases, key_, tags) = (self.clone(), key.clone(), tags.clone());
        let replaced = self.to_the_end(key, async move {
            let options = SetOptions::new(leases.time).if_version(version);
            let outcome = leases.set_lease(&key_, options, &tags, None).await?;
            Ok(outcome.version().map(|lease| (Fence::Lease(Lease::new(lease)), ())))
        });
        Ok(replaced.await?.map(|(fence, ())| fence))
    }

    /// Runs `acquiring` to its end, also if the caller leaves. Then the fence is released.
    async fn to_the_end<A: Send + 'static>(
        &self,
        key: &Key,
        acquiring: impl Future<Output = Result<Option<(Fence, A)>, Error>> + Send + 'static,
    ) -> Result<Option<(Fence, A)>, Error> {
        if self.tier.store.is_local() {
            // Never waits, so the future is never dropped half-way.
            return acquiring.await;
        }
        let (send, receive) = tokio::sync::oneshot::channel();
        let (received, abandoned) = tokio::sync::oneshot::channel();
        let (leases, key) = (self.clone(), key.clone());
        // Boxed, since each of the futures around it would move it.
        let acquiring = Box::pin(acquiring).in_current_span();
        self.tasks.spawn(async move {
            let result = acquiring.await;
            if let Err(error) = &result {
                leases.doubts.note_write(&key, error);
            }
            let fence = result.as_ref().ok().and_then(Option::as_ref).map(|(fence, _)| *fence);
            let _ = send.send(result);
            if let (Some(fence), Err(_)) = (fence, abandoned.await) {
                leases.release(&key, fence).await;
            }
        });
        let result = receive.await.unwrap_or_else(|_| {
            // Not `None`, which would say that another load holds a lease.
            let message = "the store's backend panicked, or the runtime ended";
            Err(Error::new(ErrorKind::Other, message).with_operation("set"))
        });
        let _: Result<(), ()> = received.send(());
        result
    }

    async fn try_acquire(
        &self,
        key: &Key,
        precondition: Precondition,
        declared: &Declared,
        of_stale: Option<&Tags>,
    ) -> Result<Option<(Fence, TagSnapshot)>, Error> {
        // Captured before the lease is written, which carries the tags too, so that an invalidation also makes the
        // lease unusable.
        let captured = self.tier.capture(key, declared, of_stale).await?;
        let fence = self.try_lease(key, precondition, &captured.tags).await?;
        Ok(fence.map(|fence| (fence, captured)))
    }

    async fn try_lease(&self, key: &Key, precondition: Precondition, tags: &Tags) -> Result<Option<Fence>, Error> {
        let options = SetOptions::new(self.time);
        match precondition {
            Precondition::Nothing => {
                let outcome = self.set_lease(key, options.if_absent(), tags, None).await?;
                Ok(outcome.version().map(Lease::new).map(Fence::Lease))
            }
            Precondition::Lease(outdated) => {
                let outcome = self.set_lease(key, options.if_version(outdated), tags, None).await?;
                Ok(outcome.version().map(Lease::new).map(Fence::Lease))
            }
            Precondition::Record(record) => {
                let beside = key.reserved(LEASE);
                let acquire = |options| self.set_lease(&beside, options, tags, Some(record));
                let mut outcome = acquire(options.if_absent()).await?;
                if outcome == SetOutcome::Refused
                    && let Some(outdated) = self.outdated_lease(key, record, &beside).await?
                {
                    outcome = acquire(options.if_version(outdated)).await?;
                }
                let Some(lease) = outcome.version() else {
                    return Ok(None);
                };
                let fence = Fence::Record { record, lease };
                // The holder of the previous lease may just have replaced the record.
                let stands = self.is_intact(key, fence).await;
                if matches!(stands, Ok(true)) {
                    return Ok(Some(fence));
                }
                self.release_beside(key, lease);
                stands.map(|_| None)
            }
        }
    }

    /// Returns the lease beside `record` if its load is outdated: the load was to replace an earlier record, or its
    /// tags were invalidated. No caller can use the value of such a load, so none should wait for it.
    async fn outdated_lease(&self, key: &Key, record: Version, beside: &Key) -> Result<Option<Version>, Error> {
        let Some(lease) = self.tier.store.get(beside).await? else {
            return Ok(None);
        };
        // Read after the lease, so if the lease names another record, this one is newer.
        let of_earlier = record::lease(&lease, beside) != Some(record) && self.tier.is_at(key, record).await?;
        let outdated = of_earlier
            || self.take_doubt(key)
            || match record::tags(&lease, beside) {
                Some(tags) => self.tier.tags.judge_now(&key.namespace(), &tags).await? != Verdict::Current,
                None => true,
            };
        Ok(outdated.then_some(lease.version))
    }

    /// Extends the lease by its full time.
    pub(crate) async fn renew(&self, key: &Key, fence: Fence, tags: &Tags) -> Result<Renewed, Error> {
        let options = SetOptions::new(self.time);
        match fence {
            Fence::Lease(lease) => {
                let options = options.if_version(lease.version);
                let outcome = self.set_lease(key, options, tags, Some(lease.first)).await?;
                let renewed = outcome.version().map(|version| lease.renewed_as(version));
                Ok(renewed.map_or(Renewed::Lost, |lease| Renewed::Intact(Fence::Lease(lease))))
            }
            Fence::Record { record, lease } => {
                let stands = self.is_intact(key, fence).await?;
                if !stands || self.tier.tags.judge_now(&key.namespace(), tags).await? != Verdict::Current {
                    // An invalidation or a write does not remove the lease beside the record, and no caller should wait
                    // for a load that can no longer store its value.
                    self.release_beside(key, lease);
                    return Ok(Renewed::Outdated);
                }
                let beside = key.reserved(LEASE);
                let options = options.if_version(lease);
                let outcome = self.set_lease(&beside, options, tags, Some(record)).await?;
                let renewed = outcome.version().map(|lease| Fence::Record { record, lease });
                Ok(renewed.map_or(Renewed::Lost, Renewed::Intact))
            }
            // The fill determines whether the fence is still intact.
            Fence::Others(_) => Ok(Renewed::Intact(fence)),
        }
    }

    /// Writes `value` if the fence is still intact, and releases the fence. After an error the fence may still exist.
    pub(crate) async fn fill(&self, key: &Key, fence: Fence, value: Value, lifetime: Ttl) -> Result<Filled, Error> {
        let filled = self.try_fill(key, fence, value, lifetime).await;
        if filled.is_err() {
            self.doubts.note(key);
        }
        filled
    }

    async fn try_fill(&self, key: &Key, fence: Fence, value: Value, lifetime: Ttl) -> Result<Filled, Error> {
        let options = SetOptions::new(lifetime);
        let mut version = fence.version();
        let outcome = loop {
            let outcome = self
                .tier
                .store
                .set(key, value.clone(), options.if_version(version))
                .await?;
            if outcome == SetOutcome::Refused
                && let Fence::Others(lease) = fence
                && let Some(renewed) = Box::pin(self.version_of(key, lease)).await?
                && renewed != version
            {
                version = renewed;
            } else {
                break outcome;
            }
        };
        if let Fence::Record { lease, .. } = fence {
            self.release_beside(key, lease);
        }
        Ok(match outcome {
            SetOutcome::Stored(version) => Filled::Stored(version),
            SetOutcome::Refused => Filled::Fenced,
        })
    }

    /// Releases the lease. Returns whether the fence was intact until now. If the store does not answer, the lease
    /// expires by itself.
    pub(crate) async fn release(&self, key: &Key, fence: Fence) -> bool {
        match fence {
            Fence::Lease(lease) => {
                let released = self.tier.store.delete_if(key, lease.version).await;
                released.unwrap_or_else(|_| {
                    self.doubts.note(key);
                    false
                })
            }
            Fence::Record { lease, .. } => {
                let stood = self.is_intact(key, fence).await.unwrap_or(false);
                self.release_beside(key, lease);
                stood
            }
            Fence::Others(_) => self.is_intact(key, fence).await.unwrap_or(false),
        }
    }

    /// Returns whether nothing has broken the fence so far.
    pub(crate) async fn is_intact(&self, key: &Key, fence: Fence) -> Result<bool, Error> {
        match fence {
            // The holder of the lease may have renewed it.
            Fence::Others(lease) => Ok(self.version_of(key, lease).await?.is_some()),
            Fence::Lease(_) | Fence::Record { .. } => self.tier.is_at(key, fence.version()).await,
        }
    }

    /// Returns the current version of `lease`, however often it was renewed. Returns `None` if the lease is gone.
    async fn version_of(&self, key: &Key, lease: Lease) -> Result<Option<Version>, Error> {
        let record = self.tier.store.get(key).await?;
        Ok(record
            .filter(|record| record::lease(record, key) == Some(lease.first))
            .map(|record| record.version))
    }

    /// Releases the lease beside a record in the background, since no caller that looks up the key waits for it.
    fn release_beside(&self, key: &Key, lease: Version) {
        let (leases, key, beside) = (self.clone(), key.clone(), key.reserved(LEASE));
        let release = async move {
            // A failure has already emitted an event, and the lease expires by itself.
            if leases.tier.store.delete_if(&beside, lease).await.is_err() {
                leases.doubts.note(&key);
            }
        };
        if self.tier.store.is_local() {
            // Completes immediately.
            let _ = release.now_or_never();
        } else {
            self.tasks.spawn(background(current(), release));
        }
    }

    async fn set_lease(
        &self,
        key: &Key,
        options: SetOptions,
        tags: &Tags,
        names: Option<Version>,
    ) -> Result<SetOutcome, Error> {
        let value = self.tier.writer(tags).lease(key, self.time, names)?;
        self.tier.store.set(key, value, options.lease()).await
    }
}

/// The kind of a record that is stored beside another one while that one is refreshed.
const LEASE: &str = "lease";
