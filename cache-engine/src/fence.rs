//! What a fill is conditional on: the lease, or the stale record, that its load began from.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use cache_core::{Clock, Error, FreshnessWindows, Key, SetOptions, SetOutcome, Tags, Timestamp, Value, Version};

use crate::entry::{self, Found, Writer};
use crate::near::{self, Near};
use crate::notices::{Listener, Mark};
use crate::store::Store;
use crate::tagging::{Captured, Declared, Tagging, Verdict};
use crate::watch::Watch;

/// What a fill is conditional on. It begins before the load, and an invalidation in between ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// There was no record: a lease stands in its place.
    Lease(Lease),
    /// There is a record, and a lease beside it.
    Record { record: Version, lease: Version },
    /// Somebody else's lease, which is not waited for. Whoever is the first to fill it takes it down.
    Others(Lease),
}

/// A lease under the key itself.
///
/// Each renewal changes the version of the record, so a renewed lease names the version that it was first written as.
/// As it is renewed only over itself, a record that names the same one says that nothing came in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// What the record has now, as far as is known.
    pub(crate) version: Version,
    pub(crate) first: Version,
}

impl Lease {
    /// One that was just written as `version`.
    pub(crate) fn new(version: Version) -> Self {
        Self {
            version,
            first: version,
        }
    }

    fn renewed_as(self, version: Version) -> Self {
        Self { version, ..self }
    }
}

impl Fence {
    /// The version of the record that the load is to replace, if there is one.
    pub(crate) fn record(self) -> Option<Version> {
        match self {
            Self::Record { record, .. } => Some(record),
            Self::Lease(_) | Self::Others(_) => None,
        }
    }

    /// The version that the fill is conditional on.
    fn version(self) -> Version {
        match self {
            Self::Lease(lease) | Self::Others(lease) => lease.version,
            Self::Record { record, .. } => record,
        }
    }
}

/// What the load is to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    Nothing,
    Record(Version),
    /// The lease of a load that began before its namespace was cleared, in a store that could not remove it.
    Lease(Version),
}

/// What became of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    Stored(Version),
    /// The fence no longer stood.
    Fenced,
}

/// A renewal that runs in a task of its own, so that its outcome is known even if nobody waits for it.
pub(crate) type Renewal = tokio::task::JoinHandle<Result<Option<Fence>, Error>>;

/// Leases and fences of one store.
#[derive(Debug)]
pub(crate) struct Fences {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The clock is the one that stores use too unless they are told otherwise.
    pub(crate) same_clock: bool,
    pub(crate) tagging: Tagging,
    /// Copies in this process.
    pub(crate) near: Option<Arc<Near>>,
    /// What the store tells of changes, if it does.
    pub(crate) watch: Option<Arc<Watch>>,
    /// How long a lease lasts unless it is renewed.
    pub(crate) lease_time: Duration,
}

