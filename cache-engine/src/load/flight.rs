//! Flights: at most one load per key and type in this process, for which all other callers wait.
//!
//! One caller at a time leads a flight. The leader [finishes](Lead::finish) it with an outcome for all waiting callers.
//! A leader that is cancelled before that leaves the lead to one of them. The map has an entry exactly while a flight
//! has a leader or waiting callers. One lock guards everything that decides about that.

#[cfg(all(test, shuttle))]
mod schedules;
mod shim;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock, PoisonError};

use cache_core::{Key, Scope, Version};
use tokio::sync::Notify;
use tracing::span;

use self::shim::{Mistake, Mutex, MutexGuard};
use crate::lease::fence::Fence;

/// How a flight ended for the callers that waited.
#[derive(Clone)]
pub(crate) enum Landing {
    /// With a shared result, whose type is part of the flight's key.
    Shared(Arc<dyn Any + Send + Sync>),
    /// Without a result for the callers: they read again.
    ReadAgain,
    /// With a result that must not be shared: each caller loads for itself.
    Uncoalesced,
}

impl fmt::Debug for Landing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "Shared",
            Self::ReadAgain => "ReadAgain",
            Self::Uncoalesced => "Uncoalesced",
        })
    }
}

/// Identifies a flight among those of all caches while it lasts. A load may wait for a flight of another cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlightId {
    /// The address of the map that the flight belongs to.
    map: usize,
    number: u64,
}

/// What a flight lands with: the type of the result, and the version of the value's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResultType {
    id: TypeId,
    version: u32,
}

impl ResultType {
    pub(crate) fn new(id: TypeId, version: u32) -> Self {
        Self { id, version }
    }

    pub(crate) fn of<R: 'static>(version: u32) -> Self {
        Self::new(TypeId::of::<R>(), version)
    }
}

/// The flights of one cache.
#[derive(Debug, Default, Clone)]
pub(crate) struct Flights {
    map: Arc<Mutex<Map>>,
    waits: Waits,
}

/// Which flight's load waits for which flight, in all caches of the process. Detects circular waits.
#[derive(Debug, Clone)]
struct Waits(Arc<Mutex<Vec<(FlightId, FlightId)>>>);

impl Default for Waits {
    #[cfg(not(shuttle))]
    fn default() -> Self {
        static OF_PROCESS: std::sync::LazyLock<Waits> = std::sync::LazyLock::new(|| Waits(Arc::default()));
        OF_PROCESS.clone()
    }

    /// Under the model checker, each schedule is a process of its own.
    #[cfg(shuttle)]
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, Vec<(FlightId, FlightId)>> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the loads of `within` wait for `to`. Returns `None` if that would never end, because `to` waits for
    /// one of them.
    fn add_unless_circular(&self, within: &[FlightId], to: FlightId) -> Option<Edges> {
        if within.is_empty() {
            return Some(self.edges(within, to));
        }
        let mut waits = self.lock();
        if within.iter().any(|own| leads_to(&waits, to, *own)) {
            return None;
        }
        waits.extend(within.iter().map(|from| (*from, to)));
        Some(self.edges(within, to))
    }

    /// Records that the loads of `within` wait for `to`.
    fn add(&self, within: &[FlightId], to: FlightId) -> Edges {
        if !within.is_empty() {
            self.lock().extend(within.iter().map(|from| (*from, to)));
        }
        self.edges(within, to)
    }

    fn edges(&self, within: &[FlightId], to: FlightId) -> Edges {
        Edges {
            waits: self.clone(),
            from: within.into(),
            to,
        }
    }
}

/// Returns whether `from` is `to`, or its load waits for `to`, directly or through other flights.
fn leads_to(waits: &[(FlightId, FlightId)], from: FlightId, to: FlightId) -> bool {
    let mut seen = vec![from];
    let mut next = 0;
    while let Some(flight) = seen.get(next).copied() {
        if flight == to {
            return true;
        }
        for (waiting, target) in waits {
            if *waiting == flight && !seen.contains(target) {
                seen.push(*target);
            }
        }
        next += 1;
    }
    false
}

