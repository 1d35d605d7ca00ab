//! Random histories of reads, loads, writes and invalidations in several processes on one store: no read that begins
//! after an invalidation has returned returns a value whose load began before it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cache_core::{FreshnessWindows, Prefix};
use cache_engine::{Cache, Load, Loaded, Lookup};
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

/// How values are tagged that are loaded by looking up.
#[derive(Debug, Clone, Copy)]
enum Late {
    /// As late tags.
    Sound,
    /// The negative control: by what their tags say after the load, whatever happened during it.
    Unchecked,
}

/// Looks up a key whose tag is known only after the load, and loads it if need be.
async fn look_up(
    cache: &Cache,
    late: Late,
    source: &Source,
    pause: std::time::Duration,
    windows: FreshnessWindows,
) -> u64 {
    match cache.adapter().lookup::<u64>(&cache.key("key")).await {
        Lookup::Hit { found, .. } | Lookup::Stale { found, .. } => *found.value,
        Lookup::Miss(mut fill) => {
            let value = source.read();
            tokio::time::sleep(pause).await;
            match late {
                Late::Sound => fill.add_late_tags(["tag"]).await,
                Late::Unchecked => fill.tagger().clone().tagged(["tag"], || std::future::ready(())).await,
            }
            fill.store(Arc::new(value), cache.adapter().coder(), windows).await;
            value
        }
        _ => source.read(),
    }
}

/// What a store may lose at any time: the record of the tag, and what is kept for late tags.
async fn evict(remote: &Remote, rng: &mut Rng) {
    let key = |kind: &str, name: &str| Prefix::new("cache").namespace("").reserved(kind).key(name);
    match rng.u8(0..3) {
        0 => drop(remote.remove(&key("tag", "tag")).await),
        1 => drop(remote.remove(&key("tag-sequence", "")).await),
        _ => {
            // One of them is the tag's.
            for page in 0..64 {
                remote.remove(&key("tag-page", &page.to_string())).await;
            }
        }
    }
}

/// As [`caller`], where all values have a late tag, and records are lost.
async fn late_caller(
    cache: Cache,
    remote: Remote,
    late: Late,
    windows: FreshnessWindows,
    (source, promise): (Source, Promise),
    mut rng: Rng,
) -> Vec<String> {
    let mut violations = Vec::new();
    for _ in 0..STEPS {
        tokio::time::sleep(MS * rng.u32(0..40)).await;
        let choice = rng.u8(0..16);
        let least = promise.0.load(Ordering::SeqCst);
        let pause = MS * rng.u32(0..60);
        let read = match choice {
            0..8 => Some(look_up(&cache, late, &source, pause, windows).await),
            8..10 => cache.get::<u64>("key").await.unwrap().map(|value| *value),
            10 => {
                // A caller that goes away.
                let limit = MS * rng.u32(0..50);
                let looking = look_up(&cache, late, &source, pause, windows);
                tokio::time::timeout(limit, looking).await.ok()
            }
            11 => {
                evict(&remote, &mut rng).await;
                None
            }
            _ => {
                let written = source.write();
                match choice {
                    12 | 13 => cache.invalidate_tag("tag").await.unwrap(),
                    14 => cache.invalidate_tags(["other", "tag"]).await.unwrap(),
                    _ => drop(cache.clear_all().await.unwrap()),
                }
                promise.0.fetch_max(written, Ordering::SeqCst);
                None
            }
        };
        if let Some(value) = read
            && value < least
        {
            violations.push(format!("choice {choice} gave {value} after {least} was promised"));
        }
    }
    violations
}

/// Plays the history of `seed` on `remote`, with late tags.
async fn late_history(remote: Remote, late: Late, seed: u64) -> Vec<String> {
    let mut rng = Rng::with_seed(seed);
    slow_down(&remote, &mut rng);
    let (source, promise) = (Source::default(), Promise::default());
    let (ttl, stale) = [(30, 0), (30, 200), (60_000, 0)][(seed % 3) as usize];
    let windows = FreshnessWindows::new(MS * ttl).with_stale_while_revalidate(MS * stale);
    let processes: Vec<Cache> = (0..PROCESSES).map(|_| over(&remote).lease_time(SEC).build()).collect();
    let callers: Vec<_> = (0..PROCESSES * CALLERS)
        .map(|number| {
            let cache = processes[number % PROCESSES].adapter().with_late_tags(true);
            let what = (source.clone(), promise.clone());
            tokio::spawn(late_caller(cache, remote.clone(), late, windows, what, rng.fork()))
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

/// Lets calls of the store take their time.
fn slow_down(remote: &Remote, rng: &mut Rng) {
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
}

/// Plays the history of `seed` on `remote`.
async fn history(remote: Remote, seed: u64) -> Vec<String> {
    let mut rng = Rng::with_seed(seed);
    slow_down(&remote, &mut rng);
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

/// The seeds to play: the one that `SEED` names, or as many as `HISTORIES` says, or the first `count`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|number| number.parse().unwrap());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HISTORIES").unwrap_or(count),
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
        let remote = if seed % 5 < 3 {
            remote.getting_or_adding()
        } else {
            remote
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

#[tokio::test(start_paused = true)]
async fn nor_with_tags_that_are_known_only_after_the_load() {
    for seed in seeds(100) {
        let remote = if seed % 2 == 0 {
            Remote::new()
        } else {
            Remote::without_clear()
        };
        let remote = if seed % 5 < 3 {
            remote.getting_or_adding()
        } else {
            remote
        };
        let violations = late_history(remote, Late::Sound, seed).await;
        assert!(violations.is_empty(), "SEED={seed}: {violations:#?}");
    }
}

/// The negative control: if nobody looks whether late tags were invalidated during the load, old values are found.
#[tokio::test(start_paused = true)]
async fn unless_nobody_looks_what_happened_to_them_during_the_load() {
    let mut found = 0;
    for seed in seeds(60) {
        found += usize::from(!late_history(Remote::new(), Late::Unchecked, seed).await.is_empty());
    }
    assert!(found > 5, "only {found} histories of 60 show a violation");
}
