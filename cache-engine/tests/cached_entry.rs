//! The entry of a call: what is stored, to store a result, and to run the function anew.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache_core::{ErrorKind, ManualClock};
use cache_engine::{Cache, CallError, bypass, cached};
use support::{Count, Fate, Gate, Log, Remote, SEC, local, over};

/// What the functions of these tests are given.
#[derive(Clone)]
struct App {
    cache: Cache,
    runs: Count,
    fails: Arc<AtomicUsize>,
    gate: Option<Gate>,
}

impl App {
    fn over(cache: Cache) -> Self {
        Self {
            cache,
            runs: Count::new(),
            fails: Arc::default(),
            gate: None,
        }
    }

    fn new() -> Self {
        Self::over(local(&ManualClock::new()).build())
    }

    fn fail(&self, fails: bool) {
        self.fails.store(usize::from(fails), Ordering::SeqCst);
    }

    async fn run(&self) -> Result<usize, CallError> {
        let run = self.runs.up();
        if let Some(gate) = &self.gate {
            gate.pass().await;
        }
        match self.fails.load(Ordering::SeqCst) {
            0 => Ok(run),
            _ => Err(CallError::Remembered("down".into())),
        }
    }
}

#[cached(cache = app.cache, skip(app), tags = ["user:{id}"])]
async fn find(app: &App, id: u64) -> Result<String, CallError> {
    Ok(format!("{id}: run {}", app.run().await?))
}

#[tokio::test]
async fn get_returns_what_a_call_would_and_runs_nothing() {
    for cache in [local(&ManualClock::new()).build(), over(&Remote::new()).build()] {
        let app = App::over(cache);
        assert!(find_entry(&app, 1).get().await.unwrap().is_none());
        assert_eq!(app.runs.get(), 0);
        find(&app, 1).await.unwrap();
        assert_eq!(find_entry(&app, 1).get().await.unwrap().unwrap().unwrap(), "1: run 1");
        assert!(find_entry(&app, 2).get().await.unwrap().is_none());
        app.cache.invalidate_tag("user:1").await.unwrap();
        assert!(find_entry(&app, 1).get().await.unwrap().is_none());
        assert_eq!(app.runs.get(), 1);
        assert_eq!(app.cache.in_flight(), 0);
    }
}

#[tokio::test]
async fn get_counts_as_one_request() {
    let log = Log::default();
    let app = App::over(local(&ManualClock::new()).observer(log.clone()).build());
    find_entry(&app, 1).get().await.unwrap();
    assert_eq!(log.take(), ["miss"]);
    find_entry(&app, 1).set("given".to_owned()).await.unwrap();
    assert_eq!(log.take(), ["stored"]);
    find_entry(&app, 1).get().await.unwrap();
    assert_eq!(log.take(), ["hit"]);
}

