//! A soft invalidation keeps the copy for its stale windows. A hard one leaves nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use cache_core::{Backend, EntryKind, ErrorKind, Key, ManualClock, Prefix};
use cache_engine::{Cache, CacheBuilder};
use support::{Count, Fate, Gate, Remote, SEC, TokioClock, idle, load, local, memory, over};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Key,
    Tag,
    Namespace,
    All,
}

const ALL: [How; 4] = [How::Key, How::Tag, How::Namespace, How::All];

impl How {
    async fn soft(self, cache: &Cache) {
        match self {
            Self::Key => cache.soft().invalidate("key").await.unwrap(),
            Self::Tag => cache.soft().invalidate_tag("tag").await.unwrap(),
            Self::Namespace => cache.soft().clear("things").await.unwrap(),
            Self::All => cache.soft().clear_all().await.unwrap(),
        }
    }

    async fn hard(self, cache: &Cache) {
        match self {
            Self::Key => cache.invalidate("key").await.unwrap(),
            Self::Tag => cache.invalidate_tag("tag").await.unwrap(),
            Self::Namespace => drop(cache.clear("things").await.unwrap()),
            Self::All => drop(cache.clear_all().await.unwrap()),
        }
    }
}

/// A cache over a store of objects, one over a store that takes bytes only, and one over a store that cannot clear.
fn all(adjust: impl Fn(CacheBuilder) -> CacheBuilder) -> [Cache; 3] {
    let make = |builder: CacheBuilder| {
        let builder = adjust(builder.namespace("things").ttl(60 * SEC).tag_namespaces(true));
        builder.build().with_tags(["tag"])
    };
    [
        make(local(&TokioClock::new())),
        make(over(&Remote::new())),
        make(over(&Remote::without_clear())),
    ]
}