#[derive(Debug, Default)]
struct Map {
    by_key: HashMap<Key, Vec<(ResultType, Arc<Flight>)>>,
    next_id: u64,
    ticks: u64,
}

/// A point in time, by a clock that advances each time it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment(u64);

impl Moment {
    const NEVER: Self = Self(u64::MAX);
}

#[derive(Debug)]
struct Flight {
    id: FlightId,
    key: Key,
    /// Wakes one waiting caller when the lead is vacant, and all when the flight has landed or has a preview.
    wake: Notify,
    /// Wakes the leader when a caller begins to wait.
    joined: Notify,
    landing: OnceLock<Landed>,
    /// Only accessed under the map's lock.
    crew: Mutex<Crew>,
}

#[derive(Debug)]
struct Crew {
    led: bool,
    waiting: usize,
    /// Whether the flight was removed from the map, because its key was invalidated.
    detached: bool,
    seal: Seal,
    /// When this process first invalidated a tag since the load began, and the store did not carry it out.
    unaware_until: Moment,
    /// The fence that a cancelled leader left in the store for its successor.
    fence: Option<Fence>,
    /// The lease that the store holds for this flight.
    lease: Option<Version>,
    preview: Option<Preview>,
    /// The span of the load, if it is traced.
    span: Option<span::Id>,
}

/// What a flight offers before it lands.
#[derive(Clone)]
struct Preview {
    value: Arc<dyn Any + Send + Sync>,
    seal: Seal,
}

impl fmt::Debug for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preview")
    }
}

/// Which callers may get what a flight lands with. An invalidation in another process does not reach this map, so
/// callers that began to read after it must not get what was loaded before it.
#[derive(Debug, Clone, Copy, Default)]
struct Seal {
    /// Admits callers that began to read before this. They cannot know of a later invalidation.
    at: Moment,
    /// Admits callers that the store did not answer, too, if they began to read before this. They do not know of a later
    /// change either, unless this process made it.
    or_unaware: Moment,
}

impl Seal {
    /// Returns whether a caller that began to read at `since` may get the result.
    fn admits(self, since: Moment, unaware: bool) -> bool {
        since < self.at || unaware && since < self.or_unaware
    }
}

#[derive(Debug)]
struct Landed {
    landing: Landing,
    seal: Seal,
}

/// A caller that needs the value of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// When it began to read, or a later time.
    pub(crate) since: Moment,
    /// Whether the store did not answer it.
    pub(crate) unaware: bool,
    /// The flights that the caller's own load belongs to.
    pub(crate) within: &'a [FlightId],
    /// A lease that the caller found overtaken by an invalidation.
    pub(crate) overtaken: Option<Version>,
}

/// What [`Flights::join`] found.
#[derive(Debug)]
pub(crate) enum Join {
    Lead(Lead),
    Wait(Wait),
    /// Waiting would never end, because the flight waits for one of those that the caller runs in.
    Circular,
}

impl Flights {
    /// The time by the map's own clock.
    pub(crate) fn now(&self) -> Moment {
        self.lock().now()
    }

    /// Leads the flight of `key` if it has no leader, and waits for it otherwise.
    pub(crate) fn join(&self, key: &Key, result: ResultType, caller: Caller<'_>) -> Join {
        let mut map = self.lock();
        match map.find(key, result) {
            None => Join::Lead(self.start(&mut map, key, result)),
            Some(flight) => {
                let mut crew = flight.crew();
                if crew.led && caller.overtaken.is_some() && crew.lease == caller.overtaken {
                    // Callers from now on must not get its value, so there is nothing to wait for.
                    crew.detached = true;
                    drop(crew);
                    map.remove(&flight);
                    return Join::Lead(self.start(&mut map, key, result));
                }
                if !crew.led {
                    crew.led = true;
                    let fence = crew.fence.take();
                    drop(crew);
                    return Join::Lead(Lead {
                        flights: self.clone(),
                        flight,
                        fence,
                        landed: false,
                    });
                }
                let Some(edges) = self.waits.add_unless_circular(caller.within, flight.id) else {
                    return Join::Circular;
                };
                crew.waiting += 1;
                drop(crew);
                flight.joined.notify_waiters();
                Join::Wait(Wait {
                    flights: self.clone(),
                    flight,
                    _edges: edges,
                    since: caller.since,
                    unaware: caller.unaware,
                    left: false,
                })
            }
        }
    }

