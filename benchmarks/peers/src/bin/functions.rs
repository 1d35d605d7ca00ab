//! Hits within a process, one after another in one thread: `functions GROUP SECONDS [KEYS]`.
//!
//! The subjects of a group take turns of some hundred calls each, so that a slow moment of the machine affects all of
//! them. Prints the median of the turns in nanoseconds per call.
//!
//! - `router`: a hit through the layer, and the router without it
//! - `functions`: a cached function and the look-up of a value, and the same with peers
//! - `keys`: reads of many keys by a Zipf distribution

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::env;
use std::future::Future;
use std::hint::black_box;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_core::{Backend, SetOptions};
use cache_engine::Cache;
use cache_memory::MemoryBackend;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::Request;
use http_body_util::BodyExt;
use peers::zipf::Zipf;
use peers::{Figures, median, message, seconds};
use tower::ServiceExt;

const HOUR: Duration = Duration::from_secs(3_600);
/// A turn is long enough for the clock, and short enough that the machine does nothing else in most of them.
const CALLS: u32 = 200;

type Turn<'a> = Box<dyn FnMut() -> LocalBoxFuture<'a, Duration> + 'a>;

/// The subjects of a group.
#[derive(Default)]
struct Group<'a>(Vec<(&'static str, Turn<'a>)>);

impl<'a> Group<'a> {
    fn add<F: Future + 'a>(&mut self, subject: &'static str, hit: impl Fn() -> F + Clone + 'a) {
        self.0.push((
            subject,
            Box::new(move || {
                let hit = hit.clone();
                Box::pin(async move {
                    let begun = Instant::now();
                    for _ in 0..CALLS {
                        black_box(hit().await);
                    }
                    begun.elapsed()
                })
            }),
        ));
    }

    /// Lets the subjects take turns until the time is over.
    async fn run(mut self, time: Duration) -> Figures {
        let mut figures = Figures::default();
        let mut samples = vec![Vec::new(); self.0.len()];
        let mut failed = vec![false; self.0.len()];
        let begun = Instant::now();
        let mut turns = 0;
        while begun.elapsed() < time || turns < 10 {
            for (at, (subject, turn)) in self.0.iter_mut().enumerate() {
                if failed[at] {
                    continue;
                }
                match AssertUnwindSafe(turn()).catch_unwind().await {
                    // The first turns load, and warm up.
                    Ok(taken) if turns >= 3 => samples[at].push(taken.as_secs_f64() * 1e9 / f64::from(CALLS)),
                    Ok(_) => {}
                    Err(panic) => {
                        failed[at] = true;
                        figures.note_failure(subject, &message(&*panic));
                    }
                }
            }
            turns += 1;
        }
        for (at, (subject, _)) in self.0.iter().enumerate() {
            if !failed[at] {
                figures.note(subject, median(&mut samples[at]));
            }
        }
        figures
    }
}

// --- through a router ------------------------------------------------------------------------------------------------

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

async fn through_router(time: Duration) -> Figures {
    let body = Bytes::from(vec![b'x'; 1024]);
    let bare = &Router::new().route("/items/{id}", get(move || async move { body }));
    let cache = Cache::builder(MemoryBackend::default()).build();
    let layered = &bare.clone().layer(CacheLayer::new(cache).ttl(HOUR));
    let mut group = Group::default();
    group.add("bare", move || ask(bare));
    group.add("layer", move || ask(layered));
    group.run(time).await
}

// --- functions -------------------------------------------------------------------------------------------------------

mod ours {
    use super::{Arc, Cache};
    use cache_engine::cached;

    #[cached(cache = cache, key = "user:{id}", namespace = "keyed", ttl = "1h")]
    pub(super) async fn keyed(cache: &Cache, id: u64) -> Arc<String> {
        Arc::new(format!("user {id}"))
    }

    #[cached(cache = cache, skip(cache), ttl = "1h")]
    pub(super) async fn hashed(cache: &Cache, id: u64, name: &str) -> Arc<String> {
        Arc::new(format!("{id} {name}"))
    }
}

mod theirs {
    use super::Arc;
    use cached::macros::{cached, concurrent_cached};

    #[cached(ttl_secs = 3600, key = "String", convert = r#"{ format!("user:{id}") }"#)]
    pub(super) async fn keyed(id: u64) -> Arc<String> {
        Arc::new(format!("user {id}"))
    }

    #[concurrent_cached(ttl_secs = 3600, key = "String", convert = r#"{ format!("user:{id}") }"#)]
    pub(super) async fn keyed_in_shards(id: u64) -> Arc<String> {
        Arc::new(format!("user {id}"))
    }

    #[cached(ttl_secs = 3600)]
    pub(super) async fn by_arguments(id: u64, name: String) -> Arc<String> {
        Arc::new(format!("{id} {name}"))
    }
}

