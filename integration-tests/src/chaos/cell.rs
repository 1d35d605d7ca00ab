//! One cell of the table: a healthy time, an outage, and the time after it, all of them under load.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::chaos::fault::Fault;
use crate::chaos::load::{Kind, Load, Pace, Phase, warm_up};
use crate::chaos::memory::resident_kib;
use crate::chaos::rig::Rig;
use crate::chaos::table::Row;
use crate::chaos::way::{Subject, Way};

/// How a cell is played.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How long the store is healthy before the fault.
    pub healthy: Duration,
    /// How long the fault lasts.
    pub fault: Duration,
    /// How long the load goes on after the store has been used again.
    pub healed: Duration,
    /// The load.
    pub pace: Pace,
    /// How values are cached.
    pub way: Way,
}

/// The phases of the fault in the table.
const DOWN: [Phase; 2] = [Phase::Fault, Phase::Healing];

/// How long to wait until the store is used.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks whether the store is used again.
const LOOK: Duration = Duration::from_millis(10);

pub(super) async fn play(rig: &Rig, fault: Fault, plan: &Plan) -> Row {
    let prefix = format!("chaos-{:08x}", fastrand::u32(..));
    let subject = Subject::open(rig, plan.way, &prefix).await;
    let warm = timeout(2 * PATIENCE, warm_up(&subject)).await;
    assert!(warm.is_ok(), "{:?} does not answer", rig.store());
    let load = Load::start(subject.clone(), plan.pace);
    sleep(plan.healthy).await;

    let before = resident_kib();
    load.enter(Phase::Fault);
    rig.break_by(fault).await;
    sleep(plan.fault).await;
    let during = resident_kib();
    load.enter(Phase::Healing);
    rig.heal(fault).await;
    let used_again = used_again(rig, &subject, plan.way, &prefix).await;

    load.enter(Phase::Healed);
    sleep(plan.healed).await;
    let tally = load.stop().await;
    let after = resident_kib();
    subject.close().await;
    Row {
        store: rig.store(),
        fault,
        requests: tally.requests,
        errors: tally.errors,
        near_hit: tally.quantile(&DOWN, Kind::Warm, 0.99),
        near_missed: tally.warm[1] as f64 / tally.warm[0].max(1) as f64,
        cold: [&[Phase::Healthy][..], &DOWN, &[Phase::Healed]].map(|phases| tally.quantile(phases, Kind::Cold, 0.99)),
        shared: [&DOWN[..], &[Phase::Healed]].map(|phases| tally.quantile(phases, Kind::Shared, 0.99)),
        used_again,
        grown_kib: during.max(after).saturating_sub(before),
        first_error: tally.first_error,
    }
}

/// Waits until a value that the cache has loaded is found by another cache, which is new. Returns how long that takes.
async fn used_again(rig: &Rig, subject: &Subject, way: Way, prefix: &str) -> Option<Duration> {
    let healed = Instant::now();
    let witness = Subject::open(rig, way, prefix).await;
    let mut number = 0;
    let used_again = loop {
        let name = format!("used-again-{number}");
        // An error of the call shows in that the value is not there.
        drop(subject.ask(&name).await);
        if witness.has(&name).await {
            break Some(healed.elapsed());
        }
        if healed.elapsed() > PATIENCE {
            break None;
        }
        number += 1;
        sleep(LOOK).await;
    };
    witness.close().await;
    used_again
}
