//! The step-by-step lookup that adapters use.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use cache_core::FreshnessWindows;
use cache_engine::{Cache, Lookup};
use support::{Remote, SEC, over};

fn is_apart(lookup: &Lookup<u32>) -> bool {
    matches!(lookup, Lookup::Uncoalesced { waited: false })
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
