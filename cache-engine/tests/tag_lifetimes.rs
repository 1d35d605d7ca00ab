//! The records of tags expire, but not before the entries that carry the tags.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{EntryKind, FreshnessWindows, Key, ManualClock, Prefix};
use cache_engine::{Cache, Lookup, StoreOutcome};
use cache_memory::MemoryBackend;
use support::{Call, Fate, Gate, Remote, SEC, memory, over};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn tag(name: &str) -> Key {
    Prefix::new("cache").namespace("").reserved("tag").key(name)
}

async fn load(cache: &Cache, key: &str, value: Option<u32>) {
    let load = move || async move { Ok::<_, Infallible>(value) };
    cache.get_or_load_optional(key, load).await.unwrap();
}

async fn has(cache: &Cache, key: &str) -> bool {
    cache.get::<u32>(key).await.unwrap().is_some()
}

/// The writes of records of tags and epochs since this was called last.
fn writes(remote: &Remote) -> usize {
    let calls = remote.take_calls();
    calls.iter().filter(|call| call.writes(EntryKind::Tag)).count()
}

#[tokio::test]
async fn tags_of_what_does_not_exist_leave_nothing_behind() {
    for tag_namespaces in [false, true] {
        let clock = ManualClock::new();
        let store: MemoryBackend = memory(clock.clone());
        let cache = Cache::builder(store.clone())
            .clock(clock.clone())
            .tag_namespaces(tag_namespaces)
            .build();
        for n in 0..200 {
            load(&cache.with_tags([format!("user:{n}")]), &n.to_string(), None).await;
            cache.invalidate_tag(format!("order:{n}")).await.unwrap();
            cache.soft().invalidate_tag(format!("item:{n}")).await.unwrap();
        }
        assert!(store.stats().entries > 200);
        clock.advance(HOUR);
        store.purge_expired();
        assert_eq!(store.stats().entries, 0);
    }
}

#[tokio::test]
async fn nor_do_the_records_for_late_tags() {
    let clock = ManualClock::new();
    let store: MemoryBackend = memory(clock.clone());
    let cache = Cache::builder(store.clone()).clock(clock.clone()).build();
    let late = cache.adapter().with_late_tags(true);
    load(&late, "key", None).await;
    cache.invalidate_tag("tag").await.unwrap();
    assert!(store.stats().entries > 0);
    // Their number is fixed, so they may last for longer.
    clock.advance(DAY);
    store.purge_expired();
    assert_eq!(store.stats().entries, 0);
}

/// Until its last moment, an entry is not lost for want of a tag; and afterwards its tags end too.
#[tokio::test]
async fn a_tag_outlives_its_entries_and_then_ends() {
    for ttl in [SEC, 49 * HOUR / 60, 51 * HOUR / 60, HOUR, 3 * HOUR, DAY, 400 * DAY] {
        for tag_namespaces in [false, true] {
            let clock = ManualClock::new();
            let store: MemoryBackend = memory(clock.clone());
            let cache = Cache::builder(store.clone())
                .clock(clock.clone())
                .ttl(ttl)
                .tag_namespaces(tag_namespaces)
                .build();
            // Whatever is left to the tag when the entry is stored.
            for part in 0..8 {
                let tagged = cache.with_tags(["tag"]);
                if part % 2 == 0 {
                    tagged.set("key", part).await.unwrap();
                } else {
                    tagged.invalidate("key").await.unwrap();
                    load(&tagged, "key", Some(part)).await;
                }
                clock.advance(ttl - Duration::from_millis(1));
                assert!(has(&cache, "key").await, "{ttl:?} {part}");
                clock.advance(HOUR / 7);
            }
            clock.advance(ttl + 2 * HOUR);
            store.purge_expired();
            assert_eq!(store.stats().entries, 0, "{ttl:?}");
        }
    }
}

