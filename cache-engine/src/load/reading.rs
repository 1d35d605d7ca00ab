//! Reads a key for a call that loads the value if there is none.
//!
//! Where the store can, one call reads the record and acquires the lease if there is none, so that a miss takes one call
//! fewer. At most one caller in this process does so at a time: it leads the key's flight meanwhile, so that no other
//! caller finds the lease before the flight exists, and waits for it.

use std::ops::ControlFlow;
use std::sync::Arc;

use cache_core::{Coder, Error, ErrorKind, Key, Record};

use crate::lease::ahead::ReadOrLease;
use crate::lease::fence::Fence;
use crate::load::flight::{Landing, Lead, ResultType};
use crate::load::on_hit::{Due, OnHit};
use crate::load::shared::Shared;
use crate::tags::declared::Declared;
use crate::tags::expected::Expected;
use crate::tags::known::TagVersions;
use crate::tags::snapshot::TagSnapshot;
use crate::tier::precondition::Precondition;
use crate::tier::read::{Boxed, Fresh, Read, ReadNow};

/// What a call has read, and the lead of the load if it came with it.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    pub(crate) read: Read<T>,
    pub(crate) ahead: Option<Box<Ahead>>,
    /// What is to be done about a fresh value besides returning it.
    pub(crate) due: Due,
}

impl<T> From<Read<T>> for Reading<T> {
    fn from(read: Read<T>) -> Self {
        Self {
            read,
            ahead: None,
            due: Due::Nothing,
        }
    }
}

impl<T> Reading<T> {
    /// Breaks with the value of a fresh entry. Continues with anything else.
    pub(crate) fn into_fresh(self) -> ControlFlow<Fresh<T>, Self> {
        match self.read {
            Read::Fresh(found, _) => ControlFlow::Break((found.value, found.tier)),
            read => ControlFlow::Continue(Self { read, ..self }),
        }
    }
}

impl<T> Reading<T> {
    /// Breaks with a fresh value about which nothing is due. Continues with anything else.
    pub(crate) fn or_hit(self) -> ControlFlow<crate::store::record::Found<T>, Self> {
        match self.read {
            Read::Fresh(found, _) if self.due == Due::Nothing => ControlFlow::Break(found),
            read => ControlFlow::Continue(Self { read, ..self }),
        }
    }
}

/// The lead of a flight whose lease was acquired by the read. If it is dropped, both pass to a waiting caller.
#[derive(Debug)]
pub(crate) struct Ahead {
    held: Option<Held>,
    /// The tags of the load. `None` if they are not those that the lease carries.
    snapshot: Option<TagSnapshot>,
}

#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    key: Key,
    lead: Lead,
    fence: Fence,
}

impl Ahead {
    /// Takes the lead, the lease, and the tags of the load, unless they are to be read and the lease is to be renewed
    /// before it begins.
    pub(crate) fn take(mut self) -> Option<(Lead, Fence, Option<TagSnapshot>)> {
        let held = self.held.take()?;
        Some((held.lead, held.fence, self.snapshot.take()))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(held) = self.held.take()
            && let Some(fence) = held.lead.pass_on(Some(held.fence))
        {
            held.shared.release(held.key, fence, None);
        }
    }
}