    /// Leads the flight of `key`, unless there is one.
    pub(crate) fn lead_new(&self, key: &Key, result: ResultType) -> Option<Lead> {
        let mut map = self.lock();
        match map.find(key, result) {
            None => Some(self.start(&mut map, key, result)),
            Some(_) => None,
        }
    }

    /// Leads a new flight of `key`. If there is one, it is [detached](Self::detach).
    pub(crate) fn lead_instead(&self, key: &Key, result: ResultType) -> Lead {
        let mut map = self.lock();
        map.detach(key);
        self.start(&mut map, key, result)
    }

    /// Removes the flights of `key` from the map. Later callers start a new one, and the waiting callers read again.
    pub(crate) fn detach(&self, key: &Key) {
        self.lock().detach(key);
    }

    /// As [`detach`](Self::detach), for all keys in `scope`.
    pub(crate) fn detach_scope(&self, scope: &Scope) {
        self.lock().by_key.retain(|key, flights| {
            let within = scope.contains(key);
            if within {
                for (_, flight) in flights {
                    flight.crew().detached = true;
                }
            }
            !within
        });
    }

    /// Records that the store did not carry out an invalidation of a tag. Any load that is under way may depend on the
    /// tag, and the store shows callers from now on neither the invalidation nor the tags of the value: if it does not
    /// answer them, they get no value of such a load.
    pub(crate) fn doubt(&self) {
        let mut map = self.lock();
        let now = map.now();
        for (_, flight) in map.by_key.values().flatten() {
            let mut crew = flight.crew();
            let until = crew.unaware_until.min(now);
            crew.unaware_until = until;
            crew.seal.or_unaware = crew.seal.or_unaware.min(until);
            if let Some(preview) = &mut crew.preview {
                preview.seal.or_unaware = preview.seal.or_unaware.min(until);
            }
        }
    }

    /// Returns the number of flights.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_key.values().map(Vec::len).sum()
    }

    fn start(&self, map: &mut Map, key: &Key, result: ResultType) -> Lead {
        map.next_id += 1;
        let flight = Arc::new(Flight {
            id: FlightId {
                map: Arc::as_ptr(&self.map).addr(),
                number: map.next_id,
            },
            key: key.clone(),
            wake: Notify::new(),
            joined: Notify::new(),
            landing: OnceLock::new(),
            crew: Mutex::new(Crew {
                led: true,
                waiting: 0,
                detached: false,
                seal: Seal::default(),
                unaware_until: Moment::NEVER,
                fence: None,
                lease: None,
                preview: None,
                span: None,
            }),
        });
        map.by_key
            .entry(key.clone())
            .or_default()
            .push((result, Arc::clone(&flight)));
        Lead {
            flights: self.clone(),
            flight,
            fence: None,
            landed: false,
        }
    }

    fn disband(&self, flight: &Arc<Flight>) {
        let mut map = self.lock();
        map.remove(flight);
        {
            let mut crew = flight.crew();
            crew.detached = true;
            crew.preview = None;
        }
        drop(map);
        flight.land(Landing::ReadAgain, Seal::default());
    }

    fn lock(&self) -> MutexGuard<'_, Map> {
        // Nothing that can panic runs under the lock.
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    fn now(&mut self) -> Moment {
        self.ticks += 1;
        Moment(self.ticks)
    }

    fn find(&self, key: &Key, result: ResultType) -> Option<Arc<Flight>> {
        let flights = self.by_key.get(key)?;
        flights
            .iter()
            // Shortened keys can be equal although they stand for different things.
            .find(|(of, flight)| *of == result && flight.key.identity() == key.identity())
            .map(|(_, flight)| Arc::clone(flight))
    }

    fn detach(&mut self, key: &Key) {
        for (_, flight) in self.by_key.remove(key).unwrap_or_default() {
            flight.crew().detached = true;
        }
    }

    fn remove(&mut self, flight: &Arc<Flight>) {
        if let Some(flights) = self.by_key.get_mut(&flight.key) {
            flights.retain(|(_, other)| !Arc::ptr_eq(other, flight));
            if flights.is_empty() {
                self.by_key.remove(&flight.key);
            }
        }
    }
}

