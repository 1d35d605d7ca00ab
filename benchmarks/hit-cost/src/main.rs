//! Hits in memory, and misses, for counting instructions: `hit-cost KIND HITS` makes `HITS` hits, `hit-cost KIND` prints the
//! allocations of one, and `hit-cost time KIND KIND …` the nanoseconds of one, in turns. `scripts/hit-cost` runs it under
//! valgrind and compares the counts with the recorded ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for one machine's own use"
)]

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_engine::{Cache, cached};
use cache_memory::MemoryBackend;
use cache_metrics::CacheMetrics;
use http::Request;
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const KINDS: &str = "router, layer, get_or_load, metered, keyed, hashed or miss";

/// Makes hits one after another, in one thread.
struct Hits {
    runtime: Runtime,
    cache: Cache,
    /// With metrics.
    metered: Cache,
    bare: Router,
    layered: Router,
    /// How many keys have been missed.
    missed: AtomicUsize,
}

impl Hits {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let cache = Cache::builder(MemoryBackend::default()).build();
        let metered = Cache::builder(MemoryBackend::default()).observer(CacheMetrics::new());
        let body = Bytes::from(vec![b'x'; 1024]);
        let bare = Router::new().route("/items/{id}", get(move || async move { body }));
        let layered = bare
            .clone()
            .layer(CacheLayer::new(cache.clone()).ttl(Duration::from_secs(3_600)));
        Self {
            runtime,
            cache,
            metered: metered.build(),
            bare,
            layered,
            missed: AtomicUsize::new(0),
        }
    }

    fn make(&self, kind: &str, hits: usize) {
        let Self {
            cache,
            metered,
            bare,
            layered,
            ..
        } = self;
        match kind {
            "router" => self.repeat(hits, || ask(bare)),
            "layer" => self.repeat(hits, || ask(layered)),
            "get_or_load" => self.repeat(hits, || get_or_load(cache)),
            "metered" => self.repeat(hits, || get_or_load(metered)),
            "keyed" => self.repeat(hits, || keyed(cache, black_box(42))),
            "hashed" => self.repeat(hits, || hashed(cache, black_box(42), black_box("Ada"))),
            "miss" => self.repeat(hits, || miss(cache, self.missed.fetch_add(1, Ordering::Relaxed))),
            _ => panic!("{kind:?} is no kind of hit: {KINDS}"),
        }
    }

    fn repeat<F: Future>(&self, hits: usize, hit: impl Fn() -> F) {
        self.runtime.block_on(async {
            for _ in 0..hits {
                black_box(hit().await);
            }
        });
    }
}

/// Prints the median of the turns of each kind, in nanoseconds per hit.
fn time(hits: &Hits, kinds: &[String]) {
    const TURNS: usize = 401;
    const EACH: u32 = 2_000;
    let mut turns = vec![Vec::with_capacity(TURNS); kinds.len()];
    for _ in 0..TURNS {
        for (kind, turns) in kinds.iter().zip(&mut turns) {
            let begun = Instant::now();
            hits.make(kind, EACH as usize);
            turns.push(begun.elapsed().as_secs_f64() * 1e9 / f64::from(EACH));
        }
    }
    for (kind, turns) in kinds.iter().zip(&mut turns) {
        turns.sort_by(f64::total_cmp);
        println!("{kind} {:.1}", turns[TURNS / 2]);
    }
}

async fn ask(router: &Router) {
    let request = Request::get("/items/7?tag=fruit&page=2")
        .header("host", "127.0.0.1:3000")
        .header("accept", "*/*")
        .header("user-agent", "hits")
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    black_box(response.into_body().collect().await.unwrap().to_bytes());
}

async fn get_or_load(cache: &Cache) {
    let load = || async { Ok::<_, std::convert::Infallible>("Ada".to_owned()) };
    black_box(cache.get_or_load(black_box("user:42"), load).await.unwrap());
}

async fn miss(cache: &Cache, id: usize) {
    let load = || async { Ok::<_, std::convert::Infallible>("Ada".to_owned()) };
    black_box(cache.get_or_load(&format!("miss:{id}"), load).await.unwrap());
}

#[cached(cache = cache, key = "user:{id}", namespace = "keyed", ttl = "1h")]
async fn keyed(cache: &Cache, id: u64) -> Arc<String> {
    Arc::new(format!("user {id}"))
}

#[cached(cache = cache, skip(cache), ttl = "1h")]
async fn hashed(cache: &Cache, id: u64, name: &str) -> Arc<String> {
    Arc::new(format!("{id} {name}"))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let hits = Hits::new();
    match &arguments[..] {
        [time, kinds @ ..] if time == "time" => self::time(&hits, kinds),
        [kind, counts @ ..] => {
            // The first call loads. The next ones initialise what is created once.
            hits.make(kind, 10);
            match counts.first() {
                Some(number) => hits.make(kind, number.parse().expect("the number of hits is a number")),
                None => {
                    let counted = allocation_counter::measure(|| hits.make(kind, 100));
                    println!("{}", counted.count_total / 100);
                }
            }
        }
        [] => panic!("name a kind of hit: {KINDS}"),
    }
}
