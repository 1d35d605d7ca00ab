//! What a cache does is traced: loads and calls of the store as children of their caller's span, and what runs in the
//! background as spans of their own, which link to it. Collected by OpenTelemetry's SDK.
//!
//! A file of its own, since `tracing` remembers what the first subscriber wanted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;
#[path = "support/traces.rs"]
mod traces;

use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::SystemTime;

use cache_core::ErrorKind;
use cache_engine::{Cache, Invalidation, LoadError, cached};
use futures_util::{FutureExt, future::join};
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use support::{Count, Fate, Gate, MS, Remote, SEC, TokioClock, idle, local, over};
use traces::{Asked, Traces};
use tracing::{Instrument, Span, info_span};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// The span of a request.
fn request() -> Span {
    info_span!("request")
}

/// What a loader does, in a span of its own.
async fn query<T>(gate: Option<Gate>, value: T) -> Result<T, Infallible> {
    let work = async {
        if let Some(gate) = gate {
            gate.pass().await;
        }
    };
    work.instrument(info_span!("query")).await;
    Ok(value)
}

#[tokio::test(start_paused = true)]
async fn a_load_is_a_child_of_its_callers_span_and_its_calls_of_the_store_are_clients() {
    let traces = Traces::new();
    let cache = over(&Remote::new()).name("shop").build().with_namespace("users");
    let get = || cache.get_or_load("42", || query(None, 1)).instrument(request());
    get().await.unwrap();
    idle().await;
    let (request, load) = (traces.one("request"), traces.one("cache.load"));
    assert!(load.is_child_of(&request));
    assert!(traces.one("query").is_child_of(&load));
    let attributes = [
        "cache.name",
        "cache.namespace",
        "cache.load.outcome",
        "error.type",
        "cache.key",
    ];
    let attributes = attributes.map(|name| load.attribute(name).unwrap_or_default());
    assert_eq!(attributes, ["shop", "users", "ok", "", ""], "{load:?}");
    assert_eq!(
        (&load.status, load.span_kind.clone()),
        (&Status::Unset, SpanKind::Internal)
    );

    let (read, writes) = (traces.one("get"), traces.all("set"));
    assert!(read.is_child_of(&request));
    // The lease, and the value.
    assert_eq!(writes.len(), 2);
    assert!(writes.iter().all(|write| write.is_child_of(&load)));
    for call in writes.iter().chain([&read]) {
        assert_eq!(call.span_kind, SpanKind::Client);
        assert_eq!(call.attribute("db.operation.name").unwrap(), call.name);
        assert_eq!(call.attribute("db.system.name").as_deref(), Some("test.remote"));
        assert_eq!(call.attribute("cache.name").as_deref(), Some("shop"));
        assert_eq!((&call.status, call.attribute("error.type")), (&Status::Unset, None));
    }

    // A hit is no load.
    traces.reset();
    get().await.unwrap();
    assert!(traces.one("get").is_child_of(&traces.one("request")));
    assert_eq!(traces.ended().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_in_this_process_is_no_client_and_a_hit_in_it_is_no_span() {
    let traces = Traces::new();
    let cache = local(&TokioClock::new()).build();
    let get = || cache.get_or_load("key", || query(None, 1)).instrument(request());
    get().await.unwrap();
    assert!(traces.one("cache.load").is_child_of(&traces.one("request")));
    assert_eq!(traces.ended().len(), 3);
    traces.reset();
    get().await.unwrap();
    assert_eq!(traces.ended().len(), 1);
    // Loads that borrow, in the caller's task.
    let load = || query(None, 1);
    cache
        .borrowing()
        .get_or_load("other", load)
        .instrument(request())
        .await
        .unwrap();
    assert!(traces.one("query").is_child_of(&traces.one("cache.load")));
}

#[cached(cache = cache, skip(cache, gate), detached = false)]
async fn in_its_callers_task(cache: &Cache, key: &str, gate: Option<Gate>) -> usize {
    query(gate, key.len()).await.unwrap()
}

#[cached(cache = cache, skip(cache, gate), ttl = "10s", stale_while_revalidate = "60s", detached)]
async fn in_a_task(cache: Cache, key: String, gate: Option<Gate>) -> usize {
    query(gate, key.len()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn functions_and_batches_have_spans_of_loads_too() {
    let traces = Traces::new();
    for cache in [over(&Remote::new()).build(), local(&TokioClock::new()).build()] {
        in_its_callers_task(&cache, "a", None).instrument(request()).await;
        idle().await;
        let load = traces.one("cache.load");
        assert!(load.is_child_of(&traces.one("request")));
        assert!(traces.one("query").is_child_of(&load));
        assert!(traces.all("set").iter().all(|write| write.is_child_of(&load)));
        traces.reset();
        in_a_task(cache.clone(), "a".to_owned(), None)
            .instrument(request())
            .await;
        assert!(traces.one("query").is_child_of(&traces.one("cache.load")));
        traces.reset();
        let load = |ids: Vec<u32>| async move { query(None, ids.into_iter().map(|id| (id, id)).collect()).await };
        cache.get_or_load_many(0..20, load).instrument(request()).await.unwrap();
        let load = traces.one("cache.load");
        assert!(load.is_child_of(&traces.one("request")));
        assert!(traces.one("query").is_child_of(&load));
        assert_eq!(load.attribute("cache.load.keys").as_deref(), Some("20"));
        assert_eq!(load.attribute("cache.load.outcome").as_deref(), Some("ok"));
        if let Some(read) = traces.all("get_many").first() {
            assert_eq!(read.attribute("db.operation.batch.size").as_deref(), Some("20"));
        }
        traces.reset();
    }
}

#[tokio::test(start_paused = true)]
async fn the_span_says_how_a_load_failed() {
    let traces = Traces::new();
    let cache = local(&TokioClock::new()).load_timeout(SEC).build();
    let failed = |expected: &str, status: Status| {
        let load = traces.one("cache.load");
        assert_eq!(load.attribute("cache.load.outcome").as_deref(), Some(expected));
        assert_eq!(load.attribute("error.type").as_deref(), Some(expected));
        assert_eq!(load.status, status);
        traces.reset();
    };
    let error = cache.get_or_load("key", || async { Err::<u8, _>("no") }).await;
    assert!(matches!(error, Err(LoadError::Failed(_))));
    failed("error", Status::error(""));
    let hung = cache
        .get_or_load("key", std::future::pending::<Result<u8, Infallible>>)
        .await;
    assert!(matches!(hung, Err(LoadError::TimedOut(_))));
    failed("timeout", Status::error(""));
    let panicked = cache.get_or_load("key", || async { panic!("at the disco") as Result<u8, Infallible> });
    assert!(matches!(AssertUnwindSafe(panicked).await, Err(LoadError::Panicked(_))));
    failed("panic", Status::error(""));
    let load = || std::future::pending::<Result<u8, Infallible>>();
    assert!(cache.borrowing().get_or_load("key", load).now_or_never().is_none());
    failed("cancelled", Status::Unset);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_the_store_that_fails_says_how() {
    let traces = Traces::new();
    let store = Remote::new();
    let cache = over(&store).build();
    for (fate, kind) in [(Fate::Freeze, "timeout"), (Fate::Fail(ErrorKind::Rejected), "rejected")] {
        store.once(fate, |_| true);
        assert!(cache.get::<u8>("key").await.is_err());
        let call = traces.one("get");
        assert_eq!(call.attribute("error.type").as_deref(), Some(kind));
        assert_eq!(call.status, Status::error(""));
        traces.reset();
    }
    // A caller that leaves is no error of the store.
    store.once(Fate::Freeze, |_| true);
    assert!(cache.get::<u8>("key").now_or_never().is_none());
    let call = traces.one("get");
    assert_eq!(call.attribute("error.type").as_deref(), Some("cancelled"));
    assert_eq!(call.status, Status::Unset);
}

/// Caches whose entries can be stale, or refreshed early.
fn refreshing() -> [Cache; 3] {
    let stale = |builder: cache_engine::CacheBuilder| builder.ttl(10 * SEC).stale_while_revalidate(60 * SEC);
    let early = local(&TokioClock::new()).ttl(60 * SEC).early_refresh_after(0.1);
    [
        stale(local(&TokioClock::new())).build(),
        stale(over(&Remote::new())).build(),
        early.build(),
    ]
}

/// Checks that `ask` is answered at once, that its span ends, and that the refresh that it starts links to it.
async fn links<F: Future<Output = ()>>(traces: &Traces, gate: &Gate, cache: &Cache, ask: F) {
    traces.reset();
    ask.instrument(request()).await;
    gate.reached().await;
    idle().await;
    // The refresh is held up by its gate, and the request has ended all the same.
    let request = traces.one("request");
    assert!(traces.all("cache.refresh").is_empty());
    gate.open();
    cache.settled().await;
    idle().await;
    let refresh = traces.one("cache.refresh");
    assert!(refresh.is_root_linked_to(&request), "{refresh:?}");
    assert_eq!(refresh.attribute("cache.load.outcome").as_deref(), Some("ok"));
    assert!(traces.one("query").is_child_of(&refresh));
    assert!(refresh.end_time >= request.end_time);
    // All that belongs to the refresh is in its trace, whose first span it is.
    for span in traces.ended() {
        let is_read = span.span_kind == SpanKind::Client && span.is_child_of(&request);
        let is_of_refresh = span.span_context.trace_id() == refresh.span_context.trace_id();
        assert!(span.name == "request" || is_read || is_of_refresh, "{span:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_in_the_background_links_to_the_request_which_ends_with_its_answer() {
    let traces = Traces::new();
    for cache in refreshing() {
        cache.set("key", 0).await.unwrap();
        tokio::time::advance(11 * SEC).await;
        let gate = Gate::closed();
        let load = {
            let gate = gate.clone();
            || query(Some(gate), 1)
        };
        let ask = async { assert_eq!(*cache.get_or_load("key", load).await.unwrap(), 0) };
        links(&traces, &gate, &cache, ask).await;
        assert_eq!(cache.get::<i32>("key").await.unwrap().as_deref(), Some(&1));

        let gate = Gate::closed();
        cache.set_many([("1", 0_u32), ("2", 0)]).await.unwrap();
        tokio::time::advance(11 * SEC).await;
        let load = {
            let gate = gate.clone();
            move |ids: Vec<u32>| {
                query(
                    Some(gate.clone()),
                    ids.into_iter().map(|id| (id, 9_u32)).collect::<HashMap<_, _>>(),
                )
            }
        };
        let ask = async { assert_eq!(*cache.get_or_load_many([1, 2], load).await.unwrap()[&1], 0) };
        links(&traces, &gate, &cache, ask).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_refresh_of_a_function_links_to_the_request() {
    let traces = Traces::new();
    for cache in refreshing().into_iter().take(2) {
        in_a_task(cache.clone(), "key".to_owned(), None).await;
        tokio::time::advance(11 * SEC).await;
        let gate = Gate::closed();
        let ask = async { assert_eq!(in_a_task(cache.clone(), "key".to_owned(), Some(gate.clone())).await, 3) };
        links(&traces, &gate, &cache, ask).await;
    }
}

/// The control: a task that keeps the span of the request keeps it from ending.
#[tokio::test(start_paused = true)]
async fn a_task_in_the_span_of_the_request_would_make_it_last_as_long() {
    let traces = Traces::new();
    let gate = Gate::closed();
    let held = gate.clone();
    let answered = async {
        tokio::spawn(async move { held.pass().await }.in_current_span());
    };
    answered.instrument(request()).await;
    gate.reached().await;
    idle().await;
    assert!(traces.all("request").is_empty());
    let later = SystemTime::now();
    gate.open();
    idle().await;
    assert!(traces.one("request").end_time >= later);
}

#[tokio::test(start_paused = true)]
async fn callers_that_wait_link_to_the_load_that_they_wait_for() {
    let traces = Traces::new();
    let cache = over(&Remote::new()).build();
    let gate = Gate::closed();
    let get = |cache: &Cache, gate: &Gate| {
        let (cache, gate) = (cache.clone(), gate.clone());
        let get = async move { *cache.get_or_load("key", || query(Some(gate), 1)).await.unwrap() };
        tokio::spawn(get.instrument(request()))
    };
    let first = get(&cache, &gate);
    gate.reached().await;
    let second = get(&cache, &gate);
    idle().await;
    gate.open();
    let (first, second) = join(first, second).await;
    assert_eq!((first.unwrap(), second.unwrap()), (1, 1));
    idle().await;
    let (load, wait) = (traces.one("cache.load"), traces.one("cache.wait"));
    assert!(wait.links_to(&load));
    let requests = traces.all("request");
    assert!(requests.iter().any(|request| load.is_child_of(request)));
    assert!(requests.iter().any(|request| wait.is_child_of(request)));
    assert_ne!(wait.parent_span_id, load.parent_span_id);
}

/// A caller that goes on before its load has ended: by the soft timeout, or because it is dropped.
#[tokio::test(start_paused = true)]
async fn a_load_that_outlasts_its_caller_does_not_prolong_the_callers_span() {
    for targets in [
        Targets::new().with_default(LevelFilter::DEBUG),
        // Without the spans of the cache, the load runs in the caller's span, as long as the caller waits.
        Targets::new()
            .with_default(LevelFilter::DEBUG)
            .with_target("cache", LevelFilter::OFF),
    ] {
        let is_traced = targets.would_enable("cache::load", &tracing::Level::INFO);
        let traces = Traces::of(targets);
        let cache = local(&TokioClock::new())
            .ttl(SEC)
            .stale_if_error(60 * SEC)
            .soft_timeout(100 * MS)
            .build();
        cache.set("stale", 0).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        for (key, is_dropped) in [("stale", false), ("missing", true)] {
            let gate = Gate::closed();
            let held = gate.clone();
            let mut asking = Box::pin(cache.get_or_load(key, || query(Some(held), 1)).instrument(request()));
            if is_dropped {
                assert!((&mut asking).now_or_never().is_none());
                gate.reached().await;
            } else {
                assert_eq!(*(&mut asking).await.unwrap(), 0);
            }
            drop(asking);
            idle().await;
            let ended = SystemTime::now();
            gate.open();
            cache.settled().await;
            idle().await;
            let (request, query) = (traces.one("request"), traces.one("query"));
            assert!(request.end_time <= ended, "{key}");
            assert!(query.end_time >= ended);
            match is_traced {
                true => assert!(query.is_child_of(&traces.one("cache.load"))),
                false => assert!(query.is_child_of(&request)),
            }
            traces.reset();
        }
    }
}

/// Without the spans of the cache, a load that nobody waits for any more leaves its caller's span at once.
#[tokio::test(start_paused = true)]
async fn a_load_that_is_not_traced_holds_the_callers_span_only_while_the_caller_waits() {
    let traces = Traces::of("debug,cache=off".parse().unwrap());
    let cache = local(&TokioClock::new()).build();
    let gate = Gate::closed();
    let (held, inside) = (gate.clone(), Span::current);
    let load = move || async move {
        let before = inside().id();
        held.pass().await;
        Ok::<_, Infallible>((before.is_some(), inside().id().is_some()))
    };
    let mut asking = Box::pin(cache.get_or_load("key", load).instrument(request()));
    assert!((&mut asking).now_or_never().is_none());
    gate.reached().await;
    assert!(traces.all("request").is_empty());
    drop(asking);
    idle().await;
    traces.one("request");
    gate.open();
    cache.settled().await;
    assert_eq!(cache.get("key").await.unwrap().as_deref(), Some(&(true, false)));
}

/// A collector that does not want the spans of the cache, beside a log that does.
#[tokio::test(start_paused = true)]
async fn what_a_load_traces_stays_in_the_trace_of_its_caller_without_the_span_of_the_load() {
    let traces = Traces::beside_another("debug,cache=off".parse().unwrap());
    for cache in [over(&Remote::new()).build(), local(&TokioClock::new()).build()] {
        let get = cache.get_or_load("key", || query(None, 1)).instrument(request());
        get.await.unwrap();
        in_a_task(cache.clone(), "key".to_owned(), None)
            .instrument(request())
            .await;
        in_its_callers_task(&cache, "key", None).instrument(request()).await;
        idle().await;
        let requests = traces.all("request");
        let queries = traces.all("query");
        assert_eq!((requests.len(), queries.len(), traces.ended().len()), (3, 3, 6));
        let is_in_a_request = |query: &SpanData| requests.iter().any(|request| query.is_child_of(request));
        assert!(queries.iter().all(is_in_a_request));
        traces.reset();
    }
}

#[tokio::test(start_paused = true)]
async fn targets_and_levels_decide_what_is_traced() {
    let count = async |targets: Targets| {
        let traces = Traces::of(targets);
        let cache = over(&Remote::new()).ttl(SEC).stale_while_revalidate(SEC).build();
        for _ in 0..2 {
            cache.get_or_load("key", || query(None, 1)).await.unwrap();
            cache.settled().await;
            tokio::time::advance(SEC).await;
        }
        idle().await;
        let names = ["cache.load", "cache.refresh", "set"];
        let keys = traces
            .ended()
            .iter()
            .filter(|span| span.attribute("cache.key").is_some())
            .count();
        (names.map(|name| !traces.all(name).is_empty()), keys > 0)
    };
    let of = |directives: &str| directives.parse::<Targets>().unwrap();
    assert_eq!(count(of("info")).await, ([true, true, false], false));
    assert_eq!(count(of("cache=debug")).await, ([true, true, true], false));
    assert_eq!(count(of("debug,cache::store=off")).await, ([true, true, false], false));
    assert_eq!(count(of("info,cache::load=off")).await, ([false, true, false], false));
    assert_eq!(count(of("info,cache::key=trace")).await, ([true, true, false], true));
    assert_eq!(count(of("info,cache=off")).await, ([false, false, false], false));
}

#[tokio::test(start_paused = true)]
async fn invalidations_in_the_background_do_not_hold_the_callers_span() {
    let traces = Traces::new();
    let store = Remote::new();
    let cache = over(&store).build();
    let gate = Gate::closed();
    let invalidation = |cache: &Cache| -> Invalidation { cache.invalidation().add_key("key").add_tag("tag") };

    // The caller waits.
    invalidation(&cache).run().instrument(request()).await.unwrap();
    let of_caller = traces.one("cache.invalidate");
    assert!(of_caller.is_child_of(&traces.one("request")));
    assert!(traces.all("delete").iter().all(|call| call.is_child_of(&of_caller)));

    // It does not.
    traces.reset();
    store.always(Fate::Hold(gate.clone()));
    async { invalidation(&cache).run_in_background() }
        .instrument(request())
        .await;
    gate.reached().await;
    let request = traces.one("request");
    gate.open();
    cache.settled().await;
    idle().await;
    assert!(traces.one("cache.invalidate").is_root_linked_to(&request));

    // A transaction whose outcome is unknown is invalidated once more, much later.
    traces.reset();
    store.always(Fate::Pass);
    async {
        let deferred = cache.deferred();
        deferred
            .scope(async { invalidation(&cache).run().await.unwrap() })
            .await;
        drop(deferred);
    }
    .instrument(info_span!("transaction"))
    .await;
    idle().await;
    traces.one("transaction");
    cache.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_verification_links_to_the_request() {
    let traces = Traces::new();
    let cache = local(&TokioClock::new()).verify(1.0).build();
    cache.set("key", 1).await.unwrap();
    let gate = Gate::closed();
    let held = gate.clone();
    let asking = cache.get_or_load("key", || query(Some(held), 1)).instrument(request());
    asking.await.unwrap();
    gate.reached().await;
    let request = traces.one("request");
    gate.open();
    cache.settled().await;
    idle().await;
    let verification = traces.one("cache.verify");
    assert!(verification.is_root_linked_to(&request));
    assert!(traces.one("query").is_child_of(&verification));
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_a_refresh_is_a_child_of_the_span_of_its_caller_who_waits() {
    let traces = Traces::new();
    let cache = local(&TokioClock::new())
        .ttl(SEC)
        .stale_while_revalidate(60 * SEC)
        .foreground(true)
        .build();
    cache.set("key", 0).await.unwrap();
    tokio::time::advance(2 * SEC).await;
    let get = cache.get_or_load("key", || query(None, 1)).instrument(request());
    assert_eq!(*get.await.unwrap(), 1);
    idle().await;
    assert!(traces.one("cache.refresh").is_child_of(&traces.one("request")));
}

#[tokio::test(start_paused = true)]
async fn a_long_key_is_recorded_in_part() {
    let traces = Traces::of("trace".parse().unwrap());
    let cache = local(&TokioClock::new()).build();
    let name = "ä".repeat(10_000);
    cache.get_or_load(name.as_str(), || query(None, 1)).await.unwrap();
    let key = traces.one("cache.load").attribute("cache.key").unwrap();
    assert!(key.starts_with("cache::ä") && key.len() <= 256, "{key}");
}

#[tokio::test(start_paused = true)]
async fn without_a_request_a_load_is_the_first_span_of_its_trace() {
    let traces = Traces::new();
    let cache = local(&TokioClock::new()).build();
    let loads = Count::new();
    cache.get_or_load("key", loads.loading(1)).await.unwrap();
    idle().await;
    assert_eq!(traces.one("cache.load").parent_span_id, SpanId::INVALID);
}
