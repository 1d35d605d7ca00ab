//! Plays many histories.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::histories::counts::Counts;
use crate::histories::fleet::Fleet;
use crate::histories::plan::{GROUP, Kind, Plan};
use crate::histories::play::{History, Played};
use crate::histories::store::Store;
use crate::worker::Way;

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The path of the program `cache-worker`.
    pub worker: PathBuf,
    /// The store.
    pub store: Store,
    /// The URL of the store. Default: that of the [shared](Store::url) one.
    pub url: Option<String>,
    /// The kind of histories.
    pub kind: Kind,
    /// The cache implementation of the workers.
    pub way: Way,
    /// The seed of the first history. The others follow.
    pub seed: u64,
    /// The number of histories.
    pub runs: u64,
    /// The number of histories at a time. With too many, each one's calls seldom overlap.
    pub at_a_time: usize,
    /// Whether to repeat the first history.
    pub same: bool,
    /// The number of violations to print with the whole history. The others are only counted.
    pub traces: usize,
}

/// The results of a run.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The counts of operations.
    pub counts: Counts,
    /// The number of violations.
    pub violations: u64,
    /// The seeds of the histories with violations.
    pub seeds: Vec<u64>,
    /// How long it took.
    pub took: Duration,
}

/// Plays histories. Prints each violation on standard output when it is found, with its history.
///
/// # Panics
/// Panics if the store or a worker cannot be started.
pub async fn run(options: &Options) -> Summary {
    let began = Instant::now();
    let mut summary = Summary::default();
    // Two fleets, so that one works while the processes of the other are replaced.
    let fleets = if options.kind == Kind::Crash { 2 } else { 1 };
    let mut players = JoinSet::new();
    for first in 0..fleets {
        let url = match &options.url {
            Some(url) => url.clone(),
            None => options.store.url().await,
        };
        let fleet = Fleet::start(&options.worker, options.store, url).await;
        let options = options.clone();
        players.spawn(async move {
            if options.kind == Kind::Crash {
                play_in_groups(&options, &fleet, first, fleets).await
            } else {
                play_in_a_row(&options, &fleet).await
            }
        });
    }
    while let Some(part) = players.join_next().await {
        summary.add(part.expect("a player does not panic"));
    }
    summary.seeds.sort_unstable();
    summary.took = began.elapsed();
    summary
}

fn seed(options: &Options, number: u64) -> u64 {
    if options.same {
        options.seed
    } else {
        options.seed.wrapping_add(number)
    }
}

async fn play_in_a_row(options: &Options, fleet: &Arc<Fleet>) -> Summary {
    let mut summary = Summary::default();
    let mut playing = JoinSet::new();
    let progress = watch::Sender::new(0);
    for number in 0..options.runs {
        if playing.len() >= options.at_a_time {
            summary.take(playing.join_next().await, options);
        }
        let plan = Plan::new(options.kind, options.store, seed(options, number));
        playing.spawn(play(fleet, plan, options.way, &progress));
    }
    while !playing.is_empty() {
        summary.take(playing.join_next().await, options);
    }
    summary
}

/// Plays every `step`-th group, starting with `first`. The histories of a group are played together and share crashes.
async fn play_in_groups(options: &Options, fleet: &Arc<Fleet>, first: u64, step: u64) -> Summary {
    let mut summary = Summary::default();
    let mut number = 0;
    let mut group = 0;
    while number < options.runs {
        // A group ends where the next group of seeds begins.
        let left = GROUP - if options.same { 0 } else { seed(options, number) % GROUP };
        let end = options.runs.min(number + left);
        if group % step == first {
            let plans: Vec<Plan> = (number..end)
                .map(|number| Plan::new(options.kind, options.store, seed(options, number)))
                .collect();
            let total: usize = plans.iter().map(Plan::steps).sum();
            let progress = watch::Sender::new(0_usize);
            let crashes = Plan::crashes(options.kind, seed(options, number));
            fleet.prepare().await;
            let mut steps = progress.subscribe();
            let crasher = {
                let fleet = Arc::clone(fleet);
                tokio::spawn(async move {
                    for crash in crashes {
                        let done = steps
                            .wait_for(|&steps| steps as f64 >= crash.after * total as f64)
                            .await
                            .is_ok();
                        if done {
                            fleet.crash(crash.node).await;
                        }
                    }
                })
            };
            let mut playing = JoinSet::new();
            for plan in plans {
                playing.spawn(play(fleet, plan, options.way, &progress));
            }
            while !playing.is_empty() {
                summary.take(playing.join_next().await, options);
            }
            crasher.await.expect("the crasher does not panic");
        }
        group += 1;
        number = end;
    }
    summary
}

fn play(
    fleet: &Arc<Fleet>,
    plan: Plan,
    way: Way,
    progress: &watch::Sender<usize>,
) -> impl Future<Output = (Plan, Played)> + use<> {
    let history = History::new(Arc::clone(fleet), plan.clone(), way, progress.clone());
    async move { (plan, history.play().await) }
}

impl Summary {
    /// Adds the results of another run.
    pub fn add(&mut self, other: Self) {
        self.counts += other.counts;
        self.violations += other.violations;
        self.seeds.extend(other.seeds);
        self.took += other.took;
    }

    fn take(&mut self, played: Option<Result<(Plan, Played), tokio::task::JoinError>>, options: &Options) {
        let Some(played) = played else { return };
        let (plan, played) = played.expect("a history does not panic");
        self.counts += played.counts;
        if played.violations.is_empty() {
            return;
        }
        self.violations += played.violations.len() as u64;
        self.seeds.push(plan.seed);
        if self.seeds.len() <= options.traces {
            println!(
                "VIOLATION on {}, kind {}, seed {}",
                options.store.name(),
                plan.kind.name(),
                plan.seed
            );
            println!("  {:?}", plan.policy);
            println!(
                "  tags of the keys: {:?}; clocks ahead by {:?} ms",
                plan.tags, plan.skews
            );
            print!("{}", played.trace);
            println!(
                "  again: scripts/histories --store {} --kind {} --seed {} --repeat 200",
                options.store.name(),
                plan.kind.name(),
                plan.seed
            );
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            histories,
            reads,
            bounded,
            invalidations,
            failed,
            crashed,
        } = self.counts;
        let per = self.took.as_secs_f64() / histories.max(1) as f64 * 10_000.0;
        write!(
            f,
            "{histories} histories in {:.1} s ({per:.0} s for 10,000): {reads} reads, {bounded} of them after \
             {invalidations} invalidations, {failed} calls failed, {crashed} crashed, {} violations",
            self.took.as_secs_f64(),
            self.violations
        )
    }
}
