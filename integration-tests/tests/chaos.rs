//! What callers see while their store is down: no errors, a bounded wait, and a store that is used again soon. Each fault on
//! each store, as a table. `scripts/chaos` plays the same for as long as you like, and holds it against tighter goals.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use integration_tests::chaos::{Fault, Goals, Pace, Plan, Store, Way, run};

/// For a build without optimization, on a machine that is busy with other tests: a caller of Larder still waits for less time
/// than the negative controls.
const SLACK: Duration = Duration::from_secs(10);

/// The goals of this test.
fn goals() -> Goals {
    Goals {
        // A store that shares two busy processors needs longer than the time limit for a call, long after it is back.
        used_again: Duration::from_secs(55),
        // The callers of a negative control pile up in the same process.
        grown_kib: 192 * 1024,
        ..Goals::with_slack(SLACK)
    }
}

fn plan(way: Way, fault: Duration) -> Plan {
    Plan {
        healthy: Duration::from_millis(300),
        fault,
        healed: Duration::from_millis(500),
        pace: Pace {
            warm: 1,
            cold: 1,
            shared: 2,
        },
        way,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_costs_callers_no_errors_and_little_time() {
    let plan = plan(Way::Guarded, Duration::from_secs(2));
    let table = run(&Store::ALL, &Fault::ALL, plan).await;
    print!("{table}");
    assert_eq!(
        table.rows.len() + table.impossible.len(),
        Store::ALL.len() * Fault::ALL.len()
    );
    assert_eq!(table.missed(&goals()), <Vec<String>>::new());
}

/// Plays one fault on Redis, for longer than a caller may wait, and returns the goals that are missed.
async fn missed_on_redis(way: Way, fault: Fault) -> Vec<String> {
    let plan = plan(way, goals().cold + Duration::from_millis(500));
    let table = run(&[Store::Redis], &[fault], plan).await;
    print!("{table}");
    table.missed(&goals())
}

// The negative controls: what protects callers is missing, and the same goals are missed.

#[tokio::test(flavor = "multi_thread")]
async fn without_time_limits_and_a_breaker_they_wait() {
    let missed = missed_on_redis(Way::Unguarded, Fault::Frozen).await;
    let waited = missed.iter().any(|missed| missed.contains("cold keys took"));
    assert!(waited, "{missed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cache_that_goes_on_without_its_store_they_get_errors() {
    let missed = missed_on_redis(Way::ByHand, Fault::Killed).await;
    let failed = missed.iter().any(|missed| missed.contains("callers got errors"));
    assert!(failed, "{missed:?}");
}
