//! `#[cached]` on functions: what is stored, what is not, and what each option does.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use cache_core::ManualClock;
use cache_engine::cache_core::{Coder, Error, FunctionCall, KeyName, ReadableCall};
use cache_engine::{Cache, CallError, cached};
use cache_memory::MemoryBackend;
use support::{Count, Fate, Log, Remote, SEC, local, memory, over};

/// What the functions of these tests are given: a cache of their own, and a count of their runs.
struct App {
    cache: Cache,
    runs: Count,
    clock: ManualClock,
}

impl App {
    fn new() -> Self {
        let clock = ManualClock::new();
        Self {
            cache: local(&clock).build(),
            runs: Count::new(),
            clock,
        }
    }
}

#[cached(cache = app.cache, skip(app))]
async fn greeting(app: &App, name: &str) -> String {
    app.runs.up();
    format!("hello {name}")
}

#[tokio::test]
async fn a_second_call_is_a_hit() {
    let app = App::new();
    assert_eq!(greeting(&app, "ada").await, "hello ada");
    assert_eq!(greeting(&app, "ada").await, "hello ada");
    assert_eq!(app.runs.get(), 1);
    assert_eq!(greeting(&app, "bob").await, "hello bob");
    assert_eq!(app.runs.get(), 2);
}

#[tokio::test]
async fn a_store_out_of_reach_is_not_the_callers_problem() {
    let remote = Remote::new();
    let app = App {
        cache: over(&remote).build(),
        ..App::new()
    };
    remote.always(Fate::Fail(cache_core::ErrorKind::Unavailable));
    assert_eq!(greeting(&app, "ada").await, "hello ada");
    assert_eq!(greeting(&app, "ada").await, "hello ada");
    assert_eq!(app.runs.get(), 2);
}

#[tokio::test]
async fn a_value_travels_as_bytes() {
    let remote = Remote::new();
    let app = App {
        cache: over(&remote).build(),
        ..App::new()
    };
    assert_eq!(greeting(&app, "ada").await, "hello ada");
    assert_eq!(greeting(&app, "ada").await, "hello ada");
    assert_eq!(app.runs.get(), 1);
    let stored = remote.peek(greeting_entry(&app, "ada").key().unwrap()).await.unwrap();
    assert_eq!(&stored.payload[..], b"\"hello ada\"");
}

#[tokio::test]
async fn a_cache_that_is_switched_off_is_not_asked() {
    let app = App::new();
    app.cache.set_enabled(false);
    greeting(&app, "ada").await;
    greeting(&app, "ada").await;
    assert_eq!(app.runs.get(), 2);
}

#[cached(cache = app.cache, skip(app))]
async fn checked(app: &App, number: i32) -> Result<i32, String> {
    app.runs.up();
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
    assert_eq!(app.runs.get(), 2);
    assert_eq!(checked(&app, 4).await, Ok(8));
    assert_eq!(checked(&app, 4).await, Ok(8));
    assert_eq!(app.runs.get(), 3);
}

type Answer<T> = std::result::Result<T, Trouble>;

/// An error that can neither be cloned nor made of anything.
#[derive(Debug, PartialEq)]
struct Trouble;

#[cached(cache = app.cache, skip(app))]
async fn behind_an_alias(app: &App, fail: bool) -> Answer<u8> {
    app.runs.up();
    if fail { Err(Trouble) } else { Ok(1) }
}

#[tokio::test]
async fn a_result_behind_an_alias_is_a_result() {
    let app = App::new();
    assert_eq!(behind_an_alias(&app, true).await, Err(Trouble));
    assert_eq!(behind_an_alias(&app, true).await, Err(Trouble));
    assert_eq!(app.runs.get(), 2);
    assert_eq!(behind_an_alias(&app, false).await, Ok(1));
    assert_eq!(behind_an_alias(&app, false).await, Ok(1));
    assert_eq!(app.runs.get(), 3);
}

#[cached(cache = app.cache, skip(app))]
async fn with_anyhow(app: &App, text: &str) -> anyhow::Result<u32> {
    app.runs.up();
    Ok(text.parse::<u32>()?)
}

