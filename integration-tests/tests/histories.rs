//! A few random histories of each kind on each store: no read returns a value that was loaded before an invalidation
//! that had returned. `scripts/histories` plays as many as you like.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use integration_tests::histories::{Counts, Kind, Options, Store, Summary, run};
use integration_tests::worker::Way;

fn options(store: Store, kind: Kind, way: Way, runs: u64) -> Options {
    Options {
        worker: PathBuf::from(env!("CARGO_BIN_EXE_cache-worker")),
        store,
        url: None,
        kind,
        way,
        // Random; a violation prints its seed.
        seed: fastrand::u64(..1 << 32),
        runs,
        at_a_time: store.at_a_time(),
        same: false,
        traces: if way == Way::Real { 1 } else { 0 },
    }
}

/// Plays at least `runs` histories of each kind, and expects no violation. Chance decides how many of its reads a history
/// can check, so as many are played as make enough checks.
async fn nothing_old_is_read(store: Store, runs: u64) {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_for(store)) {
        let mut counts = Counts::default();
        while counts.bounded <= 2 * runs || (kind == Kind::Crash && counts.crashed == 0) {
            assert!(counts.histories < 10 * runs, "too few checks: {counts:?}");
            let summary = run(&options(store, kind, Way::Real, runs)).await;
            println!("{summary} on {}, kind {}", store.name(), kind.name());
            assert_eq!(summary.violations, 0, "seeds {:?}: see above", summary.seeds);
            counts += summary.counts;
        }
        assert!(counts.failed < counts.histories, "{counts:?}");
        assert!(kind == Kind::Crash || counts.crashed == 0, "{counts:?}");
    }
}

/// Plays histories with a wrong cache until a violation is found.
async fn is_found_out(store: Store, kind: Kind, way: Way) {
    let mut played = 0;
    while played < 5_000 {
        let Summary { counts, violations, .. } = run(&options(store, kind, way, 50)).await;
        played += counts.histories;
        if violations > 0 {
            println!(
                "{way:?} on {}: {violations} violations in {played} histories",
                store.name()
            );
            return;
        }
    }
    panic!("{way:?} on {}: nothing was found in {played} histories", store.name());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_old_is_read_in_memory() {
    nothing_old_is_read(Store::Memory, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_old_is_read_on_redis() {
    nothing_old_is_read(Store::Redis, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_old_is_read_on_memcached() {
    nothing_old_is_read(Store::Memcached, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_old_is_read_on_dynamodb() {
    nothing_old_is_read(Store::Dynamodb, 12).await;
}

// The negative controls: caches that each lack one part of the protection.

#[tokio::test(flavor = "multi_thread")]
async fn without_fences_some_is() {
    for store in Store::ALL {
        is_found_out(store, Kind::Key, Way::PlainSets).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_second_look_some_is() {
    for store in Store::ALL {
        is_found_out(store, Kind::Key, Way::NaiveFlight).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_timestamps_for_tags_some_is() {
    for store in Store::ALL {
        is_found_out(store, Kind::Skew, Way::TimestampTags).await;
    }
}
