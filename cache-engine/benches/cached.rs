//! What a hit of a function that is `#[cached]` costs, by how its key is made.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;

use cache_engine::{Cache, cached};
use cache_memory::MemoryBackend;
use criterion::{Criterion, criterion_group, criterion_main};

#[cached(cache = cache, skip(cache))]
async fn hashed(cache: &Cache, id: u64, name: &str) -> Arc<String> {
    Arc::new(format!("{id} {name}"))
}

#[cached(cache = cache, key = "user:{id}")]
async fn keyed(cache: &Cache, id: u64) -> Arc<String> {
    Arc::new(format!("user {id}"))
}

#[cached(cache = cache, namespace = "users", key = id, ttl = "60s", stale_while_revalidate = "10s")]
async fn in_a_namespace(cache: &Cache, id: u64) -> Arc<String> {
    Arc::new(format!("user {id}"))
}

fn hit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cache = Cache::builder(MemoryBackend::default()).build();
    let mut group = criterion.benchmark_group("#[cached] hit");
    group.bench_function("arguments hashed", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| hashed(&cache, black_box(42), black_box("Ada")));
    });
    group.bench_function("key", |bencher| {
        bencher.to_async(&runtime).iter(|| keyed(&cache, black_box(42)));
    });
    group.bench_function("key, namespace and stale", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| in_a_namespace(&cache, black_box(42)));
    });
    group.finish();
}

criterion_group!(benches, hit);
criterion_main!(benches);
