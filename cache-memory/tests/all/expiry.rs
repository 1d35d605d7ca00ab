//! A record past its deadline is never returned, and is freed even if nobody reads it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache_core::{Backend, ManualClock, SetOptions, SetOutcome, Ttl};
use cache_memory::MemoryBackend;
use tokio::runtime::{Builder, Handle};
use tokio::time::sleep;

use crate::support::{bytes, forever, has, key, read, sized, stored};

fn millis(millis: u64) -> SetOptions {
    SetOptions::new(Ttl::from_millis(millis))
}

fn manual() -> (MemoryBackend, ManualClock) {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder()
        .clock(clock.clone())
        .background_purge(false)
        .build();
    (backend, clock)
}

#[tokio::test]
async fn a_record_lives_to_the_last_millisecond_and_no_longer() {
    let (backend, clock) = manual();
    for ttl in [1, 2, 500, 1_000, 1_500, 31 * 24 * 3_600_000, Ttl::MAX_MILLIS] {
        stored(&backend, &key("k"), bytes("v"), millis(ttl)).await;
        clock.advance(Duration::from_millis(ttl - 1));
        let record = backend.get(&key("k")).await.unwrap().expect("not gone early");
        assert_eq!(record.remaining, Some(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert!(!has(&backend, &key("k")).await, "immortal with {ttl} ms");
    }
}

#[tokio::test]
async fn a_record_without_an_end_has_none() {
    let (backend, clock) = manual();
    stored(&backend, &key("k"), bytes("v"), forever()).await;
    clock.advance(Duration::from_millis(Ttl::MAX_MILLIS));
    assert_eq!(backend.get(&key("k")).await.unwrap().unwrap().remaining, None);
    assert_eq!(backend.purge_expired(), 0);
}

#[tokio::test]
async fn an_expired_record_is_absent_to_every_operation() {
    let (backend, clock) = manual();
    let version = stored(&backend, &key("k"), bytes("old"), millis(10)).await;
    clock.advance(Duration::from_millis(10));
    let refused = backend
        .set(&key("k"), bytes("new"), forever().if_version(version))
        .await;
    assert_eq!(refused.unwrap(), SetOutcome::Refused);

    stored(&backend, &key("k"), bytes("old"), millis(10)).await;
    clock.advance(Duration::from_millis(10));
    assert!(!backend.delete(&key("k")).await.unwrap());

    let version = stored(&backend, &key("k"), bytes("old"), millis(10)).await;
    clock.advance(Duration::from_millis(10));
    assert!(!backend.delete_if(&key("k"), version).await.unwrap());

    stored(&backend, &key("k"), bytes("old"), millis(10)).await;
    clock.advance(Duration::from_millis(10));
    assert_eq!(backend.clear(&key("k").namespace().scope()).await.unwrap(), 0);

    stored(&backend, &key("k"), bytes("old"), millis(10)).await;
    clock.advance(Duration::from_millis(10));
    stored(&backend, &key("k"), bytes("new"), forever().if_absent()).await;
    assert_eq!(read(&backend, &key("k")).await.unwrap(), "new");
}

#[tokio::test]
async fn an_overwritten_record_does_not_end_with_its_first_deadline() {
    let (backend, clock) = manual();
    stored(&backend, &key("longer"), bytes("v"), millis(10)).await;
    stored(&backend, &key("longer"), bytes("v"), millis(100)).await;
    stored(&backend, &key("endless"), bytes("v"), millis(10)).await;
    stored(&backend, &key("endless"), bytes("v"), forever()).await;
    stored(&backend, &key("shorter"), bytes("v"), millis(100)).await;
    stored(&backend, &key("shorter"), bytes("v"), millis(10)).await;
    clock.advance(Duration::from_millis(50));
    assert_eq!(backend.purge_expired(), 1);
    assert!(has(&backend, &key("longer")).await && has(&backend, &key("endless")).await);
    assert!(!has(&backend, &key("shorter")).await);
}

#[tokio::test]
async fn purge_frees_exactly_what_is_past_its_deadline() {
    let (backend, clock) = manual();
    for i in 0..1_000 {
        stored(&backend, &key(i), sized(10), millis(1 + i)).await;
    }
    clock.advance(Duration::from_millis(600));
    assert_eq!(backend.len(), 1_000);
    assert_eq!(backend.purge_expired(), 600);
    assert_eq!(
        (backend.len(), backend.stats().expired, backend.stats().evicted),
        (400, 600, 0)
    );
    clock.advance(Duration::from_millis(400));
    backend.purge_expired();
    assert_eq!((backend.len(), backend.weight()), (0, 0));
}

#[tokio::test]
async fn writes_free_what_has_expired() {
    let (backend, clock) = manual();
    for i in 0..1_000 {
        stored(&backend, &key(i), sized(10), millis(10)).await;
    }
    clock.advance(Duration::from_millis(10));
    // Each write frees several records, in any of the shards.
    for i in 0..1_000 {
        stored(&backend, &key(format!("new {i}")), sized(10), forever()).await;
    }
    assert_eq!((backend.len(), backend.stats().expired), (1_000, 1_000));
}

#[tokio::test]
async fn a_full_store_gives_up_expired_records_first() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder()
        .max_entries(100)
        .clock(clock.clone())
        .background_purge(false)
        .build();
    for i in 0..50 {
        stored(&backend, &key(i), sized(1), forever()).await;
        stored(&backend, &key(format!("short {i}")), sized(1), millis(10)).await;
    }
    clock.advance(Duration::from_millis(10));
    for i in 50..100 {
        stored(&backend, &key(i), sized(1), forever()).await;
    }
    assert_eq!(backend.stats().evicted, 0);
    for i in 0..100 {
        assert!(has(&backend, &key(i)).await);
    }
}

#[tokio::test]
async fn a_large_record_takes_the_room_of_many_expired_ones() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder()
        .max_bytes(200_000)
        .clock(clock.clone())
        .background_purge(false)
        .build();
    for i in 0..50 {
        stored(&backend, &key(i), sized(1_000), forever()).await;
        stored(&backend, &key(format!("short {i}")), sized(2_000), millis(10)).await;
    }
    let before = backend.stats().evicted;
    clock.advance(Duration::from_millis(10));
    stored(&backend, &key("large"), sized(100_000), forever()).await;
    assert_eq!(backend.stats().evicted, before);
}

