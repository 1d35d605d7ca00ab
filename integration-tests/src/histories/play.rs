//! Plays one history.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::histories::counts::Counts;
use crate::histories::fleet::{Fleet, Loads};
use crate::histories::plan::{Act, Brings, Hold, KeyTag, Load, NODES, Plan, Step, Strength, TAGS};
use crate::histories::record::{Floor, Reader, Record, Scope};
use crate::worker::{Action, CacheId, Gone, LoadAsk, Outcome, Settings, Tag, Way, Worker};

/// A call that takes longer is stuck, on any machine.
const STUCK: Duration = Duration::from_secs(60);

/// The result of a history.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) counts: Counts,
    pub(super) violations: Vec<String>,
    pub(super) trace: String,
}

pub(super) struct History {
    fleet: Arc<Fleet>,
    plan: Plan,
    way: Way,
    prefix: String,
    number: u64,
    record: Mutex<Record>,
    counts: Mutex<Counts>,
    /// The number of invalidations that have returned.
    returned: watch::Sender<u64>,
    /// The generation of each node's worker that has opened the history's cache.
    open: Mutex<[Option<u64>; NODES]>,
    calls: Mutex<Vec<u64>>,
    /// The number of steps that the histories of the group have made.
    progress: watch::Sender<usize>,
}

impl History {
    pub(super) fn new(fleet: Arc<Fleet>, plan: Plan, way: Way, progress: watch::Sender<usize>) -> Arc<Self> {
        let number = fleet.number();
        let tags = (0..TAGS).map(|tag| plan.carriers(tag)).collect();
        let record = Record::new(plan.keys, tags, number << 12);
        Arc::new(Self {
            prefix: fleet.prefix(number),
            fleet,
            plan,
            way,
            number,
            record: Mutex::new(record),
            counts: Mutex::default(),
            returned: watch::Sender::new(0),
            open: Mutex::default(),
            calls: Mutex::default(),
            progress,
        })
    }

    pub(super) async fn play(self: Arc<Self>) -> Played {
        join_all((0..self.plan.callers.len()).map(|caller| self.clone().caller(caller))).await;
        self.close().await;
        let record = lock(&self.record);
        let mut counts = *lock(&self.counts);
        counts.histories = 1;
        Played {
            counts,
            violations: record.violations().to_vec(),
            trace: record.trace().to_owned(),
        }
    }

    async fn caller(self: Arc<Self>, caller: usize) {
        for step in &self.plan.callers[caller] {
            if !step.pause.is_zero() {
                sleep(step.pause).await;
            }
            self.step(caller, step).await;
            self.progress.send_modify(|steps| *steps += 1);
        }
    }

