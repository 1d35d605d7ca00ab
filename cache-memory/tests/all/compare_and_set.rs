//! The modes of `set` and `delete_if` are atomic, for concurrent threads and in a store that evicts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use cache_core::{Backend, Key, SetMode, SetOptions, SetOutcome, Ttl, Version};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;

use crate::support::{bytes, forever, has, key, sized, stored};

const THREADS: usize = 64;

/// Runs `work` on 64 threads at once and returns what each of them returned.
fn at_once<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let (work, barrier) = (&work, &barrier);
        let threads: Vec<_> = (0..THREADS)
            .map(|i| {
                scope.spawn(move || {
                    barrier.wait();
                    work(i)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn set(backend: &MemoryBackend, key: &Key, value: usize, options: SetOptions) -> Option<Version> {
    let outcome = backend.set(key, bytes(value), options).now_or_never().unwrap().unwrap();
    outcome.version()
}

fn get(backend: &MemoryBackend, key: &Key) -> Option<(usize, Version)> {
    let record = backend.get(key).now_or_never().unwrap().unwrap()?;
    let text = std::str::from_utf8(record.value.as_bytes().unwrap())
        .unwrap()
        .to_owned();
    Some((text.parse().unwrap(), record.version))
}

#[test]
fn one_of_64_threads_wins_if_absent() {
    let backend = MemoryBackend::default();
    for round in 0..50 {
        let key = key(round);
        let outcomes = at_once(|i| set(&backend, &key, i, forever().if_absent()));
        let winners: Vec<_> = outcomes.iter().enumerate().filter(|(_, won)| won.is_some()).collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(get(&backend, &key), Some((winners[0].0, winners[0].1.unwrap())));
    }
}

#[test]
fn one_of_64_threads_wins_if_version() {
    let backend = MemoryBackend::default();
    let key = key("k");
    for _ in 0..50 {
        let version = set(&backend, &key, 0, forever()).unwrap();
        let outcomes = at_once(|i| set(&backend, &key, i, forever().if_version(version)));
        assert_eq!(outcomes.iter().flatten().count(), 1);
    }
}

#[test]
fn one_of_64_threads_wins_delete_if() {
    let backend = MemoryBackend::default();
    let key = key("k");
    for _ in 0..50 {
        let version = set(&backend, &key, 0, forever()).unwrap();
        let outcomes = at_once(|_| backend.delete_if(&key, version).now_or_never().unwrap().unwrap());
        assert_eq!(outcomes.into_iter().filter(|won| *won).count(), 1);
    }
}

/// 64 threads increment a counter 100 times each. Returns the final count.
fn count_together(step: impl Fn(&MemoryBackend, &Key) + Sync) -> usize {
    let backend = MemoryBackend::default();
    let key = key("counter");
    set(&backend, &key, 0, forever()).unwrap();
    at_once(|_| {
        for _ in 0..100 {
            step(&backend, &key);
        }
    });
    get(&backend, &key).unwrap().0
}

#[test]
fn no_update_is_lost_with_if_version() {
    let counted = count_together(|backend, key| {
        loop {
            let (count, version) = get(backend, key).unwrap();
            if set(backend, key, count + 1, forever().if_version(version)).is_some() {
                return;
            }
        }
    });
    assert_eq!(counted, THREADS * 100);
}

#[test]
fn updates_are_lost_without_if_version() {
    // The control: the test above would notice a lost update.
    let counted = count_together(|backend, key| {
        let (count, _) = get(backend, key).unwrap();
        thread::yield_now();
        set(backend, key, count + 1, forever());
    });
    assert!(counted < THREADS * 100);
}

#[tokio::test]
async fn the_modes_hold_exactly_when_they_say() {
    let backend = MemoryBackend::default();
    let refused = |outcome: Result<SetOutcome, _>| outcome.unwrap() == SetOutcome::Refused;
    let set = async |options: SetOptions| backend.set(&key("k"), bytes("v"), options).await;

    let first = stored(&backend, &key("k"), bytes("v"), forever().if_absent()).await;
    assert!(refused(set(forever().if_absent()).await));
    let second = stored(&backend, &key("k"), bytes("v"), forever().if_version(first)).await;
    assert_ne!(first, second);
    assert!(refused(set(forever().if_version(first)).await));
    assert!(!backend.delete_if(&key("k"), first).await.unwrap());
    assert!(backend.delete_if(&key("k"), second).await.unwrap());
    assert!(refused(set(forever().if_version(second)).await));
    assert!(!has(&backend, &key("k")).await);
}

#[tokio::test]
async fn a_record_that_was_evicted_and_written_again_is_another_one() {
    let backend = MemoryBackend::builder().max_entries(1).build();
    let before = stored(&backend, &key("k"), bytes("v"), forever()).await;
    stored(&backend, &key("other"), bytes("v"), forever()).await;
    let fill = async || backend.set(&key("k"), bytes("v"), forever().if_version(before)).await;
    assert_eq!(fill().await.unwrap(), SetOutcome::Refused);
    stored(&backend, &key("k"), bytes("v"), forever()).await;
    assert_eq!(fill().await.unwrap(), SetOutcome::Refused);
}

/// While other threads evict, `IfVersion` succeeds only for the current version.
#[test]
fn evictions_never_let_a_wrong_version_through() {
    let backend = MemoryBackend::builder().max_entries(16).build();
    let contended: Vec<_> = (0..8).map(key).collect();
    let chains = at_once(|i| {
        let mut links = Vec::new();
        for round in 0..400 {
            let key = &contended[(i + round) % contended.len()];
            set(
                &backend,
                &crate::support::key(format!("noise {i} {round}")),
                0,
                forever(),
            );
            let (mode, options) = match get(&backend, key) {
                None => (SetMode::IfAbsent, forever().if_absent()),
                Some((_, version)) => (SetMode::IfVersion(version), forever().if_version(version)),
            };
            if set(&backend, key, i, options).is_some()
                && let SetMode::IfVersion(version) = mode
            {
                links.push(version);
            }
        }
        links
    });
    // Each version is replaced at most once.
    let mut replaced: Vec<_> = chains.into_iter().flatten().map(Version::as_u128).collect();
    let count = replaced.len();
    assert!(count > 100, "only {count} replacements");
    replaced.sort_unstable();
    replaced.dedup();
    assert_eq!(replaced.len(), count);
}

fn lease() -> SetOptions {
    SetOptions::new(Ttl::from(Duration::from_secs(10))).if_absent().lease()
}

/// Keeps reading everything that is written here, so that all of it is in use.
async fn use_all(backend: &MemoryBackend, entries: usize) {
    for _ in 0..2 {
        for i in 0..entries {
            has(backend, &key(i)).await;
        }
    }
}

async fn full(backend: MemoryBackend, entries: usize, size: usize) -> MemoryBackend {
    for i in 0..entries {
        stored(&backend, &key(i), sized(size), forever()).await;
    }
    use_all(&backend, entries).await;
    stored(&backend, &key("one more"), sized(size), forever()).await;
    assert!(backend.stats().evicted > 0, "not full");
    backend
}

/// Returns how many of 200 fills succeed if other records are read and written between the write with `options` and its
/// fill.
async fn landed(backend: &MemoryBackend, options: SetOptions) -> usize {
    let mut landed = 0;
    for i in 0..200 {
        // Some of the keys return, so that the table has their ghosts.
        let name = key(format!("loaded {}", i % 75));
        backend.delete(&name).await.unwrap();
        let version = stored(backend, &name, bytes(""), options).await;
        assert!(has(backend, &name).await, "evicted by its own write");
        for j in 0..10 {
            stored(backend, &key(format!("meanwhile {i} {j}")), sized(5_000), forever()).await;
            use_all(backend, 50).await;
        }
        let fill = forever().if_version(version);
        if backend.set(&name, sized(9_000), fill).await.unwrap() != SetOutcome::Refused {
            landed += 1;
            assert!(has(backend, &name).await, "evicted by its own fill");
        }
    }
    landed
}

#[tokio::test]
async fn a_lease_in_a_full_store_lasts_until_its_fill() {
    let by_count = || MemoryBackend::builder().max_entries(50).build();
    let by_bytes = || MemoryBackend::builder().max_bytes(500_000).build();
    assert_eq!(landed(&full(by_count(), 50, 10).await, lease()).await, 200);
    assert_eq!(landed(&full(by_bytes(), 50, 10_000).await, lease()).await, 200);
    // The control: without the mark of a lease, such a record may be evicted.
    for backend in [by_count(), by_bytes()] {
        let unmarked = SetOptions::new(Ttl::from(Duration::from_secs(10))).if_absent();
        let landed = landed(&full(backend, 50, 10_000).await, unmarked).await;
        assert!(landed < 190, "{landed}");
    }
}

#[tokio::test]
async fn a_renewed_lease_lasts_as_well() {
    let backend = full(MemoryBackend::builder().max_entries(50).build(), 50, 10).await;
    let mut version = stored(&backend, &key("loaded"), bytes("lease"), lease()).await;
    for renewal in 0..10 {
        let renewed = lease().if_version(version);
        version = stored(&backend, &key("loaded"), bytes("lease"), renewed).await;
        for j in 0..10 {
            stored(&backend, &key(format!("{renewal} {j}")), sized(10), forever()).await;
            use_all(&backend, 50).await;
        }
    }
    stored(&backend, &key("loaded"), sized(100), forever().if_version(version)).await;
}

#[tokio::test]
async fn leases_never_take_the_store_for_themselves() {
    let backend = MemoryBackend::builder().max_entries(80).max_bytes(200_000).build();
    for i in 0..60 {
        stored(&backend, &key(i), sized(1_000), forever()).await;
    }
    for i in 0..1_000 {
        use_all(&backend, 60).await;
        stored(&backend, &key(format!("lease {i}")), sized(1_000), lease()).await;
        assert!(backend.len() <= 80 && backend.weight() <= 200_000);
    }
    let mut kept = 0;
    for i in 0..60 {
        kept += usize::from(has(&backend, &key(i)).await);
    }
    assert!(kept >= 50, "{kept} of 60 values that are in use");
    // A value that needs almost all of the shard is stored.
    let limit = backend.limits().value_bytes.unwrap();
    stored(&backend, &key("large"), sized(limit), forever()).await;
    assert!(has(&backend, &key("large")).await && backend.weight() <= 200_000);
}

#[tokio::test]
async fn more_loads_at_once_than_the_store_has_room_for_make_progress() {
    // A fill may be refused here, which is safe, but not every fill.
    let backend = MemoryBackend::builder().max_entries(4).build();
    let mut landed = 0;
    for _ in 0..20 {
        let mut leases = Vec::new();
        for i in 0..16 {
            let outcome = backend.set(&key(i), bytes(""), lease()).await.unwrap();
            leases.extend(outcome.version().map(|version| (key(i), version)));
        }
        for (key, version) in leases {
            let filled = backend
                .set(&key, sized(10), forever().if_version(version))
                .await
                .unwrap();
            landed += usize::from(filled.version().is_some());
        }
        backend.clear(&key("").namespace().scope()).await.unwrap();
    }
    assert!(landed >= 20 * 4, "{landed}");
}
