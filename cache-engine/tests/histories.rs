//! Random histories of gets, loads, writes and invalidations in several processes on one store: no read that begins
//! after an invalidation has returned gives a value whose load began before it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cache_engine::{Cache, Load, Loaded};
use fastrand::Rng;
use support::{Fate, MS, Remote, SEC, over};

const PROCESSES: usize = 3;
const CALLERS: usize = 4;
const STEPS: usize = 12;

/// What is cached: a number that grows with every write.
#[derive(Debug, Clone, Default)]
struct Source(Arc<AtomicU64>);

impl Source {
    fn read(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn write(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// The number that every read from now on has to reach.
#[derive(Debug, Clone, Default)]
struct Promise(Arc<AtomicU64>);

/// One caller of one process, which does random things for a while. Gives the violations it has seen.
async fn caller(plain: Cache, tagged: bool, source: Source, promise: Promise, mut rng: Rng) -> Vec<String> {
    let mut violations = Vec::new();
    // Either all entries depend on the tag, or none does.
    let (cache, choices) = if tagged {
        (plain.with_tags(["tag"]), 18)
    } else {
        (plain.clone(), 12)
    };
    for _ in 0..STEPS {
        tokio::time::sleep(MS * rng.u32(0..40)).await;
        for _ in 0..rng.usize(0..4) {
            tokio::task::yield_now().await;
        }
        let choice = rng.u8(0..choices);
        let least = promise.0.load(Ordering::SeqCst);
        // A load reads what it loads at its begin, as a query does.
        let load = {
            let (source, pause) = (source.clone(), MS * rng.u32(0..60));
            move || async move {
                let value = source.read();
                tokio::time::sleep(pause).await;
                Ok::<_, Infallible>(value)
            }
        };
        let read = match choice {
            0..4 => Some(cache.get_or_load("key", load).await.unwrap()),
            4..6 => Some(cache.borrowing().get_or_load("key", load).await.unwrap()),
            6 => cache.get::<u64>("key").await.unwrap(),
            // The tag is added by the loader.
            12..15 => {
                let source = source.clone();
                let pause = MS * rng.u32(0..60);
                let load = move |load: Load<u64>| async move {
                    tokio::time::sleep(pause).await;
                    let read = || async move {
                        let value = source.read();
                        tokio::time::sleep(pause).await;
                        value
                    };
                    Ok::<_, Infallible>(Loaded::new(load.tagged(["tag"], read).await))
                };
                plain.get_or_load_with("key", load).await.unwrap()
            }
            7 => Some(cache.refresh("key", load).await.unwrap()),
            8 => {
                // A caller that goes away.
                let limit = MS * rng.u32(0..50);
                let work = cache.borrowing();
                tokio::time::timeout(limit, work.get_or_load("key", load))
                    .await
                    .ok()
                    .map(Result::unwrap)
            }
            _ => {
                let written = source.write();
                match choice {
                    9 => cache.invalidate("key").await.unwrap(),
                    10 => drop(cache.delete("key").await.unwrap()),
                    15 => cache.invalidate_tag("tag").await.unwrap(),
                    16 => cache.invalidate_tags(["other", "tag"]).await.unwrap(),
                    _ => drop(cache.clear_all().await.unwrap()),
                }
                promise.0.fetch_max(written, Ordering::SeqCst);
                None
            }
        };
        if let Some(value) = read
            && *value < least
        {
            violations.push(format!("choice {choice} gave {value} after {least} was promised"));
        }
    }
    violations
}

/// Plays the history of `seed` on `remote`.
async fn history(remote: Remote, seed: u64) -> Vec<String> {
    let mut rng = Rng::with_seed(seed);
    let turns = Mutex::new(rng.fork());
    remote.plan(move |_| {
        let mut turns = turns.lock().unwrap();
        match turns.u8(0..8) {
            0..3 => Fate::Pass,
            // The answer is under way for long.
            3 => Fate::Take(MS * turns.u32(0..3), MS * turns.u32(0..80)),
            _ => Fate::Take(MS * turns.u32(0..5), MS * turns.u32(0..3)),
        }
    });
    let (source, promise) = (Source::default(), Promise::default());
    let windows = match seed % 3 {
        0 => (30, 0),
        1 => (30, 200),
        _ => (60_000, 0),
    };
    let processes: Vec<Cache> = (0..PROCESSES)
        .map(|_| {
            let ttl = MS * windows.0;
            over(&remote)
                .ttl(ttl)
                .stale_while_revalidate(MS * windows.1)
                .lease_time(SEC)
                .build()
        })
        .collect();
    let callers: Vec<_> = (0..PROCESSES * CALLERS)
        .map(|number| {
            let cache = processes[number % PROCESSES].clone();
            tokio::spawn(caller(cache, seed % 4 < 2, source.clone(), promise.clone(), rng.fork()))
        })
        .collect();
    let mut violations = Vec::new();
    for caller in callers {
        violations.extend(caller.await.unwrap());
    }
    for process in &processes {
        process.shutdown().await;
        assert_eq!(process.in_flight(), 0, "seed {seed}");
    }
    violations
}

/// The seeds to play: the one that `SEED` names, or the first `count`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("SEED").ok().map(|seed| seed.parse().unwrap()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

#[tokio::test(start_paused = true)]
async fn no_read_gives_what_was_loaded_before_an_invalidation() {
    for seed in seeds(200) {
        let remote = if seed % 2 == 0 {
            Remote::new()
        } else {
            Remote::without_clear()
        };
        let violations = history(remote, seed).await;
        assert!(violations.is_empty(), "SEED={seed}: {violations:#?}");
    }
}

/// The negative control: with plain sets, as caches without fences have them, the same check finds old values.
#[tokio::test(start_paused = true)]
async fn without_fences_some_do() {
    let mut found = 0;
    for seed in seeds(60) {
        found += usize::from(!history(Remote::ignoring_modes(), seed).await.is_empty());
    }
    assert!(found > 5, "only {found} histories of 60 show a violation");
}