#[tokio::test]
async fn the_caller_whose_load_fails_gets_its_own_error() {
    let app = App::new();
    let error = with_anyhow(&app, "x").await.unwrap_err();
    assert!(error.downcast_ref::<std::num::ParseIntError>().is_some(), "{error:?}");
    assert!(with_anyhow(&app, "x").await.is_err());
    assert_eq!(app.runs.get(), 2);
    assert_eq!(with_anyhow(&app, "7").await.unwrap(), 7);
    assert_eq!(with_anyhow(&app, "7").await.unwrap(), 7);
    assert_eq!(app.runs.get(), 3);
}

#[tokio::test]
async fn a_type_that_is_only_called_result_is_a_value() {
    /// It has the name, and nothing else.
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    enum Result {
        Err(u8),
    }

    #[cached(cache = app.cache, skip(app))]
    async fn own_result(app: &App) -> Result {
        app.runs.up();
        Result::Err(1)
    }

    let app = App::new();
    assert_eq!(own_result(&app).await, Result::Err(1));
    assert_eq!(own_result(&app).await, Result::Err(1));
    assert_eq!(app.runs.get(), 1);
}

#[cached(cache = app.cache, skip(app))]
async fn found(app: &App, id: u8) -> Option<u8> {
    app.runs.up();
    (id != 0).then_some(id)
}

#[cached(cache = app.cache, skip(app), negative_ttl = "30s")]
async fn found_or_not(app: &App, id: u8) -> Result<Option<u8>, String> {
    app.runs.up();
    Ok((id != 0).then_some(id))
}

#[tokio::test]
async fn none_is_not_stored() {
    let app = App::new();
    assert_eq!((found(&app, 0).await, found(&app, 0).await), (None, None));
    assert_eq!(app.runs.get(), 2);
    assert_eq!((found(&app, 5).await, found(&app, 5).await), (Some(5), Some(5)));
    assert_eq!(app.runs.get(), 3);
}

#[tokio::test]
async fn none_is_stored_for_as_long_as_negative_says() {
    let app = App::new();
    assert_eq!(found_or_not(&app, 0).await, Ok(None));
    app.clock.advance(29 * SEC);
    assert_eq!(found_or_not(&app, 0).await, Ok(None));
    assert_eq!(app.runs.get(), 1);
    app.clock.advance(SEC);
    assert_eq!(found_or_not(&app, 0).await, Ok(None));
    assert_eq!(app.runs.get(), 2);
    assert_eq!(found_or_not(&app, 3).await, Ok(Some(3)));
}

/// It has neither a `Clone` nor an encoding of its own as an `Arc`.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Large(Vec<u32>);

#[cached(cache = app.cache, skip(app))]
async fn list(app: &App) -> Arc<Large> {
    app.runs.up();
    Arc::new(Large(vec![1, 2, 3]))
}

#[cached(cache = app.cache, skip(app))]
async fn list_of_results(app: &App) -> Result<Option<Arc<Large>>, String> {
    app.runs.up();
    Ok(Some(Arc::new(Large(vec![1, 2, 3]))))
}

#[tokio::test]
async fn an_arc_is_handed_out_itself() {
    let app = App::new();
    let first = list(&app).await;
    assert!(Arc::ptr_eq(&first, &list(&app).await));
    let first = list_of_results(&app).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &list_of_results(&app).await.unwrap().unwrap()));
    assert_eq!(app.runs.get(), 2);
}

