//! What stays cheap when there is much of it, on Redis.
//!
//! - `scale late-tags HOST:PORT RATE SECONDS`: a route whose tags are known after the load, while another process
//!   invalidates `RATE` unrelated tags a second. Prints the hit ratio, and the share of loads that were not stored
//! - `scale clear scan|epoch HOST:PORT ENTRIES`: invalidates the tag of that many entries, and clears their namespace.
//!   Prints milliseconds
//! - `scale reads HOST:PORT SECONDS PREFIX START`: one of several processes that read the same keys, from `START` on, a
//!   Unix time. Prints reads a second, and loads

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use bytes::Bytes;
use cache_axum::{CacheLayer, StoreFor};
use cache_core::Raw;
use cache_engine::Cache;
use cache_redis::RedisBackend;
use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt;
use peers::zipf::Zipf;
use peers::{Figures, seconds};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tower::ServiceExt;

const KEYS: usize = 1_000;
const LOAD: Duration = Duration::from_millis(20);
const TASKS: usize = 64;

async fn redis(address: &str) -> RedisBackend {
    RedisBackend::connect(&format!("redis://{address}")).await.unwrap()
}

fn new_prefix() -> String {
    format!("scale-{:016x}", fastrand::u64(..))
}

// --- late tags -------------------------------------------------------------------------------------------------------

async fn late_tags(address: &str, rate: u64, time: Duration) -> Figures {
    let prefix = new_prefix();
    let cache = async || Cache::builder(redis(address).await).prefix(&prefix).build();
    let answer = async |Path(id): Path<u64>| {
        sleep(LOAD).await;
        let tags = StoreFor::as_usual().tags([format!("item:{id}"), format!("shelf:{}", id % 10)]);
        (tags, vec![b'x'; 1024])
    };
    let layer = CacheLayer::new(cache().await)
        .ttl(Duration::from_secs(2))
        .late_tags(true);
    let router = Router::new().route("/items/{id}", get(answer)).layer(layer);
    // The first load writes the records of the sequence. From then on, invalidations concern loads.
    ask(&router, 0).await;
    let other = cache().await;
    let invalidations = tokio::spawn(async move {
        if rate == 0 {
            return std::future::pending().await;
        }
        let mut pace = interval(Duration::from_secs_f64(1.0 / rate as f64));
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0_u64.. {
            pace.tick().await;
            let other = other.clone();
            tokio::spawn(async move { other.invalidate_tag(&format!("other:{}", number % 1_000)).await });
        }
    });
    let [hits, unstored, requests] = [(); 3].map(|()| Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let tasks = (0..TASKS as u64).map(|task| {
        let (router, hits, unstored, requests) = (router.clone(), hits.clone(), unstored.clone(), requests.clone());
        tokio::spawn(async move {
            let mut zipf = Zipf::with_seed(KEYS, 1.0, task);
            while begun.elapsed() < time {
                let status = ask(&router, zipf.draw()).await;
                requests.fetch_add(1, Ordering::Relaxed);
                if status.contains("; hit") {
                    hits.fetch_add(1, Ordering::Relaxed);
                } else if !status.contains("; stored") && !status.contains("; collapsed") {
                    unstored.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    invalidations.abort();
    let [hits, unstored, requests] = [hits, unstored, requests].map(|count| count.load(Ordering::Relaxed) as f64);
    let mut figures = Figures::default();
    figures.note("hit ratio", hits / requests);
    figures.note("loads not stored", unstored / (requests - hits).max(1.0));
    figures.note("requests a second", requests / time.as_secs_f64());
    figures
}

/// Returns the `Cache-Status` of an answer.
async fn ask(router: &Router, id: u64) -> String {
    let request = Request::get(format!("/items/{id}"))
        .header("host", "127.0.0.1")
        .body(Body::empty());
    let response = router.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.headers()["cache-status"].to_str().unwrap().to_owned();
    response.into_body().collect().await.unwrap();
    status
}

// --- namespaces and tags ---------------------------------------------------------------------------------------------

async fn clear(way: &str, address: &str, entries: u64) -> Figures {
    let cache = Cache::builder(redis(address).await)
        .coder(Raw)
        .prefix(&new_prefix())
        .tag_namespaces(way == "epoch")
        .clear_timeout(Duration::from_secs(600))
        .tag_cache_ttl(Duration::from_secs(1))
        .build();
    let tagged = cache.with_namespace("filled").with_tags(["all"]);
    let tasks = (0..TASKS as u64).map(|task| {
        let tagged = tagged.clone();
        tokio::spawn(async move {
            for number in (task..entries).step_by(TASKS) {
                let value = Bytes::from_static(&[b'x'; 100]);
                tagged.set(&format!("entry-{number:07}"), value).await.unwrap();
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let read = || async { tagged.get::<Bytes>("entry-0000000").await.unwrap() };
    assert!(read().await.is_some());
    let mut figures = Figures::default();
    let mut timed = |what: &str, begun: Instant| figures.note(what, begun.elapsed().as_secs_f64() * 1e3);
    let begun = Instant::now();
    cache.invalidate_tag("all").await.unwrap();
    timed("invalidate_tag", begun);
    sleep(Duration::from_secs(1)).await;
    assert!(read().await.is_none(), "an entry outlived the invalidation of its tag");
    let begun = Instant::now();
    cache.clear("filled").await.unwrap();
    timed("clear", begun);
    figures
}

// --- several processes -----------------------------------------------------------------------------------------------

async fn reads(address: &str, time: Duration, prefix: &str, start: f64) -> Figures {
    let cache = Cache::builder(redis(address).await)
        .prefix(prefix)
        .ttl(Duration::from_secs(600))
        .build();
    let start = UNIX_EPOCH + Duration::from_secs_f64(start);
    sleep(start.duration_since(SystemTime::now()).unwrap_or_default()).await;
    let loads = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let tasks = (0..TASKS as u64).map(|task| {
        let (cache, loads) = (cache.clone(), loads.clone());
        tokio::spawn(async move {
            let mut zipf = Zipf::with_seed(10 * KEYS, 1.0, task);
            let mut reads = 0_u64;
            while begun.elapsed() < time {
                let loads = loads.clone();
                let load = || async move {
                    loads.fetch_add(1, Ordering::Relaxed);
                    sleep(LOAD).await;
                    Ok::<_, Infallible>("x".repeat(1024))
                };
                cache.get_or_load(&format!("key-{}", zipf.draw()), load).await.unwrap();
                reads += 1;
            }
            reads
        })
    });
    let reads: u64 = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    let mut figures = Figures::default();
    figures.note("reads a second", reads as f64 / begun.elapsed().as_secs_f64());
    figures.note("loads", loads.load(Ordering::Relaxed));
    figures
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let figures = match arguments[..] {
        ["late-tags", address, rate, time] => late_tags(address, rate.parse().unwrap(), seconds(time)).await,
        ["clear", way, address, entries] => clear(way, address, entries.parse().unwrap()).await,
        ["reads", address, time, prefix, start] => reads(address, seconds(time), prefix, start.parse().unwrap()).await,
        _ => panic!("scale late-tags|clear|reads: see the head of the source"),
    };
    figures.print();
}
