//! Near copies are used without reading the store, and are removed when the store reports a change.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;

use cache_core::{Change, EntryKind, ErrorKind};
use cache_engine::{Cache, CacheBuilder};
use support::{Count, Fate, Gate, Log, MS, Remote, SEC, TokioClock, idle, memory, over};

fn near(remote: &Remote) -> Cache {
    over(remote).near(memory(TokioClock::new())).build()
}

async fn value(cache: &Cache) -> Option<u32> {
    cache.get::<u32>("key").await.unwrap().map(|value| *value)
}

/// How often the store is asked.
async fn asked<R>(remote: &Remote, work: impl Future<Output = R>) -> (R, Vec<&'static str>) {
    remote.take_calls();
    let result = work.await;
    let calls = remote.take_calls().into_iter().map(|call| call.operation).collect();
    (result, calls)
}

/// Two processes with near tiers that listen already.
async fn two(remote: &Remote) -> (Cache, Cache) {
    let (here, there) = (near(remote), near(remote));
    for cache in [&here, &there] {
        cache.get::<u32>("whatever").await.unwrap();
    }
    idle().await;
    (here, there)
}

#[tokio::test(start_paused = true)]
async fn a_copy_costs_no_round_trip() {
    let remote = Remote::telling();
    let (here, there) = two(&remote).await;
    here.set("key", 1_u32).await.unwrap();
    idle().await;
    assert_eq!(asked(&remote, value(&there)).await, (Some(1), vec!["get"]));
    assert_eq!(asked(&remote, value(&there)).await, (Some(1), vec![]));
    let many = asked(&remote, async {
        there.get_many::<u32, _>(["key", "key"]).await.unwrap().len()
    })
    .await;
    assert_eq!(many, (2, vec![]));
    let loads = Count::new();
    let load = asked(&remote, async {
        *there.get_or_load("key", loads.loading(2_u32)).await.unwrap()
    })
    .await;
    assert_eq!(load, (1, vec![]));
    assert!(there.adapter().read_local::<u32>(&there.key("key")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_change_elsewhere_removes_it() {
    let remote = Remote::telling();
    let (here, there) = two(&remote).await;
    for round in 0..3_u32 {
        here.set("key", round).await.unwrap();
        idle().await;
        assert_eq!(value(&there).await, Some(round));
        there.set("key", round + 10).await.unwrap();
        idle().await;
        assert_eq!(value(&here).await, Some(round + 10));
        there.invalidate("key").await.unwrap();
        idle().await;
        assert_eq!((value(&here).await, value(&there).await), (None, None));
    }
    here.set("key", 1_u32).await.unwrap();
    assert_eq!(value(&there).await, Some(1));
    here.clear("").await.unwrap();
    idle().await;
    assert_eq!((value(&here).await, value(&there).await), (None, None));
}

/// However many there are, and wherever the near store keeps them.
#[tokio::test(start_paused = true)]
async fn a_change_of_everything_removes_all_copies() {
    let remote = Remote::telling();
    let (here, there) = two(&remote).await;
    let keys: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    for way in ["clear", "clear elsewhere", "clear_all", "flush", "break off"] {
        for key in &keys {
            there.set(key, 1_u32).await.unwrap();
        }
        idle().await;
        for key in &keys {
            here.get::<u32>(key).await.unwrap();
        }
        let copies = || {
            keys.iter()
                .filter(|key| here.adapter().read_local::<u32>(&here.key(key.as_str())).is_some())
        };
        assert_eq!(copies().count(), keys.len());
        match way {
            "clear" => drop(here.clear("").await.unwrap()),
            "clear elsewhere" => drop(there.clear("").await.unwrap()),
            "clear_all" => drop(here.clear_all().await.unwrap()),
            "flush" => remote.flush().await,
            _ => {
                remote.teller().break_off();
                idle().await;
                remote.teller().mend();
                tokio::time::sleep(SEC).await;
            }
        }
        if way != "clear" && way != "clear_all" {
            idle().await;
        }
        assert_eq!(copies().count(), 0, "{way}");
    }
}

/// Whoever changes a record with the cache's own or any other tool.
#[tokio::test(start_paused = true)]
async fn whoever_made_it() {
    let remote = Remote::telling();
    let (here, _) = two(&remote).await;
    here.set("key", 1_u32).await.unwrap();
    idle().await;
    assert_eq!(value(&here).await, Some(1));
    remote.remove(&here.key("key")).await;
    idle().await;
    assert_eq!(value(&here).await, None);
    here.set("key", 2_u32).await.unwrap();
    idle().await;
    remote.flush().await;
    idle().await;
    assert_eq!(value(&here).await, None, "a store that was flushed is noticed");
}

#[tokio::test(start_paused = true)]
async fn own_changes_cause_no_echo() {
    let remote = Remote::telling();
    let (here, _) = two(&remote).await;
    here.set("key", 1_u32).await.unwrap();
    idle().await;
    assert_eq!(asked(&remote, value(&here)).await, (Some(1), vec![]), "after a write");
    here.invalidate("key").await.unwrap();
    idle().await;
    here.get_or_load("key", Count::new().loading(2_u32)).await.unwrap();
    idle().await;
    assert_eq!(asked(&remote, value(&here)).await, (Some(2), vec![]), "after a load");
    here.invalidate("key").await.unwrap();
    idle().await;
    let gate = Gate::closed();
    remote.once(Fate::HoldAnswer(gate.clone()), |call| call.is("version"));
    here.set("key", 3_u32).await.unwrap();
    gate.reached().await;
    remote.teller().tell(Change::Record(here.key("key")));
    idle().await;
    gate.open();
    idle().await;
    assert_eq!(asked(&remote, value(&here)).await, (Some(3), vec![]), "told of twice");
}

/// The store may tell of two changes as one.
#[tokio::test(start_paused = true)]
async fn a_notice_of_an_own_change_and_anothers_at_once_is_not_taken_for_an_echo() {
    let remote = Remote::telling();
    let (here, _) = two(&remote).await;
    let plain = over(&remote).build();
    remote.teller().hold();
    here.set("key", 1_u32).await.unwrap();
    plain.set("key", 2_u32).await.unwrap();
    // All that is told of the two.
    let queued = remote.teller().clone();
    queued.merge();
    queued.let_go();
    idle().await;
    assert_eq!(value(&here).await, Some(2));
}

/// However long it takes to find out whether it was an own change alone, an old copy is not answered meanwhile.
#[tokio::test(start_paused = true)]
async fn nor_is_the_copy_used_until_it_is_known_to_be_the_last() {
    let remote = Remote::telling();
    let (here, _) = two(&remote).await;
    let plain = over(&remote).build();
    for changed_elsewhere in [false, true] {
        remote.teller().hold();
        here.set("key", 1_u32).await.unwrap();
        if changed_elsewhere {
            plain.set("key", 2_u32).await.unwrap();
        }
        let gate = Gate::closed();
        remote.once(Fate::Hold(gate.clone()), |call| call.is("version"));
        remote.teller().merge();
        remote.teller().let_go();
        gate.reached().await;
        let expected = if changed_elsewhere { 2 } else { 1 };
        assert_eq!(asked(&remote, value(&here)).await, (Some(expected), vec!["get"]));
        gate.open();
        idle().await;
        assert_eq!(asked(&remote, value(&here)).await, (Some(expected), vec![]));
    }
}

/// The copy is about to be kept when the change is told of.
#[tokio::test(start_paused = true)]
async fn a_change_between_the_reading_and_the_keeping_is_not_missed() {
    let remote = Remote::telling();
    let (here, _) = two(&remote).await;
    let plain = over(&remote).build();
    plain.set("key", 1_u32).await.unwrap();
    idle().await;
    let gate = Gate::closed();
    remote.once(Fate::HoldAnswer(gate.clone()), |call| call.is("get"));
    let reading = tokio::spawn({
        let here = here.clone();
        async move { value(&here).await }
    });
    gate.reached().await;
    plain.set("key", 2_u32).await.unwrap();
    idle().await;
    gate.open();
    assert_eq!(reading.await.unwrap(), Some(1));
    assert_eq!(value(&here).await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn while_the_store_tells_nothing_copies_are_of_no_use() {
    let remote = Remote::telling();
    let log = Log::new();
    let here = over(&remote)
        .near(memory(TokioClock::new()))
        .observer(log.clone())
        .build();
    value(&here).await;
    idle().await;
    let plain = over(&remote).build();
    here.set("key", 1_u32).await.unwrap();
    idle().await;
    remote.teller().break_off();
    idle().await;
    assert_eq!(log.count("subscription_lost"), 1);
    plain.set("key", 2_u32).await.unwrap();
    assert_eq!(value(&here).await, Some(2), "at once");
    assert_eq!(asked(&remote, value(&here)).await.1, ["get"], "and not kept");
    remote.teller().mend();
    tokio::time::sleep(SEC).await;
    assert_eq!(value(&here).await, Some(2));
    assert_eq!(asked(&remote, value(&here)).await, (Some(2), vec![]), "it tells again");
    assert_eq!(
        (log.count("subscription_begun"), log.count("subscription_lost")),
        (2, 1)
    );
}

/// The connection hangs, without breaking.
#[tokio::test(start_paused = true)]
async fn without_a_sign_of_life_copies_are_used_for_no_longer_than_the_bound() {
    let remote = Remote::telling();
    let here = over(&remote)
        .near(memory(TokioClock::new()))
        .near_max_silence(SEC)
        .build();
    value(&here).await;
    idle().await;
    let plain = over(&remote).build();
    here.set("key", 1_u32).await.unwrap();
    idle().await;
    assert_eq!(value(&here).await, Some(1));
    remote.teller().hold();
    plain.set("key", 2_u32).await.unwrap();
    assert_eq!(value(&here).await, Some(1), "within the bound");
    tokio::time::advance(SEC + MS).await;
    assert_eq!(value(&here).await, Some(2));
    // A process that was stopped finds what it missed before it finds that it is up to date.
    remote.teller().let_go();
    idle().await;
    tokio::time::advance(SEC / 4).await;
    idle().await;
    assert_eq!(value(&here).await, Some(2));
}

/// Has the breaker open, lets the store answer again after a while, and returns how often the breaker has closed before and
/// after that, though no caller asks.
async fn closed_without_callers(remote: &Remote, cache: CacheBuilder) -> [usize; 2] {
    let log = Log::default();
    let cache = cache.observer(log.clone()).build();
    cache.get::<u32>("whatever").await.unwrap();
    idle().await;
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    for _ in 0..3 {
        cache.get::<u32>("another").await.unwrap_err();
    }
    assert_eq!(log.count("breaker_opened"), 1);
    tokio::time::sleep(5 * SEC).await;
    let before = log.count("breaker_closed");
    remote.always(Fate::Pass);
    tokio::time::sleep(5 * SEC).await;
    [before, log.count("breaker_closed")]
}

/// Near copies may answer all callers, so that none probes the store.
#[tokio::test(start_paused = true)]
async fn the_breaker_closes_though_no_caller_needs_the_store() {
    let remote = Remote::telling();
    let cache = over(&remote).near(memory(TokioClock::new()));
    assert_eq!(closed_without_callers(&remote, cache).await, [0, 1]);
    // The control: without a subscription, only callers probe.
    let remote = Remote::new();
    let cache = over(&remote);
    assert_eq!(closed_without_callers(&remote, cache).await, [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_tells_nothing_needs_a_maximum_age() {
    let remote = Remote::new();
    let forgotten = over(&Remote::new()).near(memory(TokioClock::new()));
    let message = forgotten.try_build().unwrap_err().to_string();
    assert!(message.contains("near_max_age"), "{message}");
    let elsewhere = over(&Remote::new()).near(Remote::new()).near_max_age(SEC);
    elsewhere.try_build().unwrap_err();
    // Without `try_build`, such a tier is left out.
    let without = over(&Remote::new()).near(memory(TokioClock::new())).build();
    without.set("key", 1_u32).await.unwrap();
    assert_eq!(without.adapter().read_local::<u32>(&without.key("key")), None);

    let make = || over(&remote).near(memory(TokioClock::new())).near_max_age(SEC).build();
    let (here, there) = (make(), make());
    here.set("key", 1_u32).await.unwrap();
    assert_eq!(value(&there).await, Some(1));
    here.set("key", 2_u32).await.unwrap();
    assert_eq!(value(&here).await, Some(2), "own changes are noticed at once");
    assert_eq!(value(&there).await, Some(1), "others after the age");
    tokio::time::advance(SEC).await;
    assert_eq!(value(&there).await, Some(2));
    there.invalidate("key").await.unwrap();
    assert_eq!(value(&there).await, None);
}

#[tokio::test(start_paused = true)]
async fn tags_of_copies_cost_no_round_trip_and_hold() {
    let remote = Remote::telling();
    let (here, there) = two(&remote).await;
    here.with_tags(["a", "b"]).set("key", 1_u32).await.unwrap();
    idle().await;
    value(&there).await;
    assert_eq!(asked(&remote, value(&there)).await, (Some(1), vec![]));
    here.invalidate_tag("b").await.unwrap();
    assert_eq!(value(&here).await, None, "noticed at once by who did it");
    idle().await;
    assert_eq!(value(&there).await, None);

    // Without being told, an own invalidation is noticed at once, and another's after the age.
    let remote = Remote::without_clear();
    let make = || over(&remote).near(memory(TokioClock::new())).near_max_age(SEC).build();
    let (here, there) = (make(), make());
    for (invalidating, at_once) in [(&here, true), (&there, false)] {
        here.with_tags(["a"]).set("key", 1_u32).await.unwrap();
        assert_eq!(value(&here).await, Some(1));
        invalidating.invalidate_tag("a").await.unwrap();
        assert_eq!(value(&here).await.is_none(), at_once);
        tokio::time::advance(SEC).await;
        assert_eq!(value(&here).await, None);
    }
}

/// Nothing is read again because of updates alone.
#[tokio::test(start_paused = true)]
async fn updates_cause_readings_only_of_what_is_read() {
    let remote = Remote::telling();
    let nodes: Vec<Cache> = (0..10).map(|_| near(&remote)).collect();
    for node in &nodes {
        value(node).await;
    }
    idle().await;
    let writer = over(&remote).build();
    remote.take_calls();
    for n in 0..1000_u32 {
        writer.set(&format!("{}", n % 100), n).await.unwrap();
    }
    idle().await;
    let calls = remote.take_calls();
    assert_eq!(calls.iter().filter(|call| !call.is("set")).count(), 0);
    for node in &nodes {
        assert_eq!(*node.get::<u32>("7").await.unwrap().unwrap(), 907);
        assert_eq!(*node.get::<u32>("7").await.unwrap().unwrap(), 907);
    }
    assert_eq!(remote.take_calls().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_load_leaves_no_copy_behind() {
    let remote = Remote::telling();
    let (here, there) = two(&remote).await;
    let gate = Gate::closed();
    let held = gate.clone();
    let loading = tokio::spawn({
        let here = here.clone();
        async move {
            let load = move || async move {
                held.pass().await;
                Ok::<_, Infallible>(1_u32)
            };
            *here.get_or_load("key", load).await.unwrap()
        }
    });
    gate.reached().await;
    there.invalidate("key").await.unwrap();
    gate.open();
    assert_eq!(loading.await.unwrap(), 1);
    assert_eq!(value(&here).await, None);
}

/// The lease of a load elsewhere is waited for by listening, not only by asking again and again.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_load_elsewhere_is_woken_by_the_store() {
    let remote = Remote::telling();
    let (here, there) = (over(&remote).build(), over(&remote).build());
    let gate = Gate::closed();
    let held = gate.clone();
    let loading = tokio::spawn(async move {
        let load = move || async move {
            held.pass().await;
            Ok::<_, Infallible>(1_u32)
        };
        *here.get_or_load("key", load).await.unwrap()
    });
    gate.reached().await;
    assert_eq!(remote.teller().listeners(), 0, "nobody needs it so far");
    let waiting = tokio::spawn(async move {
        let never = || async { Err::<u32, _>("not to be loaded") };
        let value = *there.get_or_load("key", never).await.unwrap();
        (value, tokio::time::Instant::now())
    });
    // Long enough for the pauses between two questions to be their longest.
    tokio::time::sleep(3 * SEC).await;
    assert_eq!(remote.teller().listeners(), 1);
    let opened = tokio::time::Instant::now();
    gate.open();
    assert_eq!(loading.await.unwrap(), 1);
    let (value, at) = waiting.await.unwrap();
    assert_eq!((value, at - opened), (1, std::time::Duration::ZERO));
}

/// A report that is late or lost, while the store goes on to say that it has told everything.
#[tokio::test(start_paused = true)]
async fn a_lost_report_does_no_harm_beyond_the_maximum_age() {
    for (change, max_age) in [
        ("key", Some(10 * SEC)),
        ("tag", Some(10 * SEC)),
        // The negative control: without a maximum age, the old value is found for as long as the entry lasts.
        ("key", None),
        ("tag", None),
    ] {
        let remote = Remote::telling();
        let builder = over(&remote).near(memory(TokioClock::new()));
        let builder = builder.near_max_silence(60 * SEC);
        let here = match max_age {
            Some(age) => builder.near_max_age(age).build(),
            None => builder.build(),
        };
        let plain = over(&remote).build();
        plain.with_tags(["tag"]).set("key", 1_u32).await.unwrap();
        assert_eq!(value(&here).await, Some(1), "which begins to listen");
        idle().await;
        assert_eq!(value(&here).await, Some(1));
        remote.teller().hold();
        match change {
            "key" => plain.invalidate("key").await.unwrap(),
            _ => plain.invalidate_tag("tag").await.unwrap(),
        }
        remote.teller().swallow();
        remote.teller().let_go();
        tokio::time::advance(5 * SEC).await;
        assert_eq!(value(&here).await, Some(1), "{change}, {max_age:?}");
        tokio::time::advance(5 * SEC).await;
        let expected = if max_age.is_some() { None } else { Some(1) };
        assert_eq!(value(&here).await, expected, "{change}, {max_age:?}");
    }
}

/// The negative control: copies that nobody removes are found for ever.
#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_changes_to_itself_is_found_out() {
    let remote = Remote::telling();
    let (here, _) = two(&remote).await;
    let plain = over(&remote).build();
    here.set("key", 1_u32).await.unwrap();
    idle().await;
    // Takes the notices out of the queues, and goes on to say that it has told everything.
    remote.teller().hold();
    plain.set("key", 2_u32).await.unwrap();
    remote.teller().swallow();
    remote.teller().let_go();
    tokio::time::advance(10 * MS).await;
    idle().await;
    assert_eq!(value(&here).await, Some(1), "the old value");
    remote.teller().tell(Change::Record(here.key("key")));
    idle().await;
    assert_eq!(value(&here).await, Some(2));
}

/// As above, where the change is this process's own.
#[tokio::test(start_paused = true)]
async fn nor_is_an_own_change_in_between() {
    for invalidates in [false, true] {
        let remote = Remote::telling();
        let (here, _) = two(&remote).await;
        let plain = over(&remote).build();
        plain.set("key", 1_u32).await.unwrap();
        idle().await;
        let gate = Gate::closed();
        remote.once(Fate::HoldAnswer(gate.clone()), |call| call.is("get"));
        let reading = tokio::spawn({
            let here = here.clone();
            async move { value(&here).await }
        });
        gate.reached().await;
        // Nothing is told of it yet, and then only once.
        remote.teller().hold();
        let expected = if invalidates {
            here.invalidate("key").await.unwrap();
            None
        } else {
            plain.set("key", 2_u32).await.unwrap();
            here.set("key", 3_u32).await.unwrap();
            Some(3)
        };
        gate.open();
        assert_eq!(reading.await.unwrap(), Some(1));
        assert_eq!(value(&here).await, expected);
        remote.teller().merge();
        remote.teller().let_go();
        idle().await;
        assert_eq!(value(&here).await, expected);
    }
}

/// The store takes its time to answer.
#[tokio::test(start_paused = true)]
async fn the_maximum_age_is_counted_from_when_the_store_was_asked() {
    let remote = Remote::new();
    let plain = over(&remote).build();
    let here = over(&remote).near(memory(TokioClock::new())).near_max_age(SEC).build();
    plain.set("key", 1_u32).await.unwrap();
    remote.once(Fate::Take(MS, 300 * MS), |call| call.is("get"));
    assert_eq!(value(&here).await, Some(1));
    plain.set("key", 2_u32).await.unwrap();
    assert_eq!(value(&here).await, Some(1), "within the age");
    tokio::time::advance(700 * MS).await;
    assert_eq!(value(&here).await, Some(2));
}

/// An invalidation during a load may be unknown here, so the age of the load's own copy is counted from its begin.
#[tokio::test(start_paused = true)]
async fn nor_does_a_long_load_make_its_copy_last_longer() {
    let remote = Remote::without_clear();
    let make = || over(&remote).near(memory(TokioClock::new())).near_max_age(SEC).build();
    let (here, there) = (make(), make());
    let load = || async {
        tokio::time::sleep(2 * SEC).await;
        Ok::<_, Infallible>(1_u32)
    };
    let loading = tokio::spawn({
        let tagged = here.with_tags(["tag"]);
        async move { *tagged.get_or_load("key", load).await.unwrap() }
    });
    tokio::time::sleep(SEC).await;
    there.invalidate_tag("tag").await.unwrap();
    assert_eq!(loading.await.unwrap(), 1);
    assert_eq!(value(&here).await, None);
}

/// What was stored may have been invalidated, or written over, before its answer is there.
#[tokio::test(start_paused = true)]
async fn an_own_change_that_overtakes_an_answer_sticks_where_nothing_is_told() {
    for change in ["invalidate", "delete", "set", "clear"] {
        for begun in ["load", "set"] {
            let remote = Remote::without_clear();
            let here = over(&remote)
                .near(memory(TokioClock::new()))
                .near_max_age(60 * SEC)
                .build();
            let gate = Gate::closed();
            remote.once(Fate::HoldAnswer(gate.clone()), |call| {
                call.is("set") && call.writes(EntryKind::Value)
            });
            let storing = tokio::spawn({
                let here = here.clone();
                async move {
                    match begun {
                        "load" => drop(here.get_or_load("key", Count::new().loading(1_u32)).await.unwrap()),
                        _ => here.set("key", 1_u32).await.unwrap(),
                    }
                }
            });
            gate.reached().await;
            match change {
                "invalidate" => here.invalidate("key").await.unwrap(),
                "delete" => drop(here.delete("key").await.unwrap()),
                "set" => here.set("key", 2_u32).await.unwrap(),
                _ => drop(here.clear("").await.unwrap()),
            }
            let expected = (change == "set").then_some(2);
            gate.open();
            storing.await.unwrap();
            assert_eq!(value(&here).await, expected, "{change} during a {begun}");
            idle().await;
            assert_eq!(value(&here).await, expected, "{change} during a {begun}, later");
        }
    }
}

/// Other changes of this process, which happen to be counted together with it, do not cost the copy of a write.
#[tokio::test(start_paused = true)]
async fn an_own_write_that_is_the_last_is_kept_whatever_else_was_changed_meanwhile() {
    let remote = Remote::without_clear();
    let here = over(&remote).near(memory(TokioClock::new())).near_max_age(SEC).build();
    let gate = Gate::closed();
    remote.once(Fate::HoldAnswer(gate.clone()), |call| {
        call.is("set") && call.writes(EntryKind::Value)
    });
    let storing = tokio::spawn({
        let here = here.clone();
        async move { here.set("key", 1_u32).await.unwrap() }
    });
    gate.reached().await;
    here.clear("other").await.unwrap();
    tokio::time::advance(300 * MS).await;
    gate.open();
    storing.await.unwrap();
    idle().await;
    let copy = || here.adapter().read_local::<u32>(&here.key("key")).is_some();
    assert!(copy());
    // Its age is counted from before the write all the same.
    tokio::time::advance(700 * MS).await;
    assert!(!copy());
}

#[tokio::test]
async fn a_store_in_this_process_takes_no_near_copies() {
    let near = memory(TokioClock::new());
    let cache = Cache::builder(memory(TokioClock::new()))
        .near(near.clone())
        .try_build()
        .unwrap();
    cache.set("key", 1_u32).await.unwrap();
    assert_eq!(value(&cache).await, Some(1));
    assert_eq!(near.stats().entries, 0);
}