#[tokio::test]
async fn the_time_to_live_is_a_text_or_an_expression() {
    #[cached(cache = app.cache, skip(app), ttl = "1m30s")]
    async fn by_text(app: &App) -> usize {
        app.runs.up()
    }

    #[cached(cache = app.cache, skip(app), ttl = Duration::from_secs(seconds))]
    async fn by_expression(app: &App, seconds: u64) -> usize {
        app.runs.up()
    }

    #[cached(cache = app.cache, skip(app), ttl = None)]
    async fn for_ever(app: &App) -> usize {
        app.runs.up()
    }

    let app = App::new();
    assert_eq!(
        (by_text(&app).await, by_expression(&app, 60).await, for_ever(&app).await),
        (1, 2, 3)
    );
    app.clock.advance(59 * SEC);
    assert_eq!((by_text(&app).await, by_expression(&app, 60).await), (1, 2));
    app.clock.advance(30 * SEC);
    assert_eq!((by_text(&app).await, by_expression(&app, 60).await), (1, 4));
    app.clock.advance(SEC);
    assert_eq!(by_text(&app).await, 5);
    app.clock.advance(1_000_000 * SEC);
    assert_eq!(for_ever(&app).await, 3);
}

#[tokio::test]
async fn a_stale_value_is_answered_if_the_load_fails() {
    #[cached(cache = app.cache, skip(app), ttl = "1s", stale_if_error = "1m")]
    async fn flaky(app: &App) -> Result<usize, String> {
        match app.runs.up() {
            1 => Ok(1),
            run => Err(format!("run {run} failed")),
        }
    }

    let app = App::new();
    assert_eq!(flaky(&app).await, Ok(1));
    app.clock.advance(2 * SEC);
    assert_eq!(flaky(&app).await, Ok(1));
    assert_eq!(app.runs.get(), 2);
    app.clock.advance(60 * SEC);
    assert_eq!(flaky(&app).await, Err("run 3 failed".to_owned()));
}

#[tokio::test]
async fn a_key_is_a_format_string_or_an_expression() {
    #[cached(cache = app.cache, namespace = "users", key = "user:{id}")]
    async fn by_text(app: &App, id: u32, trace: &str) -> String {
        app.runs.up();
        format!("{id} for {trace}")
    }

    #[cached(cache = app.cache, namespace = "tenant {tenant}", key = id)]
    async fn by_display(app: &App, tenant: &str, id: u32) -> u32 {
        id
    }

    #[cached(cache = app.cache, key = KeyName::with_identity("short", name.as_bytes()))]
    async fn by_name(app: &App, name: String) -> String {
        app.runs.up();
        name
    }

    let app = App::new();
    assert_eq!(by_text(&app, 1, "a").await, "1 for a");
    assert_eq!(by_text(&app, 1, "b").await, "1 for a");
    let users = app.cache.with_namespace("users");
    assert_eq!(*users.get::<String>("user:1").await.unwrap().unwrap(), "1 for a");
    assert_eq!(by_text_entry(&app, 1, "").key().unwrap().as_str(), "cache:users:user:1");

    assert_eq!(
        by_display_entry(&app, "x:y", 7).key().unwrap().as_str(),
        "cache:tenant x%3Ay:7"
    );
    assert_eq!(by_display(&app, "x:y", 7).await, 7);

    assert_eq!(by_name(&app, "ada".to_owned()).await, "ada");
    assert_eq!(by_name(&app, "bob".to_owned()).await, "bob");
    assert_eq!(app.runs.get(), 3);
}

#[tokio::test]
async fn arguments_may_be_taken_apart_where_the_key_is_named() {
    #[cached(cache = app.cache, key = "{x},{y}")]
    async fn apart(app: &App, (x, y): (i32, i32)) -> i32 {
        app.runs.up();
        x + y
    }

    let app = App::new();
    assert_eq!(apart(&app, (1, 2)).await, 3);
    assert_eq!(apart(&app, (1, 2)).await, 3);
    assert_eq!(apart(&app, (2, 1)).await, 3);
    assert_eq!(app.runs.get(), 2);
}

#[tokio::test]
async fn what_is_skipped_is_not_in_the_key() {
    #[cached(cache = app.cache, skip(app, trace))]
    async fn traced(app: &App, id: u32, trace: &str) -> String {
        format!("{id} for {trace}")
    }

    let app = App::new();
    assert_eq!(traced(&app, 1, "a").await, "1 for a");
    assert_eq!(traced(&app, 1, "b").await, "1 for a");
    assert_eq!(traced(&app, 2, "b").await, "2 for b");
}

