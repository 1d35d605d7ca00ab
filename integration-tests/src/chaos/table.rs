//! What was found, as a table, and the goals.

use std::fmt;
use std::time::Duration;

use crate::chaos::fault::Fault;
use crate::chaos::store::Store;
use crate::chaos::way::LOAD;

/// The default of `CacheBuilder::backend_timeout`.
const TIMEOUT: Duration = Duration::from_millis(500);

/// What was found in one cell.
#[derive(Debug, Clone)]
pub struct Row {
    /// The store.
    pub store: Store,
    /// Its fault.
    pub fault: Fault,
    /// The number of calls.
    pub requests: u64,
    /// The number of calls whose caller got no value, or a wrong one.
    pub errors: u64,
    /// Within which time 99 % of the hits in the near tier were answered during the fault.
    pub near_hit: Option<Duration>,
    /// The share of calls for warm keys during the fault that were no hits in the near tier.
    pub near_missed: f64,
    /// Within which time 99 % of the calls for cold keys were answered: before the fault, during it, and afterwards.
    pub cold: [Option<Duration>; 3],
    /// The same of keys that several callers ask for, during the fault and afterwards.
    pub shared: [Option<Duration>; 2],
    /// How long after the end of the fault a value was in the store, if it was.
    pub used_again: Option<Duration>,
    /// By how much the resident memory of the process grew during the fault and after it, in KiB. It runs other cells at the
    /// same time.
    pub grown_kib: u64,
    /// What the first caller got whose call failed.
    pub first_error: Option<String>,
}

/// The goals that a row is held against.
#[derive(Debug, Clone, Copy)]
pub struct Goals {
    /// The longest time of 99 % of the hits in the near tier, if that is a goal. Then most calls for warm keys must be such
    /// hits: in a short run on a busy machine, copies may be too old by the time of the fault.
    pub near_hit: Option<Duration>,
    /// The longest time of 99 % of the calls for cold and shared keys, if a cold key takes as long as its load while the store
    /// is healthy. What it takes longer then is added.
    pub cold: Duration,
    /// The longest time until the store is used again.
    pub used_again: Duration,
    /// The most that memory may grow, in KiB.
    pub grown_kib: u64,
}

impl Goals {
    /// What the guide promises, with `slack` for each time.
    #[must_use]
    pub fn with_slack(slack: Duration) -> Self {
        Self {
            near_hit: None,
            cold: TIMEOUT + LOAD + slack,
            used_again: Duration::from_secs(2) + slack,
            grown_kib: 64 * 1024,
        }
    }
}

impl Row {
    /// Returns the goals that were missed, in words.
    #[must_use]
    pub fn missed(&self, goals: &Goals) -> Vec<String> {
        let mut missed = Vec::new();
        if self.errors > 0 {
            let first = self.first_error.as_deref().unwrap_or_default();
            missed.push(format!("{} callers got errors: {first}", self.errors));
        }
        let is_longer = |time: Option<Duration>, limit| time.is_none_or(|time| time > limit);
        if goals.near_hit.is_some_and(|limit| is_longer(self.near_hit, limit)) {
            missed.push(format!("hits in the near tier took {}", time(self.near_hit)));
        }
        if goals.near_hit.is_some() && self.near_missed > 0.5 {
            missed.push(format!(
                "{:.0} % of the warm keys were no hits",
                self.near_missed * 100.0
            ));
        }
        let ([before, cold, later], [shared, shared_later]) = (self.cold, self.shared);
        let limit = goals.cold + before.unwrap_or_default().saturating_sub(LOAD);
        for (what, found) in [
            ("cold keys", cold),
            ("cold keys afterwards", later),
            ("shared keys", shared),
            ("shared keys afterwards", shared_later),
        ] {
            if is_longer(found, limit) {
                missed.push(format!("{what} took {}", time(found)));
            }
        }
        if is_longer(self.used_again, goals.used_again) {
            missed.push(format!("the store was used again after {}", time(self.used_again)));
        }
        if self.grown_kib > goals.grown_kib {
            missed.push(format!("memory grew by {} KiB", self.grown_kib));
        }
        missed
    }
}

/// The rows, and the cells that do not occur, as Markdown.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// What was found, in the order in which it is shown.
    pub rows: Vec<Row>,
    /// The cells that do not occur.
    pub impossible: Vec<(Store, Fault)>,
}

impl Table {
    /// Returns what was missed, with its cell.
    #[must_use]
    pub fn missed(&self, goals: &Goals) -> Vec<String> {
        let missed = |row: &Row| {
            let cell = format!("{}, {}", row.store.name(), row.fault.name());
            row.missed(goals)
                .into_iter()
                .map(move |missed| format!("{cell}: {missed}"))
        };
        self.rows.iter().flat_map(missed).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| store | fault | requests | errors | near hit, p99 | cold key, p99 | before | afterwards | shared key, p99 | \
             afterwards | used again after | memory |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
        )?;
        for row in &self.rows {
            let ([before, fault, healed], [shared, shared_later]) = (row.cold, row.shared);
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:+.1} MiB |",
                row.store.name(),
                row.fault.name(),
                row.requests,
                row.errors,
                time(row.near_hit),
                time(fault),
                time(before),
                time(healed),
                time(shared),
                time(shared_later),
                time(row.used_again),
                row.grown_kib as f64 / 1024.0,
            )?;
        }
        for (store, fault) in &self.impossible {
            writeln!(
                f,
                "| {} | {} | does not occur | | | | | | | | | |",
                store.name(),
                fault.name()
            )?;
        }
        Ok(())
    }
}

/// Writes a time with three digits.
fn time(time: Option<Duration>) -> String {
    match time {
        None => "never".to_owned(),
        Some(time) if time < Duration::from_millis(10) => format!("{:.2} ms", time.as_secs_f64() * 1000.0),
        Some(time) if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
        Some(time) => format!("{:.2} s", time.as_secs_f64()),
    }
}
