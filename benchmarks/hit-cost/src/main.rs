//! Hits in memory, for counting instructions: `hit-cost KIND HITS` makes `HITS` hits, `hit-cost KIND` prints the
//! allocations of one. `scripts/hit-cost` runs it under valgrind and compares the counts with the recorded ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for one machine's own use"
)]

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_engine::{Cache, cached};
use cache_memory::MemoryBackend;
use http::Request;
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const KINDS: &str = "router, layer, get_or_load, keyed or hashed";

/// Makes hits one after another, in one thread.
struct Hits {
    runtime: Runtime,
    cache: Cache,
    bare: Router,
    layered: Router,
}

impl Hits {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let cache = Cache::builder(MemoryBackend::default()).build();
        let body = Bytes::from(vec![b'x'; 1024]);
        let bare = Router::new().route("/items/{id}", get(move || async move { body }));
        let layered = bare
            .clone()
            .layer(CacheLayer::new(cache.clone()).ttl(Duration::from_secs(3_600)));
        Self {
            runtime,
            cache,
            bare,
            layered,
        }
    }

    fn make(&self, kind: &str, hits: usize) {
        let Self {
            cache, bare, layered, ..
        } = self;
        match kind {
            "router" => self.repeat(hits, || ask(bare)),
            "layer" => self.repeat(hits, || ask(layered)),
            "get_or_load" => self.repeat(hits, || get_or_load(cache)),
            "keyed" => self.repeat(hits, || keyed(cache, black_box(42))),
            "hashed" => self.repeat(hits, || hashed(cache, black_box(42), black_box("Ada"))),
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

#[cached(cache = cache, key = "user:{id}", namespace = "keyed", ttl = "1h")]
async fn keyed(cache: &Cache, id: u64) -> Arc<String> {
    Arc::new(format!("user {id}"))
}

#[cached(cache = cache, skip(cache), ttl = "1h")]
async fn hashed(cache: &Cache, id: u64, name: &str) -> Arc<String> {
    Arc::new(format!("{id} {name}"))
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments
        .next()
        .unwrap_or_else(|| panic!("name a kind of hit: {KINDS}"));
    let hits = Hits::new();
    // The first call loads. The next ones initialise what is created once.
    hits.make(&kind, 10);
    match arguments.next() {
        Some(number) => hits.make(&kind, number.parse().expect("the number of hits is a number")),
        None => {
            let counted = allocation_counter::measure(|| hits.make(&kind, 100));
            println!("{}", counted.count_total / 100);
        }
    }
}
