//! Flights: at most one load per key and type in this process, which all other callers wait for.
//!
//! A flight is led by one caller at a time. The leader [finishes](Lead::finish) it with an outcome for all who wait;
//! a leader that goes away without one leaves the lead to somebody who waits. The map has an entry exactly while a
//! flight is led or waited for, and everything that decides about that happens under one lock.

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

use self::shim::{Mistake, Mutex, MutexGuard};
use crate::lease::fence::Fence;

/// How a flight ended, for those who waited.
#[derive(Clone)]
pub(crate) enum Landing {
    /// With a result to share, whose type the flight's key tells.
    Shared(Arc<dyn Any + Send + Sync>),
    /// With nothing that a later caller may have: read again.
    ReadAgain,
    /// With something that is not to be shared: each loads for itself.
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

/// What a flight is identified by while it lasts, among those of all caches: a load may wait for one of another cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlightId {
    /// The address of the map that the flight belongs to.
    map: usize,
    number: u64,
}

/// The flights of one cache.
#[derive(Debug, Default, Clone)]
pub(crate) struct Flights {
    map: Arc<Mutex<Map>>,
    waits: Waits,
}

/// Which flight's load waits for which flight, over all caches of the process: circles are found by it.
#[derive(Debug, Clone)]
struct Waits(Arc<Mutex<Vec<(FlightId, FlightId)>>>);

impl Default for Waits {
    #[cfg(not(shuttle))]
    fn default() -> Self {
        static OF_PROCESS: std::sync::LazyLock<Waits> = std::sync::LazyLock::new(|| Waits(Arc::default()));
        OF_PROCESS.clone()
    }

    /// A model checker has one process for each schedule.
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

    /// Notes that the loads of `within` wait for `to`. `None` if that would never end, as `to` waits for one of them.
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

    /// Notes that the loads of `within` wait for `to`.
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

/// Whether `from` is `to`, or its load waits, directly or through others, for `to`.
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
    by_key: HashMap<Key, Vec<(TypeId, Arc<Flight>)>>,
    next_id: u64,
    ticks: u64,
}

/// A moment, by a clock that ticks each time it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment(u64);

#[derive(Debug)]
struct Flight {
    id: FlightId,
    key: Key,
    /// Wakes one when the lead is vacant, all when the flight has landed or has a preview.
    wake: Notify,
    /// Wakes the leader when somebody begins to wait.
    joined: Notify,
    landing: OnceLock<Landed>,
    /// Only touched under the map's lock.
    crew: Mutex<Crew>,
}

#[derive(Debug)]
struct Crew {
    led: bool,
    waiting: usize,
    /// No longer in the map: an invalidation came in between.
    detached: bool,
    seal: Seal,
    /// What a leader that went away held in the store, for its successor.
    fence: Option<Fence>,
    /// The lease that stands in the store for this flight.
    lease: Option<Version>,
    preview: Option<Preview>,
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

/// Which callers may get what a flight lands with. An invalidation in another process does not reach this map, so callers
/// that began to read after it must not get what was loaded before it.
#[derive(Debug, Clone, Copy, Default)]
struct Seal {
    /// Callers that began to read before this. All that they know of was before it too.
    at: Moment,
    /// Callers that the store did not answer, which know of no later change.
    or_unaware: bool,
}

impl Seal {
    /// Whether somebody who began to look at `since` may be given it.
    fn admits(self, since: Moment, unaware: bool) -> bool {
        since < self.at || self.or_unaware && unaware
    }
}

#[derive(Debug)]
struct Landed {
    landing: Landing,
    seal: Seal,
}

/// A caller that looks for the value of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// When it began to read, or later.
    pub(crate) since: Moment,
    /// The store did not answer it.
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
    /// Waiting would never end: the flight waits for one of those that the caller runs in.
    Circular,
}

impl Flights {
    /// The time by the map's own clock.
    pub(crate) fn now(&self) -> Moment {
        self.lock().now()
    }

    /// Leads the flight of `key` if nobody does, and waits for it otherwise.
    pub(crate) fn join(&self, key: &Key, result: TypeId, caller: Caller<'_>) -> Join {
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
    pub(crate) fn lead_new(&self, key: &Key, result: TypeId) -> Option<Lead> {
        let mut map = self.lock();
        match map.find(key, result) {
            None => Some(self.start(&mut map, key, result)),
            Some(_) => None,
        }
    }

    /// Takes the flights of `key` out of the map: later callers start a new one, and callers that wait read again.
    pub(crate) fn detach(&self, key: &Key) {
        let mut map = self.lock();
        for (_, flight) in map.by_key.remove(key).unwrap_or_default() {
            flight.crew().detached = true;
        }
    }

    /// [`detach`](Self::detach) for all keys in `scope`.
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

    /// How many flights there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_key.values().map(Vec::len).sum()
    }