impl Flight {
    fn crew(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn land(&self, landing: Landing, seal: Seal) {
        // If the flight has landed already, the first landing counts.
        let _ = self.landing.set(Landed { landing, seal });
        self.wake.notify_waiters();
    }
}

/// The lead of a flight. If it is dropped without [`finish`](Self::finish), it passes to a waiting caller.
#[derive(Debug)]
pub(crate) struct Lead {
    flights: Flights,
    flight: Arc<Flight>,
    fence: Option<Fence>,
    landed: bool,
}

impl Lead {
    pub(crate) fn id(&self) -> FlightId {
        self.flight.id
    }

    /// Takes the fence that a cancelled predecessor left.
    pub(crate) fn take_fence(&mut self) -> Option<Fence> {
        self.fence.take()
    }

    /// Leaves a fence for [`take_fence`](Self::take_fence).
    pub(crate) fn leave_fence(&mut self, fence: Fence) {
        self.fence = Some(fence);
    }

    /// Records that the loads of `within` wait for this flight, for as long as the returned guard lives.
    pub(crate) fn waited_for_by(&self, within: &[FlightId]) -> Edges {
        self.flights.waits.add(within, self.flight.id)
    }

    /// Seals the flight: callers that begin to read from now on do not get what it lands with, because an invalidation
    /// in another process may go undetected. Without a fence nothing would show one at all; `or_unaware` then admits
    /// callers that the store did not answer.
    pub(crate) fn seal(&self, or_unaware: bool) {
        let mut map = self.flights.lock();
        let at = map.now();
        let mut crew = self.flight.crew();
        let or_unaware = if or_unaware {
            crew.unaware_until
        } else {
            Moment::default()
        };
        crew.seal = Seal { at, or_unaware };
    }

    /// Records that the load begins now, so that it knows of all invalidations that this process has made so far.
    pub(crate) fn begin(&self) {
        let _map = self.flights.lock();
        self.flight.crew().unaware_until = Moment::NEVER;
    }

    /// As [`seal`](Self::seal), for a value that may be older than the flight, if it is unknown whether the store still
    /// has it. Only callers that the store did not answer get it.
    pub(crate) fn seal_from_the_start(&self) {
        let _map = self.flights.lock();
        let mut crew = self.flight.crew();
        crew.seal = Seal {
            at: Moment::default(),
            or_unaware: crew.unaware_until,
        };
    }

    /// Records the lease that the store holds for the flight.
    pub(crate) fn holds(&self, lease: Version) {
        let _map = self.flights.lock();
        self.flight.crew().lease = Some(lease);
    }

    /// Records the span of the load, to which those of waiting callers link.
    pub(crate) fn traced_by(&self, span: span::Id) {
        let _map = self.flights.lock();
        self.flight.crew().span = Some(span);
    }

    /// Leaves the flight to this leader alone. The waiting callers read again, and later callers start a new flight.
    pub(crate) fn disband(&self) {
        self.flights.disband(&self.flight);
    }

    /// Returns a handle that offers a preview while the lead is in use elsewhere.
    pub(crate) fn previewer(&self) -> Previewer {
        Previewer {
            flights: self.flights.clone(),
            flight: Arc::clone(&self.flight),
        }
    }

    /// Returns whether a load waits for the flight.
    pub(crate) fn is_awaited_by_load(&self) -> bool {
        self.flights.waits.lock().iter().any(|(_, to)| *to == self.flight.id)
    }

