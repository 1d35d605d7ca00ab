//! The storage tier of a cache: the store, what is known of its tags, the near copies, and the change subscription.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{Clock, Error, Key, Prefix, Scope, Tags, Timestamp, Version};

use crate::event::Events;
use crate::near::copies::Near;
use crate::near::copy;
use crate::near::subscription::Subscriber;
use crate::store::Store;
use crate::store::changes::{ChangeListener, ChangeStamp};
use crate::store::record::{Found, Writer};
use crate::tags::declared::Declared;
use crate::tags::records::{TagRecords, Verdict};
use crate::tags::snapshot::TagSnapshot;
use crate::tier::pending::Pending;
use crate::tier::purges::Downstream;

/// The store of a cache, and what this process knows of its contents.
#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether the clock is the default one, which stores use by default too.
    pub(crate) same_clock: bool,
    pub(crate) tags: Arc<TagRecords>,
    /// The copies in this process.
    pub(crate) near: Option<Arc<Near>>,
    /// The change subscription, if the store has one.
    pub(crate) subscriber: Option<Arc<Subscriber>>,
    pub(crate) events: Events,
    pub(crate) prefix: Prefix,
    /// The invalidations that the store has not carried out yet.
    pub(crate) pending: Arc<Pending>,
    /// What caches downstream are to be told of. Empty without a purger.
    pub(crate) downstream: Downstream,
}

impl Tier {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn writer<'a>(&self, tags: &'a Tags) -> Writer<'a> {
        Writer {
            local: self.store.is_local(),
            now: self.now(),
            tags,
            load_time: None,
            grace: Duration::ZERO,
        }
    }

    /// Reads the tag snapshot of a load of `key` that begins now.
    pub(crate) async fn capture(
        &self,
        key: &Key,
        declared: &Declared,
        of_stale: Option<&Tags>,
    ) -> Result<TagSnapshot, Error> {
        self.tags.capture(&key.namespace(), declared, of_stale).await
    }

    /// Returns whether none of the `tags` that were read for `key` has been invalidated since. If that cannot be
    /// determined, they count as invalidated. `pending` is how many invalidations had become pending by then.
    pub(crate) async fn still_current(&self, key: &Key, tags: &Tags, pending: usize) -> bool {
        // In this order, since what is pending may be carried out between the two.
        !self.pending.has_later(tags, pending) && self.tags.still_current(&key.namespace(), tags).await
    }

    /// Returns whether a stale copy with `tags` may still be used. If that cannot be determined, it may not.
    pub(crate) async fn still_usable(&self, key: &Key, tags: &Tags) -> bool {
        self.pending.verdict(key, tags) != Some(Verdict::Gone)
            && (!self.tags.concerns(tags) || self.tags.still_usable(&key.namespace(), tags).await)
    }

    /// Returns whether the record under `key` has `version`.
    pub(crate) async fn is_at(&self, key: &Key, version: Version) -> Result<bool, Error> {
        Ok(self.store.version(key).await? == Some(version))
    }

    /// Starts listening for the next change of a record, if the store reports changes.
    pub(crate) fn listen(&self, key: &Key) -> Option<ChangeListener> {
        let subscriber = self.subscriber.as_ref()?;
        subscriber.begin();
        Some(subscriber.changes().listen(key))
    }

    /// Returns the current stamp of a key. Call this before a record is read or written of which a near copy will be
    /// stored.
    pub(crate) fn stamp(&self, key: &Key) -> Option<ChangeStamp> {
        let near = self.near.as_ref()?;
        if let Some(subscriber) = &self.subscriber {
            subscriber.begin();
        }
        Some(near.stamp(key))
    }

    /// Returns the fresh value of a near copy, and the version of the record that it was copied from. `type_version` is
    /// that of the coder.
    #[inline]
    pub(crate) fn read_near<T: Send + Sync + 'static>(
        &self,
        key: &Key,
        type_version: u32,
    ) -> Option<(Found<T>, Version)> {
        self.near
            .as_ref()
            .and_then(|near| self.find_in(near, key, type_version))
    }

    fn find_in<T: Send + Sync + 'static>(
        &self,
        near: &Near,
        key: &Key,
        type_version: u32,
    ) -> Option<(Found<T>, Version)> {
        let record = near.get(key)?;
        let (found, version) = copy::read(&record, key, type_version, near.generation(), || self.now())?;
        // Before the tags are judged, since the invalidation may be carried out between the two.
        if self.pending.verdict(key, &found.tags).is_some() {
            return None;
        }
        if self.tags.concerns(&found.tags) {
            let verdict = self
                .tags
                .judge_copy(&key.namespace(), &found.tags, near.is_subscribed());
            if verdict != Some(Verdict::Current) {
                return None;
            }
        }
        Some((found, version))
    }

    /// Stores a near copy of a value that was read as `version`, after `stamp` was taken.
    pub(crate) fn keep_near<T: Send + Sync + 'static>(
        &self,
        key: &Key,
        found: &Found<T>,
        version: Version,
        weight: usize,
        stamp: ChangeStamp,
    ) {
        if let Some(near) = &self.near {
            let copy = copy::copy(key, found, version, near.generation(), weight);
            near.keep(key, copy, found.fresh_for(self.now()), stamp);
        }
    }

    /// Stores a near copy of a value that this process wrote as `version`, after `stamp` was taken.
    pub(crate) fn keep_own_near<T: Send + Sync + 'static>(
        &self,
        key: &Key,
        found: &Found<T>,
        version: Version,
        weight: usize,
        stamp: ChangeStamp,
    ) {
        if let Some(near) = &self.near {
            let copy = copy::copy(key, found, version, near.generation(), weight);
            near.keep_own(key, copy, found.fresh_for(self.now()), version, stamp);
        }
    }

    /// Records that this process has changed the record under `key`, other than by writing a value.
    pub(crate) fn forget_near(&self, key: &Key) {
        if let Some(near) = &self.near {
            near.forget(key);
        }
    }

    /// Removes the near copies of all records in `scope`.
    pub(crate) async fn forget_near_all(&self, scope: &Scope) {
        if let Some(near) = &self.near {
            near.forget_all(scope).await;
        }
    }
}
