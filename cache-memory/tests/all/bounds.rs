//! Memory stays within both bounds, whatever is written.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};

use cache_core::{Backend, ErrorKind, KeyName, Prefix, SetOutcome, SharedValue, Value};
use cache_memory::MemoryBackend;

use crate::support::{forever, has, key, read, sized, stored};

#[tokio::test]
async fn the_bytes_stay_below_their_bound_and_fill_it() {
    let backend = MemoryBackend::builder().max_bytes(200_000).build();
    for i in 0..2_000 {
        stored(&backend, &key(i), sized(i % 3_000), forever()).await;
        assert!(backend.weight() <= 200_000, "{} after {i}", backend.weight());
    }
    assert!(backend.weight() > 190_000, "{}", backend.weight());
    assert_eq!(backend.len() as u64 + backend.stats().evicted, 2_000);
}

#[tokio::test]
async fn the_count_stays_below_its_bound_and_reaches_it_whatever_the_sizes() {
    let backend = MemoryBackend::builder().max_bytes(1_000_000).max_entries(100).build();
    for i in 0..1_000 {
        let size = if i % 50 == 0 { 100_000 } else { 10 };
        stored(&backend, &key(i), sized(size), forever()).await;
        assert!(backend.len() <= 100);
        assert!(backend.weight() <= 1_000_000);
        assert!(i < 100 || backend.len() == 100, "{} after {i}", backend.len());
    }
}

#[tokio::test]
async fn both_bounds_hold_for_several_shards() {
    let backend = MemoryBackend::builder()
        .max_bytes(100_003)
        .max_entries(133)
        .shards(8)
        .build();
    for i in 0..5_000 {
        stored(&backend, &key(i), sized(i % 1_500), forever()).await;
        assert!(backend.len() <= 133 && backend.weight() <= 100_003);
    }
    assert!(backend.len() > 50);
}

#[tokio::test]
async fn a_record_that_grows_makes_room_and_stays() {
    let backend = MemoryBackend::builder().max_bytes(100_000).build();
    for i in 0..20 {
        stored(&backend, &key(i), sized(4_500), forever()).await;
        // Every entry is in use, so that a new one has no advantage.
        for j in 0..=i {
            has(&backend, &key(j)).await;
        }
    }
    for i in 0..20 {
        stored(&backend, &key(i), sized(40_000), forever()).await;
        assert!(has(&backend, &key(i)).await);
        assert!(backend.weight() <= 100_000);
    }
}

#[tokio::test]
async fn an_entry_counts_for_its_key_its_value_and_the_overhead() {
    let backend = MemoryBackend::default();
    let name = key("k");
    // The allocator rounds up.
    let about = |backend: &MemoryBackend, expected: usize| {
        let expected = MemoryBackend::ENTRY_OVERHEAD + expected as u64;
        let weight = backend.weight();
        assert!((expected..expected + 80).contains(&weight), "{weight} for {expected}");
    };
    stored(&backend, &name, sized(1_000), forever()).await;
    about(&backend, name.as_str().len() + 1_000);
    stored(&backend, &name, sized(10), forever()).await;
    about(&backend, name.as_str().len() + 10);
    assert_eq!(backend.len(), 1);
    backend.delete(&name).await.unwrap();
    assert_eq!((backend.weight(), backend.is_empty()), (0, true));

    // The identity is not stored, so it has no weight.
    let hashed = Prefix::new("p")
        .namespace("n")
        .key(KeyName::with_identity("h", [0; 500]));
    stored(&backend, &hashed, sized(0), forever()).await;
    about(&backend, hashed.as_str().len());
    backend.delete(&hashed).await.unwrap();

    // The weight of an object is the one that its owner states.
    let object = Value::Shared(SharedValue::new(Arc::new(7_u8), 2_000));
    stored(&backend, &name, object, forever()).await;
    about(&backend, name.as_str().len() + 2_000);
}

#[tokio::test]
async fn the_largest_value_is_taken_and_one_byte_more_is_too_large() {
    for max_bytes in [2_000, 100_000, 64 * 1024 * 1024] {
        let backend = MemoryBackend::builder().max_bytes(max_bytes).shards(1).build();
        let limit = backend.limits().value_bytes.unwrap();
        stored(&backend, &key("k"), sized(limit), forever()).await;
        assert_eq!(read(&backend, &key("k")).await.unwrap().len(), limit);
        let error = backend
            .set(&key("other"), sized(limit + 1), forever())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(!error.is_retryable());
        assert!(has(&backend, &key("k")).await);
    }
}