#[tokio::test]
async fn get_reports_a_store_out_of_reach() {
    let remote = Remote::new();
    let app = App::over(over(&remote).build());
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    let error = find_entry(&app, 1).get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = find_entry(&app, 1).set("given".to_owned()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(app.runs.get(), 0);
}

#[tokio::test]
async fn set_stores_with_the_tags_of_the_function() {
    for cache in [local(&ManualClock::new()).build(), over(&Remote::new()).build()] {
        let app = App::over(cache);
        find_entry(&app, 1).set("given".to_owned()).await.unwrap();
        assert_eq!(find(&app, 1).await.unwrap(), "given");
        assert_eq!(app.runs.get(), 0);
        app.cache.invalidate_tag("user:1").await.unwrap();
        assert_eq!(find(&app, 1).await.unwrap(), "1: run 1");
    }
}

#[tokio::test]
async fn set_takes_all_that_the_function_returns() {
    let app = App::new();
    find_entry(&app, 1).set(Ok("given".to_owned())).await.unwrap();
    assert_eq!(find(&app, 1).await.unwrap(), "given");
    find_entry(&app, 1)
        .set(Err(CallError::Remembered("no".into())))
        .await
        .unwrap();
    assert_eq!(find(&app, 1).await.unwrap(), "given", "an error leaves it as it is");
    assert_eq!(app.runs.get(), 0);
}

#[tokio::test]
async fn a_load_that_began_before_does_not_replace_what_was_set() {
    for cache in [local(&ManualClock::new()).build(), over(&Remote::new()).build()] {
        let gate = Gate::closed();
        let app = App {
            gate: Some(gate.clone()),
            ..App::over(cache)
        };
        let load = {
            let app = app.clone();
            tokio::spawn(async move { find(&app, 1).await.unwrap() })
        };
        gate.reached().await;
        find_entry(&app, 1).set("given".to_owned()).await.unwrap();
        gate.open();
        assert_eq!(load.await.unwrap(), "1: run 1", "the caller keeps what it loaded");
        assert_eq!(find(&app, 1).await.unwrap(), "given");
    }
}

#[tokio::test]
async fn refresh_runs_the_function_and_replaces_what_is_fresh() {
    for cache in [local(&ManualClock::new()).build(), over(&Remote::new()).build()] {
        let app = App::over(cache);
        find(&app, 1).await.unwrap();
        assert_eq!(find_entry(&app, 1).refresh().await.unwrap(), "1: run 2");
        assert_eq!(find(&app, 1).await.unwrap(), "1: run 2");
        assert_eq!(
            find_entry(&app, 2).refresh().await.unwrap(),
            "2: run 3",
            "nothing is stored"
        );
        assert_eq!(app.runs.get(), 3);

        app.fail(true);
        assert!(find_entry(&app, 1).refresh().await.is_err());
        assert_eq!(find(&app, 1).await.unwrap(), "1: run 2", "what is stored stays");
        assert_eq!(app.cache.in_flight(), 0);
    }
}

#[tokio::test]
async fn callers_get_the_old_value_during_a_refresh_and_refreshes_share_a_run() {
    let app = App::new();
    find(&app, 1).await.unwrap();
    let gate = Gate::closed();
    let app = App {
        gate: Some(gate.clone()),
        ..app
    };
    let refresh = |app: &App| {
        let app = app.clone();
        tokio::spawn(async move { find_entry(&app, 1).refresh().await.unwrap() })
    };
    let first = refresh(&app);
    gate.reached().await;
    let second = refresh(&app);
    support::idle().await;
    assert_eq!(find(&app, 1).await.unwrap(), "1: run 1");
    gate.open();
    assert_eq!(first.await.unwrap(), "1: run 2");
    assert_eq!(second.await.unwrap(), "1: run 2");
    assert_eq!(app.runs.get(), 2);
}

#[cached(cache = app.cache, skip(app), negative_ttl = "30s", store_if = |name| name != "secret")]
async fn maybe(app: &App, id: u64) -> Option<String> {
    app.runs.up();
    (id != 0).then(|| format!("item {id}"))
}

#[cached(cache = app.cache, skip(app), ttl = "10s")]
async fn forgotten(app: &App, id: u64) -> Option<String> {
    app.runs.up();
    (id != 0).then(|| format!("item {id}"))
}

#[tokio::test]
async fn what_is_remembered_not_to_exist() {
    let app = App::new();
    assert_eq!(maybe(&app, 0).await, None);
    assert_eq!(
        maybe_entry(&app, 0).get().await.unwrap(),
        Some(None),
        "it is remembered"
    );
    assert_eq!(maybe_entry(&app, 1).get().await.unwrap(), None, "nothing is known");

    maybe_entry(&app, 1).set(None).await.unwrap();
    assert_eq!(maybe(&app, 1).await, None);
    maybe_entry(&app, 1).set("one".to_owned()).await.unwrap();
    assert_eq!(maybe(&app, 1).await.as_deref(), Some("one"));
    assert_eq!(app.runs.get(), 1);
    assert_eq!(maybe_entry(&app, 0).refresh().await, None, "a refresh asks again");
    assert_eq!(app.runs.get(), 2);

    forgotten_entry(&app, 1).set("one".to_owned()).await.unwrap();
    forgotten_entry(&app, 1).set(None).await.unwrap();
    assert_eq!(
        forgotten(&app, 1).await.as_deref(),
        Some("item 1"),
        "the outdated value is gone"
    );
}

#[tokio::test]
async fn a_value_that_is_not_to_be_stored_ends_what_is_stored() {
    let app = App::new();
    maybe(&app, 1).await;
    maybe_entry(&app, 1).set("secret".to_owned()).await.unwrap();
    assert_eq!(maybe_entry(&app, 1).get().await.unwrap(), None);
}

/// Each kind of function that the attribute treats in its own way.
mod kinds {
    use super::*;

    struct Id(u64);

    #[cached(cache = app.cache, key = "taken apart {id}")]
    async fn taken_apart(app: &App, Id(id): Id) -> u64 {
        app.runs.up();
        id
    }

    #[cached(cache = app.cache, skip(app))]
    async fn with_statics(app: &App, id: u64) -> usize {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        app.runs.up();
        let _ = id;
        RUNS.fetch_add(1, Ordering::SeqCst) + 1
    }

    #[cached(cache = app.cache, skip(app))]
    async fn generic<T: Default + Clone + Send + Sync + serde::Serialize + serde::de::DeserializeOwned + 'static>(
        app: &App,
        mut id: u64,
    ) -> (u64, T) {
        id += app.runs.up() as u64;
        (id, T::default())
    }

    #[cached(cache = app.cache, skip(app), detached)]
    async fn detached(app: &App, id: &str) -> Arc<String> {
        app.runs.up();
        Arc::new(id.to_owned())
    }

    struct Users(App);

    impl Users {
        #[cached(cache = self.0.cache, skip(self))]
        async fn method(&self, id: u64) -> u64 {
            self.0.runs.up();
            id
        }

        #[cached(cache = app.cache, skip(app))]
        async fn associated(app: &App, id: u64) -> u64 {
            app.runs.up();
            id
        }
    }

    #[tokio::test]
    async fn all_of_them_have_entries() {
        let app = App::new();
        taken_apart_entry(&app, Id(1)).set(7).await.unwrap();
        assert_eq!(taken_apart(&app, Id(1)).await, 7);
        assert_eq!(taken_apart_entry(&app, Id(1)).refresh().await, 1);

        assert_eq!(with_statics(&app, 1).await, 1);
        assert_eq!(
            with_statics_entry(&app, 1).refresh().await,
            2,
            "its statics are the same"
        );

        assert_eq!(generic::<u8>(&app, 1).await, (5, 0));
        assert_eq!(generic_entry::<u8>(&app, 1).refresh().await, (6, 0));
        assert_eq!(generic::<u8>(&app, 1).await, (6, 0));

        detached_entry(&app, "a")
            .set(Arc::new("given".to_owned()))
            .await
            .unwrap();
        assert_eq!(**detached(&app, "a").await, *"given");
        assert_eq!(**detached_entry(&app, "a").refresh().await, *"a");
        assert_eq!(**detached_entry(&app, "a").get().await.unwrap().unwrap(), *"a");

        let users = Users(app.clone());
        users.method_entry(1).set(9).await.unwrap();
        assert_eq!(users.method(1).await, 9);
        assert_eq!(users.method_entry(1).refresh().await, 1);
        Users::associated_entry(&app, 1).set(9).await.unwrap();
        assert_eq!(Users::associated(&app, 1).await, 9);
        assert_eq!(Users::associated_entry(&app, 1).refresh().await, 1);
    }
}

