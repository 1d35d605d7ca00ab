//! The workers of histories.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::histories::plan::NODES;
use crate::histories::store::Store;
use crate::worker::{Answer, LoadAsk, Worker};

/// Answers the loads of calls.
pub(super) trait Loads: Send + Sync {
    /// Takes a load, which it answers now or later.
    fn load(self: Arc<Self>, ask: LoadAsk);
}

/// The workers of a run, and the handlers of their loads.
pub(super) struct Fleet {
    /// A number that is unique among the fleets on a store.
    name: u64,
    store: Store,
    program: PathBuf,
    url: String,
    seats: Vec<Mutex<Seat>>,
    /// A worker that is ready to replace a killed one.
    spare: tokio::sync::Mutex<Option<Arc<Worker>>>,
    calls: Arc<Calls>,
    numbers: AtomicU64,
}

#[derive(Debug, Clone)]
struct Seat {
    worker: Arc<Worker>,
    /// How many workers were killed in this place.
    generation: u64,
}

#[derive(Default)]
struct Calls(Mutex<HashMap<u64, Arc<dyn Loads>>>);

impl Fleet {
    /// Starts the workers: several processes, or one if `store` cannot be shared.
    pub(super) async fn start(program: &Path, store: Store, url: String) -> Arc<Self> {
        let calls = Arc::default();
        let mut seats = Vec::new();
        for _ in 0..if store.is_shared() { NODES } else { 1 } {
            let worker = worker(program, &url, &calls).await;
            seats.push(Mutex::new(Seat { worker, generation: 0 }));
        }
        Arc::new(Self {
            name: fastrand::u64(..),
            store,
            program: program.to_owned(),
            url,
            seats,
            spare: tokio::sync::Mutex::new(None),
            calls,
            numbers: AtomicU64::new(0),
        })
    }

    pub(super) fn store(&self) -> Store {
        self.store
    }

    /// Returns the key prefix of a history.
    pub(super) fn prefix(&self, history: u64) -> String {
        format!("h{:x}-{history}", self.name)
    }

    /// Returns the worker of a node, and how many workers were killed in its place.
    pub(super) fn worker(&self, node: usize) -> (Arc<Worker>, u64) {
        let seat = self.seat(node);
        (Arc::clone(&seat.worker), seat.generation)
    }

    /// Returns a unique number for a call whose loads `loads` answers.
    pub(super) fn call(&self, loads: Arc<dyn Loads>) -> u64 {
        let call = self.number();
        self.calls.all().insert(call, loads);
        call
    }

    /// Ignores further loads of this call.
    pub(super) fn forget(&self, call: u64) {
        self.calls.all().remove(&call);
    }

    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts the worker that will replace the next one that is killed.
    pub(super) async fn prepare(&self) {
        let mut spare = self.spare.lock().await;
        if spare.is_none() {
            *spare = Some(worker(&self.program, &self.url, &self.calls).await);
        }
    }

    /// Kills the worker of a node, and replaces it.
    pub(super) async fn crash(&self, node: usize) {
        self.prepare().await;
        let spare = self.spare.lock().await.take();
        let (old, _) = self.worker(node);
        old.kill().await;
        let worker = spare.expect("prepared above, and a fleet has one crash at a time");
        let mut seat = self.seat(node);
        *seat = Seat {
            worker,
            generation: seat.generation + 1,
        };
    }

    fn seat(&self, node: usize) -> std::sync::MutexGuard<'_, Seat> {
        self.seats[node % self.seats.len()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<dyn Loads>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn worker(program: &Path, url: &str, calls: &Arc<Calls>) -> Arc<Worker> {
    let calls = Arc::clone(calls);
    let loads = move |ask: LoadAsk| {
        let found = calls.all().get(&ask.call).cloned();
        match found {
            Some(loads) => loads.load(ask),
            None => ask.answer(Answer::Error),
        }
    };
    Arc::new(Worker::start(program, url, loads).await)
}
