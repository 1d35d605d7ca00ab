//! Plays random histories of several processes on each store and checks every read; see
//! [`integration_tests::histories`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use integration_tests::histories::{Kind, Options, Store, run};
use integration_tests::worker::Way;

/// Plays random histories of several processes on each store and checks every read: none gives what was loaded before an
/// invalidation that had returned.
#[derive(Debug, Parser)]
#[command(name = "scripts/histories")]
struct Arguments {
    /// On which stores [default: all]
    #[arg(long, value_enum)]
    store: Vec<Store>,
    /// Of which kinds [default: all]
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// How many histories on each store and of each kind [default: 1000, or 1 if a seed is given]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// The first history's seed, from which the others count on [default: a random one]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Play the one seed so often: it decides what is done, and the machine how the processes interleave
    #[arg(long, value_name = "N", requires = "seed", conflicts_with = "runs")]
    repeat: Option<u64>,
    /// How many histories are played at a time [default: as it suits the store on a small machine]
    #[arg(long, value_name = "N")]
    at_a_time: Option<usize>,
    /// How to cache. All but the first are wrong, and are to be found out
    #[arg(long, value_enum, default_value = "real")]
    way: Way,
    /// How many violations to tell of with all that happened before
    #[arg(long, value_name = "N", default_value_t = 3)]
    traces: usize,
    /// The program of the processes [default: the one beside this]
    #[arg(long, value_name = "PATH")]
    worker: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let worker = arguments.worker.unwrap_or_else(|| {
        let own = std::env::current_exe().unwrap_or_default();
        own.with_file_name("cache-worker")
    });
    let or_all = |given: Vec<_>, all: &[_]| if given.is_empty() { all.to_vec() } else { given };
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let runs = arguments.repeat.or(arguments.runs);
    let runs = runs.unwrap_or(if arguments.seed.is_some() { 1 } else { 1000 });
    let kinds = if arguments.kind.is_empty() {
        Kind::ALL.to_vec()
    } else {
        arguments.kind
    };
    let (mut checked, mut violations) = (0, 0);
    for store in or_all(arguments.store, &Store::ALL) {
        for &kind in kinds.iter().filter(|kind| kind.is_for(store)) {
            let options = Options {
                worker: worker.clone(),
                store,
                kind,
                way: arguments.way,
                seed,
                runs,
                at_a_time: arguments.at_a_time.unwrap_or(store.at_a_time()),
                same: arguments.repeat.is_some(),
                traces: arguments.traces,
            };
            let summary = run(&options).await;
            println!("{summary} on {}, kind {}, seeds from {seed}", store.name(), kind.name());
            checked += summary.counts.histories;
            violations += summary.violations;
        }
    }
    println!("histories: {checked} checked, {violations} violations");
    if violations == 0 && checked > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