#[tokio::test]
async fn a_condition_lets_calls_go_past_the_cache() {
    #[cached(cache = app.cache, skip(app), when = page < 10)]
    async fn when(app: &App, page: u32) -> usize {
        app.runs.up()
    }

    #[cached(cache = app.cache, skip(app, preview), unless = preview)]
    async fn unless(app: &App, preview: bool) -> usize {
        app.runs.up()
    }

    let app = App::new();
    assert_eq!((when(&app, 1).await, when(&app, 1).await), (1, 1));
    assert_eq!((when(&app, 10).await, when(&app, 10).await), (2, 3));
    assert_eq!((unless(&app, false).await, unless(&app, false).await), (4, 4));
    assert_eq!((unless(&app, true).await, unless(&app, true).await), (5, 6));
    assert_eq!(
        unless(&app, false).await,
        4,
        "a call that goes past the cache leaves no trace in it"
    );
}

#[tokio::test]
async fn a_value_that_store_if_refuses_is_answered_and_not_stored() {
    #[cached(cache = app.cache, skip(app), store_if = |value| value % 2 == 0)]
    async fn even(app: &App) -> usize {
        app.runs.up()
    }

    let app = App::new();
    assert_eq!(even(&app).await, 1);
    assert_eq!(even(&app).await, 2);
    assert_eq!(even(&app).await, 2);
}

/// Keeps a number as its bytes.
struct Plain;

impl Coder<u32> for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn encode(&self, value: &u32) -> Result<Bytes, Error> {
        Ok(Bytes::copy_from_slice(&value.to_be_bytes()))
    }

    fn decode(&self, bytes: &Bytes) -> Result<u32, Error> {
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }
}

#[tokio::test]
async fn a_coder_codes_the_values() {
    #[cached(cache = app.cache, skip(app), coder = Plain)]
    async fn coded(app: &App) -> u32 {
        app.runs.up();
        258
    }

    let remote = Remote::new();
    let app = App {
        cache: over(&remote).build(),
        ..App::new()
    };
    assert_eq!((coded(&app).await, coded(&app).await), (258, 258));
    assert_eq!(app.runs.get(), 1);
    let stored = remote.peek(coded_entry(&app).key().unwrap()).await.unwrap();
    assert_eq!((&stored.coder[..], &stored.payload[..]), ("plain", &[0, 0, 1, 2][..]));
}

#[tokio::test]
async fn whatever_leads_to_a_cache_names_one() {
    static SHARED: LazyLock<Arc<Cache>> = LazyLock::new(|| Arc::new(local(&ManualClock::new()).build()));

    #[cached(cache = SHARED, skip(runs))]
    async fn shared(runs: &Count, id: u8) -> usize {
        runs.up() + usize::from(id)
    }

    // The argument that the cache is in belongs to the body.
    #[cached(cache = app.cache, skip(app))]
    async fn owned(app: Arc<App>, id: u8) -> usize {
        let app = { app };
        app.runs.up() + usize::from(id)
    }

    #[cached(cache = Cache::builder(memory(ManualClock::new())).build())]
    async fn made(id: u8) -> u8 {
        id
    }

    let app = Arc::new(App::new());
    assert_eq!(owned(Arc::clone(&app), 1).await, 2);
    assert_eq!(owned(Arc::clone(&app), 1).await, 2);
    assert_eq!((shared(&app.runs, 1).await, shared(&app.runs, 1).await), (3, 3));
    assert_eq!(made(3).await, 3);
}

#[tokio::test]
async fn a_call_without_a_key_runs_uncached() {
    struct Refused;

    impl serde::Serialize for Refused {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }

    #[cached(cache = app.cache, skip(app))]
    async fn keyless(app: &App, argument: &Refused) -> usize {
        app.runs.up()
    }

    let app = App::new();
    assert_eq!((keyless(&app, &Refused).await, keyless(&app, &Refused).await), (1, 2));
    let error = keyless_entry(&app, &Refused).invalidate().await.unwrap_err();
    assert_eq!(error.kind(), cache_core::ErrorKind::InvalidKey);
}

