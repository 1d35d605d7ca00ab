//! Reads and writes of `cache-memcached`, compared with the codec that it uses, over the same number of connections, in
//! the same run.
//!
//! 16 tasks, values of 1 KiB, 16 connections. With the codec alone, each task has its own connection, which is the best
//! case. The server is a container, or the one in `CACHE_TEST_MEMCACHED_URL`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cache_core::{Backend, Key, Prefix, SetOptions};
use cache_memcached::MemcachedBackend;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use integration_tests::Memcached;
use memcache_async::ascii::Protocol;
use tokio::io::BufWriter;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

const CONNECTIONS: usize = 16;
const VALUE: [u8; 1024] = [b'x'; 1024];
const LIFETIME: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(10);

type Codec = Arc<Mutex<Protocol<BufWriter<TcpStream>>>>;

/// Runs `call` `calls` times in total, from one task for each connection.
async fn at_once<F>(calls: u64, call: impl Fn(usize, u64) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let tasks = CONNECTIONS as u64;
    let each = calls.div_ceil(tasks);
    let begun = Instant::now();
    let running: Vec<_> = (0..CONNECTIONS).map(|task| tokio::spawn(call(task, each))).collect();
    for task in running {
        task.await.unwrap();
    }
    // Scales the time to exactly `calls` calls.
    begun.elapsed().mul_f64(calls as f64 / (each * tasks) as f64)
}

async fn codec(address: &str) -> Codec {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Arc::new(Mutex::new(Protocol::new(BufWriter::new(stream))))
}

async fn write(backend: &MemcachedBackend, key: &Key) {
    let value = Bytes::from_static(&VALUE);
    let outcome = backend.set(key, value.into(), SetOptions::new(LIFETIME)).await.unwrap();
    assert!(outcome.version().is_some());
}

fn memcached(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let key = Prefix::new("bench").namespace("memcached").key("1KiB");
    let (backend, codecs) = runtime.block_on(async {
        let server = Memcached::shared().await;
        let backend = MemcachedBackend::builder()
            .url(&server.url())
            .connections(CONNECTIONS)
            .operation_timeout(PATIENCE)
            .connect()
            .await
            .unwrap();
        write(&backend, &key).await;
        let mut codecs = Vec::new();
        for _ in 0..CONNECTIONS {
            codecs.push(codec(&server.addresses()[0]).await);
        }
        (backend, codecs)
    });

    let mut group = criterion.benchmark_group("memcached/get 1 KiB, 16 tasks");
    group.throughput(Throughput::Elements(1));
    group.bench_function("memcache-async get", |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(at_once(calls, |task, calls| {
                let (codec, key) = (codecs[task].clone(), key.clone());
                async move {
                    let mut codec = codec.lock().await;
                    for _ in 0..calls {
                        assert!(codec.get(key.as_str()).await.unwrap().len() >= VALUE.len());
                    }
                }
            }))
        });
    });
    group.bench_function("cache-memcached", |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(at_once(calls, |_, calls| {
                let (backend, key) = (backend.clone(), key.clone());
                async move {
                    for _ in 0..calls {
                        assert!(backend.get(&key).await.unwrap().is_some());
                    }
                }
            }))
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("memcached/set 1 KiB, 16 tasks");
    group.throughput(Throughput::Elements(1));
    group.bench_function("memcache-async set and version", |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(at_once(calls, |task, calls| {
                let (codec, key) = (codecs[task].clone(), key.clone());
                async move {
                    let mut codec = codec.lock().await;
                    for _ in 0..calls {
                        codec.set(key.as_str(), &VALUE, 3600).await.unwrap();
                        codec.version().await.unwrap();
                    }
                }
            }))
        });
    });
    group.bench_function("cache-memcached", |bencher| {
        bencher.iter_custom(|calls| {
            runtime.block_on(at_once(calls, |_, calls| {
                let (backend, key) = (backend.clone(), key.clone());
                async move {
                    for _ in 0..calls {
                        write(&backend, &key).await;
                    }
                }
            }))
        });
    });
    group.finish();
}

criterion_group!(benches, memcached);
criterion_main!(benches);
