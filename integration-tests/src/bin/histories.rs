//! Plays random histories of several processes on each store, and checks every read. See
//! [`integration_tests::histories`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use integration_tests::histories::{Kind, Options, Store, Summary, run};
use integration_tests::worker::Way;

/// Plays random histories of several processes on each store, and checks every read: none may return a value whose load
/// began before an invalidation that had returned.
#[derive(Debug, Parser)]
#[command(name = "scripts/histories")]
struct Arguments {
    /// The stores [default: all]
    #[arg(long, value_enum)]
    store: Vec<Store>,
    /// The kinds of histories [default: all]
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// The number of histories of each kind on each store [default: 1000, or 1 if a seed is given]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// The seed of the first history; the others follow [default: random]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Play the one seed this often: the seed decides the operations, the machine how the processes interleave
    #[arg(long, value_name = "N", requires = "seed", conflicts_with = "runs")]
    repeat: Option<u64>,
    /// The number of histories at a time [default: depends on the store]
    #[arg(long, value_name = "N")]
    at_a_time: Option<usize>,
    /// The implementation of the cache. All but the first are wrong, and must be detected
    #[arg(long, value_enum, default_value = "real")]
    way: Way,
    /// The number of violations to print with the whole history
    #[arg(long, value_name = "N", default_value_t = 3)]
    traces: usize,
    /// The worker program [default: the one in the same folder]
    #[arg(long, value_name = "PATH")]
    worker: Option<PathBuf>,
}

/// The number of histories after which the store is emptied: a clear scans all keys of a Redis server, those of the
/// histories before included.
const BETWEEN_EMPTYING: usize = 512;

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
            let mut summary = Summary::default();
            for first in (0..runs).step_by(BETWEEN_EMPTYING) {
                store.empty().await;
                let same = arguments.repeat.is_some();
                let options = Options {
                    worker: worker.clone(),
                    store,
                    kind,
                    url: None,
                    way: arguments.way,
                    seed: if same { seed } else { seed.wrapping_add(first) },
                    runs: (runs - first).min(BETWEEN_EMPTYING as u64),
                    at_a_time: arguments.at_a_time.unwrap_or(store.at_a_time()),
                    same,
                    traces: arguments.traces,
                };
                summary.add(run(&options).await);
            }
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
