//! The flight map under a model checker, which runs threads in thousands of random orders and finds those that end in
//! a deadlock. Run with `RUSTFLAGS="--cfg shuttle"`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use cache_core::{Key, Prefix, Version};
use futures_util::FutureExt;
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::shim::{MADE, Mistake};
use super::*;
use crate::tier::precondition::Lease;

const SCHEDULES: usize = 4_000;

fn key() -> Key {
    Prefix::new("p").namespace("n").key("key")
}

/// What the threads of one run share.
#[derive(Debug, Clone, Default)]
struct Run {
    flights: Flights,
    /// The number of fences that were acquired so far, and, in `up`, of those that are not released yet.
    put_up: Arc<AtomicU64>,
    up: Arc<AtomicUsize>,
    leaders: Arc<AtomicUsize>,
}

impl Run {
    fn join(&self) -> Join {
        let caller = Caller {
            since: self.flights.now(),
            unaware: false,
            within: &[],
            overtaken: None,
        };
        self.flights.join(&key(), ResultType::of::<u64>(0), caller)
    }

    fn put_up(&self) -> Fence {
        self.up.fetch_add(1, Ordering::SeqCst);
        let number = self.put_up.fetch_add(1, Ordering::SeqCst);
        Fence::Lease(Lease::new(Version::from_u128(number.into())))
    }

    fn take_down(&self, fence: Option<Fence>) {
        if fence.is_some() {
            self.up.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Leads: takes over the fence or acquires one, and then finishes or gives up the lead.
    fn lead(&self, mut lead: Lead, alone: bool, value: u64) -> Option<u64> {
        let leaders = self.leaders.fetch_add(1, Ordering::SeqCst);
        assert!(!alone || leaders == 0, "two leaders at once");
        let fence = lead.take_fence().unwrap_or_else(|| self.put_up());
        thread::yield_now();
        let ends = thread_rng().gen_bool(0.5);
        if ends {
            // As a fill does: callers that come from now on must read for themselves.
            lead.seal(false);
            self.take_down(Some(fence));
        }
        self.leaders.fetch_sub(1, Ordering::SeqCst);
        if thread_rng().gen_bool(0.25) {
            lead.disband();
        }
        if ends {
            lead.finish(Landing::Shared(Arc::new(value)));
            return Some(value);
        }
        self.take_down(lead.pass_on(Some(fence)));
        None
    }

    fn wait(&self, mut wait: Wait, alone: bool, value: u64) -> Option<u64> {
        match thread_rng().gen_range(0..4) {
            0 => {
                self.take_down(wait.leave());
                return None;
            }
            // Stops waiting after it has begun to wait, and perhaps after it was woken.
            1 => {
                let mut waiting = Box::pin(wait.wait());
                let first = waiting.as_mut().now_or_never();
                thread::yield_now();
                drop(waiting);
                if let Some(Waited::Lead(lead)) = first {
                    self.take_down(wait.leave());
                    return self.lead(lead, alone, value);
                }
                self.take_down(wait.leave());
                return None;
            }
            _ => {}
        }
        let waited = block_on(wait.wait());
        self.take_down(wait.leave());
        match waited {
            Waited::Lead(lead) => self.lead(lead, alone, value),
            Waited::Landed(Landing::Shared(value)) => Some(*value.downcast_ref::<u64>().unwrap()),
            Waited::Landed(_) => None,
            Waited::Preview { .. } => unreachable!("nobody waits for previews here"),
        }
    }

    fn ask(&self, alone: bool, value: u64) -> Option<u64> {
        match self.join() {
            Join::Lead(lead) => self.lead(lead, alone, value),
            Join::Wait(wait) => self.wait(wait, alone, value),
            Join::Circular => unreachable!("nobody loads within a load"),
        }
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.flights.len(), 0);
        assert!(self.flights.waits.lock().is_empty());
        assert_eq!(
            self.up.load(Ordering::SeqCst),
            0,
            "a fence was neither taken over nor given back"
        );
    }
}

/// Leaders that finish or give up, and waiters that wait, give up or take over.
fn leaders_and_waiters() {
    let run = Run::default();
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let run = run.clone();
            thread::spawn(move || {
                run.ask(true, number);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    run.assert_nothing_is_left();
}

/// As `leaders_and_waiters`, with an invalidation in between.
fn leaders_waiters_and_an_invalidation() {
    let run = Run::default();
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let run = run.clone();
            thread::spawn(move || {
                if number == 0 {
                    run.flights.detach(&key());
                }
                run.ask(false, number);
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    run.assert_nothing_is_left();
}

/// One load that began before an invalidation, and callers before and after it.
fn a_load_and_an_invalidation() {
    const OLD: u64 = 0;
    const NEW: u64 = 1;
    let run = Run::default();
    let Join::Lead(leader) = run.join() else { unreachable!() };
    let joined = {
        let run = run.clone();
        thread::spawn(move || match run.join() {
            Join::Wait(wait) => {
                let flight = Arc::clone(&wait.flight);
                let waited = block_on(wait.wait());
                // The key was invalidated while the flight was under way.
                if flight.crew().detached {
                    assert!(
                        !matches!(waited, Waited::Landed(Landing::Shared(_))),
                        "shared in spite of it"
                    );
                }
            }
            // The load has ended, or the key was invalidated.
            Join::Lead(lead) => lead.finish(Landing::ReadAgain),
            Join::Circular => unreachable!(),
        })
    };
    let invalidation = {
        let run = run.clone();
        thread::spawn(move || {
            run.flights.detach(&key());
            match run.join() {
                Join::Lead(lead) => {
                    lead.seal(false);
                    lead.finish(Landing::Shared(Arc::new(NEW)));
                }
                Join::Wait(wait) => match block_on(wait.wait()) {
                    Waited::Landed(Landing::Shared(value)) => assert_ne!(value.downcast_ref(), Some(&OLD)),
                    Waited::Landed(_) => {}
                    Waited::Preview { .. } => unreachable!("nobody waits for previews here"),
                    Waited::Lead(lead) => lead.finish(Landing::ReadAgain),
                },
                Join::Circular => unreachable!(),
            }
        })
    };
    thread::yield_now();
    leader.seal(false);
    leader.finish(Landing::Shared(Arc::new(OLD)));
    joined.join().unwrap();
    invalidation.join().unwrap();
    run.assert_nothing_is_left();
}

fn check(scenario: fn()) {
    shuttle::check_random(scenario, SCHEDULES);
    shuttle::check_pct(scenario, SCHEDULES, 3);
}

fn finds(mistake: Mistake, scenario: fn()) {
    let found = std::panic::catch_unwind(|| {
        MADE.set(Some(mistake));
        check(scenario);
    });
    MADE.set(None);
    assert!(found.is_err(), "{mistake:?} was not found");
}

#[test]
fn a_flight_has_one_leader_strands_nobody_and_leaves_nothing() {
    check(leaders_and_waiters);
}

#[test]
fn so_it_is_with_an_invalidation_in_between() {
    check(leaders_waiters_and_an_invalidation);
}

#[test]
fn nobody_is_given_what_was_begun_before_an_invalidation() {
    check(a_load_and_an_invalidation);
}

/// The negative controls: each deliberate mistake makes a test fail.
#[test]
fn mistakes_are_found() {
    finds(Mistake::WakesNobody, leaders_and_waiters);
    finds(Mistake::LeadsBeside, leaders_and_waiters);
    finds(Mistake::ForgetsFence, leaders_and_waiters);
    finds(Mistake::SharesDetached, a_load_and_an_invalidation);
}
