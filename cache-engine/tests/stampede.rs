//! A load that fails, panics or is cancelled causes no stampede: either all waiting callers share its error, or one of
//! them at a time retries, and the first success is stored and shared.

#![cfg(feature = "macros")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache_engine::{Cache, CallError, LoadError, cached};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use support::{Count, Gate, Log, Remote, SEC, TokioClock, memory, over};

const CALLERS: usize = 200;

/// A cache, and a source that is slow and counts who reads it.
struct App {
    cache: Cache,
    log: Log,
    /// How many reads of the source have begun.
    reads: Count,
    reading: AtomicUsize,
    /// How many reads ran at the same time, at most.
    beside: AtomicUsize,
    gate: Gate,
}

impl App {
    fn new(cache: cache_engine::CacheBuilder) -> Arc<Self> {
        let log = Log::new();
        Arc::new(Self {
            cache: cache.observer(log.clone()).build(),
            log,
            reads: Count::new(),
            reading: AtomicUsize::new(0),
            beside: AtomicUsize::new(0),
            gate: Gate::closed(),
        })
    }

    /// Over a store in this process, and over one that keeps bytes.
    fn both() -> [Arc<Self>; 2] {
        let clock = TokioClock::new();
        [
            Self::new(Cache::builder(memory(clock)).clock(clock)),
            Self::new(over(&Remote::new())),
        ]
    }

    /// Reads the source, and returns which read this is.
    async fn read(&self) -> usize {
        let read = self.reads.up();
        let reading = Reading::new(&self.reading);
        self.beside.fetch_max(reading.count(), Ordering::SeqCst);
        self.gate.pass().await;
        // Long enough for others to be seen beside it.
        tokio::time::sleep(SEC).await;
        read
    }

    /// Makes 200 calls that all wait for the first read of the source, and returns what they got.
    async fn crowd<R>(&self, call: impl AsyncFn() -> R) -> Vec<R> {
        let open = async {
            self.gate.reached().await;
            self.log.reached("coalesced", CALLERS - 1).await;
            self.gate.open();
        };
        let (answers, ()) = join(join_all((0..CALLERS).map(|_| call())), open).await;
        assert_eq!(self.cache.in_flight(), 0);
        assert_eq!(self.beside.load(Ordering::SeqCst), 1, "one reads the source at a time");
        answers
    }

    fn fails_once(&self) -> Once<'_> {
        Once(self)
    }
}

/// A read that runs, until it ends or is given up.
struct Reading<'a>(&'a AtomicUsize);

impl<'a> Reading<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A source of which the first read fails.
struct Once<'a>(&'a App);

impl Once<'_> {
    async fn read<E>(&self, error: impl FnOnce() -> E) -> Result<usize, E> {
        match self.0.read().await {
            1 => Err(error()),
            read => Ok(read),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Copied {
    NotFound,
}

#[cached(cache = app.cache, skip(app))]
async fn copied(app: &App) -> Result<usize, Copied> {
    app.fails_once().read(|| Copied::NotFound).await
}

#[cached(cache = app.cache, skip(app), detached)]
async fn copied_detached(app: Arc<App>) -> Result<usize, Copied> {
    app.fails_once().read(|| Copied::NotFound).await
}

#[cached(cache = app.cache, skip(app))]
async fn text(app: &App) -> Result<usize, String> {
    app.fails_once().read(|| "not found".to_owned()).await
}

#[cached(cache = app.cache, skip(app))]
async fn in_an_arc(app: &App) -> Result<usize, Arc<anyhow::Error>> {
    Ok(app.fails_once().read(|| anyhow::Error::new(NotFound)).await?)
}

#[tokio::test(start_paused = true)]
async fn all_get_a_clone_of_an_error_that_can_be_cloned() {
    for app in App::both() {
        assert_eq!(
            app.crowd(async || copied(&app).await).await,
            [const { Err(Copied::NotFound) }; CALLERS]
        );
        assert_eq!(app.reads.get(), 1);
        assert_eq!(copied(&app).await, Ok(2), "it was not stored");
    }
    for app in App::both() {
        let answers = app.crowd(async || copied_detached(Arc::clone(&app)).await).await;
        assert_eq!(answers, [const { Err(Copied::NotFound) }; CALLERS]);
        assert_eq!(app.reads.get(), 1);
    }
    for app in App::both() {
        let answers = app.crowd(async || text(&app).await).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap_err() == "not found"));
        assert_eq!(app.reads.get(), 1);
    }
    for app in App::both() {
        let answers = app.crowd(async || in_an_arc(&app).await).await;
        assert!(
            answers
                .iter()
                .all(|answer| answer.as_ref().unwrap_err().is::<NotFound>())
        );
        assert_eq!(app.reads.get(), 1);
    }
}

