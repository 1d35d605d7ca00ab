//! Reads and writes of `cache-redis`, compared with the client that it uses, over the same number of connections, in
//! the same run.
//!
//! 64 tasks, values of 1 KiB, 2 connections. The server is a container, or the one in `CACHE_TEST_REDIS_URL`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cache_core::{Backend, Key, Prefix, SetOptions};
use cache_redis::RedisBackend;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fred::prelude::*;
use integration_tests::Redis;
use tokio::runtime::Runtime;

const CONNECTIONS: usize = 2;
const TASKS: u64 = 64;
const VALUE: [u8; 1024] = [b'x'; 1024];
const LIFETIME: Duration = Duration::from_secs(3600);

/// Runs `call` `calls` times in total, from 64 concurrent tasks.
async fn at_once<F>(calls: u64, call: impl Fn() -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let begun = Instant::now();
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(call())).collect();
    for task in tasks {
        task.await.unwrap();
    }
    // Scales the time to exactly `calls` calls.
    begun
        .elapsed()
        .mul_f64(calls as f64 / (calls.div_ceil(TASKS) * TASKS) as f64)
}

async fn pool(url: &str) -> Pool {
    let mut builder = Builder::from_config(Config::from_url(url).unwrap());
    builder.with_connection_config(|config| config.tcp.nodelay = Some(true));
    builder.with_performance_config(|config| config.default_command_timeout = Duration::from_secs(1));
    let pool = builder.build_pool(CONNECTIONS).unwrap();
    pool.init().await.unwrap();
    pool
}

fn redis(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (backend, pool, key) = runtime.block_on(async {
        let url = Redis::shared().await.url();
        let backend = RedisBackend::builder()
            .url(url)
            .connections(CONNECTIONS)
            .connect()
            .await
            .unwrap();
        let key = Prefix::new("bench").namespace("redis").key("1 KiB");
        write(&backend, &key).await;
        (Arc::new(backend), pool(url).await, key)
    });

    let mut group = criterion.benchmark_group("redis/get 1 KiB, 64 tasks");
    group.throughput(Throughput::Elements(1));
    group.bench_function("fred GET", |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(at_once(calls, || {
                let (pool, key) = (pool.clone(), key.clone());
                async move {
                    for _ in 0..calls.div_ceil(TASKS) {
                        let value: Option<Bytes> = pool.get(key.as_str()).await.unwrap();
                        assert!(value.is_some());
                    }
                }
            }))
        });
    });
    group.bench_function("cache-redis", |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(at_once(calls, || {
                let (backend, key) = (backend.clone(), key.clone());
                async move {
                    for _ in 0..calls.div_ceil(TASKS) {
                        assert!(backend.get(&key).await.unwrap().is_some());
                    }
                }
            }))
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("redis/set 1 KiB, 64 tasks");
    group.throughput(Throughput::Elements(1));
    group.bench_function("fred SET PX", |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(at_once(calls, || {
                let (pool, key) = (pool.clone(), key.clone());
                async move {
                    for _ in 0..calls.div_ceil(TASKS) {
                        let lifetime = Some(Expiration::PX(3_600_000));
                        let value = Bytes::from_static(&VALUE);
                        let () = pool.set(key.as_str(), value, lifetime, None, false).await.unwrap();
                    }
                }
            }))
        });
    });
    group.bench_function("cache-redis", |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(at_once(calls, || {
                let (backend, key) = (backend.clone(), key.clone());
                async move {
                    for _ in 0..calls.div_ceil(TASKS) {
                        write(&backend, &key).await;
                    }
                }
            }))
        });
    });
    group.finish();
}

async fn write(backend: &RedisBackend, key: &Key) {
    let value = Bytes::from_static(&VALUE).into();
    assert!(
        backend
            .set(key, value, SetOptions::new(LIFETIME))
            .await
            .unwrap()
            .version()
            .is_some()
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(5)).sample_size(20);
    targets = redis
}
criterion_main!(benches);
