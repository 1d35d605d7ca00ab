//! Callers who ask all the time, and what they got.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::chaos::way::Subject;

/// The pause between two rounds of calls.
const TICK: Duration = Duration::from_millis(10);

/// The number of keys that are asked for all the time.
const WARM: u64 = 16;

/// The number of keys that several callers ask for at the same time, and that are fresh for a short time.
const SHARED: u64 = 4;

/// How long a call may take before it counts as one without an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many calls of each kind are made in each round, which is 10 ms.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For keys that are in the near tier, one after the other.
    pub warm: u64,
    /// For keys that nobody has asked for, at the same time.
    pub cold: u64,
    /// For the same key, at the same time. Its value is fresh for a short time.
    pub shared: u64,
}

/// What a caller asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Warm,
    Cold,
    Shared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Healthy,
    Fault,
    /// After the fault, until the store is used again.
    Healing,
    Healed,
}

/// What callers got.
#[derive(Debug)]
pub(super) struct Tally {
    phase: Phase,
    /// Microseconds of each call. Of warm keys, those of hits in the near tier.
    times: HashMap<(Phase, Kind), Vec<u32>>,
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// Warm keys in the fault: all calls, and those that were no hits in the near tier.
    pub(super) warm: [u64; 2],
}

impl Tally {
    fn new() -> Self {
        Self {
            phase: Phase::Healthy,
            times: HashMap::new(),
            requests: 0,
            errors: 0,
            first_error: None,
            warm: [0; 2],
        }
    }

    fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    /// Returns the time within which this share of the calls was answered.
    pub(super) fn quantile(&self, phases: &[Phase], kind: Kind, share: f64) -> Option<Duration> {
        let times = phases.iter().filter_map(|&phase| self.times.get(&(phase, kind)));
        let mut times: Vec<u32> = times.flatten().copied().collect();
        let last = times.len().checked_sub(1)?;
        let (_, time, _) = times.select_nth_unstable((last as f64 * share).ceil() as usize);
        Some(Duration::from_micros(u64::from(*time)))
    }
}

/// Callers of one cache.
pub(super) struct Load {
    callers: Callers,
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

impl Load {
    pub(super) fn start(subject: Subject, pace: Pace) -> Self {
        let callers = Callers {
            short: subject.short_lived(),
            subject,
            tally: Arc::new(Mutex::new(Tally::new())),
        };
        let stop = watch::Sender::new(false);
        let tasks = [
            tokio::spawn(callers.clone().ask_for_warm(pace, stop.subscribe())),
            tokio::spawn(callers.clone().ask_for_others(pace, stop.subscribe())),
        ];
        Self { callers, stop, tasks }
    }

    /// Counts from now on for another phase. A call counts for the phase in which it begins, but for the fault if that begins
    /// meanwhile.
    pub(super) fn enter(&self, phase: Phase) {
        self.callers.with(|tally| tally.phase = phase);
    }

    /// Stops asking, and returns what callers got when the last one has it.
    pub(super) async fn stop(self) -> Tally {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.expect("callers do not panic");
        }
        self.callers.with(|tally| std::mem::replace(tally, Tally::new()))
    }
}

#[derive(Clone)]
struct Callers {
    subject: Subject,
    short: Subject,
    tally: Arc<Mutex<Tally>>,
}

impl Callers {
    fn with<R>(&self, change: impl FnOnce(&mut Tally) -> R) -> R {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn ask_for_warm(self, pace: Pace, stop: watch::Receiver<bool>) {
        let mut ticks = ticks();
        let mut number = 0;
        while !*stop.borrow() {
            ticks.tick().await;
            for _ in 0..pace.warm {
                number += 1;
                self.ask(Kind::Warm, &warm(number)).await;
            }
        }
    }

    /// Does not wait for answers before it asks again: callers do not come more slowly because a store does.
    async fn ask_for_others(self, pace: Pace, stop: watch::Receiver<bool>) {
        let mut ticks = ticks();
        let mut calls = JoinSet::new();
        for round in 0.. {
            if *stop.borrow() {
                break;
            }
            ticks.tick().await;
            let cold = (0..pace.cold).map(|number| (Kind::Cold, format!("cold-{round}-{number}")));
            let shared = (0..pace.shared).map(|_| (Kind::Shared, format!("shared-{}", round % SHARED)));
            for (kind, name) in cold.chain(shared) {
                let callers = self.clone();
                calls.spawn(async move { callers.ask(kind, &name).await });
            }
            while calls.try_join_next().is_some() {}
        }
        let all = async { while calls.join_next().await.is_some() {} };
        let in_time = timeout(PATIENCE, all).await.is_ok();
        let left = calls.len();
        if !in_time {
            self.with(|tally| (0..left).for_each(|_| tally.failed("no answer".to_owned())));
        }
    }

    async fn ask(&self, kind: Kind, name: &str) {
        let before = self.with(|tally| {
            tally.requests += 1;
            tally.phase
        });
        let begun = Instant::now();
        let subject = match kind {
            Kind::Shared => &self.short,
            Kind::Warm | Kind::Cold => &self.subject,
        };
        let answer = subject.ask(name).await;
        let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.with(|tally| {
            let phase = match before {
                Phase::Healthy => tally.phase,
                _ => before,
            };
            if let Err(error) = answer.value {
                tally.failed(error);
            }
            let other = kind == Kind::Warm && !answer.was_near;
            if kind == Kind::Warm && phase == Phase::Fault {
                tally.warm[0] += 1;
                tally.warm[1] += u64::from(other);
            }
            if !other {
                tally.times.entry((phase, kind)).or_default().push(took);
            }
        });
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

fn warm(number: u64) -> String {
    format!("warm-{}", number % WARM)
}

/// Asks for the warm keys until they are in the near tier.
pub(super) async fn warm_up(subject: &Subject) {
    if let Subject::ByHand(..) = subject {
        return;
    }
    let keys = (0..WARM).map(|number| async move { while !subject.ask(&warm(number)).await.was_near {} });
    join_all(keys).await;
}