impl Fences {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn writer<'a>(&self, tags: &'a Tags) -> Writer<'a> {
        Writer {
            local: self.store.is_local(),
            now: self.now(),
            tags,
        }
    }

    /// What an entry under `key` whose load begins now depends on.
    pub(crate) async fn capture(
        &self,
        key: &Key,
        declared: &Declared,
        of_stale: Option<&Tags>,
    ) -> Result<Captured, Error> {
        self.tagging.capture(&key.namespace(), declared, of_stale).await
    }

    /// Whether what was captured for `key` has not changed since. If that cannot be found out, it counts as changed.
    pub(crate) async fn still_current(&self, key: &Key, tags: &Tags) -> bool {
        self.tagging.still_current(&key.namespace(), tags).await
    }

    /// Whether a stale copy with `tags` may still be used. If that cannot be found out, it may not.
    pub(crate) async fn still_usable(&self, key: &Key, tags: &Tags) -> bool {
        !self.tagging.concerns(tags) || self.tagging.still_usable(&key.namespace(), tags).await
    }

    /// Puts up a fence, unless somebody else has one up or the basis is gone; then it is `None`. With it comes what an
    /// entry whose load begins now depends on.
    ///
    /// If the future is dropped, a lease that was written all the same is taken back in the background.
    pub(crate) async fn put_up(
        self: &Arc<Self>,
        key: &Key,
        basis: Basis,
        declared: &Declared,
        of_stale: Option<&Tags>,
    ) -> Result<Option<(Fence, Captured)>, Error> {
        if self.store.is_local() {
            // Never waits, so it is never dropped half-way.
            return self.try_put_up(key, basis, declared, of_stale).await;
        }
        let (send, receive) = tokio::sync::oneshot::channel();
        let (received, abandoned) = tokio::sync::oneshot::channel();
        let (fences, key, declared, of_stale) = (Arc::clone(self), key.clone(), declared.clone(), of_stale.cloned());
        tokio::spawn(async move {
            let result = fences.try_put_up(&key, basis, &declared, of_stale.as_ref()).await;
            let fence = result.as_ref().ok().and_then(Option::as_ref).map(|(fence, _)| *fence);
            let _ = send.send(result);
            if let (Some(fence), Err(_)) = (fence, abandoned.await) {
                fences.take_down(&key, fence).await;
            }
        });
        let result = receive.await.unwrap_or(Ok(None));
        let _: Result<(), ()> = received.send(());
        result
    }

    async fn try_put_up(
        self: &Arc<Self>,
        key: &Key,
        basis: Basis,
        declared: &Declared,
        of_stale: Option<&Tags>,
    ) -> Result<Option<(Fence, Captured)>, Error> {
        // Before the lease, which carries them too: so an invalidation puts the lease out of use as well.
        let captured = self.capture(key, declared, of_stale).await?;
        let fence = self.try_lease(key, basis, &captured.tags).await?;
        Ok(fence.map(|fence| (fence, captured)))
    }

    async fn try_lease(self: &Arc<Self>, key: &Key, basis: Basis, tags: &Tags) -> Result<Option<Fence>, Error> {
        let options = SetOptions::new(self.lease_time);
        match basis {
            Basis::Nothing => {
                let outcome = self.set_lease(key, options.if_absent(), tags, None).await?;
                Ok(outcome.version().map(Lease::new).map(Fence::Lease))
            }
            Basis::Lease(outdated) => {
                let outcome = self.set_lease(key, options.if_version(outdated), tags, None).await?;
                Ok(outcome.version().map(Lease::new).map(Fence::Lease))
            }
            Basis::Record(record) => {
                let beside = key.reserved(LEASE);
                let put_up = |options| self.set_lease(&beside, options, tags, Some(record));
                let mut outcome = put_up(options.if_absent()).await?;
                if outcome == SetOutcome::Refused
                    && let Some(outdated) = self.outdated_lease(key, record, &beside).await?
                {
                    outcome = put_up(options.if_version(outdated)).await?;
                }
                let Some(lease) = outcome.version() else {
                    return Ok(None);
                };
                let fence = Fence::Record { record, lease };
                // The holder of the last lease may just have replaced the record.
                let stands = self.stands(key, fence).await;
                if matches!(stands, Ok(true)) {
                    return Ok(Some(fence));
                }
                self.release_beside(key, lease);
                stands.map(|_| None)
            }
        }
    }

    /// The lease beside `record`, if its load was overtaken: it was to replace an earlier record, or its tags were
    /// invalidated. What it loads is for nobody any more, so nobody is to wait for its end.
    async fn outdated_lease(&self, key: &Key, record: Version, beside: &Key) -> Result<Option<Version>, Error> {
        let Some(lease) = self.store.get(beside).await? else {
            return Ok(None);
        };
        // Read after the lease, so a record other than the one that the lease names came later.
        let of_earlier = entry::lease(&lease, beside) != Some(record) && self.is_at(key, record).await?;
        let outdated = of_earlier
            || match entry::tags(&lease, beside) {
                Some(tags) => self.tagging.judge_now(&key.namespace(), &tags).await? != Verdict::Current,
                None => true,
            };
        Ok(outdated.then_some(lease.version))
    }

    /// Extends the lease by its full time. `None` if the fence no longer stands.
    pub(crate) async fn renew(self: &Arc<Self>, key: &Key, fence: Fence, tags: &Tags) -> Result<Option<Fence>, Error> {
        let options = SetOptions::new(self.lease_time);
        match fence {
            Fence::Lease(lease) => {
                let options = options.if_version(lease.version);
                let outcome = self.set_lease(key, options, tags, Some(lease.first)).await?;
                let renewed = outcome.version().map(|version| lease.renewed_as(version));
                Ok(renewed.map(Fence::Lease))
            }
            Fence::Record { record, lease } => {
                let stands = self.stands(key, fence).await?;
                if !stands || self.tagging.judge_now(&key.namespace(), tags).await? != Verdict::Current {
                    // An invalidation or a write leaves the lease beside the record alone, and nobody is to wait for
                    // the end of a load that can store nothing any more.
                    self.release_beside(key, lease);
                    return Ok(None);
                }
                let beside = key.reserved(LEASE);
                let options = options.if_version(lease);
                let outcome = self.set_lease(&beside, options, tags, Some(record)).await?;
                Ok(outcome.version().map(|lease| Fence::Record { record, lease }))
            }
            // Whether it still stands is found out by the fill.
            Fence::Others(_) => Ok(Some(fence)),
        }
    }

    /// Writes `value` if the fence still stands, and takes it down. After an error the fence may still be up.
    pub(crate) async fn fill(
        self: &Arc<Self>,
        key: &Key,
        fence: Fence,
        value: Value,
        windows: &FreshnessWindows,
    ) -> Result<Filled, Error> {
        let options = SetOptions::new(windows.total());
        let mut version = fence.version();
        let outcome = loop {
            let outcome = self.store.set(key, value.clone(), options.if_version(version)).await?;
            if outcome == SetOutcome::Refused
                && let Fence::Others(lease) = fence
                && let Some(renewed) = self.version_of(key, lease).await?
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

    /// Releases the lease, and tells whether the fence stood until now. A store that does not answer lets the lease
    /// run out by itself.
    pub(crate) async fn take_down(self: &Arc<Self>, key: &Key, fence: Fence) -> bool {
        match fence {
            Fence::Lease(lease) => self.store.delete_if(key, lease.version).await.unwrap_or(false),
            Fence::Record { lease, .. } => {
                let stood = self.stands(key, fence).await.unwrap_or(false);
                self.release_beside(key, lease);
                stood
            }
            Fence::Others(_) => self.stands(key, fence).await.unwrap_or(false),
        }
    }

    /// Whether nothing came in between so far.
    pub(crate) async fn stands(&self, key: &Key, fence: Fence) -> Result<bool, Error> {
        match fence {
            // Its holder may have renewed it.
            Fence::Others(lease) => Ok(self.version_of(key, lease).await?.is_some()),
            Fence::Lease(_) | Fence::Record { .. } => self.is_at(key, fence.version()).await,
        }
    }

    /// The version that `lease` has now, however often it was renewed; `None` if it is gone.
    async fn version_of(&self, key: &Key, lease: Lease) -> Result<Option<Version>, Error> {
        let record = self.store.get(key).await?;
        Ok(record
            .filter(|record| entry::lease(record, key) == Some(lease.first))
            .map(|record| record.version))
    }

    /// Whether the record under `key` has `version`.
    pub(crate) async fn is_at(&self, key: &Key, version: Version) -> Result<bool, Error> {
        Ok(self.store.version(key).await? == Some(version))
    }

    /// Invalidates `key` softly: its value is kept, but no longer fresh. A load that is under way is fenced.
    pub(crate) async fn soften(self: &Arc<Self>, key: &Key) -> Result<(), Error> {
        let result = self.try_soften(key).await;
        self.forget_near(key);
        result
    }

    async fn try_soften(self: &Arc<Self>, key: &Key) -> Result<(), Error> {
        loop {
            let Some(record) = self.store.get(key).await? else {
                // Absent by this machine's clock, that is: another one's may still find a value, or a lease.
                self.store.delete(key).await?;
                return Ok(());
            };
            let done = match entry::softened(&record, key, self.now()) {
                Some((value, left)) => {
                    let options = SetOptions::new(left).if_version(record.version);
                    matches!(self.store.set(key, value, options).await?, SetOutcome::Stored(_))
                }
                None => self.store.delete_if(key, record.version).await?,
            };
            if done {
                return Ok(());
            }
            // It was written just now, perhaps by a load that began before: seen, and done again.
        }
    }

    /// Begins to listen for the next change of a record, where the store tells of changes.
    pub(crate) fn listen(&self, key: &Key) -> Option<Listener> {
        let watch = self.watch.as_ref()?;
        watch.begin();
        Some(watch.notices().listen(key))
    }

    /// To be taken before a record is read or written of which a near copy is to be kept.
    pub(crate) fn mark(&self, key: &Key) -> Option<Mark> {
        let near = self.near.as_ref()?;
        if let Some(watch) = &self.watch {
            watch.begin();
        }
        Some(near.mark(key))
    }

    /// The fresh value of a near copy, and the version of the record that it was copied from.
    #[inline]
    pub(crate) fn find_near<T: Send + Sync + 'static>(&self, key: &Key) -> Option<(Found<T>, Version)> {
        self.near.as_ref().and_then(|near| self.find_in(near, key))
    }

    fn find_in<T: Send + Sync + 'static>(&self, near: &Near, key: &Key) -> Option<(Found<T>, Version)> {
        let record = near.get(key)?;
        let (found, version) = near::read(&record, key, near.generation(), || self.now())?;
        if self.tagging.concerns(&found.tags) {
            let verdict = self.tagging.judge_copy(&key.namespace(), &found.tags, near.is_told());
            if verdict != Some(Verdict::Current) {
                return None;
            }
        }
        Some((found, version))
    }

    /// Keeps a near copy of what was read, as `version`, after `mark`.
    pub(crate) fn keep_near<T: Send + Sync + 'static>(
        &self,
        key: &Key,
        found: &Found<T>,
        version: Version,
        weight: usize,
        mark: Mark,
    ) {
        if let Some(near) = &self.near {
            let copy = near::copy(key, found, version, near.generation(), weight);
            near.keep(key, copy, found.fresh_for(self.now()), mark);
        }
    }

    /// Keeps a near copy of what this process wrote, as `version`, after `mark`.
    pub(crate) fn keep_own_near<T: Send + Sync + 'static>(
        &self,
        key: &Key,
        found: &Found<T>,
        version: Version,
        weight: usize,
        mark: Mark,
    ) {
        if let Some(near) = &self.near {
            let copy = near::copy(key, found, version, near.generation(), weight);
            near.keep_own(key, copy, found.fresh_for(self.now()), version, mark);
        }
    }

    /// Takes note that this process has changed the record under `key`, otherwise than by a value.
    pub(crate) fn forget_near(&self, key: &Key) {
        if let Some(near) = &self.near {
            near.forget(key);
        }
    }

    /// Releases the lease beside a record in the background, since nobody who looks up the key waits for that.
    fn release_beside(self: &Arc<Self>, key: &Key, lease: Version) {
        let (fences, beside) = (Arc::clone(self), key.reserved(LEASE));
        // A failure is an event already, and the lease runs out by itself.
        let release = async move { drop(fences.store.delete_if(&beside, lease).await) };
        if self.store.is_local() {
            // Ready at once.
            let _ = release.now_or_never();
        } else {
            tokio::spawn(release);
        }
    }

    async fn set_lease(
        &self,
        key: &Key,
        options: SetOptions,
        tags: &Tags,
        names: Option<Version>,
    ) -> Result<SetOutcome, Error> {
        let value = self.writer(tags).lease(key, self.lease_time, names)?;
        self.store.set(key, value, options).await
    }
}

/// The kind of record that stands beside another one while that is refreshed.
const LEASE: &str = "lease";