#[tokio::test(start_paused = true)]
async fn the_background_task_frees_what_nobody_touches() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder().clock(clock.clone()).build();
    for i in 0..2_000 {
        stored(&backend, &key(i), sized(10), millis(5_000)).await;
    }
    // An earlier deadline than the one that the task sleeps until.
    sleep(Duration::from_millis(1)).await;
    stored(&backend, &key("short"), sized(10), millis(1_000)).await;

    clock.advance(Duration::from_secs(1));
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(backend.len(), 2_000);
    clock.advance(Duration::from_secs(4));
    sleep(Duration::from_millis(4_100)).await;
    assert_eq!((backend.len(), backend.weight()), (0, 0));

    // The task goes on after there were no deadlines left.
    stored(&backend, &key("again"), sized(10), millis(1_000)).await;
    clock.advance(Duration::from_secs(1));
    sleep(Duration::from_millis(1_100)).await;
    assert!(backend.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_background_task_can_be_left_out() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder()
        .clock(clock.clone())
        .background_purge(false)
        .build();
    stored(&backend, &key("k"), sized(10), millis(1_000)).await;
    clock.advance(Duration::from_secs(1));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(backend.len(), 1);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_background_task_starts_when_needed_and_ends_with_the_backend() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let backend = MemoryBackend::default();
    stored(&backend, &key("k"), sized(10), forever()).await;
    assert_eq!(tasks(), 0);
    for i in 0..10 {
        stored(&backend, &key(i), sized(10), millis(1_000_000)).await;
    }
    assert_eq!(tasks(), 1);
    let clone = backend.clone();
    drop(backend);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(tasks(), 1);
    drop(clone);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(tasks(), 0);

    let backend = MemoryBackend::default();
    stored(&backend, &key("k"), sized(10), millis(1_000_000)).await;
    backend.close().await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(tasks(), 0);
}

#[test]
fn the_background_task_starts_anew_in_a_second_runtime() {
    let runtime = || {
        Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder().clock(clock.clone()).build();
    runtime().block_on(stored(&backend, &key("k"), sized(10), millis(1_000)));
    runtime().block_on(async {
        stored(&backend, &key("other"), sized(10), millis(1_000)).await;
        clock.advance(Duration::from_secs(1));
        sleep(Duration::from_millis(1_100)).await;
    });
    assert!(backend.is_empty());
}

#[test]
fn a_runtime_without_timers_or_none_at_all_does_no_harm() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder().clock(clock.clone()).build();
    let write = async |name: &str| {
        stored(&backend, &key(name), sized(10), millis(1_000)).await;
        tokio::task::yield_now().await;
        Handle::try_current().map(|handle| handle.metrics().num_alive_tasks())
    };
    futures_util::FutureExt::now_or_never(stored(&backend, &key("a"), sized(10), millis(1_000))).unwrap();
    let panics = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&panics);
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        counted.fetch_add(1, Ordering::SeqCst);
        report(info);
    }));
    let runtime = Builder::new_current_thread().build().unwrap();
    for name in ["b", "c", "d"] {
        assert_eq!(runtime.block_on(write(name)).unwrap(), 0);
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(backend.purge_expired(), 4);
    assert_eq!(panics.load(Ordering::SeqCst), 1, "the task was started again");
}
