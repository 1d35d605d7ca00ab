//! `#[cached]` with many concurrent callers: there is one load, no matter which callers are cancelled, and every caller
//! gets its outcome.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use cache_core::ManualClock;
use cache_engine::{Cache, CallError, cached};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use support::{Count, Gate, idle, local};

/// What the functions of these tests borrow.
struct App {
    cache: Cache,
    runs: Count,
    gate: Gate,
}

impl App {
    fn new() -> Self {
        Self {
            cache: local(&ManualClock::new()).build(),
            runs: Count::new(),
            gate: Gate::closed(),
        }
    }

    async fn run(&self) -> usize {
        let run = self.runs.up();
        self.gate.pass().await;
        run
    }
}

#[cached(cache = app.cache, skip(app))]
async fn slow(app: &App, name: &str) -> String {
    let run = app.run().await;
    format!("{name} {run}")
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn many_callers_that_borrow_share_one_run() {
    let app = App::new();
    let name = "ada".to_owned();
    let opened = async {
        app.gate.reached().await;
        app.gate.open();
    };
    let (names, ()) = join(join_all((0..100).map(|_| slow(&app, &name))), opened).await;
    assert!(names.iter().all(|name| name == "ada 1"), "{names:?}");
    assert_eq!(app.runs.get(), 1);
    assert_eq!(app.cache.in_flight(), 0);
}

#[tokio::test]
async fn if_the_first_caller_goes_away_another_one_runs() {
    let app = App::new();
    let mut second = pin!(slow(&app, "ada"));
    {
        let mut first = pin!(slow(&app, "ada"));
        assert!(poll(first.as_mut()).is_pending());
        app.gate.reached().await;
        assert!(poll(second.as_mut()).is_pending());
        assert_eq!(app.runs.get(), 1);
    }
    app.gate.open();
    assert_eq!(second.await, "ada 2");
    assert_eq!(slow(&app, "ada").await, "ada 2");
    assert_eq!(app.cache.in_flight(), 0);
}

#[tokio::test]
async fn if_a_waiter_goes_away_nobody_notices() {
    let app = App::new();
    let mut first = pin!(slow(&app, "ada"));
    assert!(poll(first.as_mut()).is_pending());
    {
        let mut second = pin!(slow(&app, "ada"));
        assert!(poll(second.as_mut()).is_pending());
    }
    app.gate.open();
    assert_eq!(first.await, "ada 1");
    assert_eq!(app.cache.in_flight(), 0);
}

/// Runs two calls, the second of which waits for the first.
async fn both<R>(app: &App, call: impl AsyncFn(&App) -> R) -> (R, R) {
    let opened = async {
        app.gate.reached().await;
        idle().await;
        app.gate.open();
    };
    let ((first, second), ()) = join(join(call(app), call(app)), opened).await;
    (first, second)
}

#[derive(Debug, Clone, PartialEq)]
struct Copied(usize);

#[cached(cache = app.cache, skip(app))]
async fn fails_with_a_copy(app: &App) -> Result<u8, Copied> {
    Err(Copied(app.run().await))
}

#[tokio::test]
async fn an_error_that_can_be_cloned_is_shared() {
    let app = App::new();
    let (first, second) = both(&app, fails_with_a_copy).await;
    assert_eq!((first, second), (Err(Copied(1)), Err(Copied(1))));
    assert_eq!(app.runs.get(), 1);
}

#[cached(cache = app.cache, skip(app))]
async fn fails_with_anyhow(app: &App) -> anyhow::Result<u8> {
    let run = app.run().await;
    Err(anyhow::Error::new(std::io::Error::other(format!("run {run}"))).context("it failed"))
}

#[tokio::test]
async fn an_error_that_can_be_made_of_another_is_shared_in_one() {
    let app = App::new();
    let (first, second) = both(&app, fails_with_anyhow).await;
    let (first, second) = (first.unwrap_err(), second.unwrap_err());
    assert_eq!(app.runs.get(), 1);
    for error in [first, second] {
        assert_eq!(error.to_string(), "it failed");
        assert!(CallError::find::<std::io::Error>(&*error).is_some());
        let shared = error.downcast::<CallError>().unwrap();
        assert!(matches!(shared, CallError::Failed(_)));
        assert_eq!(format!("{shared:#}"), "it failed: run 1");
        let own = shared.downcast_ref::<anyhow::Error>().unwrap();
        assert!(own.downcast_ref::<std::io::Error>().is_some());
    }
    // Alone, a caller gets the function's own error.
    let own = fails_with_anyhow(&app).await.unwrap_err();
    assert!(own.downcast_ref::<std::io::Error>().is_some());
}

#[derive(Debug)]
enum ShopError {
    Own(usize),
    Shared(CallError),
}

impl std::fmt::Display for ShopError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own(run) => write!(f, "run {run}"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

impl From<CallError> for ShopError {
    fn from(error: CallError) -> Self {
        Self::Shared(error)
    }
}

#[cached(cache = app.cache, skip(app))]
async fn fails_with_an_own_type(app: &App) -> Result<u8, ShopError> {
    Err(ShopError::Own(app.run().await))
}

#[tokio::test]
async fn an_own_error_type_takes_up_what_others_met() {
    let app = App::new();
    let (first, second) = both(&app, fails_with_an_own_type).await;
    assert_eq!(app.runs.get(), 1);
    for error in [first, second] {
        let Err(ShopError::Shared(error)) = error else {
            panic!("{error:?}")
        };
        assert_eq!(error.to_string(), "run 1");
        assert!(matches!(error.downcast_ref(), Some(ShopError::Own(1))), "{error:?}");
    }
    let own = fails_with_an_own_type(&app).await;
    assert!(matches!(own, Err(ShopError::Own(2))), "{own:?}");
}

#[derive(Debug, PartialEq)]
struct Unique(usize);

#[cached(cache = app.cache, skip(app))]
async fn fails_uniquely(app: &App) -> Result<u8, Unique> {
    Err(Unique(app.run().await))
}

#[cached(cache = app.cache, skip(app), detached)]
async fn fails_uniquely_detached(app: Shared) -> Result<u8, Unique> {
    Err(Unique(app.run().await))
}

type Shared = std::sync::Arc<App>;

#[tokio::test]
async fn with_an_error_that_cannot_be_shared_one_caller_at_a_time_runs() {
    let app = App::new();
    let (first, second) = both(&app, fails_uniquely).await;
    assert_eq!((first, second), (Err(Unique(1)), Err(Unique(2))));

    let app = Shared::new(App::new());
    let call = async |_: &App| fails_uniquely_detached(Shared::clone(&app)).await;
    let (first, second) = both(&app, call).await;
    assert_eq!((first, second), (Err(Unique(1)), Err(Unique(2))));
    assert_eq!(app.cache.in_flight(), 0);
}

#[cached(cache = app.cache, skip(app))]
async fn panics_once(app: &App) -> usize {
    match app.run().await {
        1 => panic!("the first run panics"),
        run => run,
    }
}

#[tokio::test]
async fn after_a_panic_a_caller_who_waited_runs() {
    let app = App::new();
    let caught = async |app: &App| AssertUnwindSafe(panics_once(app)).catch_unwind().await;
    let (first, second) = both(&app, caught).await;
    let message = |panic: Box<dyn std::any::Any + Send>| match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    };
    assert_eq!(message(first.unwrap_err()), "the first run panics");
    assert_eq!(second.unwrap(), 2);
    assert_eq!(panics_once(&app).await, 2);
    assert_eq!(app.cache.in_flight(), 0);
}

#[tokio::test]
async fn a_detached_load_goes_on_without_its_caller() {
    #[cached(cache = app.cache, skip(app), detached)]
    async fn detached(app: Shared) -> usize {
        app.run().await
    }

    let app = Shared::new(App::new());
    {
        let mut first = pin!(detached(Shared::clone(&app)));
        assert!(poll(first.as_mut()).is_pending());
        app.gate.reached().await;
    }
    app.gate.open();
    app.cache.shutdown().await;
    assert_eq!(detached(Shared::clone(&app)).await, 1);
}

#[tokio::test]
async fn a_borrowing_call_need_not_be_send() {
    let app = App::new();
    app.gate.open();

    #[cached(cache = app.cache, skip(app))]
    async fn local_only(app: &App, number: &std::cell::Cell<u32>) -> u32 {
        app.run().await;
        number.replace(0)
    }

    assert_eq!(local_only(&app, &std::cell::Cell::new(7)).await, 7);
    assert_eq!(local_only(&app, &std::cell::Cell::new(7)).await, 7);
}

#[tokio::test]
async fn calls_of_functions_whose_inputs_are_send_can_be_spawned() {
    let app = Shared::new(App::new());
    app.gate.open();
    let caller = {
        let app = Shared::clone(&app);
        tokio::spawn(async move { slow(&app, "ada").await })
    };
    assert_eq!(caller.await.unwrap(), "ada 1");
}