async fn functions(time: Duration) -> Figures {
    let cache = &Cache::builder(MemoryBackend::default()).build();
    let backend = &MemoryBackend::default();
    let key = &cache.key("user:42");
    let stored = SetOptions::new(HOUR);
    let set = backend
        .set(key, Bytes::from_static(b"Ada").into(), stored)
        .await
        .unwrap();
    assert!(set.version().is_some());
    let moka = &moka::future::Cache::<String, Arc<String>>::builder()
        .max_capacity(10_000)
        .time_to_live(HOUR)
        .build();
    let quick = &quick_cache::sync::Cache::<String, Arc<String>>::new(10_000);
    let value = || async { Arc::new("Ada".to_owned()) };
    quick.insert("user:42".to_owned(), value().await);
    quick.insert(key.as_str().to_owned(), value().await);

    let mut group = Group::default();
    group.add("#[cached], key \"user:{id}\"", move || {
        ours::keyed(cache, black_box(42))
    });
    group.add("#[cached], arguments hashed", move || {
        ours::hashed(cache, black_box(42), black_box("Ada"))
    });
    group.add("get_or_load(\"user:42\")", move || {
        let load = || async { Ok::<_, Infallible>("Ada".to_owned()) };
        async move { cache.get_or_load(black_box("user:42"), load).await.unwrap() }
    });
    group.add("get_or_load, a ready key", move || {
        let load = || async { Ok::<_, Infallible>("Ada".to_owned()) };
        async move { cache.get_or_load(black_box(key), load).await.unwrap() }
    });
    group.add("Backend::get, a ready key", move || async move {
        assert!(backend.get(black_box(key)).await.unwrap().is_some());
    });
    group.add("cached 4: #[cached], key \"user:{id}\"", || {
        theirs::keyed(black_box(42))
    });
    group.add("cached 4: #[concurrent_cached], key \"user:{id}\"", || {
        theirs::keyed_in_shards(black_box(42))
    });
    group.add("cached 4: #[cached], key of all arguments", || {
        theirs::by_arguments(black_box(42), black_box("Ada").to_owned())
    });
    group.add("moka: get_with(format!(\"user:{id}\"))", move || {
        moka.get_with(format!("user:{}", black_box(42)), value())
    });
    group.add("moka: get_with_by_ref(\"user:42\")", move || {
        moka.get_with_by_ref(black_box("user:42"), value())
    });
    group.add("quick_cache: get_or_insert_async(\"user:42\")", move || async move {
        let load = async { Ok::<_, Infallible>(value().await) };
        quick.get_or_insert_async(black_box("user:42"), load).await.unwrap()
    });
    group.add("quick_cache: get(\"user:42\")", move || async move {
        quick.get(black_box("user:42")).unwrap()
    });
    group.run(time).await
}

// --- many keys -------------------------------------------------------------------------------------------------------

/// Reads in each turn: long enough that the frequent keys are in the processor's caches for most of it.
const READS: usize = 20_000;

/// As many keys as entries fit.
async fn keys(keys: usize, time: Duration) -> Figures {
    let room = 4 * keys + 1_000;
    let names: Vec<String> = (0..keys).map(|number| format!("product-{number:07}")).collect();
    let mut zipf = Zipf::new(keys, 1.0);
    let reads: Vec<usize> = (0..200_000).map(|_| usize::try_from(zipf.draw()).unwrap()).collect();

    let backend = MemoryBackend::builder().max_bytes(1 << 40).max_entries(room).build();
    let cache = Cache::builder(backend).ttl(HOUR).build();
    let moka = moka::future::Cache::<String, Arc<String>>::builder()
        .max_capacity(room as u64)
        .time_to_live(HOUR)
        .build();
    let quick = quick_cache::sync::Cache::<String, Arc<String>>::new(room);
    for name in &names {
        cache.set(name, name.clone()).await.unwrap();
        moka.insert(name.clone(), Arc::new(name.clone())).await;
        quick.insert(name.clone(), Arc::new(name.clone()));
    }
    moka.run_pending_tasks().await;

    let mut samples = [const { Vec::new() }; 4];
    let begun = Instant::now();
    let mut at = 0;
    let mut turns = 0;
    while begun.elapsed() < time || turns < 10 {
        let from = at % (reads.len() - READS);
        let turn = &reads[from..from + READS];
        at += READS - 1;
        let mut took = [Duration::ZERO; 4];
        let begun = Instant::now();
        for read in turn {
            black_box(cache.get::<String>(&names[*read]).await.unwrap().unwrap());
        }
        took[0] = begun.elapsed();
        let begun = Instant::now();
        for read in turn {
            let load = || async { Err::<String, _>("a read must be a hit") };
            black_box(cache.get_or_load(&names[*read], load).await.unwrap());
        }
        took[1] = begun.elapsed();
        let begun = Instant::now();
        for read in turn {
            black_box(moka.get(&names[*read]).await.unwrap());
        }
        took[2] = begun.elapsed();
        let begun = Instant::now();
        for read in turn {
            black_box(quick.get(&names[*read]).unwrap());
        }
        took[3] = begun.elapsed();
        turns += 1;
        if turns > 3 {
            for (samples, took) in samples.iter_mut().zip(took) {
                samples.push(took.as_secs_f64() * 1e9 / turn.len() as f64);
            }
        }
    }
    let mut figures = Figures::default();
    let subjects = ["Cache::get", "Cache::get_or_load", "moka: get", "quick_cache: get"];
    for (subject, samples) in subjects.into_iter().zip(&mut samples) {
        figures.note(subject, median(samples));
    }
    figures
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let figures = match arguments[..] {
        ["router", time] => through_router(seconds(time)).await,
        ["functions", time] => functions(seconds(time)).await,
        ["keys", time, number] => keys(number.parse().unwrap(), seconds(time)).await,
        _ => panic!("functions router|functions|keys SECONDS [KEYS]"),
    };
    figures.print();
}