    async fn step(self: &Arc<Self>, caller: usize, step: &Step) {
        let keys = step.act.reads();
        let who = format!("caller {caller}");
        let (began, floors, value) = {
            let mut record = lock(&self.record);
            let began = record.note(format_args!("{who} at node {}: {} begins", step.node, step.act));
            let reader = Reader {
                node: step.node,
                at: Instant::now(),
                bound: self.plan.policy.bound(),
            };
            let floors: Vec<Floor> = keys.iter().map(|&key| record.floor(key, reader)).collect();
            let value = match step.act {
                Act::Set(key) => record.begin_set(key),
                _ => 0,
            };
            (began, floors, value)
        };
        let call = self.fleet.call(Arc::new(Call {
            history: Arc::clone(self),
            who: who.clone(),
            key: keys.first().copied().unwrap_or_default(),
            load: step.load,
            again: AtomicBool::new(false),
        }));
        lock(&self.calls).push(call);
        let outcome = {
            let (worker, cache) = self.worker(step.node);
            timeout(STUCK, worker.act(cache, call, step.act.action(value))).await
        };
        let mut record = lock(&self.record);
        let mut counts = lock(&self.counts);
        match outcome {
            Err(_) => record.violation(format!("{who}: {} does not end within {STUCK:?}", step.act)),
            Ok(Err(Gone)) => {
                counts.crashed += 1;
                record.note(format_args!("{who}: {} was in a process that was killed", step.act));
            }
            Ok(Ok(Outcome::Failed(error))) => {
                counts.failed += 1;
                record.note(format_args!("{who}: {} failed: {error}", step.act));
            }
            Ok(Ok(Outcome::Read(seen))) => {
                record.note(format_args!("{who}: {} gave {}", step.act, Values(&seen)));
                // Without stale windows, every answer is fresh.
                let policy = &self.plan.policy;
                let always_fresh = policy.stale_while_revalidate.is_zero() && policy.stale_if_error.is_zero();
                for ((&key, floor), seen) in keys.iter().zip(floors).zip(seen) {
                    let Some(seen) = seen else { continue };
                    counts.reads += 1;
                    counts.bounded += u64::from(floor != Floor::default());
                    record.check(key, floor, seen.value, seen.fresh || always_fresh, &who);
                }
            }
            Ok(Ok(Outcome::Done)) => {
                let now = record.note(format_args!("{who}: {} has returned", step.act));
                let mut invalidated =
                    |scope, strength| record.end_invalidation(step.node, scope, began, strength == Strength::Soft);
                match step.act {
                    Act::Set(_) => record.end_set(step.node, value, began, now),
                    Act::Invalidate(key, strength) => invalidated(Scope::Key(key), strength),
                    Act::InvalidateTag(tag, strength) => invalidated(Scope::Tag(tag), strength),
                    Act::Clear(strength) | Act::ClearAll(strength) => invalidated(Scope::All, strength),
                    Act::Get(_) | Act::GetOrLoad(..) | Act::Refresh(_) => {}
                }
                counts.invalidations += 1;
                self.returned.send_modify(|returned| *returned += 1);
            }
            Ok(Ok(outcome @ (Outcome::NoValue | Outcome::GaveUp | Outcome::Crowd(..)))) => {
                record.note(format_args!("{who}: {} ended: {outcome:?}", step.act));
            }
        }
    }

    /// Returns the worker of a node, with the history's cache open.
    fn worker(&self, node: usize) -> (Arc<Worker>, CacheId) {
        let mut open = lock(&self.open);
        let (worker, generation) = self.fleet.worker(node);
        let cache = self.number * NODES as u64 + node as u64;
        if open[node] != Some(generation) {
            open[node] = Some(generation);
            worker.open(cache, self.settings(node));
        }
        (worker, cache)
    }

    fn settings(&self, node: usize) -> Settings {
        let policy = &self.plan.policy;
        Settings {
            ttl: policy.ttl,
            stale_while_revalidate: policy.stale_while_revalidate,
            stale_if_error: policy.stale_if_error,
            negative_ttl: policy.negative_ttl,
            lease_time: policy.lease_time,
            clock_ahead: self.plan.skews[node],
            tags: self.tags(),
            tag_namespaces: policy.tag_namespaces,
            tag_cache_ttl: policy.tag_cache_ttl,
            near: policy.near,
            way: self.way,
            ..Settings::new(&self.prefix)
        }
    }

    fn tags(&self) -> BTreeMap<String, Vec<Tag>> {
        let tag = |own: &KeyTag| Tag {
            name: tag_name(own.tag),
            declared: own.declared,
        };
        let keys = self.plan.tags.iter().enumerate();
        keys.map(|(key, tags)| (name(key), tags.iter().map(tag).collect()))
            .collect()
    }

    /// Removes the history's caches from the workers and its records from the store.
    async fn close(&self) {
        let keys: Vec<String> = (0..self.plan.keys).map(name).collect();
        for node in 0..NODES {
            let (worker, generation) = self.fleet.worker(node);
            if lock(&self.open)[node] != Some(generation) {
                continue;
            }
            let cache = self.number * NODES as u64 + node as u64;
            let closing = worker.close(cache, self.fleet.number(), keys.clone());
            if timeout(STUCK, closing).await.is_err() {
                let what = format!("the cache of node {node} is not done within {STUCK:?}");
                lock(&self.record).violation(what);
            }
        }
        for call in lock(&self.calls).drain(..) {
            self.fleet.forget(call);
        }
    }
}

