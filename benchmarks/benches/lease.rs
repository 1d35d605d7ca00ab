//! The cost of leases on Redis: a miss, with its lease and fenced fill, compared with a plain GET and SET of the same
//! value, and a hit compared with a plain GET, in the same run.
//!
//! One caller, and then 32 concurrent ones, with values of 1 KiB. The benchmark `cluster` measures how long other
//! processes wait for a load.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cache_core::{Backend, Raw, SetOptions};
use cache_engine::{Cache, Policy};
use cache_redis::RedisBackend;
use integration_tests::Redis;

const VALUE: [u8; 1024] = [b'x'; 1024];
const LIFETIME: Duration = Duration::from_secs(600);

/// The number of turns of each variant. Variants take turns so that a slow moment of the machine affects all of them.
const TURNS: usize = 40;

#[derive(Clone)]
struct Setting {
    backend: RedisBackend,
    cache: Cache<Raw>,
    /// The same without waiting for loads of other processes.
    alone: Cache<Raw>,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Get,
    Hit,
    GetAndSet,
    Miss,
    MissWithoutWaiting,
}

impl Setting {
    async fn run(&self, way: Way, number: u64) {
        let load = || async { Ok::<_, Infallible>(Bytes::from_static(&VALUE)) };
        let name = format!("{way:?}-{number}");
        match way {
            Way::Get => assert!(self.backend.get(&self.cache.key("hit")).await.unwrap().is_some()),
            Way::Hit => drop(self.cache.get_or_load("hit", load).await.unwrap()),
            Way::GetAndSet => {
                let key = self.cache.key(&name);
                assert!(self.backend.get(&key).await.unwrap().is_none());
                let value = Bytes::from_static(&VALUE).into();
                let set = self.backend.set(&key, value, SetOptions::new(LIFETIME)).await;
                assert!(set.unwrap().version().is_some());
            }
            Way::Miss => drop(self.cache.get_or_load(&name, load).await.unwrap()),
            Way::MissWithoutWaiting => drop(self.alone.get_or_load(&name, load).await.unwrap()),
        }
    }

    /// Returns how long each call takes, in microseconds, turn by turn.
    async fn times(&self, ways: &[Way], calls: u64, tasks: u64) -> Vec<Vec<f64>> {
        let mut times = vec![Vec::new(); ways.len()];
        let mut next = fastrand::u64(..u64::MAX / 2);
        for turn in 0..=TURNS {
            for (way, times) in ways.iter().copied().zip(&mut times) {
                let began = Instant::now();
                let running: Vec<_> = (0..tasks)
                    .map(|task| {
                        let (setting, first) = (self.clone(), next + task * calls);
                        tokio::spawn(async move {
                            for number in first..first + calls {
                                setting.run(way, number).await;
                            }
                        })
                    })
                    .collect();
                for running in running {
                    running.await.unwrap();
                }
                next += tasks * calls;
                // The first turn is a warm-up.
                if turn > 0 {
                    times.push(began.elapsed().as_secs_f64() * 1e6 / (calls * tasks) as f64);
                }
            }
        }
        times
    }
}

#[tokio::main]
async fn main() {
    let backend = RedisBackend::connect(Redis::shared().await.url()).await.unwrap();
    let prefix = format!("bench-{:016x}", fastrand::u64(..));
    let make = |policy: Policy| {
        Cache::builder(backend.clone())
            .coder(Raw)
            .prefix(&prefix)
            .policy(policy)
            .build()
    };
    let policy = Policy::new(LIFETIME);
    let setting = Setting {
        cache: make(policy),
        alone: make(policy.with_coalesce_across_processes(false)),
        backend: backend.clone(),
    };
    setting.cache.set("hit", Bytes::from_static(&VALUE)).await.unwrap();
    for (calls, tasks) in [(50, 1), (10, 32)] {
        println!("{tasks} at once: µs for each call, the median of {TURNS} turns (and the quarter on each side)");
        for ways in [
            &[Way::Get, Way::Hit][..],
            &[Way::GetAndSet, Way::Miss, Way::MissWithoutWaiting],
        ] {
            let mut times = setting.times(ways, calls, tasks).await;
            let mut base = None;
            for (way, times) in ways.iter().zip(&mut times) {
                times.sort_by(f64::total_cmp);
                let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
                let base = *base.get_or_insert(at(0.5));
                println!(
                    "{:<20} {:>8.1} ({:>7.1} to {:>7.1})  {:>5.2} times the first",
                    format!("{way:?}"),
                    at(0.5),
                    at(0.25),
                    at(0.75),
                    at(0.5) / base
                );
            }
        }
    }
    setting.cache.clear_all().await.unwrap();
}
