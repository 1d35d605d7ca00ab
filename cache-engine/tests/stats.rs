//! What a cache counts without an observer, and what observers are told besides.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::{ErrorKind, FreshnessWindows};
use cache_engine::{
    AdapterEvent, BreakerState, Cache, CacheStats, Event, Lookup, NamespaceStats, Observer, RecentEvents, RecentTarget,
    Reporting, StatsReader, SubscriptionState,
};
use support::{Count, Fate, Gate, Log, Remote, SEC, idle, local, memory_builder, over};

fn namespace(stats: &CacheStats, name: &str) -> NamespaceStats {
    let mut all = stats.namespaces.iter();
    all.find(|namespace| namespace.namespace == name)
        .cloned()
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn each_request_is_counted_once_and_by_namespace() {
    let cache = over(&Remote::new())
        .ttl(SEC)
        .stale_while_revalidate(SEC)
        .stale_if_error(10 * SEC)
        .negative_ttl(SEC)
        .build();
    let users = cache.with_namespace("users");
    let load = || Count::new().loading(1);

    users.get_or_load("1", load()).await.unwrap();
    users.get_or_load("1", load()).await.unwrap();
    users.get::<i32>("1").await.unwrap();
    users.get_many::<i32, _>(["1", "none"]).await.unwrap();
    // A key of another namespace is counted in that one.
    cache.get::<i32>(users.key("1")).await.unwrap();
    for _ in 0..2 {
        let find = || async { Ok::<Option<i32>, Infallible>(None) };
        users.get_or_load_optional("nobody", find).await.unwrap();
    }
    tokio::time::advance(SEC).await;
    users.get_or_load("1", load()).await.unwrap();
    idle().await;
    tokio::time::advance(5 * SEC).await;
    users
        .get_or_load("1", || async { Err::<i32, _>("failed") })
        .await
        .unwrap();
    users.invalidate("1").await.unwrap();
    cache.invalidate_tags(["a", "b"]).await.unwrap();
    cache.clear("users").await.unwrap();
    cache.clear_all().await.unwrap();
    cache.set_enabled(false);
    users.get::<i32>("1").await.unwrap();
    users.get_or_load("1", load()).await.unwrap();

    let stats = cache.stats();
    let counted = namespace(&stats, "users");
    assert_eq!((counted.hits.store, counted.hits.near), (4, 0));
    assert_eq!((counted.misses, counted.stale, counted.negative_hits), (4, 1, 1));
    assert_eq!(counted.bypasses, [("disabled", 2)]);
    assert_eq!(counted.requests(), 12);
    assert_eq!(
        (counted.stale_if_error, counted.load_failures, counted.loads.count()),
        (1, 1, 4)
    );
    assert_eq!(
        (counted.loads_started, counted.stored, counted.invalidations),
        (4, 3, 2)
    );
    assert_eq!((stats.tag_invalidations, stats.clears), (2, 1));
    assert_eq!((namespace(&stats, "").requests(), stats.total().requests()), (0, 12));
    assert_eq!(
        (stats.cache.as_str(), stats.in_flight, stats.pending_invalidations),
        ("cache", 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_a_miss_that_is_coalesced() {
    let cache = over(&Remote::new()).build();
    let gate = Gate::closed();
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let (cache, gate) = (cache.clone(), gate.clone());
            tokio::spawn(async move {
                let load = || async move {
                    gate.pass().await;
                    Ok::<_, Infallible>(1)
                };
                cache.get_or_load("key", load).await.unwrap();
            })
        })
        .collect();
    gate.reached().await;
    idle().await;
    assert_eq!(cache.stats().in_flight, 1);
    tokio::time::advance(Duration::from_millis(300)).await;
    gate.open();
    for call in calls {
        call.await.unwrap();
    }
    let counted = cache.stats().total();
    assert_eq!((counted.misses, counted.coalesced, counted.loads_started), (5, 4, 1));
    let times = counted.loads;
    // Waiting for the tasks takes a millisecond.
    assert_eq!((times.count(), times.total()), (1, Duration::from_millis(301)));
    let slot = times.buckets().find(|(_, count)| *count > 0);
    assert_eq!(slot, Some((Some(Duration::from_millis(500)), 1)));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_reads_again_is_still_one_request() {
    let cache = over(&Remote::new()).build();
    let gate = Gate::closed();
    let call = || {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move {
            let load = || async move {
                gate.pass().await;
                Ok::<_, Infallible>(1)
            };
            cache.get_or_load("raced", load).await.unwrap();
        })
    };
    let callers = [call(), call(), call()];
    gate.reached().await;
    idle().await;
    cache.invalidate("raced").await.unwrap();
    tokio::time::sleep(SEC).await;
    gate.open();
    for caller in callers {
        caller.await.unwrap();
    }
    let counted = cache.stats().total();
    assert_eq!((counted.requests(), counted.misses), (3, 3));
    assert_eq!(
        (counted.loads_started, counted.loads.count(), counted.fenced),
        (2, 2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn near_hits_and_the_state_of_the_store() {
    let remote = Remote::telling();
    let near = memory_builder(support::TokioClock::new()).build();
    let cache = over(&remote).near(near).breaker(2, SEC).build();
    assert_eq!(cache.stats().subscription, SubscriptionState::NotBegun);
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    let _ = cache.get::<i32>("key").await;
    idle().await;
    assert_eq!(cache.stats().subscription, SubscriptionState::Inactive);
    remote.always(Fate::Pass);
    tokio::time::sleep(2 * SEC).await;
    cache.set("key", 1).await.unwrap();
    idle().await;
    for _ in 0..3 {
        cache.get_or_load("key", Count::new().loading(1)).await.unwrap();
    }
    let stats = cache.stats();
    assert_eq!(stats.subscription, SubscriptionState::Active);
    assert_eq!(stats.near_usage.map(|usage| usage.entries), Some(1));
    assert_eq!(stats.total().hits.total(), 3);
    assert!(stats.total().hits.near >= 2, "{stats:?}");

    assert_eq!(stats.breaker, BreakerState::Closed);
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    for key in ["a", "b", "c"] {
        cache.get_or_load(key, Count::new().loading(1)).await.unwrap();
    }
    cache.invalidate("key").await.unwrap_err();
    let stats = cache.stats();
    assert_eq!((stats.breaker, stats.total().outages), (BreakerState::Open, 3));
    assert_eq!(stats.pending_invalidations, 1);
    assert!(stats.store_failures >= 3, "{stats:?}");

    // Without a near tier nobody needs it, so none is lost.
    let plain = over(&Remote::telling()).build();
    plain.get_or_load("key", Count::new().loading(1)).await.unwrap();
    idle().await;
    assert_eq!(plain.stats().subscription, SubscriptionState::NotBegun);
}

#[tokio::test(start_paused = true)]
async fn a_store_in_this_process_says_what_it_holds_and_evicts() {
    let clock = support::TokioClock::new();
    let cache = Cache::builder(memory_builder(clock).max_entries(10).build()).build();
    for n in 0..100 {
        cache.set(n.to_string(), n).await.unwrap();
    }
    let stats = cache.stats();
    let usage = stats.store_usage.unwrap();
    assert_eq!(usage.entries, 10);
    assert!(usage.bytes > 0 && stats.backend == "memory");
    assert_eq!((stats.total().stored, stats.total().evictions.store), (100, 90));
}

#[tokio::test]
async fn at_most_a_thousand_namespaces_are_told_apart() {
    let cache = local(&cache_core::ManualClock::new()).build();
    for n in 0..1_200 {
        cache
            .with_namespace(&format!("tenant {n}"))
            .get::<i32>("key")
            .await
            .unwrap();
    }
    let stats = cache.stats();
    let last = stats.namespaces.last().unwrap();
    assert_eq!(stats.namespaces.len(), 1_001);
    assert_eq!((last.namespace.as_str(), stats.total().misses), ("!other", 1_200));
    // The first namespace is that of the cache itself, which was not used.
    assert_eq!(last.misses, 201);
}

#[tokio::test]
async fn an_adapter_reports_its_request_itself() {
    let log = Log::new();
    let cache = local(&cache_core::ManualClock::new()).observer(log.clone()).build();
    let (index, value) = (cache.key("index"), cache.key("value"));
    let adapter = cache.adapter();

    // Two lookups are two requests, unless the adapter says otherwise.
    for key in [&index, &value] {
        let Lookup::Miss(fill) = adapter.lookup::<i32>(key).await else {
            panic!()
        };
        fill.store(Arc::new(1), adapter.coder(), FreshnessWindows::new(SEC))
            .await;
    }
    let loaded = ["miss", "load_started", "loaded", "stored"];
    assert_eq!(log.take(), [loaded, loaded].concat());
    for key in [&index, &value] {
        adapter.read_local::<i32>(key).unwrap();
    }
    assert_eq!(log.take(), ["hit", "hit"]);

    let adapter = adapter.reporting(Reporting::Loads);
    for key in [&index, &value] {
        adapter.read_local::<i32>(key).unwrap();
    }
    adapter.report(&index, AdapterEvent::Hit(adapter.local_tier()));
    assert_eq!(log.take(), ["hit"]);

    // A part is not reported, and a load that goes on under another key is one.
    let Lookup::Miss(mut fill) = adapter.lookup::<i32>(&cache.key("a")).await else {
        panic!()
    };
    let part = adapter.reporting(Reporting::Nothing);
    let Lookup::Miss(mut further) = part.lookup::<i32>(&cache.key("b")).await else {
        panic!()
    };
    further.continue_load_of(&mut fill);
    fill.store(Arc::new(1), adapter.coder(), FreshnessWindows::new(SEC))
        .await;
    assert_eq!(log.take(), ["load_started"]);
    further
        .store(Arc::new(1), adapter.coder(), FreshnessWindows::new(SEC))
        .await;
    assert_eq!(log.take(), ["loaded", "stored"]);

    let Lookup::Miss(fill) = adapter.lookup::<i32>(&cache.key("c")).await else {
        panic!()
    };
    drop(fill);
    assert_eq!(
        log.take(),
        ["load_started", "load_failed"],
        "a load that is given up has an end"
    );
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>, Arc<Mutex<Vec<StatsReader>>>);

impl Observer for Told {
    fn on_event(&self, _: &Event<'_>) {}

    fn on_event_of(&self, cache: &str, event: &Event<'_>) {
        let text = match event {
            Event::StoreCalled {
                backend,
                system,
                operation,
                took,
                failure,
                ..
            } => format!("{cache}: {backend} ({system}) {operation} {took:?} {failure:?}"),
            event => format!("{cache}/{:?}: {} {:?}", event.namespace(), event.name(), event.tier()),
        };
        self.0.lock().unwrap().push(text);
    }

    fn on_build(&self, stats: StatsReader) {
        self.1.lock().unwrap().push(stats);
    }
}

#[tokio::test(start_paused = true)]
async fn observers_learn_cache_namespace_tier_and_calls_of_the_store() {
    let (remote, told) = (Remote::new(), Told::default());
    let cache = over(&remote).prefix("shop").observer(told.clone()).build();
    let named = local(&cache_core::ManualClock::new())
        .name("other")
        .observer(told.clone())
        .build();
    let gate = Gate::closed();
    remote.always(Fate::HoldAnswer(gate.clone()));
    let users = cache.with_namespace("users");
    let reading = tokio::spawn(async move { users.get::<i32>("1").await });
    gate.reached().await;
    tokio::time::advance(Duration::from_millis(20)).await;
    gate.open();
    reading.await.unwrap().unwrap();
    remote.always(Fate::Fail(ErrorKind::Rejected));
    cache.with_namespace("users").get::<i32>("1").await.unwrap_err();
    named.set("1", 1).await.unwrap();
    named.get::<i32>("1").await.unwrap();
    assert_eq!(cache.stats().backend, "remote");
    assert_eq!(
        *told.0.lock().unwrap(),
        [
            "shop: remote (test.remote) get 20ms None",
            "shop/Some(\"users\"): miss None",
            "shop: remote (test.remote) get 0ns Some(Rejected)",
            "shop/Some(\"users\"): store_failed None",
            "shop/Some(\"users\"): outage None",
            "other/Some(\"\"): stored None",
            "other/Some(\"\"): hit Some(Store)",
        ]
    );
    let readers = told.1.lock().unwrap().clone();
    let names = |readers: &[StatsReader]| -> Vec<_> {
        readers
            .iter()
            .map(|reader| reader.read().map(|stats| stats.cache))
            .collect()
    };
    assert_eq!(names(&readers), [Some("shop".to_owned()), Some("other".to_owned())]);
    drop(cache);
    assert_eq!(
        names(&readers),
        [None, Some("other".to_owned())],
        "a reader keeps no cache alive"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_and_refused_last_is_remembered_from_the_first_question_on() {
    let cache = over(&Remote::new()).ttl(SEC).tag_namespaces(true).build();
    let users = cache.with_namespace("users");
    cache.invalidate("before").await.unwrap();
    assert_eq!(cache.adapter().recent_events(), RecentEvents::default());

    users.set("1", 1).await.unwrap();
    users.soft().invalidate("1").await.unwrap();
    cache.soft().clear("users").await.unwrap();
    tokio::time::advance(SEC).await;
    cache.invalidate_tag("a").await.unwrap();
    for _ in 0..3 {
        let event = AdapterEvent::Refused("private");
        users.adapter().report(&users.key("2"), event);
    }
    tokio::time::advance(SEC).await;

    let recent = users.adapter().recent_events();
    let seen: Vec<_> = recent
        .invalidations
        .iter()
        .map(|event| (name(&event.target), event.soft, event.ago))
        .collect();
    let expected = [
        ("a".to_owned(), false, SEC),
        ("users".to_owned(), true, 2 * SEC),
        ("users 1".to_owned(), true, 2 * SEC),
    ];
    assert_eq!(seen, expected);
    let refusal = &recent.refusals[0];
    assert_eq!(
        (name(&refusal.target), refusal.reason, refusal.count),
        ("users 2".to_owned(), "private", 3)
    );
    assert_eq!(recent.refusals.len(), 1);
}

fn name(target: &RecentTarget) -> String {
    match target {
        RecentTarget::Key { namespace, name, .. } => format!("{namespace} {name}"),
        RecentTarget::Tag { name, .. } | RecentTarget::Namespace { name, .. } => name.clone(),
        _ => String::new(),
    }
}