    /// Waits until a caller waits for the flight. Returns at once if one does.
    pub(crate) fn waited_for(&self) -> impl Future<Output = ()> + Send + use<> {
        let (flights, flight) = (self.flights.clone(), Arc::clone(&self.flight));
        async move {
            loop {
                let mut joined = pin!(flight.joined.notified());
                // Registered before the state is read, so that no change between the two is missed.
                joined.as_mut().enable();
                let waiting = {
                    let _map = flights.lock();
                    flight.crew().waiting
                };
                if waiting > 0 {
                    return;
                }
                joined.await;
            }
        }
    }

    /// Whether anybody waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        let _map = self.flights.lock();
        self.flight.crew().waiting > 0
    }

    /// Lands the flight. If it was detached in the meantime, the waiting callers read again, whatever `landing` is.
    pub(crate) fn finish(self, landing: Landing) {
        self.land(landing, false);
    }

    /// As [`finish`](Self::finish), if no caller waits. Otherwise the waiting callers read again.
    pub(crate) fn finish_unless_waited_for(self, landing: Landing) {
        self.land(landing, true);
    }

    fn land(mut self, landing: Landing, unless_waited_for: bool) {
        let mut map = self.flights.lock();
        map.remove(&self.flight);
        let (detached, seal) = {
            let mut crew = self.flight.crew();
            crew.preview = None;
            (crew.detached || unless_waited_for && crew.waiting > 0, crew.seal)
        };
        let landing = match landing {
            Landing::Shared(_) | Landing::Uncoalesced if detached && !Mistake::SharesDetached.is_made() => {
                Landing::ReadAgain
            }
            landing => landing,
        };
        drop(map);
        self.landed = true;
        self.flight.land(landing, seal);
    }

    /// Gives up the lead. The next leader inherits `fence`, or else what a predecessor left. If there is no next leader,
    /// returns it.
    pub(crate) fn pass_on(mut self, fence: Option<Fence>) -> Option<Fence> {
        self.fence = fence.or(self.fence.take());
        self.leave()
    }

    fn leave(&mut self) -> Option<Fence> {
        if std::mem::replace(&mut self.landed, true) {
            return self.fence.take();
        }
        let mut map = self.flights.lock();
        let mut crew = self.flight.crew();
        crew.led = false;
        crew.preview = None;
        if crew.detached {
            drop(crew);
            self.flight.land(Landing::ReadAgain, Seal::default());
            return self.fence.take();
        }
        if crew.waiting == 0 {
            drop(crew);
            map.remove(&self.flight);
            return self.fence.take();
        }
        crew.fence = self.fence.take();
        drop(crew);
        if !Mistake::WakesNobody.is_made() {
            self.flight.wake.notify_one();
        }
        None
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Offers a preview to the callers that wait for a flight: something that they can use before it lands.
#[derive(Debug)]
pub(crate) struct Previewer {
    flights: Flights,
    flight: Arc<Flight>,
}

impl Previewer {
    /// Whether anybody waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        let _map = self.flights.lock();
        self.flight.crew().waiting > 0
    }

    /// The time by the map's own clock.
    pub(crate) fn now(&self) -> Moment {
        self.flights.now()
    }

    /// Offers `value` from now on, until the flight lands or loses its leader. It is open to callers that began to read
    /// before `at`, or, without `at`, to callers that may get what the flight lands with. For other callers, the store
    /// must be read to find out whether they may have it.
    pub(crate) fn offer(&self, value: Arc<dyn Any + Send + Sync>, at: Option<Moment>) {
        let map = self.flights.lock();
        let mut crew = self.flight.crew();
        if !crew.led || self.flight.landing.get().is_some() {
            return;
        }
        let seal = at.map_or(crew.seal, |at| Seal {
            at,
            or_unaware: Moment::default(),
        });
        crew.preview = Some(Preview { value, seal });
        drop(crew);
        drop(map);
        self.flight.wake.notify_waiters();
    }

    /// As [`Lead::disband`].
    pub(crate) fn disband(&self) {
        self.flights.disband(&self.flight);
    }
}

/// A caller's place among those that wait for a flight. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Wait {
    flights: Flights,
    flight: Arc<Flight>,
    _edges: Edges,
    since: Moment,
    unaware: bool,
    left: bool,
}

