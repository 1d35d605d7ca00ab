//! Plays cells: those of different stores at the same time, and those of one store one after the other.

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::chaos::cell::{Plan, play};
use crate::chaos::fault::Fault;
use crate::chaos::rig::Rig;
use crate::chaos::store::Store;
use crate::chaos::table::Table;

/// Plays each fault on each store, and returns what was found. Starts the stores, and removes them.
///
/// # Panics
/// Panics if a store cannot be started or does not answer.
pub async fn run(stores: &[Store], faults: &[Fault], plan: Plan) -> Table {
    // What a store takes to start is no part of the others' cells.
    let started = Arc::new(Barrier::new(stores.len()));
    let mut tasks = JoinSet::new();
    let mut table = Table::default();
    for (number, &store) in stores.iter().enumerate() {
        let (possible, impossible): (Vec<_>, Vec<_>) = faults.iter().copied().partition(|fault| fault.occurs_on(store));
        table
            .impossible
            .extend(impossible.into_iter().map(|fault| (store, fault)));
        let started = Arc::clone(&started);
        tasks.spawn(async move {
            let rig = Rig::start(store).await;
            started.wait().await;
            let mut rows = Vec::new();
            for fault in possible {
                rows.push(play(&rig, fault, &plan).await);
            }
            (number, rows)
        });
    }
    // A store that cannot be started must not keep the others waiting for it.
    let mut found = Vec::new();
    while let Some(rows) = tasks.join_next().await {
        match rows {
            Ok(rows) => found.push(rows),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => panic!("{error}"),
            },
        }
    }
    found.sort_by_key(|(number, _)| *number);
    table.rows = found.into_iter().flat_map(|(_, rows)| rows).collect();
    table
}
