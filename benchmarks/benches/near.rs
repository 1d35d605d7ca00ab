//! Near copies in front of Redis: how soon nine other nodes see a change, and the cost of a near hit compared with a
//! hit in Redis.
//!
//! Ten caches with their own connections run in one process, so that one clock measures all of them. A change is timed
//! from its start until none of the others would return its old copy.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use cache_engine::{Cache, Policy};
use cache_memory::MemoryBackend;
use cache_redis::RedisBackend;
use futures_util::future::join_all;
use integration_tests::Redis;

const NODES: usize = 10;
const ROUNDS: u64 = 500;

/// How often unrelated keys are updated in the busy rounds.
const BUSY: Duration = Duration::from_millis(1);

#[tokio::main]
async fn main() {
    let (url, prefix) = (Redis::shared().await.url(), format!("bench-{:016x}", fastrand::u64(..)));
    let node = async |near| {
        let mut builder = Cache::builder(RedisBackend::connect(url).await.unwrap())
            .prefix(&prefix)
            .policy(Policy::new(Duration::from_secs(3600)));
        if near {
            builder = builder.near(MemoryBackend::default());
        }
        builder.build()
    };
    let nodes = join_all((0..NODES).map(|_| node(true))).await;
    let plain = node(false).await;

    println!("from a change until {} other nodes see it, in ms", NODES - 1);
    for busy in [false, true] {
        let updates = busy.then(|| {
            let other = plain.clone();
            tokio::spawn(async move {
                let mut pace = tokio::time::interval(BUSY);
                for update in 0_u64.. {
                    pace.tick().await;
                    other.set(&format!("other-{}", update % 100), update).await.unwrap();
                }
            })
        });
        let among = if busy { ", among 1,000 updates a second" } else { "" };
        visibility(&nodes, &format!("set{among}"), false).await;
        visibility(&nodes, &format!("invalidate{among}"), true).await;
        if let Some(updates) = updates {
            updates.abort();
        }
    }

    println!("a hit, one after the other");
    plain.set("hit", "x".repeat(1024)).await.unwrap();
    has_copy(&nodes[0], "hit", &"x".repeat(1024)).await;
    for (name, cache, hits) in [("in Redis", &plain, 5_000), ("near", &nodes[0], 2_000_000)] {
        let began = Instant::now();
        for _ in 0..hits {
            assert!(cache.get::<String>("hit").await.unwrap().is_some());
        }
        let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(hits);
        println!("{name:<44} {each:>9.3} µs");
    }
}

async fn has_copy<T>(node: &Cache, key: &str, value: &T)
where
    T: PartialEq + serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let copy = || node.adapter().read_local::<T>(&node.key(key));
    while copy().is_none_or(|copy| *copy != *value) {
        node.get::<T>(key).await.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn visibility(nodes: &[Cache], what: &str, invalidates: bool) {
    let mut times = Vec::new();
    // The first rounds are a warm-up.
    for round in 0..ROUNDS + 20 {
        let key = format!("key-{}", round % 10);
        let (writer, others) = (&nodes[0], &nodes[1..]);
        writer.set(&key, 2 * round).await.unwrap();
        for node in nodes {
            has_copy(node, &key, &(2 * round)).await;
        }
        let watched: Vec<Cache> = others.to_vec();
        let name = key.clone();
        let began = Instant::now();
        let seen = tokio::spawn(async move {
            let mut seen: Vec<Option<Duration>> = vec![None; watched.len()];
            while seen.contains(&None) {
                for (node, seen) in watched.iter().zip(&mut seen) {
                    let copy = node.adapter().read_local::<u64>(&node.key(&name));
                    if seen.is_none() && copy.is_none_or(|copy| *copy != 2 * round) {
                        *seen = Some(began.elapsed());
                    }
                }
                tokio::task::yield_now().await;
            }
            seen
        });
        if invalidates {
            writer.invalidate(&key).await.unwrap();
        } else {
            writer.set(&key, 2 * round + 1).await.unwrap();
        }
        let seen = seen.await.unwrap();
        if round >= 20 {
            times.extend(seen.into_iter().flatten());
        }
    }
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!(
        "{what:<44} p50 {:>7.2}  p99 {:>7.2}  most {:>7.2}   ({ROUNDS} changes)",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
