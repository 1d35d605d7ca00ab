//! Loads that fail: with an error, with a panic, or by taking too long.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use cache_engine::{Cache, LoadError, Loaded};
use support::{Count, Gate, MS, Remote, SEC, TokioClock, idle, memory, over};
use tokio::task::JoinHandle;

#[derive(Debug, PartialEq, Eq)]
struct Broken(&'static str);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

type Answer<E = Broken> = Result<Arc<String>, LoadError<E>>;

fn both(set: impl Fn(cache_engine::CacheBuilder) -> cache_engine::CacheBuilder) -> [Cache; 2] {
    let clock = TokioClock::new();
    [
        set(Cache::builder(memory(clock)).clock(clock)).build(),
        set(over(&Remote::new())).build(),
    ]
}

/// Callers of one load, which `end` ends once all of them wait for it.
async fn callers<F>(cache: &Cache, borrowing: bool, end: F) -> Vec<Result<Answer, tokio::task::JoinError>>
where
    F: Fn() -> Result<String, Broken> + Clone + Send + Sync + 'static,
{
    let gate = Gate::closed();
    let callers: Vec<JoinHandle<Answer>> = (0..5)
        .map(|_| {
            let (cache, gate, end) = (cache.clone(), gate.clone(), end.clone());
            tokio::spawn(async move {
                let load = move || async move {
                    gate.pass().await;
                    end()
                };
                if borrowing {
                    cache.borrowing().get_or_load("key", load).await
                } else {
                    cache.get_or_load("key", load).await
                }
            })
        })
        .collect();
    gate.reached().await;
    idle().await;
    gate.open();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await);
    }
    answers
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shared_and_not_stored() {
    for cache in both(|builder| builder) {
        for borrowing in [false, true] {
            let loads = Count::new();
            let counted = loads.clone();
            let answers = callers(&cache, borrowing, move || {
                counted.up();
                Err(Broken("once"))
            });
            let errors: Vec<Arc<Broken>> = answers
                .await
                .into_iter()
                .map(|answer| Arc::clone(answer.unwrap().unwrap_err().loader_error().unwrap()))
                .collect();
            assert_eq!(loads.get(), 1);
            assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
            assert_eq!(cache.in_flight(), 0);
            let next = cache
                .get_or_load("key", || async { Err::<String, _>(Broken("again")) })
                .await;
            assert_eq!(
                **next.unwrap_err().loader_error().unwrap(),
                Broken("again"),
                "it is asked again"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_reaches_its_caller_and_the_others_load_in_turn() {
    for cache in both(|builder| builder) {
        for borrowing in [false, true] {
            let answers = callers(&cache, borrowing, || panic!("as planned")).await;
            let mut panics = 0;
            for answer in answers {
                match answer {
                    Ok(Err(LoadError::Panicked(message))) => assert_eq!(&*message, "as planned"),
                    Err(panic) => {
                        assert_eq!(*panic.into_panic().downcast::<&str>().unwrap(), "as planned");
                        panics += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(
                panics,
                if borrowing { 5 } else { 0 },
                "a borrowing load's panic goes on in its caller"
            );
            assert_eq!(cache.in_flight(), 0);
        }
        assert_eq!(
            *cache
                .get_or_load("key", Count::new().loading("value".to_owned()))
                .await
                .unwrap(),
            "value"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn so_does_a_panic_of_the_call_that_makes_the_load() {
    for cache in both(|builder| builder) {
        let load = || -> std::future::Ready<Result<String, Broken>> { panic!("at once {}", 1) };
        let answer = cache.get_or_load("key", load).await;
        assert!(
            matches!(&answer, Err(LoadError::Panicked(message)) if &**message == "at once 1"),
            "{answer:?}"
        );
        assert_eq!(cache.in_flight(), 0);
        assert_eq!(
            *cache
                .get_or_load("key", Count::new().loading("value".to_owned()))
                .await
                .unwrap(),
            "value"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_takes_too_long_is_cancelled() {
    for cache in both(|builder| builder.load_timeout(SEC)) {
        let guard = Arc::new(());
        for borrowing in [false, true] {
            let held = Arc::clone(&guard);
            let load = move || async move {
                let _held = held;
                std::future::pending::<Result<String, Broken>>().await
            };
            let start = tokio::time::Instant::now();
            let answer = if borrowing {
                cache.borrowing().get_or_load("key", load).await
            } else {
                cache.get_or_load("key", load).await
            };
            assert!(matches!(answer, Err(LoadError::TimedOut(SEC))), "{answer:?}");
            assert_eq!(start.elapsed(), SEC);
            assert_eq!(Arc::strong_count(&guard), 1, "the load is gone");
            assert_eq!(cache.in_flight(), 0);
        }
        assert_eq!(
            *cache
                .get_or_load("key", Count::new().loading("value".to_owned()))
                .await
                .unwrap(),
            "value"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_remembered_by_choice_and_for_their_time() {
    for (number, cache) in both(|builder| builder.error_ttl(10 * SEC)).into_iter().enumerate() {
        let loads = Count::new();
        let call = || {
            let loads = loads.clone();
            cache.get_or_load("key", move || async move {
                loads.up();
                Err::<String, _>(Broken("once"))
            })
        };
        let first = call().await.unwrap_err();
        let first = first.loader_error().unwrap();
        tokio::time::advance(9999 * MS).await;
        match call().await.unwrap_err() {
            LoadError::Failed(error) => assert!(number == 0 && Arc::ptr_eq(&error, first)),
            // The store holds bytes only.
            LoadError::Remembered(message) => assert!(number == 1 && message.contains("Broken"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(loads.get(), 1);
        tokio::time::advance(MS).await;
        assert!(matches!(call().await, Err(LoadError::Failed(_))));
        assert_eq!(loads.get(), 2, "the time is over");
        cache.invalidate("key").await.unwrap();
        call().await.unwrap_err();
        assert_eq!(loads.get(), 3, "an invalidation forgets it");
        // A refresh does not take it for an answer.
        assert_eq!(
            *cache.refresh("key", loads.loading("value".to_owned())).await.unwrap(),
            "value"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn so_are_panics_and_timeouts() {
    for cache in both(|builder| builder.error_ttl(10 * SEC).load_timeout(SEC)) {
        // Even for a loader whose error says nothing at all.
        let panic = || async { panic!("as planned") as Result<String, ()> };
        let first = cache.get_or_load("panic", panic).await;
        assert!(matches!(first, Err(LoadError::Panicked(_))), "{first:?}");
        let second = cache
            .get_or_load("panic", || async { Ok::<_, ()>(String::new()) })
            .await;
        assert!(
            matches!(&second, Err(LoadError::Remembered(message)) if message.contains("as planned")),
            "{second:?}"
        );
        let first = cache
            .get_or_load("late", std::future::pending::<Result<String, ()>>)
            .await;
        assert!(matches!(first, Err(LoadError::TimedOut(_))), "{first:?}");
        let second = cache.get_or_load("late", || async { Ok::<_, ()>(String::new()) }).await;
        assert!(matches!(second, Err(LoadError::Remembered(_))), "{second:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_value_is_remembered_by_choice() {
    for cache in both(|builder| builder.negative_ttl(10 * SEC)) {
        let loads = Count::new();
        let find = |value: Option<&'static str>| {
            let loads = loads.clone();
            cache.get_or_load_optional("key", move || async move {
                loads.up();
                Ok::<_, Infallible>(value.map(str::to_owned))
            })
        };
        assert_eq!(find(None).await.unwrap(), None);
        tokio::time::advance(9999 * MS).await;
        assert_eq!(find(Some("value")).await.unwrap(), None);
        assert_eq!(loads.get(), 1);
        assert!(cache.get::<String>("key").await.unwrap().is_none());
        // Who does not take it for an answer loads.
        assert_eq!(
            *cache
                .get_or_load("key", loads.loading("loaded".to_owned()))
                .await
                .unwrap(),
            "loaded"
        );
        cache.invalidate("key").await.unwrap();
        find(None).await.unwrap();
        tokio::time::advance(10 * SEC).await;
        assert_eq!(
            find(Some("value")).await.unwrap().unwrap().as_str(),
            "value",
            "the time is over"
        );
        assert_eq!(find(None).await.unwrap().unwrap().as_str(), "value");
    }
}

#[tokio::test(start_paused = true)]
async fn and_not_unless_chosen() {
    for cache in both(|builder| builder.ttl(SEC).stale_if_error(60 * SEC)) {
        let loads = Count::new();
        for number in 1..4 {
            let answer = cache.get_or_load_optional("key", {
                let loads = loads.clone();
                move || async move {
                    loads.up();
                    Ok::<Option<String>, Infallible>(None)
                }
            });
            assert_eq!(answer.await.unwrap(), None);
            assert_eq!(loads.get(), number);
        }
        // A loader can set the time itself.
        let absent = |_| async { Ok::<Loaded<String>, Infallible>(Loaded::absent().with_ttl(SEC)) };
        cache.get_or_load_with("key", absent).await.unwrap();
        assert_eq!(
            cache
                .get_or_load_optional("key", || async { Ok::<_, Infallible>(Some(String::new())) })
                .await
                .unwrap(),
            None
        );
        // A stale copy is no longer used once its value is known to be gone.
        cache.set("gone", "old".to_owned()).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        cache
            .get_or_load_optional("gone", || async { Ok::<Option<String>, Infallible>(None) })
            .await
            .unwrap();
        let answer = cache
            .get_or_load("gone", || async { Err::<String, _>(Broken("failed")) })
            .await;
        assert!(answer.is_err(), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_remembered_failure_never_takes_the_place_of_a_stale_value() {
    for cache in both(|builder| builder.ttl(SEC).stale_if_error(10 * SEC).error_ttl(60 * SEC)) {
        cache.set("key", "old".to_owned()).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        for _ in 0..2 {
            let answer = cache
                .get_or_load("key", || async { Err::<String, _>(Broken("failed")) })
                .await;
            assert_eq!(*answer.unwrap(), "old");
        }
    }
}

/// The error fits into what services use.
#[tokio::test]
async fn the_error_passes_through_a_question_mark() {
    async fn boxed(cache: &Cache) -> Result<Arc<String>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(cache
            .get_or_load("key", || async { Err::<String, _>(Broken("boxed")) })
            .await?)
    }
    async fn in_anyhow(cache: &Cache) -> anyhow::Result<Arc<String>> {
        let load = || async { Err::<String, _>(anyhow::anyhow!("cause").context("outer")) };
        Ok(cache.get_or_load("key", load).await?)
    }
    let cache = Cache::builder(memory(TokioClock::new())).build();
    assert_eq!(boxed(&cache).await.unwrap_err().to_string(), "boxed");
    assert_eq!(in_anyhow(&cache).await.unwrap_err().to_string(), "outer");
    let load = || async { Err::<String, _>(anyhow::anyhow!("cause").context("outer")) };
    let error = cache.get_or_load("key", load).await.unwrap_err();
    assert_eq!(format!("{error:#}"), "outer: cause");
}
