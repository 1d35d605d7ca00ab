//! `#[cached]` on functions: what is stored, and what is not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache_engine::{Cache, cached};
use cache_memory::MemoryBackend;

/// What the functions of these tests are given: a cache of their own, and a count of their runs.
struct App {
    cache: Cache,
    runs: AtomicUsize,
}

impl App {
    fn new() -> Self {
        Self {
            cache: Cache::builder(MemoryBackend::default()).build(),
            runs: AtomicUsize::new(0),
        }
    }

    fn run(&self) -> usize {
        self.runs.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

#[cached(cache = app.cache, skip(app))]
async fn greeting(app: &App, name: &str) -> String {
    app.run();
    format!("hello {name}")
}

#[tokio::test]
async fn a_second_call_is_a_hit() {
    let app = App::new();
    assert_eq!(greeting(&app, "ada").await, "hello ada");
    assert_eq!(greeting(&app, "ada").await, "hello ada");
    assert_eq!(app.runs(), 1);
    assert_eq!(greeting(&app, "bob").await, "hello bob");
    assert_eq!(app.runs(), 2);
}

#[cached(cache = app.cache, skip(app))]
async fn checked(app: &App, number: i32) -> Result<i32, String> {
    app.run();
    if number < 0 {
        return Err(format!("{number} is negative"));
    }
    Ok(number * 2)
}

#[tokio::test]
async fn an_error_is_not_stored_and_a_value_is() {
    let app = App::new();
    assert_eq!(checked(&app, -1).await, Err("-1 is negative".to_owned()));
    assert_eq!(checked(&app, -1).await, Err("-1 is negative".to_owned()));
    assert_eq!(app.runs(), 2);
    assert_eq!(checked(&app, 4).await, Ok(8));
    assert_eq!(checked(&app, 4).await, Ok(8));
    assert_eq!(app.runs(), 3);
}

/// A type that neither has a `Clone` nor an encoding, behind an `Arc` that is shared.
#[tokio::test]
async fn an_arc_is_handed_out_itself() {
    #[cached(cache = app.cache, skip(app))]
    async fn list(app: &App) -> Arc<Vec<u32>> {
        app.run();
        Arc::new(vec![1, 2, 3])
    }

    let app = App::new();
    let first = list(&app).await;
    assert!(Arc::ptr_eq(&first, &list(&app).await));
    assert_eq!(app.runs(), 1);
}
