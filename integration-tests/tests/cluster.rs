//! One load per key in the whole cluster: eight processes with fifty callers each, and loaders that are killed, slow or
//! failing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::histories::Store;
use integration_tests::worker::{Action, Answer, LoadAsk, Outcome, Settings, Worker};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const PROCESSES: usize = 8;
const CALLERS: usize = 50;

/// The time that a busy machine may add.
const SLACK: Duration = Duration::from_secs(5);

/// Processes with one cache each on one store. The test answers their loads.
struct Cluster {
    workers: Vec<Worker>,
    loads: mpsc::UnboundedReceiver<LoadAsk>,
    calls: AtomicU64,
}

impl Cluster {
    async fn start(store: Store, processes: usize, settings: impl FnOnce(&mut Settings)) -> Self {
        let mut all = Settings::new(format!("cluster-{:016x}", fastrand::u64(..)));
        settings(&mut all);
        let url = store.url().await;
        let (send, loads) = mpsc::unbounded_channel();
        let workers = join_all((0..processes).map(|_| {
            let send = send.clone();
            Worker::start(Path::new(env!("CARGO_BIN_EXE_cache-worker")), &url, move |ask| {
                let _ = send.send(ask);
            })
        }));
        let workers = workers.await;
        for worker in &workers {
            worker.open(0, all.clone());
        }
        Self {
            workers,
            loads,
            calls: AtomicU64::new(0),
        }
    }

    /// Starts this many concurrent calls for the key in one process. They have begun when this returns.
    fn ask(&self, process: usize, callers: usize) -> impl Future<Output = Vec<Option<u64>>> + use<> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let action = Action::Crowd {
            key: "key".to_owned(),
            callers,
        };
        let answer = self.workers[process].act(0, call, action);
        async move {
            match timeout(Duration::from_secs(120), answer)
                .await
                .expect("the callers are stuck")
            {
                Ok(Outcome::Crowd(values, _)) => values,
                // Killed.
                Err(_) => Vec::new(),
                Ok(other) => panic!("{other:?}"),
            }
        }
    }

    /// Waits for the next load.
    async fn load(&mut self) -> LoadAsk {
        let load = timeout(Duration::from_secs(60), self.loads.recv()).await;
        load.expect("nobody loads").expect("the workers are there")
    }

    /// Returns whether no other load has begun.
    fn is_quiet(&mut self) -> bool {
        self.loads.try_recv().is_err()
    }
}

/// Runs the test on each store that processes can share, in sequence, since each run needs the whole machine.
async fn everywhere(test: impl AsyncFn(Store)) {
    for store in Store::ALL.into_iter().filter(|store| store.is_shared()) {
        test(store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_hundred_callers_in_eight_processes_load_once() {
    everywhere(async |store| {
        let mut cluster = Cluster::start(store, PROCESSES, |_| {}).await;
        let callers: Vec<_> = (0..PROCESSES).map(|process| cluster.ask(process, CALLERS)).collect();
        let load = cluster.load().await;
        // A second load would begin now.
        sleep(Duration::from_millis(500)).await;
        load.answer(Answer::Value(7));
        let values = join_all(callers).await.concat();
        assert_eq!(values, vec![Some(7); PROCESSES * CALLERS], "{store:?}");
        assert!(cluster.is_quiet(), "there was another load on {store:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_each_process_loads_for_itself() {
    everywhere(async |store| {
        let mut cluster = Cluster::start(store, 3, |settings| settings.coalesce_across_processes = false).await;
        let callers: Vec<_> = (0..3).map(|process| cluster.ask(process, CALLERS)).collect();
        // No load waits for another.
        let loads = [cluster.load().await, cluster.load().await, cluster.load().await];
        for (value, load) in (1..).zip(loads) {
            load.answer(Answer::Value(value));
        }
        let values = join_all(callers).await.concat();
        assert!(values.iter().all(Option::is_some), "{values:?} on {store:?}");
        assert!(cluster.is_quiet(), "a process has loaded twice on {store:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_loader_is_replaced_when_its_lease_has_run_out() {
    const LEASE: Duration = Duration::from_secs(1);
    everywhere(async |store| {
        let mut cluster = Cluster::start(store, 3, |settings| settings.lease_time = LEASE).await;
        let loader = cluster.ask(0, 1);
        let lost = cluster.load().await;
        let waiting = [cluster.ask(1, CALLERS), cluster.ask(2, CALLERS)];
        // Just long enough that the lease has been renewed.
        sleep(LEASE).await;
        assert!(cluster.is_quiet(), "there was another load on {store:?}");
        cluster.workers[0].kill().await;
        let killed = Instant::now();
        let load = cluster.load().await;
        let took = killed.elapsed();
        println!(
            "{}: replaced {took:?} after the kill, with leases of {LEASE:?}",
            store.name()
        );
        assert!(
            took < LEASE + Duration::from_millis(250) + SLACK,
            "{took:?} on {store:?}"
        );
        lost.answer(Answer::Value(6));
        load.answer(Answer::Value(7));
        let values = join_all(waiting).await.concat();
        assert_eq!(values, vec![Some(7); 2 * CALLERS], "{store:?}");
        assert!(cluster.is_quiet(), "there was a third load on {store:?}");
        assert_eq!(loader.await, Vec::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_outlasts_its_lease_keeps_it() {
    const LEASE: Duration = Duration::from_millis(1500);
    everywhere(async |store| {
        let mut cluster = Cluster::start(store, 3, |settings| settings.lease_time = LEASE).await;
        let callers: Vec<_> = (0..3).map(|process| cluster.ask(process, CALLERS)).collect();
        let load = cluster.load().await;
        sleep(LEASE * 3).await;
        assert!(cluster.is_quiet(), "there was another load on {store:?}");
        load.answer(Answer::Value(7));
        assert_eq!(
            join_all(callers).await.concat(),
            vec![Some(7); 3 * CALLERS],
            "{store:?}"
        );
        assert!(cluster.is_quiet(), "there was another load on {store:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_fails_releases_its_lease_at_once() {
    const LEASE: Duration = Duration::from_secs(60);
    for outcome in [Answer::Error, Answer::Panic, Answer::Absent] {
        everywhere(async |store| {
            let mut cluster = Cluster::start(store, 2, |settings| settings.lease_time = LEASE).await;
            let loader = cluster.ask(0, 1);
            let failing = cluster.load().await;
            let waiting = cluster.ask(1, CALLERS);
            sleep(Duration::from_millis(300)).await;
            assert!(cluster.is_quiet(), "there was another load on {store:?}");
            failing.answer(outcome);
            let failed = Instant::now();
            let load = cluster.load().await;
            let took = failed.elapsed();
            println!("{}: loaded again {took:?} after {outcome:?}", store.name());
            assert!(took < SLACK, "{took:?} on {store:?}");
            load.answer(Answer::Value(7));
            assert_eq!(waiting.await, vec![Some(7); CALLERS], "{store:?}");
            assert_eq!(loader.await, [None]);
        })
        .await;
    }
}