#[cached(cache = app.cache, skip(app))]
async fn outer(app: &App) -> (usize, usize) {
    (app.runs.up(), inner(app).await)
}

#[cached(cache = app.cache, skip(app))]
async fn inner(app: &App) -> usize {
    app.runs.up()
}

#[tokio::test]
async fn only_the_call_itself_is_asked_and_not_what_it_calls() {
    let app = App::new();
    assert_eq!(outer(&app).await, (1, 2));
    assert_eq!(outer_entry(&app).refresh().await, (3, 2), "the inner value is a hit");
}

#[cached(cache = app.cache, skip(app), when = *id > 0)]
async fn sometimes(app: &App, id: &u64) -> (usize, usize) {
    let _ = id;
    (app.runs.up(), inner(app).await)
}

#[tokio::test]
async fn a_call_that_is_not_cached_has_an_empty_entry() {
    let app = App::new();
    assert!(sometimes_entry(&app, &0).get().await.unwrap().is_none());
    sometimes_entry(&app, &0).set((7, 7)).await.unwrap();
    assert_eq!(app.runs.get(), 0);
    assert_eq!(sometimes_entry(&app, &0).refresh().await, (1, 2), "it runs as always");
    assert_eq!(sometimes_entry(&app, &0).refresh().await, (3, 2));

    assert!(bypass(find_entry(&app, 1).get()).await.unwrap().is_none());
    app.cache.set_enabled(false);
    assert!(find_entry(&app, 1).get().await.unwrap().is_none());
    find_entry(&app, 1).set("given".to_owned()).await.unwrap();
    app.cache.set_enabled(true);
    assert!(find_entry(&app, 1).get().await.unwrap().is_none());
}

