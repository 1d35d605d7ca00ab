//! A handler that hangs delays its URL by one time limit, once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Calls, Reply, get, idle};
use axum::Router;
use axum::response::IntoResponse;
use cache_axum::CacheLayer;
use cache_axum::cache_engine::Cache;
use cache_memory::MemoryBackend;
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance, timeout};

const BOUND: Duration = Duration::from_secs(5);

/// A layer on a clock that goes with tokio's.
fn layer() -> CacheLayer {
    CacheLayer::new(Cache::builder(MemoryBackend::default()).build()).ttl(Duration::from_secs(60))
}

/// An app whose calls hang as long as `hangs` says so of their number.
fn hanging(layer: CacheLayer, hangs: impl Fn(usize) -> bool + Clone + Send + Sync + 'static) -> (Router, Calls) {
    let calls = Calls::default();
    let counter = calls.clone();
    let handler = move || {
        let (call, hangs) = (counter.add(), hangs.clone());
        async move {
            if hangs(call) {
                pending::<()>().await;
            }
            call.to_string().into_response()
        }
    };
    (Router::new().fallback(handler).layer(layer), calls)
}

fn ask(app: &Router) -> tokio::task::JoinHandle<Reply> {
    let app = app.clone();
    tokio::spawn(async move { get(&app, "/").await })
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_have_their_answer_after_the_bound_and_it_is_stored() {
    let (app, calls) = hanging(layer(), |call| call == 1);
    let began = Instant::now();
    let hung = ask(&app);
    idle().await;
    let waiting: Vec<_> = (0..100).map(|_| ask(&app)).collect();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().text(), "2");
    }
    let took = began.elapsed();
    assert!(took >= BOUND && took < BOUND + Duration::from_secs(1), "{took:?}");
    assert_eq!(calls.count(), 2, "one of them loads for all");
    let before = Instant::now();
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert!(!hung.is_finished());
    hung.abort();
}

#[tokio::test(start_paused = true)]
async fn the_wait_counts_from_the_beginning_of_the_load() {
    let (app, _) = hanging(layer().max_wait(Duration::from_secs(2)), |call| call == 1);
    let hung = ask(&app);
    idle().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let began = Instant::now();
    assert_eq!(get(&app, "/").await.text(), "2");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    hung.abort();
}

#[tokio::test(start_paused = true)]
async fn a_client_who_has_left_a_hung_load_costs_no_more() {
    let (app, _) = hanging(layer(), |call| call == 1);
    assert!(timeout(Duration::from_secs(1), get(&app, "/")).await.is_err());
    let began = Instant::now();
    assert_eq!(get(&app, "/").await.text(), "2");
    assert!(began.elapsed() <= BOUND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn when_every_call_hangs_nobody_waits_for_others_beyond_a_bound() {
    let (app, calls) = hanging(layer(), |_| true);
    let asking: Vec<_> = (0..20).map(|_| ask(&app)).collect();
    tokio::time::sleep(BOUND * 4).await;
    assert_eq!(calls.count(), 20, "each has reached the handler");
    for asking in asking {
        asking.abort();
    }
}

/// The control: a slow handler for which nobody else waits keeps its load, and its answer is stored.
#[tokio::test(start_paused = true)]
async fn a_slow_handler_that_nobody_waits_for_is_stored() {
    let gate = Arc::new(Semaphore::new(0));
    let inner = Arc::clone(&gate);
    let handler = move || {
        let gate = Arc::clone(&inner);
        async move {
            gate.acquire().await.unwrap().forget();
            "slow"
        }
    };
    let app = Router::new().fallback(handler).layer(layer());
    let slow = ask(&app);
    idle().await;
    advance(BOUND * 3).await;
    gate.add_permits(1);
    assert_eq!(slow.await.unwrap().cache_status(), "cache; fwd=uri-miss; stored");
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
}

#[tokio::test(start_paused = true)]
async fn the_late_answer_goes_to_its_own_caller() {
    let gate = Arc::new(Semaphore::new(0));
    let calls = Calls::default();
    let (inner, counter) = (Arc::clone(&gate), calls.clone());
    let handler = move || {
        let (gate, call) = (Arc::clone(&inner), counter.add());
        async move {
            if call == 1 {
                gate.acquire().await.unwrap().forget();
            }
            call.to_string()
        }
    };
    let app = Router::new().fallback(handler).layer(layer());
    let late = ask(&app);
    idle().await;
    assert_eq!(ask(&app).await.unwrap().text(), "2");
    gate.add_permits(1);
    let late = late.await.unwrap();
    assert_eq!(
        (late.text(), late.cache_status()),
        ("1", "cache; fwd=uri-miss; detail=overdue")
    );
    assert_eq!(get(&app, "/").await.text(), "2", "it is not stored over the newer one");
}

#[tokio::test(start_paused = true)]
async fn a_stale_copy_comes_before_another_call() {
    let layer = layer()
        .ttl(Duration::from_millis(20))
        .stale_if_error(Duration::from_secs(3600));
    let (app, calls) = hanging(layer, |call| call > 1);
    assert_eq!(get(&app, "/").await.text(), "1");
    // The store's clock is not tokio's.
    std::thread::sleep(Duration::from_millis(40));
    let asking: Vec<_> = (0..10).map(|_| ask(&app)).collect();
    for asking in asking {
        let reply = asking.await.unwrap();
        assert_eq!((reply.text(), reply.x_cache()), ("1", "STALE"));
    }
    assert_eq!(calls.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_body_that_hangs() {
    let bodies = crate::support::Bodies::default();
    let source = bodies.clone();
    let (app, calls) = crate::support::app(layer().max_body_time(Duration::from_secs(600)), move |_, _| {
        source.take()
    });
    let hung = bodies.push();
    hung.send(Ok("hung ".into())).unwrap();
    let first = crate::support::start(&app, crate::support::request(http::Method::GET, "/", &[])).await;
    tokio::time::sleep(BOUND - Duration::from_secs(1)).await;
    let along = crate::support::start(&app, crate::support::request(http::Method::GET, "/", &[])).await;
    assert_eq!(calls.count(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let other = bodies.push();
    other.send(Ok("other".into())).unwrap();
    drop(other);
    assert_eq!(ask(&app).await.unwrap().text(), "other");
    // It goes on after all, and with it those who have joined.
    hung.send(Ok("no more".into())).unwrap();
    drop(hung);
    for response in [first, along] {
        assert_eq!(crate::support::reply(response).await.text(), "hung no more");
    }
    idle().await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
}
