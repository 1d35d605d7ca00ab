//! The right and the duty to load a key: from acquiring the fence to landing the flight.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Coder, Error, ErrorKind, FreshnessWindows, Key, Tags, Ttl, Value};
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::event::{Event, LoadFailure};
use crate::lease::fence::Fence;
use crate::lease::protocol::{Filled, Renewal};
use crate::load::call::Reporting;
use crate::load::error::LoadError;
use crate::load::flight::{FlightId, Landing, Lead};
use crate::load::policy::Policy;
use crate::load::shared::Shared;
use crate::stats::snapshot::CacheTier;
use crate::store::record::{Found, Freshness, Terms, Writer, retention};
use crate::tags::ambient::is_within_load;
use crate::tags::declared::Declared;
use crate::tags::fault::Fault;
use crate::tags::name::of_carried;
use crate::tags::scope::Tagger;
use crate::tags::snapshot::{TagSnapshot, union};
use crate::tier::precondition::{Lease, Precondition};
use crate::trace::load::{self, LoadSpan, RunsFor};
use crate::trace::task;

/// The outcome of a load.
pub(crate) type Outcome<T, E> = Result<Option<Found<T>>, LoadError<E>>;

/// What a flight lands with, if it is to be shared.
#[derive(Debug)]
pub(crate) struct Landed<T, E> {
    pub(crate) outcome: Outcome<T, E>,
    /// What the outcome contributes to the loads of the callers that waited.
    pub(crate) terms: Terms,
}

/// The right to load a key, which one caller has, and the duty to end the load.
///
/// End it by one of the methods that take `self`: [store](Self::store) the value, [share](Self::share_unstored) it with
/// the waiting callers without storing it, or let each of them [load for itself](Self::uncoalesced). If you drop it,
/// the load passes to one of them.
///
/// A store that does not answer is not an error here: the value is then shared and not stored.
#[must_use = "dropping it passes the load to a caller that waits"]
pub struct Fill<T, E = Infallible> {
    /// Boxed, since a fill passes through many futures, each of which would contain it and move it.
    pub(super) state: Box<State<T>>,
    result: PhantomData<fn() -> E>,
}

/// The state of a [`Fill`].
pub(super) struct State<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) key: Key,
    pub(super) lead: Option<Lead>,
    pub(super) fence: Option<Fence>,
    /// The tags of the value, as they were before the load began.
    pub(super) snapshot: TagSnapshot,
    /// Adds further tags during the load.
    tagger: Tagger,
    /// The renewal of the fence that is under way. Until it has ended, the version of the lease is unknown.
    pub(super) renewal: Option<Renewal>,
    stale: Option<Found<T>>,
    /// How long the outcome may be used if it is not a value.
    pub(super) windows_without_value: FreshnessWindows,
    /// Whether the store is reachable, but did not accept a lease.
    refused: bool,
    /// If the value is made from the stale copy: the tags of that copy.
    remade: Option<Tags>,
    /// Why the value cannot be stored.
    pub(super) fault: Option<Fault>,
    /// Bounds the store operations of a batch, including renewals.
    pub(super) renewals: Option<Arc<Semaphore>>,
    pub(super) begun: Instant,
    /// A time before the snapshot of the tags was taken.
    since: Instant,
    /// How many invalidations had become pending before the source was read.
    pub(super) pending: usize,
    reporting: Reporting,
    span: LoadSpan,
    runs_for: RunsFor,
    /// When the load is cancelled, if it runs for nobody.
    deadline: Option<Instant>,
    /// Whether nobody waits for the load, because all callers get the stale value meanwhile.
    is_refresh: bool,
    /// Whether the beginning of the load has been reported, and not its end.
    unreported_end: bool,
    /// Whether the load began without reading the versions of its tags.
    is_uncaptured: bool,
    /// The policy, if it refreshes values before they expire.
    early: Option<Policy>,
    /// How long the load took, once it has ended.
    ended_after: Option<Duration>,
    /// The version of the value's type.
    type_version: u32,
}

/// A placeholder for the error of a load that ended without one. No loader's error has this type.
struct NotKept;

/// The result of [storing](Fill::store) a value.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub enum StoreOutcome {
    /// The value was stored.
    Stored,
    /// The value was not stored, because the key was invalidated or written in the meantime. You may answer the request
    /// that it was loaded for, and no other.
    Fenced,
    /// The value was not stored, because the store was unreachable when the load began.
    Unavailable,
    /// The value was not stored, because it depends on tags that it cannot carry: those of another cache, or more than 256
    /// of other entries.
    Uncarried,
    /// The value was not stored, because the store or the coder returned this error.
    Failed(Error),
}

