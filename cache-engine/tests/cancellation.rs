//! Cancelling one caller changes nothing for the others. The tests try every point at which a load waits, with
//! everything that can happen there.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::ErrorKind;
use cache_engine::{Cache, LoadError};
use support::{Count, Fate, Gate, MS, Remote, SEC, idle, over};
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(9);
/// So long that the lease is renewed twice.
const LOAD: Duration = Duration::from_secs(7);
const STORE_TIMEOUT: Duration = Duration::from_millis(500);
const CALLERS: usize = 3;

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Pass,
    /// The store, or the loader, reports an error.
    Fail,
    /// The store carries it out and reports an error.
    FailAfter,
    /// The store never answers; the loader panics.
    Freeze,
    /// The caller goes away while the point is held, which then goes on.
    Drop(usize),
    /// As `Drop`, where the store carries it out before, and answers afterwards.
    DropBeforeAnswer(usize),
    /// All callers but this one go away.
    DropAllBut(usize),
}

const ACTS: [Act; 13] = [
    Act::Pass,
    Act::Fail,
    Act::FailAfter,
    Act::Freeze,
    Act::Drop(0),
    Act::Drop(1),
    Act::Drop(2),
    Act::DropBeforeAnswer(0),
    Act::DropBeforeAnswer(1),
    Act::DropBeforeAnswer(2),
    Act::DropAllBut(0),
    Act::DropAllBut(1),
    Act::DropAllBut(2),
];

/// Counts the points, and acts at one of them.
#[derive(Debug, Clone)]
struct Points {
    target: usize,
    act: Act,
    passed: Arc<Mutex<Vec<String>>>,
    gate: Gate,
}

impl Points {
    fn new(target: usize, act: Act) -> Self {
        Self {
            target,
            act,
            passed: Arc::default(),
            gate: Gate::closed(),
        }
    }

    /// Whether this is the point to act at.
    fn arrive(&self, name: String) -> bool {
        let mut passed = self.passed.lock().unwrap();
        passed.push(name);
        passed.len() - 1 == self.target
    }

    fn store(&self, name: String) -> Fate {
        if !self.arrive(name) {
            return Fate::Pass;
        }
        match self.act {
            Act::Pass | Act::Drop(_) | Act::DropAllBut(_) => Fate::Hold(self.gate.clone()),
            Act::DropBeforeAnswer(_) => Fate::HoldAnswer(self.gate.clone()),
            Act::Fail => Fate::Fail(ErrorKind::Unavailable),
            Act::FailAfter => Fate::FailAfter(ErrorKind::Timeout),
            Act::Freeze => Fate::Freeze,
        }
    }

    async fn load(&self, count: Count) -> Result<usize, &'static str> {
        let number = count.up();
        for half in ["start", "end"] {
            if self.arrive(format!("load {half}")) {
                match self.act {
                    Act::Fail | Act::FailAfter => return Err("failed"),
                    Act::Freeze => panic!("as planned"),
                    _ => self.gate.pass().await,
                }
            }
            tokio::time::sleep(LOAD / 2).await;
        }
        Ok(number)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Owned,
    Borrowing,
}

type Answer = Result<Arc<usize>, LoadError<&'static str>>;

async fn call(cache: Cache, kind: Kind, points: Points, count: Count) -> Answer {
    match kind {
        Kind::Owned => {
            cache
                .get_or_load("key", move || async move { points.load(count).await })
                .await
        }
        Kind::Borrowing => {
            let (points, count) = (&points, &count);
            cache
                .borrowing()
                .get_or_load("key", || points.load(count.clone()))
                .await
        }
    }
}

