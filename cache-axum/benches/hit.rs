//! What a hit costs: a router with the layer beside the same router without it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_memory::MemoryBackend;
use criterion::{Criterion, Throughput};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

fn router(size: usize) -> Router {
    let body = Bytes::from(vec![b'x'; size]);
    Router::new().route("/items/{id}", get(move || async move { body }))
}

fn layered(size: usize) -> Router {
    let cache = Cache::builder(MemoryBackend::default()).build();
    router(size).layer(CacheLayer::new(cache).ttl(Duration::from_secs(3600)))
}

async fn ask(router: &Router, expected: usize) {
    let request = Request::get("/items/7?tag=fruit&page=2")
        .header("host", "127.0.0.1:3000")
        .header("accept", "*/*")
        .header("user-agent", "bench")
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(black_box(body).len(), expected);
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for size in [1024, 64 * 1024] {
        let routers = [("bare", router(size)), ("layer", layered(size))];
        let mut group = criterion.benchmark_group(format!("hit/{} KiB", size / 1024));
        group.throughput(Throughput::Elements(1));
        for (name, router) in &routers {
            runtime.block_on(ask(router, size));
            group.bench_function(*name, |bencher| bencher.to_async(&runtime).iter(|| ask(router, size)));
        }
        group.finish();
        runtime.block_on(compare(&routers, size));
    }
    criterion.final_summary();
}

/// Both in turns, so that whatever else the machine does slows down both. The median of the rounds.
async fn compare(routers: &[(&str, Router); 2], size: usize) {
    const ROUNDS: usize = 201;
    const TURN: u32 = 500;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (times, (_, router)) in times.iter_mut().zip(routers) {
            let begun = Instant::now();
            for _ in 0..TURN {
                ask(router, size).await;
            }
            times.push(begun.elapsed() / TURN);
        }
    }
    let [bare, layer] = times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2]
    });
    let ratio = layer.as_secs_f64() / bare.as_secs_f64();
    let difference = layer.saturating_sub(bare);
    println!(
        "hit/{} KiB: bare {bare:?}, layer {layer:?}, ratio {ratio:.2}, difference {difference:?}\n",
        size / 1024
    );
}
