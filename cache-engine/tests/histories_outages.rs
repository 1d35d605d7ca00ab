//! Random histories of several processes on a store that fails: operations are refused, or cut off after they were
//! sent, or their replies are lost. Once an invalidation has failed, the process that tried it finds no older value.
//! Once nothing is pending any more, no process does, whether or not the process was restarted in between.
//!
//! `SEED=n` replays one history.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_engine::Cache;
use cache_engine::cache_core::ErrorKind;
use fastrand::Rng;
use support::{Fate, MS, Remote, SEC, over};

const PROCESSES: usize = 3;
const STEPS: usize = 25;

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
}

/// One process, which can be started again.
struct Process {
    remote: Remote,
    file: Option<PathBuf>,
    stale: Duration,
    cache: Cache,
    /// What this process has to reach.
    promised: u64,
}

impl Process {
    fn new(remote: &Remote, file: Option<PathBuf>, stale: Duration) -> Self {
        Self {
            cache: Self::start(remote, file.as_deref(), stale),
            remote: remote.clone(),
            file,
            stale,
            promised: 0,
        }
    }

    fn start(remote: &Remote, file: Option<&Path>, stale: Duration) -> Cache {
        let builder = over(remote)
            .ttl(60 * SEC)
            .stale_while_revalidate(stale)
            .lease_time(SEC)
            .backend_timeout(20 * MS)
            .breaker(3, 100 * MS);
        let builder = match file {
            Some(file) => builder.pending_file(file),
            None => builder,
        };
        builder.build().with_tags(["tag"])
    }

    /// Ends the process, as a crash does, and starts it again.
    fn restart(&mut self) {
        self.cache = Self::start(&self.remote, self.file.as_deref(), self.stale);
    }
}

/// One process does random things for a while. Returns the violations that it has seen.
async fn run(mut process: Process, world: Arc<World>, restart: Restart, mut rng: Rng) -> Vec<String> {
    let mut violations = Vec::new();
    for _ in 0..STEPS {
        tokio::time::sleep(MS * rng.u32(0..60)).await;
        if restart != Restart::Never && rng.u8(0..6) == 0 {
            process.restart();
        }
        let cache = process.cache.clone();
        // Once nothing is pending, what this process has promised holds for all.
        if cache.pending_invalidations() == 0 {
            world.promised.fetch_max(process.promised, Ordering::SeqCst);
        }
        if rng.u8(0..5) == 0 {
            let written = world.source.fetch_add(1, Ordering::SeqCst) + 1;
            let carried_out = match rng.u8(0..5) {
                0 | 1 => cache.invalidate("key").await,
                2 => cache.invalidate_tag("tag").await,
                3 => cache.clear("").await.map(drop),
                _ => cache.clear_all().await.map(drop),
            };
            process.promised = process.promised.max(written);
            if carried_out.is_ok() && cache.pending_invalidations() == 0 {
                world.promised.fetch_max(written, Ordering::SeqCst);
            }
            continue;
        }
        let least = process.promised.max(world.promised.load(Ordering::SeqCst));
        let (source, pause) = (Arc::clone(&world), MS * rng.u32(0..30));
        let load = move || async move {
            let value = source.source.load(Ordering::SeqCst);
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(value)
        };
        let value = *cache.get_or_load("key", load).await.unwrap();
        if value < least {
            violations.push(format!("{value} was read after {least} was promised"));
        }
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
    let processes: Vec<_> = (0..PROCESSES)
        .map(|number| {
            let file = (restart == Restart::WithFile).then(|| {
                let name = format!("outage-{seed}-{number}");
                let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
                let _ = std::fs::remove_file(&path);
                path
            });
            let process = Process::new(&remote, file, stale);
            tokio::spawn(run(process, Arc::clone(&world), restart, rng.fork()))
        })
        .collect();
    let mut violations = Vec::new();
    for process in processes {
        violations.extend(process.await.unwrap());
    }
    weather.abort();
    violations
}

/// The seeds to play: the one that `SEED` names, or the first `count`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("SEED").ok().map(|seed| seed.parse().unwrap()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

fn store(seed: u64) -> Remote {
    if seed % 4 < 2 {
        Remote::new()
    } else {
        Remote::without_clear()
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_invalidation_lets_no_old_value_return() {
    for seed in seeds(150) {
        let violations = history(store(seed), Restart::Never, seed).await;
        assert!(violations.is_empty(), "SEED={seed}: {violations:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_does_a_restart_with_a_file() {
    for seed in seeds(60) {
        let violations = history(store(seed), Restart::WithFile, seed).await;
        assert!(violations.is_empty(), "SEED={seed}: {violations:#?}");
    }
}

/// The negative control: processes that lose their queue let old values return, and the same check finds them.
#[tokio::test(start_paused = true)]
async fn without_the_queue_some_do() {
    let mut found = 0;
    for seed in seeds(60) {
        found += usize::from(!history(store(seed), Restart::WithoutFile, seed).await.is_empty());
    }
    assert!(found > 5, "only {found} histories of 60 show a violation");
}
