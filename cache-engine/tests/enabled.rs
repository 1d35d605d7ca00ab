//! A cache that is switched off at run time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;

use cache_engine::{LoadError, Lookup};
use support::{Count, Fate, Gate, Remote, idle, over};

#[tokio::test(start_paused = true)]
async fn while_it_is_off_nothing_is_read_stored_or_coalesced() {
    let remote = Remote::new();
    let cache = over(&remote).enabled(false).build();
    let (loads, gate) = (Count::new(), Gate::closed());
    remote.always(Fate::Freeze);
    let callers: Vec<_> = (0..4)
        .map(|number| {
            let (cache, loads, gate) = (cache.clone(), loads.clone(), gate.clone());
            tokio::spawn(async move {
                let load = || async move {
                    loads.up();
                    gate.pass().await;
                    Ok::<_, Infallible>(7)
                };
                match number % 3 {
                    0 => *cache.get_or_load("key", load).await.unwrap(),
                    1 => *cache.borrowing().get_or_load("key", load).await.unwrap(),
                    _ => *cache.refresh("key", load).await.unwrap(),
                }
            })
        })
        .collect();
    idle().await;
    assert_eq!((loads.get(), cache.in_flight()), (4, 0));
    gate.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 7);
    }
    assert!(cache.get::<i32>("key").await.unwrap().is_none());
    assert_eq!(cache.get_many::<i32, _>(["key"]).await.unwrap(), [None]);
    cache.set("key", 1).await.unwrap();
    assert!(matches!(
        cache.adapter().lookup::<i32>(&cache.key("key")).await,
        Lookup::Uncoalesced { waited: false, .. }
    ));
    let failed = cache.get_or_load("key", || async { Err::<i32, _>("failed") }).await;
    assert!(matches!(failed, Err(LoadError::Failed(_))));
    assert_eq!(remote.take_calls(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_meanwhile_is_not_found_when_it_is_on_again() {
    let cache = over(&Remote::new()).namespace("things").build();
    let other = cache.with_namespace("others");
    for key in ["invalidated", "deleted", "kept"] {
        cache.set(key, 1).await.unwrap();
    }
    other.set("cleared", 1).await.unwrap();
    cache.set_enabled(false);
    assert!(!other.is_enabled(), "the switch is one for all handles");
    cache.invalidate("invalidated").await.unwrap();
    assert!(cache.delete("deleted").await.unwrap());
    assert_eq!(cache.clear("others").await.unwrap(), Some(1));
    cache.set_enabled(true);
    assert!(cache.get::<i32>("invalidated").await.unwrap().is_none());
    assert!(cache.get::<i32>("deleted").await.unwrap().is_none());
    assert!(other.get::<i32>("cleared").await.unwrap().is_none());
    assert_eq!(*cache.get::<i32>("kept").await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_is_under_way_ends_as_ever() {
    let cache = over(&Remote::new()).build();
    let gate = Gate::closed();
    let caller = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let load = || async move {
                gate.pass().await;
                Ok::<_, Infallible>(7)
            };
            *cache.get_or_load("key", load).await.unwrap()
        }
    });
    gate.reached().await;
    cache.set_enabled(false);
    gate.open();
    assert_eq!(caller.await.unwrap(), 7);
    assert_eq!(cache.in_flight(), 0);
}
