//! A hit through `Backend::get`, beside a bare look-up in quick_cache of an `Arc` under the same key.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, Clock, Key, Prefix, SetOptions, SystemClock, Ttl, Value};
use cache_memory::MemoryBackend;
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use quick_cache::sync::Cache;

const ENTRIES: usize = 1_000;

fn keys() -> Vec<Key> {
    let namespace = Prefix::new("shop").namespace("products");
    (0..ENTRIES).map(|i| namespace.key(format!("product-{i}"))).collect()
}

fn filled(keys: &[Key], ttl: Ttl) -> MemoryBackend {
    let backend = MemoryBackend::builder().background_purge(false).build();
    for key in keys {
        let value = Value::Bytes(Bytes::from(vec![7; 1024]));
        backend
            .set(key, value, SetOptions::new(ttl))
            .now_or_never()
            .unwrap()
            .unwrap()
            .version()
            .unwrap();
    }
    backend
}

fn get(c: &mut Criterion) {
    let keys = keys();
    let mut group = c.benchmark_group("get");
    let mut next = keys.iter().cycle();

    let bare: Cache<Key, Arc<Vec<u8>>> = Cache::new(ENTRIES * 2);
    for key in &keys {
        bare.insert(key.clone(), Arc::new(vec![7; 1024]));
    }
    group.bench_function("quick_cache, an Arc", |b| {
        b.iter(|| black_box(bare.get(next.next().unwrap())).unwrap());
    });

    group.bench_function("quick_cache, an Arc, a boxed future and the clock", |b| {
        b.iter(|| {
            let key = next.next().unwrap();
            let future = black_box(Box::pin(async { (bare.get(key), SystemClock.now()) }));
            black_box(future.now_or_never().unwrap())
        });
    });

    group.bench_function("the clock alone", |b| b.iter(|| black_box(SystemClock.now())));

    let endless = filled(&keys, Ttl::FOREVER);
    group.bench_function("Backend::get, no deadline", |b| {
        b.iter(|| black_box(endless.get(next.next().unwrap()).now_or_never()).unwrap());
    });

    let ending = filled(&keys, Ttl::from(Duration::from_secs(3_600)));
    group.bench_function("Backend::get, with a deadline", |b| {
        b.iter(|| black_box(ending.get(next.next().unwrap()).now_or_never()).unwrap());
    });
    group.finish();
}

criterion_group!(benches, get);
criterion_main!(benches);