#[tokio::test]
async fn an_entry_without_an_end_keeps_its_tags() {
    for tag_namespaces in [false, true] {
        let clock = ManualClock::new();
        let store: MemoryBackend = memory(clock.clone());
        let cache = Cache::builder(store)
            .clock(clock.clone())
            .ttl(None)
            .tag_namespaces(tag_namespaces)
            .build();
        cache.with_tags(["tag"]).set("set", 1_u32).await.unwrap();
        load(&cache.with_tags(["tag", "another"]), "loaded", Some(1)).await;
        clock.advance(4_000 * DAY);
        assert!(has(&cache, "set").await && has(&cache, "loaded").await);
        cache.invalidate_tag("another").await.unwrap();
        assert!(has(&cache, "set").await && !has(&cache, "loaded").await);
    }
}

/// The value is of use after a soft invalidation, so its tags are.
#[tokio::test]
async fn a_soft_invalidation_shortens_nothing() {
    let clock = ManualClock::new();
    let cache = Cache::builder(memory(clock.clone()))
        .clock(clock.clone())
        .ttl(DAY)
        .stale_if_error(DAY)
        .build();
    cache.with_tags(["tag"]).set("key", 7_u32).await.unwrap();
    cache.soft().invalidate_tag("tag").await.unwrap();
    clock.advance(DAY - SEC);
    let value = cache.get_or_load("key", || async { Err::<u32, _>("away") }).await;
    assert_eq!(*value.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn it_is_prolonged_only_when_needed() {
    let remote = Remote::new();
    for (ttl, most) in [(HOUR / 2, 1), (DAY, 2)] {
        let cache = over(&remote).ttl(ttl).build();
        let tagged = cache.with_tags([format!("{ttl:?}")]);
        writes(&remote);
        let loads = (0..100).map(|n| {
            let tagged = tagged.clone();
            let key = format!("{ttl:?} {n}");
            tokio::spawn(async move { load(&tagged, &key, Some(n)).await })
        });
        for load in loads.collect::<Vec<_>>() {
            load.await.unwrap();
        }
        let begun = writes(&remote);
        for n in 0..1_000 {
            tagged.set(&n.to_string(), n).await.unwrap();
        }
        assert_eq!(writes(&remote), 0, "not once more for {ttl:?}");
        // All who find none may try to begin it, and one succeeds.
        assert!((1..100 + most).contains(&begun), "{begun}");
        for _ in 0..10 {
            tokio::time::advance(HOUR / 10).await;
            tagged.set("key", 0_u32).await.unwrap();
        }
        assert!(writes(&remote) <= 2, "about once an hour");
    }
}

/// What another process wrote in between stands.
#[tokio::test(start_paused = true)]
async fn a_tag_that_is_invalidated_while_it_is_prolonged_stays_invalidated() {
    for soft in [false, true] {
        let remote = Remote::new();
        let [here, there] = [(); 2].map(|()| over(&remote).ttl(DAY).build());
        let gate = Gate::closed();
        // The first write begins the record, and the second one prolongs it.
        let mut count = 0;
        let held = gate.clone();
        remote.plan(move |call: &Call| {
            count += usize::from(call.key.contains("!tag:"));
            if count == 2 && call.key.contains("!tag:") {
                Fate::Hold(held.clone())
            } else {
                Fate::Pass
            }
        });
        let tagged = here.with_tags(["tag"]);
        let storing = tokio::spawn(async move { tagged.set("key", 1_u32).await.unwrap() });
        gate.reached().await;
        if soft {
            there.soft().invalidate_tag("tag").await.unwrap();
        } else {
            there.invalidate_tag("tag").await.unwrap();
        }
        let invalidated = remote.peek(&tag("tag")).await.unwrap().payload;
        gate.open();
        storing.await.unwrap();
        assert_eq!(remote.peek(&tag("tag")).await.unwrap().payload, invalidated);
        assert!(!has(&here, "key").await && !has(&there, "key").await);
    }
}

/// Two processes prolong one tag: the longer lifetime holds, whoever comes last.
#[tokio::test(start_paused = true)]
async fn the_longest_lived_entry_counts() {
    for longest_last in [false, true] {
        let remote = Remote::new();
        let [short, long] = [3 * HOUR, DAY].map(|ttl| over(&remote).ttl(ttl).build());
        // Both know the record from when it was begun.
        short.with_tags(["tag"]).invalidate("key").await.unwrap();
        let gate = Gate::closed();
        let held = if longest_last { "long" } else { "short" };
        remote.once(Fate::Hold(gate.clone()), move |call| {
            call.key.ends_with(held) && call.writes(EntryKind::Lease)
        });
        let waiting = if longest_last { long.clone() } else { short.clone() };
        let waiting = tokio::spawn(async move { load(&waiting.with_tags(["tag"]), held, Some(1)).await });
        gate.reached().await;
        let (other, key) = if longest_last {
            (&short, "short")
        } else {
            (&long, "long")
        };
        load(&other.with_tags(["tag"]), key, Some(1)).await;
        gate.open();
        waiting.await.unwrap();
        tokio::time::advance(DAY - SEC).await;
        assert!(has(&long, "long").await);
    }
}

/// A record that ended before its time, or was lost, is a miss.
#[tokio::test(start_paused = true)]
async fn without_its_record_an_entry_is_a_miss() {
    let remote = Remote::new();
    let cache = over(&remote).ttl(DAY).build();
    let tagged = cache.with_tags(["tag"]);
    tagged.set("key", 1_u32).await.unwrap();
    assert!(has(&cache, "key").await);
    remote.remove(&tag("tag")).await;
    assert!(!has(&cache, "key").await);
    tagged.set("key", 2_u32).await.unwrap();
    tokio::time::advance(DAY - SEC).await;
    assert!(has(&cache, "key").await, "the new record is prolonged as the first was");
}

/// Stores 1 under "key" by a load that takes `time`, with a tag that is declared, one that is added when the load
/// begins, and a late one.
async fn load_for(cache: &Cache, time: Duration) -> StoreOutcome {
    let cache = cache.with_tags(["declared"]).adapter().with_late_tags(true);
    let Lookup::Miss(mut fill) = cache.adapter().lookup::<u32>(&cache.key("key")).await else {
        panic!("it is not there");
    };
    let tagger = fill.tagger().clone();
    fill.renewing(async {
        tagger.tagged(["added"], async || {}).await;
        tokio::time::sleep(time).await;
    })
    .await;
    fill.add_late_tags(["late"]).await;
    let windows = FreshnessWindows::new(SEC);
    fill.store(Arc::new(1), cache.adapter().coder(), windows).await
}

/// However long the load takes, and however little was left to the records when it began.
#[tokio::test(start_paused = true)]
async fn a_load_does_not_outlast_the_tags_that_it_has_read() {
    for tag_namespaces in [false, true] {
        for left in [SEC / 10, SEC, 3 * SEC, 61 * SEC, HOUR] {
            for time in [SEC / 2, 2 * SEC, 4 * SEC, HOUR / 4, 2 * HOUR] {
                let remote = Remote::new();
                let cache = over(&remote)
                    .ttl(SEC)
                    .lease_time(6 * SEC)
                    .max_lease(DAY)
                    .tag_namespaces(tag_namespaces)
                    .build();
                // The records of the tags begin, and of their hour this much is left.
                let tagged = cache.with_tags(["declared", "added", "late"]);
                load(&tagged, "other", None).await;
                tokio::time::advance(HOUR - left).await;

                assert!(load_for(&cache, time).await.is_stored(), "{left:?} {time:?}");
                assert!(has(&cache, "key").await, "{left:?} {time:?}");
                for tag in ["declared", "added", "late"] {
                    cache.invalidate("key").await.unwrap();
                    assert!(load_for(&cache, SEC / 2).await.is_stored());
                    assert!(has(&cache, "key").await);
                    cache.invalidate_tag(tag).await.unwrap();
                    assert!(!has(&cache, "key").await, "{tag} {left:?} {time:?}");
                }
            }
        }
    }
}

/// The negative control: a tag that nobody prolongs while the load runs.
#[tokio::test(start_paused = true)]
async fn a_load_that_is_not_renewed_does() {
    let remote = Remote::new();
    let cache = over(&remote).ttl(SEC).lease_time(DAY).max_lease(DAY).build();
    let tagged = cache.with_tags(["tag"]);
    let loading = tokio::spawn(async move {
        let slow = || async {
            tokio::time::sleep(2 * HOUR).await;
            Ok::<_, Infallible>(1_u32)
        };
        tagged.get_or_load("key", slow).await.unwrap();
    });
    // The record begins, and every later write of it fails.
    let mut begun = false;
    remote.plan(move |call| match call.key.contains("!tag:") && call.is("set") {
        true if std::mem::replace(&mut begun, true) => Fate::Fail(cache_core::ErrorKind::Unavailable),
        _ => Fate::Pass,
    });
    loading.await.unwrap();
    let calls = remote.take_calls();
    assert!(calls.iter().any(|call| call.writes(EntryKind::Value)), "it was stored");
    assert!(!has(&cache, "key").await);
}

/// While it runs, a load writes the records that it needs about once an hour.
#[tokio::test(start_paused = true)]
async fn a_long_load_prolongs_them_only_when_needed() {
    let remote = Remote::new();
    let cache = over(&remote).ttl(SEC).lease_time(6 * SEC).max_lease(DAY).build();
    assert!(load_for(&cache, SEC).await.is_stored());
    tokio::time::advance(2 * SEC).await;
    writes(&remote);
    assert!(load_for(&cache, 10 * HOUR).await.is_stored());
    let writes = writes(&remote);
    assert!((2 * 9..2 * 14).contains(&writes), "{writes} for two tags and ten hours");
}

/// A caller that leaves while a record is prolonged leaves that to the next one.
#[tokio::test(start_paused = true)]
async fn what_a_cancelled_caller_did_not_prolong_is_not_taken_for_prolonged() {
    let remote = Remote::new();
    let cache = over(&remote).ttl(DAY).build().with_tags(["tag"]);
    // Begun, and not long enough for the entry.
    load(&cache, "other", None).await;
    remote.plan(|call| match call.key.contains("!tag:") {
        true => Fate::Freeze,
        false => Fate::Pass,
    });
    let leaving = tokio::time::timeout(Duration::from_millis(10), cache.set("key", 1_u32));
    leaving.await.unwrap_err();
    remote.always(Fate::Pass);
    cache.set("key", 2_u32).await.unwrap();
    tokio::time::advance(2 * HOUR).await;
    assert!(has(&cache, "key").await);
}

/// Neither does what waits for a store that is away for longer than a record lasts.
#[tokio::test(start_paused = true)]
async fn an_invalidation_may_be_pending_for_longer() {
    for soft in [false, true] {
        let remote = Remote::new();
        let [here, there] = [(); 2].map(|()| over(&remote).ttl(DAY).build().with_tags(["tag"]));
        here.set("key", 1_u32).await.unwrap();
        remote.always(Fate::Fail(cache_core::ErrorKind::Unavailable));
        let failed = if soft {
            here.soft().invalidate_tag("tag").await
        } else {
            here.invalidate_tag("tag").await
        };
        failed.unwrap_err();
        tokio::time::sleep(3 * HOUR).await;
        assert_eq!(here.pending_invalidations(), 1);
        remote.always(Fate::Pass);
        tokio::time::sleep(2 * SEC).await;
        assert_eq!(here.pending_invalidations(), 0);
        assert!(!has(&here, "key").await && !has(&there, "key").await);
    }
}
