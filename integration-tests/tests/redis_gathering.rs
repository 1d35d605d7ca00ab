//! Commands of callers that are ready at the same time reach Redis together.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, Key, Prefix, SetOptions, Value};
use cache_redis::RedisBackend;
use fred::prelude::{Builder, Client, ClientLike, Config};
use integration_tests::Redis;
use tokio::sync::Barrier;

const TASKS: usize = 64;
const CALLS: usize = 20;

fn key(number: usize) -> Key {
    Prefix::new("gathering").namespace("n").key(number.to_string())
}

fn value(number: usize, call: usize) -> Bytes {
    format!("{number}.{call}").into()
}

async fn write(backend: &RedisBackend, number: usize, value: Bytes) {
    let options = SetOptions::new(Duration::from_secs(60));
    let set = backend.set(&key(number), Value::Bytes(value), options).await;
    assert!(set.unwrap().version().is_some());
}

async fn read(backend: &RedisBackend, number: usize) -> Bytes {
    match backend.get(&key(number)).await.unwrap().unwrap().value {
        Value::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

async fn connect(redis: &Redis) -> RedisBackend {
    let builder = RedisBackend::builder().url(redis.url()).connections(1);
    builder.connect().await.unwrap()
}

/// Returns how often the server has read from a connection.
async fn reads(control: &Client) -> u64 {
    let info: String = control.info(Some(fred::types::InfoKind::Stats)).await.unwrap();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_reads_processed:"));
    line.unwrap().trim().parse().unwrap()
}

/// Writes and reads in `tasks` tasks at the same time. Returns how often the server has read meanwhile.
async fn reads_of(backend: &RedisBackend, control: &Client, tasks: usize, calls: usize) -> u64 {
    let before = reads(control).await;
    let start = Arc::new(Barrier::new(tasks));
    let running: Vec<_> = (0..tasks)
        .map(|number| {
            let (backend, start) = (backend.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                for call in 0..calls {
                    write(&backend, number, value(number, call)).await;
                    assert_eq!(read(&backend, number).await, value(number, call));
                }
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
    reads(control).await - before
}

/// With a worker of its own, tokio runs the task of the connection right after each caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commands_of_many_callers_arrive_together() {
    let redis = Redis::start().await;
    let backend = connect(&redis).await;
    let control = Builder::from_config(Config::from_url(redis.url()).unwrap())
        .build()
        .unwrap();
    control.init().await.unwrap();
    let together = reads_of(&backend, &control, TASKS, CALLS).await;
    // The control: one after another, each command arrives alone.
    let alone = reads_of(&backend, &control, 1, TASKS * CALLS).await;
    let commands = (2 * TASKS * CALLS) as u64;
    assert!(alone >= commands, "{alone} reads of {commands} commands");
    assert!(together < commands / 4, "{together} reads of {commands} commands");
}

/// A caller that leaves takes nobody's answer along.
#[tokio::test]
async fn callers_that_leave_do_not_disturb_the_others() {
    let redis = Redis::start().await;
    let backend = connect(&redis).await;
    for number in 0..TASKS {
        write(&backend, number, value(number, 0)).await;
    }
    for round in 0..CALLS {
        let running: Vec<_> = (0..TASKS)
            .map(|number| {
                let backend = backend.clone();
                tokio::spawn(async move { read(&backend, number).await })
            })
            .collect();
        tokio::task::yield_now().await;
        for (number, task) in running.into_iter().enumerate() {
            if number % 3 == round % 3 {
                task.abort();
            } else {
                assert_eq!(task.await.unwrap(), value(number, 0));
            }
        }
    }
}
