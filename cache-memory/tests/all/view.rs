//! An object is shown where it lies, and only while its record is there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Backend, ManualClock, SetOptions, SharedValue, Ttl, Value};
use cache_memory::MemoryBackend;

use crate::support::{bytes, forever, has, key, sized, stored};

const HOUR: Duration = Duration::from_secs(3_600);
const MILLI: Duration = Duration::from_millis(1);

fn object() -> Value {
    Value::Shared(SharedValue::new(Arc::new("object"), 100))
}

fn is_shown(backend: &MemoryBackend, name: &str) -> bool {
    let mut is_shown = false;
    backend.view(&key(name), &mut |_| {
        is_shown = true;
        true
    });
    is_shown
}

/// Returns what `View::outlives` answers.
fn outlives(backend: &MemoryBackend, name: &str, time: Duration) -> Option<bool> {
    let mut answer = None;
    backend.view(&key(name), &mut |view| {
        answer = view.outlives(time);
        true
    });
    answer
}

#[tokio::test]
async fn an_object_is_shown_without_taking_part_in_it() {
    let backend = MemoryBackend::default();
    let object: Arc<dyn Any + Send + Sync> = Arc::new(7_u32);
    let value = Value::Shared(SharedValue::new(Arc::clone(&object), 100));
    stored(&backend, &key("k"), value, forever()).await;
    let mut seen = None;
    backend.view(&key("k"), &mut |view| {
        seen = Some((
            Arc::ptr_eq(view.object(), &object),
            Arc::strong_count(&object),
            view.outlives(HOUR),
        ));
        true
    });
    assert_eq!(seen, Some((true, 2, None)));
}

#[tokio::test]
async fn bytes_and_absent_records_are_not_shown() {
    let backend = MemoryBackend::default();
    stored(&backend, &key("small"), bytes("v"), forever()).await;
    stored(&backend, &key("large"), sized(100_000), forever()).await;
    for name in ["small", "large", "absent"] {
        assert!(!is_shown(&backend, name), "{name}");
    }
}

#[tokio::test]
async fn an_object_is_shown_to_the_last_millisecond_and_no_longer() {
    let clock = ManualClock::new();
    let backend = MemoryBackend::builder()
        .clock(clock.clone())
        .background_purge(false)
        .build();
    // Lifetimes that are short and long beside what a glance at the clock may miss.
    for ttl in [1, 500, 1_000, 1_500, 3_600_000] {
        stored(&backend, &key("k"), object(), SetOptions::new(Ttl::from_millis(ttl))).await;
        let ttl = Duration::from_millis(ttl);
        assert_eq!(outlives(&backend, "k", ttl - MILLI), Some(true));
        assert_eq!(outlives(&backend, "k", ttl), Some(false));
        clock.advance(ttl - MILLI);
        assert_eq!(outlives(&backend, "k", Duration::ZERO), Some(true));
        assert_eq!(outlives(&backend, "k", MILLI), Some(false));
        clock.advance(MILLI);
        assert!(!is_shown(&backend, "k"), "shown after {ttl:?}");
    }
}

#[tokio::test]
async fn the_clock_of_the_machine_is_followed_as_exactly() {
    let backend = MemoryBackend::default();
    let begun = std::time::Instant::now();
    let ttl = Duration::from_millis(200);
    stored(&backend, &key("k"), object(), SetOptions::new(ttl)).await;
    stored(&backend, &key("long"), object(), SetOptions::new(HOUR)).await;
    assert_eq!(outlives(&backend, "long", HOUR / 2), Some(true));
    assert_eq!(outlives(&backend, "long", HOUR), Some(false));
    // The end of a lifetime is an event of the clock.
    while begun.elapsed() < ttl {
        let (was_shown, later) = (is_shown(&backend, "k"), begun.elapsed());
        assert!(was_shown || later + MILLI >= ttl, "gone after {later:?}");
        tokio::time::sleep(10 * MILLI).await;
    }
    assert!(!is_shown(&backend, "k"));
}

#[tokio::test]
async fn a_closed_store_shows_nothing() {
    let backend = MemoryBackend::default();
    stored(&backend, &key("k"), object(), forever()).await;
    assert!(is_shown(&backend, "k"));
    backend.close().await.unwrap();
    assert!(!is_shown(&backend, "k"));
}

/// Looks twice at an object that is new to a full store, and returns whether it is left after a scan.
async fn is_left_after_a_scan(is_used: bool) -> bool {
    let backend = MemoryBackend::builder().max_entries(100).shards(1).build();
    for name in 0..100 {
        stored(&backend, &key(name), object(), forever()).await;
    }
    for _ in 0..2 {
        backend.view(&key(99), &mut |_| is_used);
    }
    for name in 100..180 {
        stored(&backend, &key(name), object(), forever()).await;
    }
    has(&backend, &key(99)).await
}

#[tokio::test]
async fn only_a_look_that_used_the_object_keeps_it() {
    assert!(is_left_after_a_scan(true).await);
    assert!(!is_left_after_a_scan(false).await);
}