impl Shared {
    /// Continues from what [`read_now`](crate::tier::storage::Tier::read_now) has read for a call that loads the value if
    /// there is none. `declared` are the tags of that load, and `result` is the type that its flight lands with, if that is
    /// known. Boxed, to keep the future of a hit in memory small.
    #[inline(never)]
    pub(crate) fn read_to_load<'a, T, C>(
        self: &'a Arc<Self>,
        read: ReadNow,
        key: &'a Key,
        coder: &'a C,
        declared: &Declared,
        result: Option<ResultType>,
    ) -> Boxed<'a, Reading<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if matches!(read, ReadNow::Nothing)
            && let Some(result) = result
            && let Some(expected) = self.expect(key, declared)
        {
            return self.read_ahead(key, coder, expected, result);
        }
        Box::pin(async move {
            let read = self.tier.read_on(read, key, coder).await;
            if !matches!(read, Read::Fresh(..)) && self.tier.store.gets_or_adds() {
                self.fresh_keys.forget(key);
            }
            read.into()
        })
    }

    /// Reads a key, also near copies, for a call that loads the value if there is none. `declared` and `result` are as for
    /// [`read_to_load`](Self::read_to_load).
    pub(crate) async fn read_found_to_load<T, C>(
        self: &Arc<Self>,
        key: &Key,
        coder: &C,
        declared: &Declared,
        result: Option<ResultType>,
    ) -> Reading<T>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        if let Some((found, version)) = self.tier.read_near(key, coder.type_version()) {
            return Read::Fresh(found, version).into();
        }
        if let Some(result) = result
            && let Some(expected) = self.expect(key, declared)
        {
            return self.read_ahead(key, coder, expected, result).await;
        }
        let read = self.tier.read_store(key, coder).await;
        if !matches!(read, Read::Fresh(..)) && self.tier.store.gets_or_adds() {
            self.fresh_keys.forget(key);
        }
        read.into()
    }

    /// As [`read_found_to_load`](Self::read_found_to_load), for a policy that does something about hits. Boxed, to keep the future of a hit in memory small.
    #[inline(never)]
    pub(crate) fn read_watching<'a, T, C>(
        self: &'a Arc<Self>,
        key: &'a Key,
        coder: &'a C,
        declared: &'a Declared,
        result: Option<ResultType>,
        on_hit: OnHit,
    ) -> Boxed<'a, Reading<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        Box::pin(async move {
            let mut reading = self.read_found_to_load(key, coder, declared, result).await;
            if let Read::Fresh(found, _) = &reading.read {
                reading.due = on_hit.due(found, self.tier.now(), &self.random);
            }
            reading
        })
    }

    /// Returns the tags that a load with the tags `declared` is expected to begin with, if the read should acquire its
    /// lease: not if it will probably find a fresh value, unless it reads tags at the same time.
    fn expect(&self, key: &Key, declared: &Declared) -> Option<Expected> {
        if !self.tier.store.gets_or_adds() {
            return None;
        }
        let expected = self.tier.tags.expect(|| key.namespace(), declared)?;
        let is_plain_as_quick = expected.is_empty() || expected.remembered || expected.only_epochs;
        let plain = is_plain_as_quick && self.fresh_keys.expects(key);
        (!plain).then_some(expected)
    }

    /// Reads the store, and acquires the lease if there is nothing. Boxed, to keep the future of a hit in memory small.
    #[inline(never)]
    fn read_ahead<'a, T, C>(
        self: &'a Arc<Self>,
        key: &'a Key,
        coder: &'a C,
        expected: Expected,
        result: ResultType,
    ) -> Boxed<'a, Reading<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        Box::pin(async move {
            // If there is a flight, its leader has the lease, or will have it.
            let Some(lead) = self.flights.lead_new(key, result) else {
                // What is done besides acquiring the lease is boxed, to keep the future of a miss small.
                return Box::pin(self.tier.read_store(key, coder)).await.into();
            };
            let stamp = self.tier.stamp(key);
            let pending = self.tier.before_read(key).await;
            let (found, tags) = self.find_ahead(key, lead, &expected).await;
            let (known, snapshot) = match tags {
                Ok(tags) => tags,
                Err(error) => return Read::Unavailable(error).into(),
            };
            let read = match found {
                Found::Lease(mut ahead) => {
                    ahead.snapshot = snapshot;
                    return Reading {
                        read: Read::Miss(Precondition::Nothing, None),
                        ahead: Some(ahead),
                        due: Due::Nothing,
                    };
                }
                Found::Record(record) => {
                    let read = self.tier.read_record(record, pending, stamp, known, key, coder);
                    let read = Box::pin(read).await;
                    if let Read::Fresh(found, _) = &read {
                        self.fresh_keys.note(key, found.fresh_for(self.tier.now()));
                    }
                    read
                }
                Found::Failed(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) => {
                    Read::Unavailable(error)
                }
                // A store that refuses writes may still be read.
                Found::Failed(_) => Box::pin(self.tier.read_store(key, coder)).await,
            };
            read.into()
        })
    }

    /// Reads a record or acquires the lease, and reads the tags meanwhile if a hit needs them, or else after the lease.
    async fn find_ahead(
        self: &Arc<Self>,
        key: &Key,
        lead: Lead,
        expected: &Expected,
    ) -> (Found, Result<(TagVersions, Option<TagSnapshot>), Error>) {
        if expected.is_empty() {
            let found = self.find_or_lease(key, lead, expected).await;
            return (found, Ok(expected.of_no_tags()));
        }
        Box::pin(async move {
            let tags = &self.tier.tags;
            let find = self.find_or_lease(key, lead, expected);
            if !expected.remembered {
                return tokio::join!(find, tags.read_expected(expected));
            }
            let found = find.await;
            let read = match found {
                Found::Lease(_) => tags.read_expected(expected).await,
                _ => Ok((TagVersions::new(), None)),
            };
            (found, read)
        })
        .await
    }

    /// Reads a record or acquires the lease.
    async fn find_or_lease(self: &Arc<Self>, key: &Key, lead: Lead, expected: &Expected) -> Found {
        match self.leases.read_or_acquire(key, &expected.tags).await {
            Ok(ReadOrLease::Lease(lease)) => Found::Lease(Box::new(Ahead {
                held: Some(Held {
                    shared: Arc::clone(self),
                    key: key.clone(),
                    lead,
                    fence: Fence::Lease(lease),
                }),
                snapshot: None,
            })),
            // There is nothing to load so far. Callers that wait have found something else, so they read again.
            Ok(ReadOrLease::Record(record)) => {
                lead.finish(Landing::ReadAgain);
                Found::Record(record)
            }
            Err(error) => {
                lead.finish(Landing::ReadAgain);
                Found::Failed(error)
            }
        }
    }
}

/// What the read of a record found that acquires the lease if there is none.
enum Found {
    Record(Record),
    Lease(Box<Ahead>),
    Failed(Error),
}
