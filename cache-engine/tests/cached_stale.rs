//! `#[cached(stale_while_revalidate = …)]`: a stale value at once, and a refresh in the background.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use cache_core::ManualClock;
use cache_engine::{Cache, cached};
use futures_util::FutureExt;
use support::{Count, Gate, SEC, idle, local};

/// Cloned into the refresh.
#[derive(Clone)]
struct App {
    cache: Cache,
    clock: ManualClock,
    runs: Count,
    gate: Gate,
}

impl App {
    fn new() -> Self {
        let clock = ManualClock::new();
        Self {
            cache: local(&clock).build(),
            clock,
            runs: Count::new(),
            gate: Gate::closed(),
        }
    }

    /// Only the first run goes through the gate while it is closed.
    async fn run(&self) -> usize {
        let run = self.runs.up();
        if run > 1 {
            self.gate.pass().await;
        }
        run
    }

    #[cached(cache = self.cache, ttl = "10s", stale_while_revalidate = "20s", skip(self))]
    async fn by_method(&self, name: &str, tags: &[u8], trace: Option<u32>) -> String {
        // Macros, closures and functions within name their own things.
        struct Inner(usize);
        impl Inner {
            fn get(&self) -> usize {
                self.0
            }
        }
        let run = Inner(self.run().await).get();
        let shown = || format!("{name} {:?} {trace:?} {}", tags, self.runs.get());
        format!("{} {run}", shown())
    }
}

#[cached(cache = app.cache, skip(app), ttl = "10s", stale_while_revalidate = "20s")]
async fn by_function(app: &App, name: &str) -> String {
    format!("{name} {}", app.run().await)
}

#[tokio::test]
async fn a_stale_value_is_answered_at_once_and_refreshed_once_behind_the_callers_back() {
    let app = App::new();
    assert_eq!(by_function(&app, "ada").await, "ada 1");
    app.clock.advance(11 * SEC);
    for _ in 0..5 {
        assert_eq!(by_function(&app, "ada").now_or_never().unwrap(), "ada 1");
        idle().await;
    }
    assert_eq!(app.runs.get(), 2);
    app.gate.open();
    idle().await;
    assert_eq!(by_function(&app, "ada").await, "ada 2");
    assert_eq!(app.runs.get(), 2);
}

#[tokio::test]
async fn after_the_window_the_caller_waits() {
    let app = App::new();
    assert_eq!(by_function(&app, "ada").await, "ada 1");
    app.clock.advance(31 * SEC);
    app.gate.open();
    assert_eq!(by_function(&app, "ada").await, "ada 2");
}

#[tokio::test]
async fn a_method_is_refreshed_with_a_clone_of_itself() {
    let app = App::new();
    let first = app.by_method("ada", &[1, 2], Some(3)).await;
    assert_eq!(first, "ada [1, 2] Some(3) 1 1");
    app.clock.advance(11 * SEC);
    assert_eq!(app.by_method("ada", &[1, 2], Some(3)).now_or_never().unwrap(), first);
    app.gate.open();
    idle().await;
    assert_eq!(app.by_method("ada", &[1, 2], Some(3)).await, "ada [1, 2] Some(3) 2 2");
}

#[tokio::test]
async fn shutting_down_waits_for_a_refresh() {
    let app = App::new();
    by_function(&app, "ada").await;
    app.clock.advance(11 * SEC);
    by_function(&app, "ada").await;
    let mut down = Box::pin(app.cache.shutdown());
    idle().await;
    assert!(down.as_mut().now_or_never().is_none());
    app.gate.open();
    down.await;
    assert_eq!(app.runs.get(), 2);
}

/// Cannot be cloned.
struct Connection {
    app: App,
}

#[cached(cache = connection.app.cache, skip(connection), ttl = "10s", stale_while_revalidate = "20s", detached = false)]
async fn in_the_foreground(connection: &mut Connection, name: &str) -> String {
    format!("{name} {}", connection.app.run().await)
}

#[tokio::test]
async fn what_cannot_be_cloned_is_refreshed_by_one_caller_while_the_others_are_answered_at_once() {
    let app = App::new();
    let (mut first, mut second) = (Connection { app: app.clone() }, Connection { app: app.clone() });
    assert_eq!(in_the_foreground(&mut first, "ada").await, "ada 1");
    app.clock.advance(11 * SEC);
    let mut refreshing = Box::pin(in_the_foreground(&mut first, "ada"));
    assert!(refreshing.as_mut().now_or_never().is_none());
    assert_eq!(in_the_foreground(&mut second, "ada").now_or_never().unwrap(), "ada 1");
    app.gate.open();
    assert_eq!(refreshing.await, "ada 2");
    assert_eq!(in_the_foreground(&mut second, "ada").await, "ada 2");
}

#[tokio::test]
async fn an_arc_of_self_needs_no_clone_of_it() {
    struct Uncloneable(App);

    impl Uncloneable {
        #[cached(cache = self.0.cache, ttl = "10s", stale_while_revalidate = "20s", skip(self))]
        async fn load(self: Arc<Self>) -> usize {
            self.0.run().await
        }
    }

    let app = App::new();
    let this = Arc::new(Uncloneable(app.clone()));
    assert_eq!(Arc::clone(&this).load().await, 1);
    app.clock.advance(11 * SEC);
    app.gate.open();
    assert_eq!(Arc::clone(&this).load().await, 1);
    idle().await;
    assert_eq!(this.load().await, 2);
}

#[tokio::test]
async fn a_failed_refresh_keeps_the_old_value() {
    #[cached(cache = app.cache, skip(app), ttl = "10s", stale_while_revalidate = "20s")]
    async fn flaky(app: &App) -> anyhow::Result<usize> {
        match app.run().await {
            1 => Ok(1),
            run => anyhow::bail!("run {run} failed"),
        }
    }

    let app = App::new();
    app.gate.open();
    assert_eq!(flaky(&app).await.unwrap(), 1);
    app.clock.advance(11 * SEC);
    for _ in 0..3 {
        assert_eq!(flaky(&app).await.unwrap(), 1);
        idle().await;
    }
    assert_eq!(app.runs.get(), 4);
    app.clock.advance(20 * SEC);
    assert_eq!(flaky(&app).await.unwrap_err().to_string(), "run 5 failed");
}