#[tokio::test]
async fn a_value_that_is_too_large_leaves_no_old_record_behind() {
    let backend = MemoryBackend::builder().max_bytes(10_000).build();
    let too_large = || sized(20_000);

    let version = stored(&backend, &key("k"), sized(1), forever()).await;
    backend.set(&key("k"), too_large(), forever()).await.unwrap_err();
    assert!(!has(&backend, &key("k")).await);
    assert_eq!(backend.weight(), 0);

    // If the mode does not hold, nothing changes.
    let current = stored(&backend, &key("k"), sized(1), forever()).await;
    for options in [forever().if_absent(), forever().if_version(version)] {
        let outcome = backend.set(&key("k"), too_large(), options).await.unwrap();
        assert_eq!(outcome, SetOutcome::Refused);
        assert!(has(&backend, &key("k")).await);
    }
    let options = forever().if_version(current);
    backend.set(&key("k"), too_large(), options).await.unwrap_err();
    assert!(!has(&backend, &key("k")).await);
}

#[tokio::test]
async fn a_huge_key_is_too_large_as_well() {
    let backend = MemoryBackend::builder().max_bytes(10_000).build();
    let error = backend
        .set(&key("k".repeat(10_000)), sized(1), forever())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn bounds_too_small_for_anything_take_nothing() {
    let backend = MemoryBackend::builder().max_bytes(0).max_entries(0).build();
    let error = backend.set(&key("k"), sized(0), forever()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn settings_that_make_no_sense_are_refused_by_try_build_and_corrected_by_build() {
    let builder = MemoryBackend::builder;
    for (builder, problem) in [
        (builder().max_entries(0), "max_entries is 0"),
        (builder().shards(0), "shards is 0"),
        (builder().max_entries(10).shards(16), "16 shards for max_entries of 10"),
        (builder().max_bytes(0), "max_bytes is 0"),
        (builder().max_bytes(1_000).shards(8), "max_bytes is 1000, and 8 shards"),
    ] {
        let error = builder.clone().try_build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(problem), "{error}");
        assert!(builder.build().is_empty());
    }
    builder().try_build().unwrap();
    builder()
        .max_bytes(10_000)
        .max_entries(8)
        .shards(8)
        .try_build()
        .unwrap();
}

#[tokio::test]
async fn bounds_beyond_all_measure_are_no_bounds() {
    for builder in [MemoryBackend::builder(), MemoryBackend::builder().shards(1)] {
        let backend = builder.clone().max_bytes(u64::MAX).max_entries(usize::MAX).build();
        for i in 0..1_000 {
            stored(&backend, &key(i), sized(1_000), forever()).await;
        }
        assert_eq!(backend.len(), 1_000);

        let backend = builder.max_bytes(u64::MAX).max_entries(10).build();
        for i in 0..100 {
            stored(&backend, &key(i), sized(1_000), forever()).await;
        }
        assert_eq!(backend.len(), 10);
    }
}

#[tokio::test]
async fn a_store_of_one_entry_keeps_the_latest() {
    let backend = MemoryBackend::builder().max_entries(1).build();
    for i in 0..10 {
        stored(&backend, &key(i), sized(1), forever()).await;
        assert!(has(&backend, &key(i)).await);
        assert_eq!(backend.len(), 1);
    }
}

#[tokio::test]
async fn listeners_hear_of_evictions_and_of_nothing_else() {
    let backend = MemoryBackend::builder().max_entries(10).build();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    backend.on_eviction(Box::new(move |key| listener.lock().unwrap().push(key.clone())));

    for i in 0..10 {
        stored(&backend, &key(i), sized(1), forever()).await;
        stored(&backend, &key(i), sized(2), forever()).await;
    }
    backend.delete(&key(0)).await.unwrap();
    assert!(heard.lock().unwrap().is_empty());

    for i in 10..30 {
        stored(&backend, &key(i), sized(1), forever()).await;
    }
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 19);
    assert_eq!(backend.stats().evicted, 19);
    for key in &heard {
        assert!(!has(&backend, key).await);
    }
}

#[tokio::test]
async fn listeners_do_not_hear_of_a_record_that_makes_room_for_its_own_successor() {
    let backend = MemoryBackend::builder().max_bytes(100_000).build();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    backend.on_eviction(Box::new(move |key| listener.lock().unwrap().push(key.clone())));
    let limit = backend.limits().value_bytes.unwrap();
    for i in 0..20 {
        stored(&backend, &key(i), sized(4_000), forever()).await;
    }
    heard.lock().unwrap().clear();
    stored(&backend, &key(0), sized(limit), forever()).await;
    let heard = heard.lock().unwrap();
    assert!(heard.len() > 10 && !heard.contains(&key(0)), "{heard:?}");
}

#[tokio::test]
async fn what_is_used_outlasts_what_is_not() {
    let backend = MemoryBackend::builder().max_entries(100).build();
    let favourite = key("favourite");
    stored(&backend, &favourite, sized(1), forever()).await;
    for i in 0..10_000 {
        assert!(has(&backend, &favourite).await, "gone after {i}");
        stored(&backend, &key(i), sized(1), forever()).await;
    }
}