/// Answers the loads of one call.
struct Call {
    history: Arc<History>,
    who: String,
    key: usize,
    load: Load,
    /// Whether it has loaded before.
    again: AtomicBool,
}

impl Loads for Call {
    fn load(self: Arc<Self>, ask: LoadAsk) {
        let value = {
            let mut record = lock(&self.history.record);
            let moment = record.note(format_args!("{}'s load of key {} reads the source", self.who, self.key));
            record.load(self.key, moment)
        };
        let mut load = self.load;
        if self.again.swap(true, Ordering::Relaxed) {
            load = Load {
                hold: Hold::No,
                brings: Brings::Value,
            };
        }
        let mut returned = self.history.returned.subscribe();
        let before = *returned.borrow();
        let limit = self.history.fleet.store().hold();
        tokio::spawn(async move {
            match load.hold {
                Hold::No => {}
                Hold::For(time) => sleep(time).await,
                Hold::PastInvalidation(then) => {
                    let _ = timeout(limit, returned.wait_for(|returned| *returned > before)).await;
                    sleep(then).await;
                }
            }
            let answer = load.brings.answer(value);
            lock(&self.history.record).note(format_args!("{}'s load brings {answer:?}", self.who));
            ask.answer(answer);
        });
    }
}

impl Act {
    /// Returns the keys that it reads.
    fn reads(&self) -> Vec<usize> {
        match self {
            Self::Get(keys) => keys.clone(),
            Self::GetOrLoad(key, ..) | Self::Refresh(key) => vec![*key],
            Self::Set(_) | Self::Invalidate(..) | Self::InvalidateTag(..) | Self::Clear(_) | Self::ClearAll(_) => {
                Vec::new()
            }
        }
    }

    fn action(&self, value: u64) -> Action {
        match self {
            Self::Get(keys) => Action::Get {
                keys: keys.iter().copied().map(name).collect(),
            },
            Self::GetOrLoad(key, borne, patience) => Action::GetOrLoad {
                key: name(*key),
                borne: *borne,
                patience: *patience,
            },
            Self::Refresh(key) => Action::Refresh { key: name(*key) },
            Self::Set(key) => Action::Set { key: name(*key), value },
            Self::Invalidate(key, strength) => Action::Invalidate {
                key: name(*key),
                soft: *strength == Strength::Soft,
            },
            Self::InvalidateTag(tag, strength) => Action::InvalidateTag {
                tag: tag_name(*tag),
                soft: *strength == Strength::Soft,
            },
            Self::Clear(strength) => Action::Clear {
                soft: *strength == Strength::Soft,
            },
            Self::ClearAll(strength) => Action::ClearAll {
                soft: *strength == Strength::Soft,
            },
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(keys) => write!(f, "get {keys:?}"),
            Self::GetOrLoad(key, borne, None) => write!(f, "get_or_load {key} ({borne:?})"),
            Self::GetOrLoad(key, borne, Some(patience)) => {
                write!(f, "get_or_load {key} ({borne:?}, for no longer than {patience:?})")
            }
            Self::Refresh(key) => write!(f, "refresh {key}"),
            Self::Set(key) => write!(f, "set {key}"),
            Self::Invalidate(key, strength) => write!(f, "invalidate {key} ({strength:?})"),
            Self::InvalidateTag(tag, strength) => write!(f, "invalidate tag {tag} ({strength:?})"),
            Self::Clear(strength) => write!(f, "clear ({strength:?})"),
            Self::ClearAll(strength) => write!(f, "clear_all ({strength:?})"),
        }
    }
}

/// Values that were read, for the trace.
struct Values<'a>(&'a [Option<crate::worker::Seen>]);

impl fmt::Display for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, seen) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            match seen {
                None => write!(f, "{comma}nothing")?,
                Some(seen) => write!(f, "{comma}{}{}", seen.value, if seen.fresh { " as fresh" } else { "" })?,
            }
        }
        Ok(())
    }
}

fn name(key: usize) -> String {
    format!("k{key}")
}

fn tag_name(tag: usize) -> String {
    format!("t{tag}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
