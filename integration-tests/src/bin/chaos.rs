//! Breaks each store in each way under load, and prints what callers saw. See [`integration_tests::chaos`].

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use integration_tests::chaos::{Fault, Goals, Pace, Plan, Store, Way, run};

/// Breaks each store in each way under load, and prints what callers saw as a table. Fails if a goal is missed.
#[derive(Debug, Parser)]
#[command(name = "scripts/chaos")]
struct Arguments {
    /// The stores [default: all]
    #[arg(long, value_enum)]
    store: Vec<Store>,
    /// The faults [default: all]
    #[arg(long, value_enum)]
    fault: Vec<Fault>,
    /// How long it takes in all, without the start of the stores
    #[arg(long, value_name = "M", default_value_t = 10.0)]
    minutes: f64,
    /// How values are cached. All but the first miss the goals
    #[arg(long, value_enum, default_value = "guarded")]
    way: Way,
    /// The calls in each 10 ms, to each store, for keys that are in the near tier
    #[arg(long, value_name = "N", default_value_t = 10)]
    warm: u64,
    /// The calls in each 10 ms, to each store, for keys that nobody has asked for
    #[arg(long, value_name = "N", default_value_t = 1)]
    cold: u64,
    /// The calls in each 10 ms, to each store, for one key
    #[arg(long, value_name = "N", default_value_t = 4)]
    shared: u64,
}

/// What a cell takes besides: the store must break and come back, and be used again.
const BESIDES: Duration = Duration::from_secs(5);

/// Of times, for a machine whose processors are shared with the stores.
const SLACK: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stores = match arguments.store.is_empty() {
        true => Store::ALL.to_vec(),
        false => arguments.store,
    };
    let faults = match arguments.fault.is_empty() {
        true => Fault::ALL.to_vec(),
        false => arguments.fault,
    };
    let each = Duration::from_secs_f64(arguments.minutes * 60.0 / faults.len() as f64).saturating_sub(BESIDES);
    let plan = Plan {
        healthy: each.mul_f64(0.15),
        fault: each.mul_f64(0.7),
        healed: each.mul_f64(0.15),
        pace: Pace {
            warm: arguments.warm,
            cold: arguments.cold,
            shared: arguments.shared,
        },
        way: arguments.way,
    };
    let goals = Goals {
        near_hit: Some(Duration::from_millis(1)),
        ..Goals::with_slack(SLACK)
    };
    let table = run(&stores, &faults, plan).await;
    print!("{table}");
    let missed = table.missed(&goals);
    for missed in &missed {
        println!("missed: {missed}");
    }
    println!("chaos: {} cells, {} goals missed", table.rows.len(), missed.len());
    if missed.is_empty() && !table.rows.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