impl StoreOutcome {
    /// Returns whether the value was stored.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        matches!(self, Self::Stored)
    }
}

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Fill<T, E> {
    pub(crate) fn new(shared: Arc<Shared>, key: Key, lead: Lead, stale: Option<Found<T>>) -> Self {
        let now = Instant::now();
        let state = State {
            tagger: Tagger::new(&shared.tier.tags),
            shared,
            key,
            lead: Some(lead),
            fence: None,
            snapshot: TagSnapshot::default(),
            renewal: None,
            stale,
            windows_without_value: Policy::not_remembered(),
            refused: false,
            remade: None,
            fault: None,
            renewals: None,
            begun: now,
            since: now,
            pending: 0,
            reporting: Reporting::Everything,
            span: LoadSpan::none(),
            runs_for: RunsFor::Caller,
            deadline: None,
            is_refresh: false,
            unreported_end: false,
            is_uncaptured: false,
            early: None,
            ended_after: None,
            type_version: 0,
        };
        Self {
            state: Box::new(state),
            result: PhantomData,
        }
    }

    /// Sets what the load reports.
    pub(crate) fn reporting(mut self, reporting: Reporting) -> Self {
        self.state.reporting = reporting;
        self
    }

    /// Sets the version of the value's type, and the policy if it refreshes values before they expire.
    pub(crate) fn storing(mut self, type_version: u32, early: Option<Policy>) -> Self {
        self.state.type_version = type_version;
        self.state.early = early;
        self
    }

    /// Makes the load a refresh: all callers get the stale value meanwhile.
    pub(crate) fn refreshing(mut self) -> Self {
        self.state.is_refresh = true;
        self
    }

    /// Begins the context of the load, which begins now: its span, and its deadline if nobody waits for it.
    pub(crate) fn begin_context(&mut self, whom: RunsFor) {
        self.state.span = match self.state.reporting {
            Reporting::Nothing => LoadSpan::none(),
            _ => LoadSpan::new(
                self.state.shared.events.cache(),
                &self.state.key,
                None,
                self.state.is_refresh,
                whom,
            ),
        };
        self.begin_part(whom, &self.state.span.clone());
    }

    /// Begins the context of a load that is a part of a batch with this span.
    pub(crate) fn begin_part(&mut self, whom: RunsFor, span: &LoadSpan) {
        self.state.runs_for = whom;
        if whom == RunsFor::Nobody {
            self.state.deadline = self.state.shared.deadline(None);
        }
        self.is_traced_by(span);
    }

    /// Lets the spans of waiting callers link to `span`.
    fn is_traced_by(&self, span: &LoadSpan) {
        if let (Some(lead), Some(id)) = (&self.state.lead, span.id()) {
            lead.traced_by(id);
        }
    }

    /// Sets when the load is cancelled, if it runs for nobody.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.state.deadline = deadline;
    }

    /// Returns for whom the load runs.
    pub(crate) fn runs_for(&self) -> RunsFor {
        self.state.runs_for
    }

    /// Returns whether the load is a refresh: all callers get the stale value meanwhile.
    pub(crate) fn is_refresh(&self) -> bool {
        self.state.is_refresh
    }

    /// Returns the span of the load. It ends with the load, and what belongs to the load is to run in it: see
    /// [`LoadSpan::scope`] and [`Adapter::spawn_load`](crate::Adapter::spawn_load).
    #[must_use]
    pub fn span(&self) -> LoadSpan {
        self.state.span.clone()
    }

    /// Creates the fill of a load whose lease was acquired before. Without a `snapshot`, the lease is
    /// [inherited](Self::inherit), as from a cancelled leader.
    pub(crate) fn ahead(
        shared: Arc<Shared>,
        key: Key,
        mut lead: Lead,
        fence: Fence,
        snapshot: Option<TagSnapshot>,
    ) -> Self {
        match snapshot {
            Some(snapshot) => {
                let mut fill = Self::new(shared, key, lead, None);
                fill.arm((fence, snapshot));
                fill
            }
            None => {
                lead.leave_fence(fence);
                Self::new(shared, key, lead, None)
            }
        }
    }

    /// Sets the fence that the fill is conditional on, and the tags that the value depends on. Without them the value
    /// is not stored.
    pub(crate) fn arm(&mut self, (fence, snapshot): (Fence, TagSnapshot)) {
        self.hold(fence);
        self.depend_on(snapshot);
    }

    /// Sets the time before which the snapshot of the tags was taken.
    pub(super) fn reserved_at(&mut self, since: Instant) {
        self.state.since = since;
    }

    fn depend_on(&mut self, snapshot: TagSnapshot) {
        if snapshot.ends_stale() {
            // The stale copy was invalidated after it was read.
            self.state.stale = None;
        }
        self.state.snapshot = snapshot;
    }

    pub(super) fn hold(&mut self, fence: Fence) {
        // A copy of another version than the one that the fence is for must not be used any more.
        let record = fence.record();
        self.state.stale.take_if(|stale| stale.version != record);
        if let (Some(lead), Fence::Lease(lease)) = (&self.state.lead, fence) {
            lead.holds(lease.version);
        }
        self.state.fence = Some(fence);
    }

    /// Acquires the lease of the load. If the store does not answer, the load continues without one. Returns `false` if
    /// another process holds a lease, or the precondition no longer holds.
    pub(crate) async fn acquire(&mut self, precondition: Precondition, declared: &Declared) -> bool {
        let of_stale = self.state.stale.as_ref().map(|stale| &stale.tags);
        let acquired = self
            .state
            .shared
            .leases
            .acquire(&self.state.key, precondition, declared, of_stale);
        let acquired = acquired.await;
        self.acquired(acquired)
    }

    /// As [`acquire`](Self::acquire), for a load whose tags were captured before.
    pub(crate) async fn acquire_captured(
        &mut self,
        precondition: Precondition,
        captured: Result<TagSnapshot, Error>,
    ) -> bool {
        let acquired = match captured {
            Ok(captured) => {
                self.state
                    .shared
                    .leases
                    .acquire_captured(&self.state.key, precondition, captured)
                    .await
            }
            Err(error) => Err(error),
        };
        self.acquired(acquired)
    }

    fn acquired(&mut self, acquired: Result<Option<(Fence, TagSnapshot)>, Error>) -> bool {
        match acquired {
            Ok(None) => false,
            Ok(Some(armour)) => {
                self.arm(armour);
                true
            }
            Err(error) => {
                self.state.refused = !matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable);
                true
            }
        }
    }

    /// Loads beside the lease of another process: the first of the two to finish stores its value.
    pub(crate) async fn load_beside(&mut self, lease: Lease, declared: &Declared) {
        let of_stale = self.state.stale.as_ref().map(|stale| &stale.tags);
        if let Ok(snapshot) = self
            .state
            .shared
            .tier
            .capture(&self.state.key, declared, of_stale)
            .await
        {
            self.arm((Fence::Others(lease), snapshot));
        }
    }

    /// Adds tags to the value while it is loaded.
    #[must_use]
    pub fn tagger(&self) -> &Tagger {
        &self.state.tagger
    }

    /// Adds tags that were not known before the value was loaded. This requires a lookup through a handle
    /// [`with_late_tags`](crate::Adapter::with_late_tags). If one of the tags was invalidated during the load, the
    /// value is not stored.
    ///
    /// Invalidations of tags are recorded in 4,096 slots, by the tags' hashes. A tag counts as invalidated if another
    /// tag in its slot was, or if the store has lost the records that would show it.
    pub async fn add_late_tags<N: AsRef<str>>(&mut self, tags: impl IntoIterator<Item = N>) {
        self.state.tagger.add_late(tags, &self.state.snapshot).await;
    }

    /// Specifies that the value to be stored is the [stale](Self::stale) value with a change, and was not loaded anew.
    /// It depends on everything that the stale value depended on, as of when the stale value was loaded.
    pub fn depend_as_stale(&mut self) {
        let Some(stale) = &self.state.stale else { return };
        match union(&stale.tags, &self.state.snapshot.tags) {
            Ok(tags) => self.state.snapshot.tags = tags,
            Err(error) => self.state.fault = Some(Fault::Failed(error)),
        }
        self.state.remade = Some(stale.tags.clone());
    }

    /// Specifies that the value to be stored is the [stale](Self::stale) value, which the source has just validated, or
    /// is made from it. It depends on everything that the stale value depended on, as of when this load began.
    pub fn keep_tags_of_stale(&mut self) {
        match self.state.snapshot.of_stale() {
            Ok(tags) => self.state.snapshot.tags = tags,
            Err(error) => self.state.fault = Some(Fault::Failed(error)),
        }
    }

    /// Continues the load of `other` under this fill's key: this load gets all tags that are or will be added to the load of
    /// `other`, and reports its end and what it stores in the place of `other`, which reports nothing any more.
    pub fn continue_load_of(&mut self, other: &mut Self) {
        self.set_tagger(&other.state.tagger);
        self.state.begun = other.state.begun;
        self.state.reporting = std::mem::replace(&mut other.state.reporting, Reporting::Nothing);
        self.state.unreported_end = std::mem::take(&mut other.state.unreported_end);
        self.state.deadline = other.state.deadline;
        self.state.span = std::mem::replace(&mut other.state.span, LoadSpan::none());
        self.is_traced_by(&self.state.span);
    }

    /// Reports that the load has ended with a value, and does not report what is stored from now on. For a load whose
    /// value is not what is stored.
    pub fn report_end(&mut self) {
        self.note_loaded();
        self.state.reporting = Reporting::Nothing;
    }

    fn tell(&self, event: &Event<'_>) {
        if self.state.reporting != Reporting::Nothing {
            self.state.shared.events.emit(event);
        }
    }

    /// Records that the store answers, but accepts no lease.
    pub(crate) fn refuse(&mut self) {
        self.state.refused = true;
    }

    /// Returns whether the store answered when the load began. If not, the load is one of an outage.
    #[must_use]
    pub fn store_answered(&self) -> bool {
        self.state.fence.is_some() || self.state.refused
    }

    /// Sets the tagger that several loads of one batch share.
    pub(crate) fn set_tagger(&mut self, tagger: &Tagger) {
        self.state.tagger = tagger.clone();
    }

    pub(crate) fn set_stale(&mut self, stale: Option<Found<T>>) {
        self.state.stale = stale;
    }

    /// Takes over the fence that a predecessor held, if it is still intact.
    pub(crate) async fn inherit(&mut self, declared: &Declared) -> bool {
        self.state.fence = self.state.lead.as_mut().and_then(Lead::take_fence);
        let Some(fence) = self.state.fence else { return false };
        let of_stale = self.state.stale.as_ref().map(|stale| &stale.tags);
        match self
            .state
            .shared
            .tier
            .capture(&self.state.key, declared, of_stale)
            .await
        {
            Ok(snapshot) => self.depend_on(snapshot),
            Err(_) => {
                self.state.fence = None;
                self.state.shared.release(self.state.key.clone(), fence, None);
                return false;
            }
        }
        let stands = matches!(self.renew().await, Ok(true));
        if !stands {
            self.state.fence = None;
        }
        stands
    }

    pub(crate) fn flight(&self) -> Option<FlightId> {
        self.state.lead.as_ref().map(Lead::id)
    }

    pub(crate) fn lead(&self) -> Option<&Lead> {
        self.state.lead.as_ref()
    }

    /// Returns the key to load.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.state.key
    }

    /// Waits until another caller in this process waits for the load. Returns at once if one does. If you then drop the
    /// fill, the load passes to one of them.
    pub fn waited_for(&self) -> impl Future<Output = ()> + Send + use<T, E> {
        let waited_for = self.state.lead.as_ref().map(Lead::waited_for);
        async move {
            match waited_for {
                Some(waited_for) => waited_for.await,
                // Only a fill that has ended is without a lead.
                None => std::future::pending().await,
            }
        }
    }

    /// Ends a failed load. One of the waiting callers then loads instead.
    pub fn fail_over(mut self) {
        self.note_failed(LoadFailure::Error);
    }

    /// Returns the stale copy that the load replaces, if there is one.
    #[must_use]
    pub fn stale(&self) -> Option<&Found<T>> {
        self.state.stale.as_ref()
    }

    /// Returns whether a value can be stored at all: whether the store was reachable when the load began.
    #[must_use]
    pub fn is_storable(&self) -> bool {
        self.state.fence.is_some()
    }

    /// Stores `value` for `windows`, and shares it with the waiting callers.
    ///
    /// They get it only if it was stored, or if the store did not answer. If the key was invalidated in the meantime,
    /// they read again.
    pub async fn store<C: Coder<T>>(mut self, value: Arc<T>, coder: &C, windows: FreshnessWindows) -> StoreOutcome {
        self.note_loaded();
        let settled = self.settle_tags();
        let found = Found {
            value,
            created: self.state.shared.tier.now(),
            windows,
            tags: self.state.snapshot.tags.clone(),
            version: None,
            tier: CacheTier::Store,
            load_time: self.load_time(),
            type_version: self.state.type_version,
        };
        let encoded = self.encoded(settled, |writer, key| writer.value(key, &found.value, coder, windows));
        self.land(Ok(Some(found)), encoded, &windows).await
    }

    /// Adds the tagger's tags to those of the entry.
    fn settle_tags(&mut self) -> Result<(), Fault> {
        if let Some(fault) = self.state.fault.take() {
            return Err(fault);
        }
        self.state.snapshot.tags = self.state.tagger.with_added(&self.state.snapshot.tags)?;
        self.state.snapshot.lifetimes.extend(self.state.tagger.lifetimes());
        Ok(())
    }

    fn encoded(
        &self,
        settled: Result<(), Fault>,
        encode: impl FnOnce(Writer<'_>, &Key) -> Result<Value, Error>,
    ) -> Result<Value, Fault> {
        settled?;
        let writer = Writer {
            load_time: self.load_time(),
            grace: self.grace(),
            ..self.state.shared.tier.writer(&self.state.snapshot.tags)
        };
        encode(writer, &self.state.key).map_err(Fault::Failed)
    }

    /// Returns how long the load took, if that is stored with the value.
    pub(super) fn load_time(&self) -> Option<Duration> {
        self.state
            .early
            .filter(|policy| policy.early_refresh_beta > 0.0)
            .map(|_| self.took())
    }

    /// Returns how long the store retains the record after all of its windows have ended.
    fn grace(&self) -> Duration {
        self.state.early.map_or(Duration::ZERO, |policy| {
            policy.grace(self.state.shared.leases.time(), Some(self.took()))
        })
    }

    /// Stores that there is no value.
    pub(crate) async fn store_absent(mut self, windows: FreshnessWindows) -> StoreOutcome {
        self.state.windows_without_value = windows;
        let settled = self.settle_tags();
        let type_version = self.state.type_version;
        let encoded = self.encoded(settled, |writer, key| writer.absent(key, type_version, windows));
        self.land(Ok(None), encoded, &windows).await
    }

    /// Stores that the load failed.
    pub(crate) async fn store_failure(mut self, error: LoadError<E>, windows: FreshnessWindows) -> StoreOutcome {
        let (object, message): (Arc<dyn Any + Send + Sync>, &str) = match &error {
            LoadError::Failed(error) => (Arc::clone(error) as _, std::any::type_name::<E>()),
            LoadError::Panicked(message) => (Arc::new(NotKept), message),
            LoadError::TimedOut(_) => (Arc::new(NotKept), "the load took too long"),
            LoadError::Remembered(_) | LoadError::Circular(_) => {
                self.share(Err(error)).await;
                return StoreOutcome::Unavailable;
            }
        };
        self.state.windows_without_value = windows;
        let settled = self.settle_tags();
        let type_version = self.state.type_version;
        let encoded = self.encoded(settled, |writer, key| {
            writer.failure(key, &object, message, type_version, windows)
        });
        self.land(Err(error), encoded, &windows).await
    }

    async fn land(
        mut self,
        mut outcome: Outcome<T, E>,
        encoded: Result<Value, Fault>,
        windows: &FreshnessWindows,
    ) -> StoreOutcome {
        if let Err(error) = self.settle().await {
            // The store does not answer, so another attempt would be pointless.
            self.state.fence = None;
            self.finish(Landing::ReadAgain);
            return StoreOutcome::Failed(error);
        }
        let Some(fence) = self.state.fence else {
            if self.state.remade.is_some() {
                Box::pin(self.share(outcome)).await;
            } else {
                self.finish_with(outcome);
            }
            return StoreOutcome::Unavailable;
        };
        let encoded = encoded.and_then(|value| self.within_limits(value).map_err(Fault::Failed));
        let value = match encoded {
            Ok(value) => value,
            Err(Fault::Fenced) => {
                self.tell(&Event::Fenced { key: &self.state.key });
                Box::pin(self.share(outcome)).await;
                return StoreOutcome::Fenced;
            }
            Err(Fault::Failed(error)) => {
                self.state
                    .shared
                    .events
                    .emit(&Event::not_stored(&self.state.key, &error));
                Box::pin(self.share(outcome)).await;
                return StoreOutcome::Failed(error);
            }
            Err(Fault::Uncarried(error)) => {
                self.state
                    .shared
                    .events
                    .emit(&Event::not_stored(&self.state.key, &error));
                self.part();
                return StoreOutcome::Uncarried;
            }
        };
        self.seal();
        let weight = value.weight();
        let lifetime = retention(windows, self.grace());
        // Changes during the load may be unknown here too.
        let stamp = self
            .state
            .shared
            .tier
            .stamp(&self.state.key)
            .map(|stamp| stamp.as_of(self.state.since));
        let TagSnapshot { tags, lifetimes, .. } = &self.state.snapshot;
        let (leases, tag_records) = (&self.state.shared.leases, &self.state.shared.tier.tags);
        // What is done besides storing is boxed, to keep the future of a load small.
        let filled = if lifetimes.is_empty() {
            leases.fill(&self.state.key, fence, value, lifetime).await
        } else {
            let both = async {
                tokio::join!(
                    leases.fill(&self.state.key, fence, value, lifetime),
                    tag_records.prolong(tags, lifetimes, lifetime)
                )
            };
            Box::pin(both).await.0
        };
        match filled {
            Ok(Filled::Stored(version)) => {
                self.state.fence = None;
                if let Ok(Some(found)) = &mut outcome {
                    found.version = Some(version);
                }
                match (&outcome, stamp) {
                    // A value made from a stale copy is older than its load, so the known changes since then may be
                    // incomplete.
                    (Ok(Some(found)), Some(stamp)) if self.state.remade.as_ref().is_none_or(Tags::is_empty) => {
                        let tier = &self.state.shared.tier;
                        tier.keep_own_near(&self.state.key, found, version, weight, stamp);
                    }
                    _ => self.state.shared.tier.forget_near(&self.state.key),
                }
                self.tell(&Event::Stored { key: &self.state.key });
                self.prolong_joined(lifetime);
                self.land_with(true, outcome, None).await;
                StoreOutcome::Stored
            }
            Ok(Filled::Fenced) => {
                self.state.fence = None;
                self.tell(&Event::Fenced { key: &self.state.key });
                self.finish(Landing::ReadAgain);
                StoreOutcome::Fenced
            }
            Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) => {
                // The value may have been written or not, and the key may have been invalidated in between.
                self.state.shared.tier.forget_near(&self.state.key);
                self.state.fence = None;
                self.finish(Landing::ReadAgain);
                StoreOutcome::Failed(error)
            }
            Err(error) => {
                // Whether the fence is intact is unknown until it is released.
                Box::pin(self.share(outcome)).await;
                StoreOutcome::Failed(error)
            }
        }
    }

    /// Prolongs the records of tags that the value has got from other entries, if it may outlive them. That takes a read
    /// of the records, which nobody waits for.
    fn prolong_joined(&self, lifetime: Ttl) {
        let early = self.state.tagger.early(lifetime);
        if early.is_empty() {
            return;
        }
        let tags = Arc::clone(&self.state.shared.tier.tags);
        let prolonging = async move { tags.prolong_unknown(early, lifetime).await };
        if self.state.shared.tier.store.is_local() {
            // Completes immediately.
            let _ = prolonging.now_or_never();
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.state
                .shared
                .tasks
                .spawn_on(task::background(load::current(), prolonging), &runtime);
        }
    }

    fn within_limits(&self, value: Value) -> Result<Value, Error> {
        match self.state.shared.tier.store.backend().limits().value_bytes {
            Some(limit) if value.weight() > limit => {
                let message = format!("{} bytes, and the store takes {limit}", value.weight());
                Err(Error::new(ErrorKind::TooLarge, message)
                    .with_backend(self.state.shared.tier.store.backend().name())
                    .with_operation("set"))
            }
            _ => Ok(value),
        }
    }

    /// Shares `outcome` with the waiting callers, and stores nothing.
    pub(crate) async fn share(self, outcome: Outcome<T, E>) {
        self.share_depending(outcome, None).await;
    }

    /// As [`share`](Self::share), for an outcome that may be a stale copy with the tags `stale`, or made from one.
    async fn share_depending(mut self, outcome: Outcome<T, E>, stale: Option<&Tags>) {
        let remade = self.state.remade.take();
        let stale = stale.or(remade.as_ref());
        let settled = self.settle().await;
        if self.state.fence.is_some() {
            self.seal();
        }
        let stood = match self.state.fence {
            // An error is shared even if the fence was lost.
            Some(fence @ Fence::Record { .. }) if outcome.is_err() => {
                self.state.shared.release(self.state.key.clone(), fence, None);
                true
            }
            Some(fence) if settled.is_ok() => self.state.shared.leases.release(&self.state.key, fence).await,
            Some(fence) => {
                // The store does not answer, so the callers do not wait for it.
                self.state.shared.release(self.state.key.clone(), fence, None);
                false
            }
            None => match stale {
                Some(_) => self.unfenced_stale_stands().await,
                None => true,
            },
        };
        self.state.fence = None;
        self.land_with(stood, outcome, stale).await;
    }

    /// Lands with `outcome` if nothing was invalidated in between: the fence was intact (`stood`), the tags that the
    /// value depends on are unchanged, and so are the tags `stale` of the copy that it was made from, if any.
    async fn land_with(self, stood: bool, outcome: Outcome<T, E>, stale: Option<&Tags>) {
        // An error does no harm to callers that came after an invalidation. An old value would.
        if outcome.is_err() {
            self.finish_with(outcome);
            return;
        }
        let waited_for = self.state.lead.as_ref().is_some_and(Lead::is_waited_for);
        let tags = match self.state.tagger.with_added(&self.state.snapshot.tags) {
            Ok(tags) if stood => tags,
            // The next value will be for its own caller only, too.
            Err(Fault::Uncarried(_)) => {
                self.finish(Landing::Uncoalesced);
                return;
            }
            _ => {
                self.finish(Landing::ReadAgain);
                return;
            }
        };
        let concerned = !tags.is_empty() || stale.is_some_and(|tags| !tags.is_empty());
        if concerned && !waited_for {
            // Nobody waits, so nobody could get an outdated value. A caller that comes at this moment reads again.
            let landing = self.landing(outcome);
            self.finish_unless_waited_for(landing);
            return;
        }
        let tier = &self.state.shared.tier;
        // A value that is made from a stale one is a stale one, and shared as such.
        let is_stale = self.fresh_at_most() == Some(Duration::ZERO);
        let current = if tags.is_empty() {
            true
        } else if is_stale {
            tier.still_usable(&self.state.key, &tags).await
        } else {
            tier.still_current(&self.state.key, &tags, self.state.pending).await
        };
        let usable = match stale {
            Some(tags) if current => tier.still_usable(&self.state.key, tags).await,
            _ => current,
        };
        if usable {
            self.finish_with(outcome);
        } else {
            self.finish(Landing::ReadAgain);
        }
    }

    /// Returns whether the stale copy may be shared although there is no fence, and seals the flight accordingly. The
    /// copy was read before the load began, so callers that came since may only get it if it is still in the store.
    async fn unfenced_stale_stands(&self) -> bool {
        self.seal();
        match self.stale_is_there().await {
            Some(there) => there,
            None => {
                if let Some(lead) = &self.state.lead {
                    lead.seal_from_the_start();
                }
                true
            }
        }
    }

    /// Returns whether the record of the stale copy is still in the store. `None` if that cannot be determined, or the
    /// store is unreachable.
    async fn stale_is_there(&self) -> Option<bool> {
        let version = self.state.stale.as_ref().filter(|_| self.state.refused)?.version?;
        self.state.shared.tier.is_at(&self.state.key, version).await.ok()
    }

    /// Returns the tags that the value depends on. `None` if they are not known.
    pub(super) fn dependencies(&self) -> Option<Tags> {
        self.state.tagger.with_added(&self.state.snapshot.tags).ok()
    }

    /// Returns whether the load began without reading the versions of its `declared` tags, since the store did not
    /// answer.
    pub(super) fn lacks_tags(&self, declared: &Declared) -> bool {
        self.state.is_uncaptured && !declared.names().is_empty()
    }

    /// Returns the tags that the value has so far, of its handle, of its load and of the entries that it is made from.
    /// `None` if they are not known, so that the value will not be stored either.
    #[must_use]
    pub fn tags(&self) -> Option<Vec<String>> {
        let tags = self
            .dependencies()
            .filter(|_| self.is_storable() && self.state.fault.is_none())?;
        let names = tags.iter().filter_map(|(name, _)| of_carried(name));
        Some(names.map(str::to_owned).collect())
    }

    /// Returns how long the value is fresh at most, by the other entries that were used for it: zero if one of them is not
    /// fresh, `None` if nothing limits it. See [`Policy::contributes`](crate::Policy::contributes).
    ///
    /// [`store`](Self::store) stores the windows that it is given, so shorten them by this.
    #[must_use]
    pub fn fresh_at_most(&self) -> Option<Duration> {
        self.state.tagger.fresh_for(&self.state.snapshot.tags)
    }

    /// Shortens the windows of the value to what other entries have contributed.
    pub(super) fn shortened(&self, mut windows: FreshnessWindows) -> FreshnessWindows {
        if let Some(most) = self.fresh_at_most() {
            windows.fresh = Some(windows.fresh.map_or(most, |fresh| fresh.min(most)));
        }
        windows
    }

    /// Joins everything that was added to `collected`, the tagger of work that was done before the load began.
    pub fn join(&self, collected: &Tagger) {
        self.state.tagger.absorb(collected);
    }

    /// Makes the load that the current task runs in, if any, depend on everything that this load depends on, now or
    /// later. For adapters that hand on a value before its load has ended.
    pub fn contribute(&self) {
        if is_within_load() {
            Tagger::current().follow(&self.state.snapshot.tags, &self.state.tagger);
        }
    }

    /// Lets each waiting caller load for itself, because the result is for this caller only, or there is none.
    ///
    /// They continue at once. The lease is released in the background.
    pub fn uncoalesced(mut self) {
        self.note_loaded();
        self.part();
    }

    /// As [`uncoalesced`](Self::uncoalesced), for a load that failed.
    pub fn fail_uncoalesced(mut self) {
        self.note_failed(LoadFailure::Error);
        self.part();
    }

    /// Ends a load without a result for other callers. One of the waiting callers then loads instead.
    pub(crate) async fn hand_over(mut self) {
        if self.state.lead.as_ref().is_some_and(Lead::is_waited_for) {
            // Dropping the fill passes the load, with its fence, to one of them.
            return;
        }
        let settled = self.settle().await;
        match self.state.fence {
            Some(fence) if settled.is_ok() => drop(self.state.shared.leases.release(&self.state.key, fence).await),
            Some(fence) => self.state.shared.release(self.state.key.clone(), fence, None),
            None => {}
        }
        self.state.fence = None;
        self.finish(Landing::ReadAgain);
    }

    fn part(mut self) {
        if let Some(fence) = self.state.fence.take() {
            self.state
                .shared
                .release(self.state.key.clone(), fence, self.state.renewal.take());
        }
        self.finish(Landing::Uncoalesced);
    }

    /// Returns the stale copy, if it may be used now that the load has failed: its window is open, and it was not
    /// removed or replaced (RFC 5861 §4).
    pub async fn stale_if_error(&self) -> Option<Found<T>> {
        let stale = self.state.stale.as_ref()?;
        // A load that replaces a fresh copy does not fall back to it.
        if matches!(
            stale.freshness(self.state.shared.tier.now()),
            Freshness::Fresh | Freshness::Gone
        ) {
            return None;
        }
        let stands = match self.state.fence {
            Some(fence @ Fence::Record { .. }) => self
                .state
                .shared
                .leases
                .is_intact(&self.state.key, fence)
                .await
                .unwrap_or(false),
            Some(Fence::Lease(_) | Fence::Others(_)) => false,
            // If the store is unreachable, invalidations in this process are detected when the flight lands.
            None => self.stale_is_there().await.unwrap_or(true),
        };
        let usable = stands && self.state.shared.tier.still_usable(&self.state.key, &stale.tags).await;
        usable.then(|| stale.clone())
    }

    /// Shares `value` with the waiting callers, and does not store it.
    ///
    /// If the key was invalidated in the meantime, they read again instead.
    pub async fn share_unstored(mut self, value: Arc<T>) {
        self.note_loaded();
        self.share(Ok(Some(Found::unkept(value)))).await;
    }

    /// Shares the stale copy that [`stale_if_error`](Self::stale_if_error) returned with the waiting callers.
    pub async fn share_stale(mut self, stale: Found<T>) {
        self.note_failed(LoadFailure::Error);
        if !self.state.is_refresh {
            self.tell(&Event::StaleIfError { key: &self.state.key });
        }
        let tags = stale.tags.clone();
        self.share_depending(Ok(Some(stale)), Some(&tags)).await;
    }

    /// Shares that there is no value, and removes the stale copy, which contradicts that.
    pub(crate) async fn share_absence(self) {
        if let Some(Fence::Record { record, .. }) = self.state.fence {
            self.seal();
            let removed = self.state.shared.tier.store.delete_if(&self.state.key, record).await;
            self.state.shared.tier.forget_near(&self.state.key);
            match removed {
                Ok(true) => self.land_with(true, Ok(None), None).await,
                // The key was invalidated or written in the meantime, or that is unknown. A failure has already emitted
                // an event.
                _ => self.finish(Landing::ReadAgain),
            }
        } else {
            self.share(Ok(None)).await;
        }
    }

    /// Seals the flight: from now on, an invalidation in another process may go undetected.
    pub(crate) fn seal(&self) {
        if let Some(lead) = &self.state.lead {
            lead.seal(self.state.fence.is_none());
        }
    }

    /// Returns how long the load has taken so far, or took if it has ended.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.state.ended_after.unwrap_or_else(|| self.state.begun.elapsed())
    }

    pub(crate) fn begin(&mut self) {
        self.state.begun = Instant::now();
        self.state.is_uncaptured = self.state.fence.is_none();
        self.state.pending = self.state.shared.tier.pending.so_far();
        if let Some(lead) = &self.state.lead {
            lead.begin();
        }
        // Without a fence, an invalidation goes undetected from now on. With one, the flight is sealed again later,
        // before the fence is released.
        self.seal();
        if self.state.reporting != Reporting::Nothing {
            self.state.unreported_end = true;
            self.state
                .shared
                .events
                .emit(&Event::LoadStarted { key: &self.state.key });
        }
    }

    /// Reports the end of the load, once.
    pub(crate) fn note_loaded(&mut self) {
        let begun = self.state.begun;
        self.state.ended_after.get_or_insert_with(|| begun.elapsed());
        if std::mem::take(&mut self.state.unreported_end) {
            self.state.span.record_outcome("ok");
            self.state.shared.events.emit(&Event::Loaded {
                key: &self.state.key,
                took: self.took(),
            });
        }
    }

    /// Reports the end of the load, once.
    pub(crate) fn note_failed(&mut self, failure: LoadFailure) {
        let begun = self.state.begun;
        self.state.ended_after.get_or_insert_with(|| begun.elapsed());
        if std::mem::take(&mut self.state.unreported_end) {
            self.state.span.record_failure(failure);
            self.state.shared.events.emit(&Event::LoadFailed {
                key: &self.state.key,
                took: self.took(),
                failure,
            });
        }
    }

    /// Ends the flight with what another load stored before this one began.
    pub(crate) fn answer(self, outcome: Outcome<T, E>, terms: Terms) {
        self.state.span.record_outcome("elsewhere");
        self.finish(Landing::Shared(Arc::new(Landed { outcome, terms })));
    }

    fn finish_with(self, outcome: Outcome<T, E>) {
        let landing = self.landing(outcome);
        self.finish(landing);
    }

    fn landing(&self, outcome: Outcome<T, E>) -> Landing {
        let terms = match &outcome {
            Ok(Some(found)) => found.terms(),
            _ => Terms {
                created: self.state.shared.tier.now(),
                windows: self.state.windows_without_value,
                tags: self.dependencies().unwrap_or_default(),
            },
        };
        Landing::Shared(Arc::new(Landed { outcome, terms }))
    }

    fn finish(mut self, landing: Landing) {
        if let Some(lead) = self.state.lead.take() {
            lead.finish(landing);
        }
    }

    fn finish_unless_waited_for(mut self, landing: Landing) {
        if let Some(lead) = self.state.lead.take() {
            lead.finish_unless_waited_for(landing);
        }
    }
}

impl<T, E> Drop for Fill<T, E> {
    fn drop(&mut self) {
        if std::mem::take(&mut self.state.unreported_end) {
            let is_late = self.state.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let failure = if is_late {
                LoadFailure::Timeout
            } else {
                LoadFailure::Cancelled
            };
            self.state.span.record_failure(failure);
            self.state.shared.events.emit(&Event::LoadFailed {
                key: &self.state.key,
                took: self.state.begun.elapsed(),
                failure,
            });
        }
        let mut fence = self.state.fence.take();
        if let (Some(fence), Some(renewal)) = (
            fence.take_if(|_| self.state.renewal.is_some()),
            self.state.renewal.take(),
        ) {
            self.state.shared.release(self.state.key.clone(), fence, Some(renewal));
        }
        let left = match self.state.lead.take() {
            Some(lead) => lead.pass_on(fence),
            None => fence,
        };
        if let Some(fence) = left {
            self.state.shared.release(self.state.key.clone(), fence, None);
        }
    }
}

impl<T, E> fmt::Debug for Fill<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill")
            .field("key", &self.state.key)
            .field("fence", &self.state.fence)
            .finish_non_exhaustive()
    }
}
