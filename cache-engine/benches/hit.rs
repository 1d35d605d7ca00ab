//! What a typed hit in memory costs, beside a bare look-up in the map underneath.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

use cache_engine::Cache;
use cache_memory::MemoryBackend;
use criterion::{Criterion, criterion_group, criterion_main};

fn hit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cache = Cache::builder(MemoryBackend::default()).build();
    let key = cache.key("user:42");
    runtime.block_on(cache.set(&key, "Ada".to_owned())).unwrap();

    let bare = quick_cache::sync::Cache::<String, Arc<String>>::new(1000);
    bare.insert(key.as_str().to_owned(), Arc::new("Ada".to_owned()));

    let mut group = criterion.benchmark_group("hit");
    group.bench_function("bare quick_cache", |bencher| {
        bencher.iter(|| bare.get(black_box(key.as_str())).unwrap());
    });
    group.bench_function("get, by key", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| async { cache.get::<String>(black_box(&key)).await.unwrap().unwrap() });
    });
    group.bench_function("get_or_load, by key", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let load = || async { Ok::<_, Infallible>(String::new()) };
            cache.get_or_load(black_box(&key), load).await.unwrap()
        });
    });
    group.bench_function("get_or_load, by name", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let load = || async { Ok::<_, Infallible>(String::new()) };
            cache.get_or_load(black_box("user:42"), load).await.unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, hit);
criterion_main!(benches);