/// Runs three callers, and what is to happen at the point. `None` if there is no such point.
async fn run(kind: Kind, stale: bool, target: usize, act: Act) -> Option<String> {
    let remote = Remote::new();
    let cache = over(&remote)
        .lease_time(LEASE)
        .backend_timeout(STORE_TIMEOUT)
        .ttl(SEC)
        .stale_if_error(if stale { 3600 * SEC } else { Duration::ZERO })
        .build();
    if stale {
        cache.set("key", 0_usize).await.unwrap();
        tokio::time::advance(2 * SEC).await;
    }
    let points = Points::new(target, act);
    remote.plan({
        let points = points.clone();
        move |call| points.store(format!("{} {:?}", call.operation, call.writes))
    });
    let count = Count::new();
    let mut callers: Vec<_> = (0..CALLERS)
        .map(|_| tokio::spawn(call(cache.clone(), kind, points.clone(), count.clone())))
        .collect();
    let begun = Instant::now();

    let mut dropped = Vec::new();
    if matches!(
        act,
        Act::Pass | Act::Drop(_) | Act::DropBeforeAnswer(_) | Act::DropAllBut(_)
    ) {
        let all = async {
            while !callers.iter().all(tokio::task::JoinHandle::is_finished) {
                tokio::time::sleep(10 * MS).await;
            }
        };
        tokio::select! {
            biased;
            () = points.gate.reached() => {}
            () = all => {}
        }
        idle().await;
        dropped.extend(match act {
            Act::Drop(one) | Act::DropBeforeAnswer(one) => vec![one],
            Act::DropAllBut(one) => (0..CALLERS).filter(|other| *other != one).collect(),
            _ => vec![],
        });
        for one in &dropped {
            callers[*one].abort();
        }
        idle().await;
        points.gate.open();
    }
    let since = begun.elapsed();

    let mut answers = Vec::new();
    for (number, caller) in callers.drain(..).enumerate() {
        let answer = tokio::time::timeout(600 * SEC, caller)
            .await
            .unwrap_or_else(|_| panic!("caller {number} waits for ever"));
        match answer {
            Ok(answer) => answers.push(answer),
            Err(error) if error.is_cancelled() => assert!(dropped.contains(&number)),
            // The panic of a borrowing load goes on in its caller.
            Err(error) => assert!(error.is_panic() && kind == Kind::Borrowing && act == Act::Freeze),
        }
    }
    let took = begun.elapsed();
    let passed = points.passed.lock().unwrap().clone();
    let at = passed.get(target)?.clone();

    // Who is still there has an answer.
    let at_load = at.starts_with("load");
    for answer in &answers {
        match answer {
            Ok(value) => assert!(**value <= count.get()),
            Err(LoadError::Failed(_)) => assert!(at_load && matches!(act, Act::Fail | Act::FailAfter) && !stale),
            Err(LoadError::Panicked(message)) => {
                assert!(at_load && act == Act::Freeze && !stale, "{message}");
                assert_eq!(&**message, "as planned");
            }
            Err(other) => panic!("{other}"),
        }
    }
    // One load, and another one only where its leader went away or its value could not be stored.
    let most = match (kind, act) {
        (_, Act::Pass) => 1,
        (_, Act::Fail | Act::FailAfter | Act::Freeze) => 2,
        (Kind::Owned, _) => 1,
        (Kind::Borrowing, Act::Drop(_) | Act::DropBeforeAnswer(_)) => 2,
        (Kind::Borrowing, Act::DropAllBut(_)) => 3,
    };
    assert!(
        count.get() <= most,
        "{} loads: {kind:?} {stale} {act:?} at {at} {passed:?}",
        count.get()
    );
    // Nobody waits for a lease to run out: what happened costs its time, and then one load at most.
    let longest = match act {
        Act::Pass => LOAD,
        Act::Drop(_) | Act::DropBeforeAnswer(_) | Act::DropAllBut(_) => (since + LOAD).max(LOAD),
        // A store that does not answer is waited for once.
        Act::Fail | Act::FailAfter | Act::Freeze => 2 * LOAD + LEASE,
    };
    assert!(took <= longest + SEC, "{took:?}, of which {since:?} until the act");

    // Nothing is left behind.
    remote.always(Fate::Pass);
    idle().await;
    // An owned load goes on without its callers.
    cache.shutdown_but_stay().await;
    assert_eq!(cache.in_flight(), 0);
    tokio::time::advance(LEASE + MS).await;
    assert_eq!(remote.leases().await, Vec::<String>::new());

    // The next calls work, and hit. A breaker may have to close first.
    tokio::time::advance(2 * SEC).await;
    let next = cache.get_or_load("key", count.loading(99)).await;
    next.unwrap();
    let before = count.get();
    cache.get_or_load("key", count.loading(100)).await.unwrap();
    assert_eq!(count.get(), before, "the second call hits");
    Some(at)
}

trait Wait {
    async fn shutdown_but_stay(&self);
}

impl Wait for Cache {
    /// Waits for all flights to land.
    async fn shutdown_but_stay(&self) {
        for _ in 0..1000 {
            if self.in_flight() == 0 {
                break;
            }
            tokio::time::sleep(100 * MS).await;
        }
        idle().await;
    }
}

async fn matrix(kind: Kind, stale: bool) {
    let mut seen = std::collections::BTreeSet::new();
    for act in ACTS {
        for target in 0.. {
            assert!(target < 200, "the load never ends");
            eprintln!("{kind:?} {act:?} at point {target}");
            match run(kind, stale, target, act).await {
                Some(at) => drop(seen.insert(at)),
                None => break,
            }
        }
    }
    for point in [
        "get None",
        "set Some(Lease)",
        "load start",
        "load end",
        "set Some(Value)",
    ] {
        assert!(seen.contains(point), "{point} was never reached: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn owned_loads_of_missing_values() {
    matrix(Kind::Owned, false).await;
}

#[tokio::test(start_paused = true)]
async fn borrowing_loads_of_missing_values() {
    matrix(Kind::Borrowing, false).await;
}

#[tokio::test(start_paused = true)]
async fn owned_loads_of_stale_values() {
    matrix(Kind::Owned, true).await;
}

#[tokio::test(start_paused = true)]
async fn borrowing_loads_of_stale_values() {
    matrix(Kind::Borrowing, true).await;
}