    fn start(&self, map: &mut Map, key: &Key, result: TypeId) -> Lead {
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
                fence: None,
                lease: None,
                preview: None,
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

    fn find(&self, key: &Key, result: TypeId) -> Option<Arc<Flight>> {
        let flights = self.by_key.get(key)?;
        flights
            .iter()
            // Keys that were shortened can be equal and yet not mean the same.
            .find(|(of, flight)| *of == result && flight.key.identity() == key.identity())
            .map(|(_, flight)| Arc::clone(flight))
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
        // Only the leader lands a flight, and what it lands with first counts.
        let _ = self.landing.set(Landed { landing, seal });
        self.wake.notify_waiters();
    }
}

/// The lead of a flight. Dropped without [`finish`](Self::finish), it passes to somebody who waits.
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

    /// The fence that a predecessor held when it went away.
    pub(crate) fn take_fence(&mut self) -> Option<Fence> {
        self.fence.take()
    }

    /// Notes that the loads of `within` wait for this flight, while the guard lives.
    pub(crate) fn waited_for_by(&self, within: &[FlightId]) -> Edges {
        self.flights.waits.add(within, self.flight.id)
    }

    /// Keeps what the flight lands with from those who begin to look after now: from now on, an invalidation in
    /// another process may go unnoticed. If nothing shows one at all, as without a fence, `or_unaware` lets in those
    /// who could not ask the store.
    pub(crate) fn seal(&self, or_unaware: bool) {
        let at = self.flights.now();
        self.flight.crew().seal = Seal { at, or_unaware };
    }

    /// As [`seal`](Self::seal), for a value that may be from before the flight began, and of which nobody knows
    /// whether it is still there: it is for nobody but those who could not ask the store either.
    pub(crate) fn seal_from_the_start(&self) {
        let _map = self.flights.lock();
        self.flight.crew().seal = Seal {
            at: Moment::default(),
            or_unaware: true,
        };
    }

    /// Notes which lease the store holds for the flight.
    pub(crate) fn holds(&self, lease: Version) {
        let _map = self.flights.lock();
        self.flight.crew().lease = Some(lease);
    }

    /// Leaves the flight to this leader alone: callers that wait read again, and later callers start a new flight.
    pub(crate) fn disband(&self) {
        self.flights.disband(&self.flight);
    }

    /// Returns what offers a preview, for use while the lead is at work elsewhere.
    pub(crate) fn previewer(&self) -> Previewer {
        Previewer {
            flights: self.flights.clone(),
            flight: Arc::clone(&self.flight),
        }
    }

    /// Whether a load waits for the flight.
    pub(crate) fn is_awaited_by_load(&self) -> bool {
        self.flights.waits.lock().iter().any(|(_, to)| *to == self.flight.id)
    }

    /// Waits until somebody waits for the flight. At once if somebody does.
    pub(crate) fn waited_for(&self) -> impl Future<Output = ()> + Send + use<> {
        let (flights, flight) = (self.flights.clone(), Arc::clone(&self.flight));
        async move {
            loop {
                let mut joined = pin!(flight.joined.notified());
                // Registered before the state is looked at, so that nothing between the two is missed.
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

    /// Lands the flight. If it was detached in the meantime, callers that wait read again, whatever `landing` says.
    pub(crate) fn finish(self, landing: Landing) {
        self.land(landing, false);
    }

    /// As [`finish`](Self::finish), if nobody waits. Callers that do wait read again.
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

    /// Gives up the lead. The next leader inherits `fence`, which is returned if there is none.
    pub(crate) fn pass_on(mut self, fence: Option<Fence>) -> Option<Fence> {
        self.fence = fence;
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

/// Offers those who wait for a flight something with which they can go on before it lands.
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

    /// Offers `value` from now on, until the flight lands or loses its leader. It is open to those who began to look
    /// before `at`; without it, to those who may have what the flight lands with. For others it is to be found out whether
    /// they may have it.
    pub(crate) fn offer(&self, value: Arc<dyn Any + Send + Sync>, at: Option<Moment>) {
        let map = self.flights.lock();
        let mut crew = self.flight.crew();
        if !crew.led || self.flight.landing.get().is_some() {
            return;
        }
        let seal = at.map_or(crew.seal, |at| Seal { at, or_unaware: false });
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

/// A caller's place among those that wait for a flight.
#[derive(Debug)]
pub(crate) struct Wait {
    flights: Flights,
    flight: Arc<Flight>,
    _edges: Edges,
    since: Moment,
    unaware: bool,
    left: bool,
}

/// Loads that wait for a flight, for as long as this lives.
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

/// What waiting led to.
pub(crate) enum Waited {
    /// The flight landed.
    Landed(Landing),
    /// Its leader went away, and the lead is the caller's now.
    Lead(Lead),
    /// It offers this before it lands. If it is not open to the caller, it is to be found out whether the caller may
    /// have it.
    Preview {
        value: Arc<dyn Any + Send + Sync>,
        is_open: bool,
    },
}

impl Wait {
    /// Waits for the flight to land, or for its lead. Dropping the future leaves the flight to the others.
    pub(crate) async fn wait(&self) -> Waited {
        self.wait_for(false).await
    }

    /// As [`wait`](Self::wait), or for a preview.
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

    fn preview(&self) -> Option<Preview> {
        let _map = self.flights.lock();
        self.flight.crew().preview.clone()
    }

    /// What the landing is to this one.
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
    /// Gives up the place. What a leader that went away left for a successor comes back if there is nobody else.
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