/// A record that loads wait for a flight, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Edges {
    waits: Waits,
    from: Box<[FlightId]>,
    to: FlightId,
}

impl Drop for Edges {
    fn drop(&mut self) {
        if self.from.is_empty() {
            return;
        }
        let mut waits = self.waits.lock();
        for from in &self.from {
            if let Some(at) = waits.iter().position(|wait| *wait == (*from, self.to)) {
                waits.swap_remove(at);
            }
        }
    }
}

/// The result of waiting.
pub(crate) enum Waited {
    /// The flight landed.
    Landed(Landing),
    /// The leader was cancelled, and the caller leads now.
    Lead(Lead),
    /// The flight offers this preview before it lands. If it is not open to the caller, the caller must find out
    /// whether it may have it.
    Preview {
        value: Arc<dyn Any + Send + Sync>,
        is_open: bool,
    },
}

impl Wait {
    /// Waits for the flight to land, or for its lead. Dropping the future leaves the flight to the other callers.
    pub(crate) async fn wait(&self) -> Waited {
        self.wait_for(false).await
    }

    /// As [`wait`](Self::wait), but also ends with a preview.
    pub(crate) async fn wait_or_preview(&self) -> Waited {
        self.wait_for(true).await
    }

    async fn wait_for(&self, previews: bool) -> Waited {
        loop {
            let mut woken = pin!(self.flight.wake.notified());
            // Registered before the state is read, so that no change between the two is missed.
            woken.as_mut().enable();
            if let Some(landed) = self.flight.landing.get() {
                return Waited::Landed(self.view(landed));
            }
            if let Some(lead) = self.take_lead() {
                return Waited::Lead(lead);
            }
            if previews && let Some(preview) = self.preview() {
                return Waited::Preview {
                    is_open: preview.seal.admits(self.since, self.unaware),
                    value: preview.value,
                };
            }
            woken.await;
        }
    }

    /// As [`Lead::disband`].
    pub(crate) fn disband(&self) {
        self.flights.disband(&self.flight);
    }

    /// Returns the span of the load, if it is traced and has begun.
    pub(crate) fn load_span(&self) -> Option<span::Id> {
        let _map = self.flights.lock();
        self.flight.crew().span.clone()
    }

    fn preview(&self) -> Option<Preview> {
        let _map = self.flights.lock();
        self.flight.crew().preview.clone()
    }

    /// Returns what the landing means for this caller.
    fn view(&self, landed: &Landed) -> Landing {
        match &landed.landing {
            Landing::Shared(_) if !landed.seal.admits(self.since, self.unaware) => Landing::ReadAgain,
            landing => landing.clone(),
        }
    }

    fn take_lead(&self) -> Option<Lead> {
        let map = self.flights.lock();
        let mut crew = self.flight.crew();
        if (crew.led && !Mistake::LeadsBeside.is_made()) || self.flight.landing.get().is_some() {
            return None;
        }
        crew.led = true;
        let fence = crew.fence.take();
        drop(crew);
        drop(map);
        Some(Lead {
            flights: self.flights.clone(),
            flight: Arc::clone(&self.flight),
            fence,
            landed: false,
        })
    }
}

impl Wait {
    /// Gives up the place. If nobody else leads or waits, returns the fence that a cancelled leader left for a
    /// successor.
    pub(crate) fn leave(&mut self) -> Option<Fence> {
        if std::mem::replace(&mut self.left, true) {
            return None;
        }
        let mut map = self.flights.lock();
        let mut crew = self.flight.crew();
        crew.waiting -= 1;
        if crew.led || crew.waiting > 0 {
            return None;
        }
        let fence = crew.fence.take();
        drop(crew);
        map.remove(&self.flight);
        fence.filter(|_| !Mistake::ForgetsFence.is_made())
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.leave();
    }
}
