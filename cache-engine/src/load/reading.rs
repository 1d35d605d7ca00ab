//! Reads a key for a call that loads the value if there is none.
//!
//! Where the store can, one call reads the record and acquires the lease if there is none, so that a miss takes one call
//! fewer. At most one caller in this process does so at a time: it leads the key's flight meanwhile, so that no other
//! caller finds the lease before the flight exists, and waits for it.

use std::any::TypeId;
use std::ops::ControlFlow;
use std::sync::Arc;

use cache_core::{Coder, ErrorKind, Key, Tags};

use crate::lease::ahead::ReadOrLease;
use crate::lease::fence::Fence;
use crate::load::flight::{Landing, Lead};
use crate::load::shared::Shared;
use crate::tags::declared::Declared;
use crate::tags::records::TagVersions;
use crate::tier::precondition::Precondition;
use crate::tier::read::{Boxed, Read, ReadNow};

/// What a call has read, and the lead of the load if it came with it.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    pub(crate) read: Read<T>,
    pub(crate) ahead: Option<Ahead>,
}

impl<T> From<Read<T>> for Reading<T> {
    fn from(read: Read<T>) -> Self {
        Self { read, ahead: None }
    }
}

impl<T> Reading<T> {
    /// Breaks with the value of a fresh entry. Continues with anything else.
    fn into_fresh(self) -> ControlFlow<Arc<T>, Self> {
        match self.read {
            Read::Fresh(found, _) => ControlFlow::Break(found.value),
            read => ControlFlow::Continue(Self { read, ..self }),
        }
    }
}

/// The lead of a flight whose lease was acquired by the read. If it is dropped, both pass to a waiting caller.
#[derive(Debug)]
pub(crate) struct Ahead {
    shared: Arc<Shared>,
    key: Key,
    held: Option<(Lead, Fence)>,
}

impl Ahead {
    /// Takes the lead, and the lease.
    pub(crate) fn take(mut self) -> Option<(Lead, Fence)> {
        self.held.take()
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some((lead, fence)) = self.held.take()
            && let Some(fence) = lead.pass_on(Some(fence))
        {
            self.shared.release(self.key.clone(), fence, None);
        }
    }
}

impl Shared {
    /// Reads a key by the shortest path, and breaks with a fresh value. Continues with anything else. `declared` are the
    /// tags of the load that may follow, and `result` is the type that its flight lands with, if that is known.
    #[inline]
    pub(crate) async fn read_to_load<T, C>(
        self: &Arc<Self>,
        key: &Key,
        coder: &C,
        declared: &Declared,
        result: Option<TypeId>,
    ) -> ControlFlow<Arc<T>, Reading<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let read = match self.tier.read_now(key) {
            ControlFlow::Break(value) => return ControlFlow::Break(value),
            ControlFlow::Continue(read) => read,
        };
        if matches!(read, ReadNow::Nothing)
            && let Some(result) = result
            && self.reads_ahead(declared)
        {
            return self.read_ahead(key, coder, result).await.into_fresh();
        }
        let read = self.tier.read_further(read, key, coder).await;
        Reading::from(read).into_fresh()
    }

    /// As [`read_to_load`](Self::read_to_load), with the whole of what was found.
    pub(crate) async fn read_found_to_load<T, C>(
        self: &Arc<Self>,
        key: &Key,
        coder: &C,
        declared: &Declared,
        result: TypeId,
    ) -> Reading<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if let Some((found, version)) = self.tier.read_near(key) {
            return Read::Fresh(found, version).into();
        }
        if self.reads_ahead(declared) {
            return self.read_ahead(key, coder, result).await;
        }
        self.tier.read_store(key, coder).await.into()
    }

    /// Returns whether reads acquire the lease of a load with the tags `declared`. Its lease carries the versions of the
    /// tags, so there must be none.
    fn reads_ahead(&self, declared: &Declared) -> bool {
        self.tier.store.gets_or_adds() && !self.tier.tags.captures(declared)
    }

    /// Reads the store, and acquires the lease if there is nothing. Boxed, to keep the future of a hit in memory small.
    #[inline(never)]
    fn read_ahead<'a, T, C>(self: &'a Arc<Self>, key: &'a Key, coder: &'a C, result: TypeId) -> Boxed<'a, Reading<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        Box::pin(async move {
            // If there is a flight, its leader has the lease, or will have it.
            let Some(lead) = self.flights.lead_new(key, result) else {
                return self.tier.read_store(key, coder).await.into();
            };
            let stamp = self.tier.stamp(key);
            self.tier.before_read().await;
            let record = match self.leases.read_or_acquire(key, &Tags::default()).await {
                Ok(ReadOrLease::Lease(lease)) => {
                    let ahead = Ahead {
                        shared: Arc::clone(self),
                        key: key.clone(),
                        held: Some((lead, Fence::Lease(lease))),
                    };
                    return Reading {
                        read: Read::Miss(Precondition::Nothing, None),
                        ahead: Some(ahead),
                    };
                }
                Ok(ReadOrLease::Record(record)) => Ok(record),
                Err(error) => Err(error),
            };
            // There is nothing to load so far. Callers that wait have found something else, so they read again.
            lead.finish(Landing::ReadAgain);
            match record {
                Ok(record) => {
                    self.tier
                        .read_record(record, stamp, TagVersions::new(), key, coder)
                        .await
                }
                Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) => {
                    Read::Unavailable(error)
                }
                // A store that refuses writes may still be read.
                Err(_) => self.tier.read_store(key, coder).await,
            }
            .into()
        })
    }
}
