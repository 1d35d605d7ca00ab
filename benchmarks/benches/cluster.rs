//! How much longer than the loading process the others wait for a value. Eight processes request a cold key at once,
//! and one loads it. Measures the time from when the first caller has the value until each caller in the other
//! processes has it.
//!
//! One caller in each process shows the cost of waiting itself; fifty show what a small machine adds.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration_tests::histories::Store;
use integration_tests::worker::{Action, Answer, LoadAsk, Outcome, Settings, Worker, serve};
use tokio::sync::mpsc;

const PROCESSES: usize = 8;
const LOAD: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() {
    // This program is also the worker, since cargo builds no other program for a benchmark.
    if let Some(url) = std::env::args().nth(1).filter(|url| url.contains("://")) {
        serve(&url).await.unwrap();
        return;
    }
    println!("from when the first caller has the value until the callers of the other processes have it, in ms");
    for store in Store::ALL.into_iter().filter(|store| store.is_shared()) {
        for (callers, rounds) in [(1, 100), (50, 20)] {
            measure(store, callers, rounds).await;
        }
    }
}

async fn measure(store: Store, callers: usize, rounds: usize) {
    let url = store.url().await;
    let own = std::env::current_exe().unwrap();
    let (send, mut loads) = mpsc::unbounded_channel::<LoadAsk>();
    let workers = join_all((0..PROCESSES).map(|_| {
        let send = send.clone();
        Worker::start(Path::new(&own), &url, move |ask| {
            let _ = send.send(ask);
        })
    }))
    .await;
    let settings = Settings::new(format!("bench-{:016x}", fastrand::u64(..)));
    for worker in &workers {
        worker.open(0, settings.clone());
    }
    let calls = AtomicU64::new(0);
    let began = Instant::now();
    let mut waits = Vec::new();
    // The first round is a warm-up.
    for round in 0..=rounds {
        let crowds = workers.iter().map(|worker| {
            let action = Action::Crowd {
                key: format!("key-{round}"),
                callers,
            };
            worker.act(0, calls.fetch_add(1, Ordering::Relaxed), action)
        });
        let crowds: Vec<_> = crowds.collect();
        let load = loads.recv().await.unwrap();
        let others = calls.load(Ordering::Relaxed) - PROCESSES as u64;
        let loader = usize::try_from(load.call - others).unwrap();
        tokio::time::sleep(LOAD).await;
        load.answer(Answer::Value(round as u64));
        let times: Vec<Vec<u64>> = join_all(crowds)
            .await
            .into_iter()
            .map(|outcome| match outcome {
                Ok(Outcome::Crowd(_, times)) => times,
                other => panic!("{other:?}"),
            })
            .collect();
        if round == 0 {
            continue;
        }
        let first = times[loader].iter().copied().min().unwrap();
        for (process, times) in times.iter().enumerate() {
            if process != loader {
                waits.extend(times.iter().map(|time| time.saturating_sub(first)));
            }
        }
    }
    waits.sort_unstable();
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize] as f64 / 1000.0;
    println!(
        "{:<10} {PROCESSES} processes of {callers:>2}: p50 {:>7.1}  p99 {:>7.1}  most {:>7.1}   ({rounds} keys, {} waits, {:.0} s)",
        store.name(),
        at(0.5),
        at(0.99),
        at(1.0),
        waits.len(),
        began.elapsed().as_secs_f64()
    );
}
