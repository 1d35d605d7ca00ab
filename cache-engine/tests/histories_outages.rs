//! Random histories of several processes on a store that fails: operations are refused, or cut off after they were
//! sent, or their replies are lost. Once an invalidation has failed, the process that tried it finds no older value.
//! Once nothing is pending any more, no process does, whether or not the process was restarted in between.
//!
//! `SEED=n` replays one history, and `RUNS=n` plays that many of each kind:
//!
//! ```sh
//! RUNS=10000 cargo test --release -p cache-engine --test histories_outages
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cache_engine::cache_core::ErrorKind;
use cache_engine::{Cache, Event};
use fastrand::Rng;
use support::{Fate, MS, Remote, SEC, over};

const PROCESSES: usize = 3;
const STEPS: usize = 25;
/// How long the breaker is open.
const PAUSE: Duration = Duration::from_millis(100);

/// What becomes of the queue of pending invalidations when its process is restarted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Restart {
    /// There are no restarts.
    Never,
    /// It is in a file.
    WithFile,
    /// It is lost.
    WithoutFile,
}

/// What is cached, and what reads have to reach.
#[derive(Debug, Default)]
struct World {
    /// A number that grows with every write.
    source: AtomicU64,
    /// What every process has to reach.
    promised: AtomicU64,
    /// The store fails.
    away: AtomicBool,
    /// When it last did.
    last_away: Mutex<Option<tokio::time::Instant>>,
}

impl World {
    /// Whether the store was away at any time since `begun`, or a breaker may still have been open then.
    fn may_have_been_away_since(&self, begun: tokio::time::Instant) -> bool {
        let last = *self.last_away.lock().unwrap();
        self.away.load(Ordering::SeqCst) || last.is_some_and(|last| last + 2 * PAUSE >= begun)
    }
}

tokio::task_local! {
    /// Whether the call of this task has joined the load of another one.
    static JOINED: AtomicBool;
}

/// One process, which can be started again.
struct Process {
    remote: Remote,
    file: Option<PathBuf>,
    stale: Duration,
    world: Arc<World>,
    now: Mutex<Now>,
}

/// What a process is at the moment.
#[derive(Clone)]
struct Now {
    cache: Cache,
    /// What this process has to reach.
    promised: u64,
}

impl Process {
    fn new(remote: &Remote, file: Option<PathBuf>, stale: Duration, world: &Arc<World>) -> Self {
        Self {
            now: Mutex::new(Now {
                cache: Self::start(remote, file.as_deref(), stale),
                promised: 0,
            }),
            remote: remote.clone(),
            file,
            stale,
            world: Arc::clone(world),
        }
    }

    fn start(remote: &Remote, file: Option<&Path>, stale: Duration) -> Cache {
        let builder = over(remote)
            .ttl(60 * SEC)
            .stale_while_revalidate(stale)
            .lease_time(SEC)
            .backend_timeout(20 * MS)
            .breaker(3, PAUSE)
            .observer(|event: &Event<'_>| {
                if matches!(event, Event::Coalesced { .. }) {
                    let _ = JOINED.try_with(|joined| joined.store(true, Ordering::SeqCst));
                }
            });
        let builder = match file {
            Some(file) => builder.pending_file(file),
            None => builder,
        };
        builder.build().with_tags(["tag"])
    }

    /// Ends the process, as a crash does, and starts it again.
    fn restart(&self) {
        self.now.lock().unwrap().cache = Self::start(&self.remote, self.file.as_deref(), self.stale);
    }

    /// Once nothing is pending, what this process has promised holds for all.
    fn publish(&self) {
        let now = self.now.lock().unwrap();
        if now.cache.pending_invalidations() == 0 {
            self.world.promised.fetch_max(now.promised, Ordering::SeqCst);
        }
    }

    async fn write(&self, rng: &mut Rng) {
        let cache = self.now.lock().unwrap().cache.clone();
        let written = self.world.source.fetch_add(1, Ordering::SeqCst) + 1;
        let carried_out = match rng.u8(0..5) {
            0 | 1 => cache.invalidate("key").await,
            2 => cache.invalidate_tag("tag").await,
            3 => cache.clear("").await.map(drop),
            _ => cache.clear_all().await.map(drop),
        };
        let mut now = self.now.lock().unwrap();
        now.promised = now.promised.max(written);
        drop(now);
        if carried_out.is_ok() {
            self.publish();
        }
    }

    /// Reads the value, or loads it. Returns a violation if it is an old one.
    async fn read(&self, rng: &mut Rng) -> Option<String> {
        let Now { cache, promised } = self.now.lock().unwrap().clone();
        let of_all = self.world.promised.load(Ordering::SeqCst);
        let begun = tokio::time::Instant::now();
        let (world, pause) = (Arc::clone(&self.world), MS * rng.u32(0..30));
        let load = move || async move {
            let value = world.source.load(Ordering::SeqCst);
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(value)
        };
        let get = async {
            (
                *cache.get_or_load("key", load).await.unwrap(),
                JOINED.with(|joined| joined.load(Ordering::SeqCst)),
            )
        };
        let (value, joined) = JOINED.scope(AtomicBool::new(false), get).await;
        // While the store is away, an invalidation by another process does not reach a load that callers share.
        let least = match joined && self.world.may_have_been_away_since(begun) {
            true => promised,
            false => promised.max(of_all),
        };
        let promised = format!("{promised} was promised here and {of_all} to all, joined: {joined}");
        (value < least).then(|| format!("at {begun:?}: {value} was read after {promised}"))
    }
}

