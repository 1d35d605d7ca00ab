//! Lifetimes are measured by the time that passes, even if the clock is changed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use cache_core::{Backend, Clock, ManualClock, SetOptions, Timestamp, Ttl};
use cache_memory::MemoryBackend;

use crate::support::{bytes, has, key, stored};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn store() -> (MemoryBackend, ManualClock) {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder()
        .clock(clock.clone())
        .background_purge(false)
        .build();
    (backend, clock)
}

fn set_back(clock: &ManualClock, by: Duration) {
    clock.set(Timestamp::from_millis(clock.now().as_millis() - by.as_millis() as u64));
}

#[tokio::test]
async fn a_step_back_of_the_clock_keeps_nothing_alive() {
    let (backend, clock) = store();
    let options = SetOptions::new(Ttl::from(MINUTE));
    stored(&backend, &key("k"), bytes("v"), options).await;
    let deadline = clock.now() + MINUTE;

    set_back(&clock, HOUR);
    let remaining = backend.get(&key("k")).await.unwrap().unwrap().remaining;
    assert_eq!(remaining, Some(MINUTE), "the step itself is no time");
    clock.advance(MINUTE - Duration::from_millis(1));
    assert!(has(&backend, &key("k")).await);
    clock.advance(Duration::from_millis(1));
    // The control: by the changed clock, the record would live for another hour.
    assert!(clock.now() < deadline);
    assert!(!has(&backend, &key("k")).await);
    assert_eq!(backend.purge_expired(), 1);
}

#[tokio::test]
async fn steps_back_add_up() {
    let (backend, clock) = store();
    let options = SetOptions::new(Ttl::from(MINUTE));
    stored(&backend, &key("k"), bytes("v"), options).await;
    for _ in 0..59 {
        clock.advance(Duration::from_secs(1));
        assert!(has(&backend, &key("k")).await);
        set_back(&clock, HOUR);
        assert!(has(&backend, &key("k")).await);
    }
    clock.advance(Duration::from_secs(1));
    assert!(!has(&backend, &key("k")).await);
}

#[tokio::test]
async fn records_written_after_a_step_back_live_as_long_as_they_should() {
    let (backend, clock) = store();
    let options = SetOptions::new(Ttl::from(MINUTE));
    stored(&backend, &key("before"), bytes("v"), options).await;
    clock.advance(MINUTE / 2);
    assert!(has(&backend, &key("before")).await);
    set_back(&clock, HOUR);
    stored(&backend, &key("after"), bytes("v"), options).await;
    clock.advance(MINUTE / 2);
    assert_eq!(backend.purge_expired(), 1);
    assert!(!has(&backend, &key("before")).await && has(&backend, &key("after")).await);
    clock.advance(MINUTE / 2);
    assert!(!has(&backend, &key("after")).await);
}
