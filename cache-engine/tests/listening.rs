//! The change subscription begins again when it has to, and reports that.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use cache_engine::Cache;
use support::{Log, Remote, SEC, TokioClock, idle, memory, over};

fn near(remote: &Remote, log: &Log) -> Cache {
    over(remote)
        .near(memory(TokioClock::new()))
        .observer(log.clone())
        .build()
}

async fn value(cache: &Cache) -> Option<u32> {
    cache.get::<u32>("key").await.unwrap().map(|value| *value)
}

/// Whether the store need not be asked.
fn is_near(cache: &Cache) -> bool {
    cache.adapter().read_local::<u32>(&cache.key("key")).is_some()
}

fn events(log: &Log) -> (usize, usize) {
    (log.count("subscription_begun"), log.count("subscription_lost"))
}

#[tokio::test(start_paused = true)]
async fn when_the_store_ends_the_stream() {
    let (remote, log) = (Remote::telling(), Log::new());
    let here = near(&remote, &log);
    value(&here).await;
    idle().await;
    here.set("key", 1_u32).await.unwrap();
    idle().await;
    assert_eq!((is_near(&here), events(&log)), (true, (1, 0)));
    remote.teller().end();
    idle().await;
    assert_eq!((is_near(&here), events(&log)), (false, (1, 1)));
    tokio::time::sleep(SEC).await;
    assert_eq!(value(&here).await, Some(1));
    assert_eq!((is_near(&here), events(&log)), (true, (2, 1)));
}

/// The cache outlives the runtime in which it was used first, as in tests, or in a tool that starts one for each task.
#[test]
fn when_its_runtime_is_gone() {
    let (remote, log) = (Remote::telling(), Log::new());
    let here = near(&remote, &log);
    for round in 1..=3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            value(&here).await;
            idle().await;
            here.set("key", 1_u32).await.unwrap();
            idle().await;
            assert_eq!((is_near(&here), events(&log)), (true, (round, round - 1)));
        });
        drop(runtime);
        assert_eq!((is_near(&here), events(&log)), (false, (round, round)));
    }
}

/// An orderly end loses nothing, so it reports no loss.
#[tokio::test(start_paused = true)]
async fn after_a_shutdown_it_ends_without_an_event_and_begins_again_if_needed() {
    let (remote, log) = (Remote::telling(), Log::new());
    let here = near(&remote, &log);
    value(&here).await;
    idle().await;
    here.set("key", 1_u32).await.unwrap();
    idle().await;
    assert_eq!((is_near(&here), events(&log)), (true, (1, 0)));
    here.shutdown().await;
    idle().await;
    remote.teller().end();
    idle().await;
    assert_eq!((is_near(&here), events(&log)), (false, (1, 0)));
    assert_eq!(value(&here).await, Some(1));
    idle().await;
    assert_eq!(value(&here).await, Some(1));
    assert_eq!((is_near(&here), events(&log)), (true, (2, 0)));
}