#[tokio::test(start_paused = true)]
async fn the_copy_is_answered_while_it_is_revalidated() {
    for how in ALL {
        for cache in all(|builder| builder.stale_while_revalidate(10 * SEC)) {
            cache.set("key", 1_u32).await.unwrap();
            tokio::time::advance(30 * SEC).await;
            how.soft(&cache).await;
            assert!(cache.get::<u32>("key").await.unwrap().is_none(), "{how:?}: not fresh");
            let loads = Count::new();
            assert_eq!(
                *cache.get_or_load("key", loads.loading(2_u32)).await.unwrap(),
                1,
                "{how:?}"
            );
            idle().await;
            assert_eq!(*cache.get::<u32>("key").await.unwrap().unwrap(), 2, "{how:?}");
            assert_eq!(loads.get(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn its_windows_are_counted_from_the_invalidation() {
    for how in ALL {
        for cache in all(|builder| builder.stale_while_revalidate(10 * SEC)) {
            for (later, kept) in [(9, true), (11, false)] {
                cache.set("key", 1_u32).await.unwrap();
                tokio::time::advance(30 * SEC).await;
                how.soft(&cache).await;
                tokio::time::advance(later * SEC).await;
                let loads = Count::new();
                let answer = *cache.get_or_load("key", loads.loading(2_u32)).await.unwrap();
                assert_eq!(answer, if kept { 1 } else { 2 }, "{how:?}");
                idle().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_copy_is_answered_if_the_load_fails() {
    for how in ALL {
        for cache in all(|builder| builder.stale_if_error(10 * SEC)) {
            cache.set("key", 1_u32).await.unwrap();
            how.soft(&cache).await;
            let fail = || async { Err::<u32, _>("down") };
            assert_eq!(*cache.get_or_load("key", fail).await.unwrap(), 1, "{how:?}");
            how.hard(&cache).await;
            cache
                .get_or_load("key", fail)
                .await
                .expect_err("nothing is left to answer with");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_windows_nothing_is_kept() {
    for how in ALL {
        for cache in all(|builder| builder) {
            cache.set("key", 1_u32).await.unwrap();
            how.soft(&cache).await;
            let loads = Count::new();
            assert_eq!(
                *cache.get_or_load("key", loads.loading(2_u32)).await.unwrap(),
                2,
                "{how:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_brings_back_what_was_hard_invalidated() {
    for first in ALL {
        for then in ALL {
            for cache in all(|builder| builder.stale_while_revalidate(10 * SEC).stale_if_error(60 * SEC)) {
                cache.set("key", 1_u32).await.unwrap();
                first.hard(&cache).await;
                then.soft(&cache).await;
                let fail = || async { Err::<u32, _>("down") };
                cache.get_or_load("key", fail).await.expect_err("gone");
                // And the other way round.
                cache.set("key", 1_u32).await.unwrap();
                then.soft(&cache).await;
                first.hard(&cache).await;
                cache.get_or_load("key", fail).await.expect_err("gone");
            }
        }
    }
}

/// A copy that was fresh for the one who began to load it anew, and was hard invalidated in the meantime.
#[tokio::test(start_paused = true)]
async fn nor_does_a_soft_invalidation_that_overtakes_a_hard_one() {
    let remote = Remote::new();
    let make = || over(&remote).stale_if_error(60 * SEC).build();
    let (soft, hard) = (make(), make());
    let tagged = soft.with_tags(["tag"]);
    tagged.set("key", 1_u32).await.unwrap();
    // The soft one has read the tag's record, and is about to replace it.
    let gate = Gate::closed();
    remote.once(Fate::HoldAnswer(gate.clone()), |call| call.is("get_many"));
    let softening = tokio::spawn({
        let soft = soft.clone();
        async move { soft.soft().invalidate_tag("tag").await.unwrap() }
    });
    gate.reached().await;
    hard.invalidate_tag("tag").await.unwrap();
    gate.open();
    softening.await.unwrap();
    let fail = || async { Err::<u32, _>("down") };
    tagged.get_or_load("key", fail).await.expect_err("gone");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_is_under_way_is_fenced() {
    for (how, cache) in ALL
        .into_iter()
        .flat_map(|how| all(|builder| builder.stale_while_revalidate(60 * SEC)).map(|cache| (how, cache)))
    {
        let gate = Gate::closed();
        let held = gate.clone();
        let loading = tokio::spawn({
            let cache = cache.clone();
            async move {
                let load = move || async move {
                    held.pass().await;
                    Ok::<_, Infallible>(1_u32)
                };
                cache.get_or_load("key", load).await.unwrap()
            }
        });
        gate.reached().await;
        how.soft(&cache).await;
        gate.open();
        assert_eq!(*loading.await.unwrap(), 1);
        assert!(cache.get::<u32>("key").await.unwrap().is_none(), "{how:?}: never fresh");
    }
}

/// What is answered while "key" is refreshed with `value` once `gate` is open.
async fn refreshed(cache: &Cache, gate: Option<&Gate>, loads: &Count, value: &'static str) -> String {
    let answer = load(cache, gate, loads, Ok::<_, Infallible>(value)).await;
    (*answer.unwrap()).clone()
}

/// The next refresh does not wait until the one that was overtaken has ended.
#[tokio::test(start_paused = true)]
async fn the_lease_of_a_refresh_that_was_overtaken_holds_up_nobody() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum By {
        Soft,
        Write,
        InvalidationAndWrite,
    }
    for by in [By::Soft, By::Write, By::InvalidationAndWrite] {
        let remote = Remote::new();
        let make = || {
            let builder = over(&remote).ttl(SEC).stale_while_revalidate(60 * SEC);
            builder.lease_time(60 * SEC).build()
        };
        let (here, there) = (make(), make());
        here.set("key", "1".to_owned()).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        let gate = Gate::closed();
        refreshed(&here, Some(&gate), &Count::new(), "2").await;
        gate.reached().await;
        match by {
            By::Soft => there.soft().invalidate("key").await.unwrap(),
            By::Write => there.set("key", "1".to_owned()).await.unwrap(),
            By::InvalidationAndWrite => {
                there.invalidate("key").await.unwrap();
                there.set("key", "1".to_owned()).await.unwrap();
            }
        }
        if by != By::Soft {
            tokio::time::advance(2 * SEC).await;
        }
        let loads = Count::new();
        assert_eq!(refreshed(&there, None, &loads, "3").await, "1", "{by:?}");
        idle().await;
        assert_eq!(loads.get(), 1, "{by:?}");
        gate.open();
        idle().await;
        let value = here.get::<String>("key").await.unwrap().unwrap();
        assert_eq!(*value, "3", "{by:?}: not the overtaken one's");
    }
}

/// Its own process learns of it when the lease is to be renewed; who waits for it there does so no longer.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_was_overtaken_holds_up_its_own_process_for_a_third_of_the_lease_time() {
    for (how, usable) in [(How::Key, true), (How::Key, false), (How::Tag, true), (How::Tag, false)] {
        let remote = Remote::new();
        let make = || {
            let builder = over(&remote).ttl(SEC).lease_time(6 * SEC);
            if usable {
                builder.stale_while_revalidate(60 * SEC).build().with_tags(["tag"])
            } else {
                builder.stale_if_error(60 * SEC).build().with_tags(["tag"])
            }
        };
        let (here, there) = (make(), make());
        here.set("key", "1".to_owned()).await.unwrap();
        tokio::time::advance(2 * SEC).await;
        let (gate, loads) = (Gate::closed(), Count::new());
        let refreshing = tokio::spawn(load(&here, Some(&gate), &Count::new(), Ok::<_, Infallible>("2")));
        gate.reached().await;
        let ask = || tokio::spawn(load(&here, None, &loads, Ok::<_, Infallible>("3")));
        how.soft(&there).await;
        let waiting = ask();
        idle().await;
        assert_eq!((loads.get(), waiting.is_finished()), (0, usable), "{how:?}");
        tokio::time::advance(2 * SEC).await;
        idle().await;
        let later = ask();
        idle().await;
        assert_eq!(loads.get(), 1, "{how:?}");
        let answers = [waiting, later].map(|asked| async { (*asked.await.unwrap().unwrap()).clone() });
        let [waited, came] = answers;
        let expected = if usable { "1" } else { "3" };
        assert_eq!((waited.await.as_str(), came.await.as_str()), (expected, expected));
        gate.open();
        let own = if usable { "1" } else { "2" };
        assert_eq!(*refreshing.await.unwrap().unwrap(), own);
        idle().await;
        assert_eq!(*here.get::<String>("key").await.unwrap().unwrap(), "3");
    }
}

/// Who wants to replace a record that is gone by now does not put an end to a refresh of the later one.
#[tokio::test(start_paused = true)]
async fn a_lease_is_not_overtaken_by_those_who_saw_an_earlier_record() {
    let remote = Remote::new();
    let make = || over(&remote).ttl(SEC).stale_while_revalidate(60 * SEC).build();
    let (here, late, last) = (make(), make(), make());
    here.set("key", "1".to_owned()).await.unwrap();
    tokio::time::advance(2 * SEC).await;
    // It has seen the first record, and is about to ask for the lease.
    let asking = Gate::closed();
    remote.once(Fate::Hold(asking.clone()), |call| call.writes(EntryKind::Lease));
    let loads = Count::new();
    refreshed(&late, None, &loads, "4").await;
    asking.reached().await;
    here.soft().invalidate("key").await.unwrap();
    let gate = Gate::closed();
    refreshed(&here, Some(&gate), &Count::new(), "2").await;
    gate.reached().await;
    asking.open();
    idle().await;
    refreshed(&last, None, &loads, "5").await;
    idle().await;
    assert_eq!(loads.get(), 0);
    gate.open();
    idle().await;
    assert_eq!(*here.get::<String>("key").await.unwrap().unwrap(), "2");
}

#[tokio::test]
async fn a_key_is_not_fresh_by_anybodys_clock() {
    let store = Remote::over(memory(TokioClock::new()));
    let (slow, fast) = (ManualClock::new(), ManualClock::new());
    fast.advance(Duration::from_secs(300));
    let make = |clock: &ManualClock| {
        let builder = Cache::builder(store.clone()).clock(clock.clone());
        builder.ttl(600 * SEC).stale_while_revalidate(600 * SEC).build()
    };
    let (slow, fast) = (make(&slow), make(&fast));
    for (writer, other) in [(&slow, &fast), (&fast, &slow)] {
        writer.set("key", 1_u32).await.unwrap();
        other.soft().invalidate("key").await.unwrap();
        assert!(writer.get::<u32>("key").await.unwrap().is_none());
        assert!(other.get::<u32>("key").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn clearing_softly_takes_namespaces_with_tags() {
    let cache = over(&Remote::new()).namespace("things").build();
    let error = cache.soft().clear("things").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("tag_namespaces(true)"), "{error}");
    cache.soft().clear_all().await.unwrap_err();
    over(&Remote::without_clear())
        .build()
        .soft()
        .clear("things")
        .await
        .unwrap();
}

/// What is under the key is none of the cache's own.
#[tokio::test]
async fn a_record_that_is_not_an_entry_is_removed() {
    let remote = Remote::new();
    let key: Key = Prefix::new("cache").namespace("").key("key");
    remote
        .plant(&key, &b"somebody else's"[..], cache_core::SetOptions::new(SEC))
        .await;
    over(&remote)
        .stale_if_error(SEC)
        .build()
        .soft()
        .invalidate("key")
        .await
        .unwrap();
    assert!(remote.get(&key).await.unwrap().is_none());
}

/// By the clock of the one who invalidates, the record has expired, and by others' it has not.
#[tokio::test]
async fn nor_is_a_key_that_has_expired_for_the_one_who_invalidates_it() {
    let remote = Remote::new();
    let cache = over(&remote).stale_while_revalidate(SEC).build();
    cache.set("key", 1_u32).await.unwrap();
    let other = over(&remote).build();
    remote.once(Fate::FindNothing, |call| call.is("get"));
    other.soft().invalidate("key").await.unwrap();
    assert!(cache.get::<u32>("key").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn windows_that_have_begun_are_not_lengthened() {
    // The store keeps the record for the longer one.
    for cache in all(|builder| builder.stale_while_revalidate(10 * SEC).stale_if_error(3600 * SEC)) {
        // Ended by a soft invalidation, and by time.
        for (softened, fresh_for) in [(true, 30), (false, 60)] {
            cache.set("key", 1_u32).await.unwrap();
            tokio::time::advance(fresh_for * SEC).await;
            if softened {
                How::Key.soft(&cache).await;
            }
            for (later, answer) in [(4, 1), (4, 1), (4, 2)] {
                tokio::time::advance(later * SEC).await;
                let gone = answer == 2;
                let loads = Count::new();
                if gone {
                    assert_eq!(*cache.get_or_load("key", loads.loading(2_u32)).await.unwrap(), 2);
                } else {
                    let failing = || async { Err::<u32, _>("down") };
                    assert_eq!(*cache.get_or_load("key", failing).await.unwrap(), 1);
                    idle().await;
                    How::Key.soft(&cache).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_began_after_the_first_is_fenced_by_the_second() {
    for cache in all(|builder| builder.stale_while_revalidate(60 * SEC)) {
        cache.set("key", 1_u32).await.unwrap();
        tokio::time::advance(SEC).await;
        How::Key.soft(&cache).await;
        let gate = Gate::closed();
        let held = gate.clone();
        let refresh = move || async move {
            held.pass().await;
            Ok::<_, Infallible>(2_u32)
        };
        assert_eq!(*cache.get_or_load("key", refresh).await.unwrap(), 1);
        gate.reached().await;
        How::Key.soft(&cache).await;
        gate.open();
        idle().await;
        assert!(cache.get::<u32>("key").await.unwrap().is_none());
        assert_eq!(*cache.get_or_load("key", Count::new().loading(3_u32)).await.unwrap(), 1);
    }
}