/// A process does random things for a while. Returns the violations that it has seen.
async fn run(process: Arc<Process>, restart: Restart, mut rng: Rng) -> Vec<String> {
    let mut violations = Vec::new();
    for _ in 0..STEPS {
        tokio::time::sleep(MS * rng.u32(0..60)).await;
        if restart != Restart::Never && rng.u8(0..6) == 0 {
            process.restart();
        }
        process.publish();
        if rng.u8(0..5) == 0 {
            process.write(&mut rng).await;
        } else {
            violations.extend(process.read(&mut rng).await);
        }
    }
    violations
}

/// Another caller in a process only reads.
async fn read_along(process: Arc<Process>, mut rng: Rng) -> Vec<String> {
    let mut violations = Vec::new();
    for _ in 0..STEPS {
        tokio::time::sleep(MS * rng.u32(0..60)).await;
        violations.extend(process.read(&mut rng).await);
    }
    violations
}

/// Turns outages on and off.
async fn outages(world: Arc<World>, mut rng: Rng) {
    loop {
        tokio::time::sleep(MS * rng.u32(50..300)).await;
        world.away.store(true, Ordering::SeqCst);
        tokio::time::sleep(MS * rng.u32(20..200)).await;
        world.away.store(false, Ordering::SeqCst);
        *world.last_away.lock().unwrap() = Some(tokio::time::Instant::now());
    }
}

/// Plays the history of `seed`.
async fn history(remote: Remote, restart: Restart, seed: u64) -> Vec<String> {
    let mut rng = Rng::with_seed(seed);
    let world = Arc::new(World::default());
    let turns = Mutex::new(rng.fork());
    let plan = Arc::clone(&world);
    remote.plan(move |_| {
        let mut turns = turns.lock().unwrap();
        if !plan.away.load(Ordering::SeqCst) {
            return Fate::Take(MS * turns.u32(0..4), MS * turns.u32(0..3));
        }
        match turns.u8(0..5) {
            // Refused.
            0 | 1 => Fate::Fail(ErrorKind::Unavailable),
            // Cut after it was sent.
            2 => Fate::FailAfter(ErrorKind::Unavailable),
            // The answer is lost: carried out late or at once, and the caller has given up.
            3 => Fate::Take(MS * turns.u32(0..20), SEC),
            _ => Fate::Freeze,
        }
    });
    let stale = if seed.is_multiple_of(2) {
        Duration::ZERO
    } else {
        200 * MS
    };
    let weather = tokio::spawn(outages(Arc::clone(&world), rng.fork()));
    let mut tasks = Vec::new();
    let mut files = Vec::new();
    for number in 0..PROCESSES {
        let file = (restart == Restart::WithFile).then(|| {
            let name = format!("larder-outage-{}-{seed}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            files.push(path.clone());
            path
        });
        let process = Arc::new(Process::new(&remote, file, stale, &world));
        tasks.push(tokio::spawn(run(Arc::clone(&process), restart, rng.fork())));
        tasks.push(tokio::spawn(read_along(process, rng.fork())));
    }
    let mut violations = Vec::new();
    for task in tasks {
        violations.extend(task.await.unwrap());
    }
    weather.abort();
    for file in files {
        let _ = std::fs::remove_file(file);
    }
    violations
}

/// Plays histories in the way of `restart`, and returns those with violations: as many as `RUNS` says, or else `count`,
/// or the one that `SEED` names.
fn play(restart: Restart, count: u64) -> Vec<(u64, Vec<String>)> {
    let number = |name| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RUNS").unwrap_or(count),
    };
    let begun = Instant::now();
    let count = seeds.end - seeds.start;
    let found: Vec<_> = seeds
        .filter_map(|seed| {
            // Each history has a runtime of its own, so that nothing is left of it.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let violations = runtime.block_on(history(store(seed), restart, seed));
            (!violations.is_empty()).then_some((seed, violations))
        })
        .collect();
    let took = begun.elapsed().as_secs_f32();
    println!(
        "{restart:?}: {count} histories, {} with violations, {took:.1} s",
        found.len()
    );
    found
}

fn store(seed: u64) -> Remote {
    if seed % 4 < 2 {
        Remote::new()
    } else {
        Remote::without_clear()
    }
}

#[test]
fn a_failed_invalidation_lets_no_old_value_return() {
    let found = play(Restart::Never, 150);
    assert!(found.is_empty(), "by seed: {found:#?}");
}

#[test]
fn neither_does_a_restart_with_a_file() {
    let found = play(Restart::WithFile, 60);
    assert!(found.is_empty(), "by seed: {found:#?}");
}

/// The negative control: processes that lose their queue let old values return, and the same check finds them.
#[test]
fn without_the_queue_some_do() {
    let found = play(Restart::WithoutFile, 60).len();
    assert!(found > 5, "only {found} histories of 60 show a violation");
}