#[tokio::test]
async fn entries_can_be_used_in_spawned_tasks() {
    let app = App::new();
    let task = |app: App| async move {
        find_entry(&app, 1).set("given".to_owned()).await.unwrap();
        find_entry(&app, 1).get().await.unwrap().unwrap().unwrap();
        find_entry(&app, 1).refresh().await.unwrap()
    };
    assert_eq!(tokio::spawn(task(app)).await.unwrap(), "1: run 1");
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Token {
    text: String,
    seconds: u32,
}

#[cached(cache = app.cache, skip(app), ttl_of = |token| token.seconds * SEC, store_if = |token| token.text != "bad")]
async fn token(app: &App, seconds: u32) -> Token {
    app.runs.up();
    Token {
        text: if seconds == 13 {
            "bad".to_owned()
        } else {
            "good".to_owned()
        },
        seconds,
    }
}

fn rest(token: &Token) -> Option<std::time::Duration> {
    (token.seconds > 0).then(|| token.seconds * SEC)
}

#[cached(cache = app.cache, skip(app), ttl_of = rest, detached)]
async fn endless(app: &App, seconds: u32) -> Token {
    token(app, seconds).await
}

#[tokio::test]
async fn a_value_states_its_own_lifetime() {
    let clock = ManualClock::new();
    let app = App::over(local(&clock).build());
    for seconds in [5, 50] {
        token(&app, seconds).await;
    }
    clock.advance(4 * SEC);
    token(&app, 5).await;
    assert_eq!(app.runs.get(), 2);
    clock.advance(SEC);
    token(&app, 50).await;
    assert_eq!(app.runs.get(), 2);
    token(&app, 5).await;
    assert_eq!(app.runs.get(), 3, "it was fresh for five seconds");
    for _ in 0..2 {
        token(&app, 0).await;
    }
    assert_eq!(app.runs.get(), 5, "a value without a lifetime is not stored");
    for _ in 0..2 {
        token(&app, 13).await;
    }
    assert_eq!(app.runs.get(), 7, "`store_if` refuses it");

    let given = Token {
        text: "given".to_owned(),
        seconds: 3,
    };
    token_entry(&app, 60).set(given.clone()).await.unwrap();
    clock.advance(2 * SEC);
    assert_eq!(token(&app, 60).await, given);
    clock.advance(SEC);
    assert_ne!(token(&app, 60).await, given, "what is set has its own lifetime too");
}

#[tokio::test]
async fn a_function_may_state_the_lifetime_and_none_is_for_ever() {
    let clock = ManualClock::new();
    let app = App::over(local(&clock).contributes(false).build());
    endless(&app, 0).await;
    let runs = app.runs.get();
    clock.advance(1_000_000 * SEC);
    endless(&app, 0).await;
    assert_eq!(app.runs.get(), runs);
}