#[tokio::test]
async fn a_function_that_asks_for_its_own_entry_is_told_so() {
    #[cached(cache = app.cache, skip(app))]
    async fn endless(app: &App, n: u32) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
        Box::pin(endless(app, n)).await
    }

    let app = App::new();
    let error = endless(&app, 1).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(CallError::Circular(_))), "{error}");
    assert_eq!(app.cache.in_flight(), 0);
}

#[tokio::test]
#[should_panic(expected = "asks for its own key")]
async fn a_function_that_asks_for_its_own_entry_and_returns_no_error_panics() {
    #[cached(cache = app.cache, skip(app))]
    async fn endless(app: &App, n: u32) -> u32 {
        Box::pin(endless(app, n)).await
    }

    endless(&App::new(), 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_load_timeout_is_for_functions_that_can_say_so() {
    #[cached(cache = app.cache, skip(app))]
    async fn fallible(app: &App) -> anyhow::Result<u8> {
        tokio::time::sleep(2 * SEC).await;
        Ok(1)
    }

    #[cached(cache = app.cache, skip(app))]
    async fn infallible(app: &App) -> u8 {
        tokio::time::sleep(2 * SEC).await;
        1
    }

    let clock = ManualClock::new();
    let app = App {
        cache: local(&clock).load_timeout(SEC).build(),
        ..App::new()
    };
    let error = fallible(&app).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(CallError::TimedOut(_))), "{error}");
    assert_eq!(infallible(&app).await, 1);
}

/// The documentation of the function.
#[must_use]
#[cached(cache = app.cache, skip(app))]
pub(crate) async fn keeps_its_attributes<'a, T>(app: &'a App, mut items: Vec<T>) -> usize
where
    T: serde::Serialize + Ord,
{
    app.runs.up();
    items.sort();
    items.dedup();
    items.len()
}

#[tokio::test]
async fn a_function_keeps_what_it_was() {
    let app = App::new();
    assert_eq!(keeps_its_attributes(&app, vec![2, 1, 2]).await, 2);
    assert_eq!(keeps_its_attributes(&app, vec![2, 1, 2]).await, 2);
    assert_eq!(app.runs.get(), 1);
}

#[tokio::test]
async fn events_tell_of_a_functions_hits_and_misses() {
    let (clock, log) = (ManualClock::new(), Log::new());
    let app = App {
        cache: local(&clock).observer(log.clone()).build(),
        ..App::new()
    };
    greeting(&app, "ada").await;
    assert_eq!(log.take(), ["miss", "load_started", "loaded", "stored"]);
    greeting(&app, "ada").await;
    assert_eq!(log.take(), ["hit"]);
}

#[tokio::test]
async fn the_key_builder_of_the_cache_names_the_calls() {
    #[cached(cache = cache, skip(cache))]
    async fn sum(cache: &Cache, a: u32, b: u32) -> u32 {
        a + b
    }

    let hashed = Cache::builder(MemoryBackend::default()).build();
    let readable = Cache::builder(MemoryBackend::default())
        .key_builder(ReadableCall)
        .build();
    let own = Cache::builder(MemoryBackend::default())
        .key_builder(|call: &FunctionCall<'_>| Ok(KeyName::new(format!("my {}", call.function()))))
        .build();
    let mut names = Vec::new();
    for cache in [&hashed, &readable, &own] {
        assert_eq!(sum(cache, 1, 2).await, 3);
        let entry = sum_entry(cache, 1, 2);
        let key = entry.key().unwrap();
        assert_eq!(cache.get::<u32>(key).await.unwrap().as_deref(), Some(&3));
        names.push(key.name().to_owned());
    }
    assert!(
        names[0].len() == 32 && names[0].bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{names:?}"
    );
    assert!(
        names[1].contains("sum") && names[1].contains('1') && names[1].contains('2'),
        "{names:?}"
    );
    assert_eq!(names[2], "my sum");
}
