//! The step-by-step lookup that adapters use.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use cache_core::FreshnessWindows;
use cache_engine::{Cache, Lookup};
use support::{Remote, SEC, over};

fn is_apart(lookup: &Lookup<u32>) -> bool {
    matches!(lookup, Lookup::Uncoalesced { waited: false, .. })
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_nobody_loads_or_goes_alone() {
    for remote in [Remote::new(), Remote::without_clear()] {
        let caches: [Cache; 2] = [over(&remote).build(), over(&remote).build()];
        let [here, there] = &caches;
        let key = here.key("key");
        let windows = FreshnessWindows::new(60 * SEC);
        let Lookup::Miss(fill) = here.adapter().lookup_uncoalesced::<u32>(&key, false).await else {
            panic!("nobody is loading")
        };
        // In this process, and in another one that finds the lease.
        assert!(is_apart(&here.adapter().lookup_uncoalesced(&key, false).await));
        assert!(is_apart(&there.adapter().lookup_uncoalesced(&key, false).await));
        fill.store(Arc::new(1), here.adapter().coder(), windows).await;
        for cache in &caches {
            let Lookup::Hit {
                found,
                coalesced: false,
                ..
            } = cache.adapter().lookup_uncoalesced::<u32>(&key, false).await
            else {
                panic!("it is stored")
            };
            assert_eq!(*found.value, 1);
        }
        let Lookup::Miss(fill) = there.adapter().lookup_uncoalesced::<u32>(&key, true).await else {
            panic!("what is there does not do")
        };
        assert!(is_apart(&here.adapter().lookup_uncoalesced(&key, true).await));
        drop(fill);
    }
}

mod reserved {
    use super::*;

    async fn stored(cache: &Cache) -> Option<u32> {
        cache.get::<u32>("key").await.unwrap().map(|value| *value)
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_reservation() {
        for remote in [Remote::new(), Remote::without_clear()] {
            for is_stored_before in [false, true] {
                let caches: [Cache; 2] = [over(&remote).build(), over(&remote).build()];
                let [here, there] = &caches;
                let key = here.key("key");
                here.clear_all().await.unwrap();
                if is_stored_before {
                    here.set("key", 1_u32).await.unwrap();
                }
                let before = is_stored_before.then_some(1);
                let reservation = here.adapter().reserve::<u32>(&key).await.expect("nobody loads");
                for cache in &caches {
                    assert_eq!(stored(cache).await, before);
                    let Lookup::Miss(fill) = cache.adapter().lookup_anew::<u32>(&key).await else {
                        panic!("nobody loads")
                    };
                    drop(fill);
                }
                // What was there is gone, and others wait.
                let fill = reservation.begin().await.expect("nothing has changed");
                assert_eq!(stored(there).await, None);
                assert!(is_apart(&there.adapter().lookup_uncoalesced(&key, false).await));
                assert!(is_apart(&here.adapter().lookup_uncoalesced(&key, false).await));
                let windows = FreshnessWindows::new(60 * SEC);
                let outcome = fill.store(Arc::new(2), here.adapter().coder(), windows).await;
                assert!(outcome.is_stored());
                assert_eq!(stored(there).await, Some(2));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_the_key_ends_a_reservation() {
        for is_stored_before in [false, true] {
            for change in ["invalidate", "clear", "soften", "set", "load", "reserve"] {
                let remote = Remote::new();
                let (here, there) = (over(&remote).build(), over(&remote).build());
                let key = here.key("key");
                if is_stored_before {
                    here.set("key", 1_u32).await.unwrap();
                }
                let reservation = here.adapter().reserve::<u32>(&key).await.expect("nobody loads");
                let windows = FreshnessWindows::new(60 * SEC);
                match change {
                    "invalidate" => there.invalidate("key").await.unwrap(),
                    "clear" => drop(there.clear_all().await.unwrap()),
                    "soften" => there.soft().invalidate("key").await.unwrap(),
                    "set" => there.set("key", 3_u32).await.unwrap(),
                    "load" => {
                        let Lookup::Miss(fill) = there.adapter().lookup_anew::<u32>(&key).await else {
                            panic!("nobody loads")
                        };
                        let coder = there.adapter().coder();
                        assert!(fill.store(Arc::new(3), coder, windows).await.is_stored());
                    }
                    _ => {
                        let other = there.adapter().reserve::<u32>(&key).await.expect("nobody loads");
                        let fill = other.begin().await.expect("the first to begin");
                        let coder = there.adapter().coder();
                        assert!(fill.store(Arc::new(3), coder, windows).await.is_stored());
                    }
                }
                assert!(reservation.begin().await.is_none(), "{change} {is_stored_before}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_up_leaves_nothing_behind() {
        let remote = Remote::new();
        let cache: Cache = over(&remote).build();
        let key = cache.key("key");
        drop(cache.adapter().reserve::<u32>(&key).await);
        support::idle().await;
        assert!(remote.peek(&key).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tag_that_was_invalidated_since_ends_the_value() {
        let remote = Remote::new();
        let cache: Cache = over(&remote).build().with_tags(["tag"]);
        let key = cache.key("key");
        for is_invalidated in [false, true] {
            let reservation = cache.adapter().reserve::<u32>(&key).await.expect("nobody loads");
            if is_invalidated {
                cache.invalidate_tag("tag").await.unwrap();
            }
            let fill = reservation.begin().await.expect("the key has not changed");
            let windows = FreshnessWindows::new(60 * SEC);
            fill.store(Arc::new(2), cache.adapter().coder(), windows).await;
            assert_eq!(stored(&cache).await, (!is_invalidated).then_some(2));
        }
    }
}