#[derive(Debug, PartialEq)]
struct NotFound;

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not found")
    }
}

impl Error for NotFound {}

#[derive(Debug)]
enum ShopError {
    NotFound,
    Io(std::io::Error),
    Cache(CallError),
}

impl fmt::Display for ShopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::Io(error) => error.fmt(f),
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl Error for ShopError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotFound => None,
            Self::Io(error) => Some(error),
            Self::Cache(error) => Some(error),
        }
    }
}

impl From<CallError> for ShopError {
    fn from(error: CallError) -> Self {
        match error.downcast_ref::<Self>() {
            Some(Self::NotFound) => Self::NotFound,
            _ => Self::Cache(error),
        }
    }
}

#[cached(cache = app.cache, skip(app))]
async fn shop(app: &App, name: &str) -> Result<usize, ShopError> {
    let error = || match name {
        "io" => ShopError::Io(std::io::Error::from(std::io::ErrorKind::BrokenPipe)),
        _ => ShopError::NotFound,
    };
    app.fails_once().read(error).await
}

#[cached(cache = app.cache, skip(app), detached)]
async fn shop_detached(app: Arc<App>) -> Result<usize, ShopError> {
    app.fails_once().read(|| ShopError::NotFound).await
}

#[tokio::test(start_paused = true)]
async fn all_can_match_on_an_error_that_cannot_be_cloned() {
    for app in App::both() {
        for answer in app.crowd(async || shop(&app, "").await).await {
            assert!(matches!(answer, Err(ShopError::NotFound)), "{answer:?}");
        }
        assert_eq!(app.reads.get(), 1);
        assert_eq!(shop(&app, "").await.unwrap(), 2, "it was not stored");
    }
    for app in App::both() {
        for answer in app.crowd(async || shop_detached(Arc::clone(&app)).await).await {
            assert!(matches!(answer, Err(ShopError::NotFound)), "{answer:?}");
        }
        assert_eq!(app.reads.get(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn all_get_the_same_where_its_type_does_not_look_into_it() {
    for app in App::both() {
        for answer in app.crowd(async || shop(&app, "io").await).await {
            let error = answer.unwrap_err();
            assert_eq!(error.to_string(), std::io::ErrorKind::BrokenPipe.to_string());
            assert_eq!(
                CallError::find::<std::io::Error>(&error).unwrap().kind(),
                std::io::ErrorKind::BrokenPipe
            );
            let ShopError::Cache(error) = error else {
                panic!("{error:?}")
            };
            assert!(matches!(error.downcast_ref(), Some(ShopError::Io(_))), "{error:?}");
            assert!(error.downcast_ref::<NotFound>().is_none());
        }
        assert_eq!(app.reads.get(), 1);
    }
    // A caller without company gets what an uncached function returns.
    for app in App::both() {
        app.gate.open();
        let error = shop(&app, "io").await.unwrap_err();
        assert!(matches!(error, ShopError::Io(_)), "{error:?}");
    }
}

#[cached(cache = app.cache, skip(app))]
async fn in_anyhow(app: &App) -> anyhow::Result<usize> {
    let error = || anyhow::Error::new(NotFound).context("no such user");
    app.fails_once().read(error).await
}

#[cached(cache = app.cache, skip(app))]
async fn boxed(app: &App) -> Result<usize, Box<dyn Error + Send + Sync>> {
    app.fails_once().read(|| NotFound.into()).await
}

/// Only its text can be sent to other threads.
#[cached(cache = app.cache, skip(app))]
async fn boxed_here(app: &App) -> Result<usize, Box<dyn Error>> {
    app.fails_once().read(|| NotFound.into()).await
}

/// An error that prints nothing.
struct Silent(Option<CallError>);

impl From<CallError> for Silent {
    fn from(error: CallError) -> Self {
        Self(Some(error))
    }
}

#[cached(cache = app.cache, skip(app))]
async fn silent(app: &App) -> Result<usize, Silent> {
    app.fails_once().read(|| Silent(None)).await
}

#[tokio::test(start_paused = true)]
async fn all_can_look_into_an_error_of_any_type() {
    for app in App::both() {
        for answer in app.crowd(async || in_anyhow(&app).await).await {
            let error = answer.unwrap_err();
            assert_eq!(CallError::find(&*error), Some(&NotFound));
            assert_eq!(format!("{error:#}"), "no such user: not found");
        }
        assert_eq!(app.reads.get(), 1);
    }
    for app in App::both() {
        for answer in app.crowd(async || boxed(&app).await).await {
            let error = answer.unwrap_err();
            assert_eq!(CallError::find(&*error), Some(&NotFound));
            assert_eq!(error.to_string(), "not found");
        }
        assert_eq!(app.reads.get(), 1);
    }
    for app in App::both() {
        for answer in app.crowd(async || boxed_here(&app).await).await {
            assert_eq!(answer.unwrap_err().to_string(), "not found");
        }
        assert_eq!(app.reads.get(), 1);
    }
    for app in App::both() {
        for answer in app.crowd(async || silent(&app).await).await {
            let shared = answer.map_err(|error| error.0.unwrap()).unwrap_err();
            assert!(shared.downcast_ref::<Silent>().is_some());
            assert!(shared.to_string().contains("Silent"), "{shared}");
        }
        assert_eq!(app.reads.get(), 1);
    }
}

/// An error that nobody else can have.
#[derive(Debug, PartialEq)]
struct Unique(usize);

#[cached(cache = app.cache, skip(app))]
async fn unique_once(app: &App) -> Result<usize, Unique> {
    app.fails_once().read(|| Unique(1)).await
}

#[cached(cache = app.cache, skip(app), detached)]
async fn unique_once_detached(app: Arc<App>) -> Result<usize, Unique> {
    app.fails_once().read(|| Unique(1)).await
}

#[cached(cache = app.cache, skip(app))]
async fn unique(app: &App) -> Result<usize, Unique> {
    Err(Unique(app.read().await))
}

#[cached(cache = app.cache, skip(app))]
async fn io(app: &App) -> std::io::Result<usize> {
    app.fails_once().read(|| std::io::ErrorKind::BrokenPipe.into()).await
}

/// One failed, and all others have the value of the second read.
fn one_failed<E: fmt::Debug>(app: &App, answers: Vec<Result<usize, E>>) -> E {
    let (values, mut errors): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(values.iter().all(|value| *value.as_ref().unwrap() == 2), "{values:?}");
    assert_eq!((values.len(), errors.len()), (CALLERS - 1, 1), "{errors:?}");
    assert_eq!(app.reads.get(), 2);
    errors.remove(0).unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn where_an_error_cannot_be_shared_one_at_a_time_tries_again() {
    for app in App::both() {
        let answers = app.crowd(async || unique_once(&app).await).await;
        assert_eq!(one_failed(&app, answers), Unique(1));
        assert_eq!(unique_once(&app).await, Ok(2), "the first success was stored");
    }
    for app in App::both() {
        let answers = app.crowd(async || unique_once_detached(Arc::clone(&app)).await).await;
        assert_eq!(one_failed(&app, answers), Unique(1));
        assert_eq!(
            unique_once_detached(Arc::clone(&app)).await,
            Ok(2),
            "the first success was stored"
        );
    }
    for app in App::both() {
        let answers = app.crowd(async || io(&app).await).await;
        assert_eq!(one_failed(&app, answers).kind(), std::io::ErrorKind::BrokenPipe);
    }
    // If it never succeeds, each gets an error of its own.
    for app in App::both() {
        let mut answers = app.crowd(async || unique(&app).await.unwrap_err().0).await;
        answers.sort_unstable();
        assert_eq!(answers, Vec::from_iter(1..=CALLERS));
    }
}

/// A remembered failure that the function's type cannot report is no reason to read without the cache.
#[tokio::test(start_paused = true)]
async fn neither_is_a_remembered_failure() {
    let clock = TokioClock::new();
    for app in [
        App::new(Cache::builder(memory(clock)).clock(clock).error_ttl(60 * SEC)),
        App::new(over(&Remote::new()).error_ttl(60 * SEC)),
    ] {
        let answers = app.crowd(async || unique_once(&app).await).await;
        one_failed(&app, answers);
        assert_eq!(unique_once(&app).await, Ok(2));
    }
    let app = App::new(over(&Remote::new()).error_ttl(60 * SEC));
    app.gate.open();
    // The store remembers the text of an error only, and this error cannot be made from a text.
    assert_eq!(copied(&app).await, Err(Copied::NotFound));
    assert_eq!(copied(&app).await, Ok(2));
    assert_eq!(copied(&app).await, Ok(2), "it was stored");
}

#[cached(cache = app.cache, skip(app))]
async fn panics_once(app: &App) -> usize {
    match app.read().await {
        1 => panic!("as planned"),
        read => read,
    }
}

#[cached(cache = app.cache, skip(app), detached)]
async fn panics_once_detached(app: Arc<App>) -> usize {
    match app.read().await {
        1 => panic!("as planned"),
        read => read,
    }
}

fn message(panic: Box<dyn Any + Send>) -> String {
    panic.downcast::<String>().map_or_else(
        |panic| (*panic.downcast::<&str>().unwrap()).to_owned(),
        |message| *message,
    )
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_one_at_a_time_tries_again() {
    for app in App::both() {
        let call = async || {
            AssertUnwindSafe(panics_once(&app))
                .catch_unwind()
                .await
                .map_err(message)
        };
        let answers = app.crowd(call).await;
        assert_eq!(one_failed(&app, answers), "as planned");
        assert_eq!(panics_once(&app).await, 2, "the first success was stored");
    }
    for app in App::both() {
        let call = async || {
            AssertUnwindSafe(panics_once_detached(Arc::clone(&app)))
                .catch_unwind()
                .await
                .map_err(message)
        };
        let answers = app.crowd(call).await;
        assert_eq!(one_failed(&app, answers), "as planned");
    }
    for app in App::both() {
        let load = async || {
            let source = Arc::clone(&app);
            let load = move || async move {
                match source.read().await {
                    1 => panic!("as planned"),
                    read => Ok::<_, Unique>(read),
                }
            };
            app.cache.get_or_load("key", load).await.map(|value| *value)
        };
        let answers = app.crowd(load).await;
        let error = one_failed(&app, answers);
        assert!(
            matches!(&error, LoadError::Panicked(message) if &**message == "as planned"),
            "{error:?}"
        );
    }
    for app in App::both() {
        let load = async || {
            let load = || async {
                match app.read().await {
                    1 => panic!("as planned"),
                    read => Ok::<_, Unique>(read),
                }
            };
            let cache = app.cache.borrowing();
            let call = AssertUnwindSafe(cache.get_or_load("key", load)).catch_unwind();
            call.await.map(|value| *value.unwrap()).map_err(message)
        };
        let answers = app.crowd(load).await;
        assert_eq!(one_failed(&app, answers), "as planned");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_caller_that_leaves_one_at_a_time_tries_again() {
    for app in App::both() {
        // The first caller to read the source gives up, while it reads.
        let first = AtomicUsize::new(1);
        let call = async || {
            let patience = if first.swap(0, Ordering::SeqCst) == 1 {
                SEC / 2
            } else {
                60 * SEC
            };
            tokio::time::timeout(patience, copied_after(&app)).await
        };
        let answers = app.crowd(call).await;
        one_failed(&app, answers);
        assert_eq!(copied_after(&app).await, 2);
    }
}

#[cached(cache = app.cache, skip(app))]
async fn copied_after(app: &App) -> usize {
    app.read().await
}

#[tokio::test(start_paused = true)]
async fn a_loaders_error_is_shared_whatever_its_type() {
    for app in App::both() {
        let load = async || {
            let source = Arc::clone(&app);
            let load = move || async move { source.fails_once().read(|| Unique(1)).await };
            app.cache.get_or_load("key", load).await
        };
        for answer in app.crowd(load).await {
            assert_eq!(**answer.unwrap_err().loader_error().unwrap(), Unique(1));
        }
        assert_eq!(app.reads.get(), 1);
    }
    for app in App::both() {
        let load = async || {
            let load = || async { app.fails_once().read(|| Unique(1)).await };
            app.cache.borrowing().get_or_load("key", load).await
        };
        for answer in app.crowd(load).await {
            assert_eq!(**answer.unwrap_err().loader_error().unwrap(), Unique(1));
        }
        assert_eq!(app.reads.get(), 1);
    }
}
