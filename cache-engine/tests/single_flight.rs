//! One load for any number of concurrent callers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use cache_engine::{Cache, Loaded};
use cache_memory::MemoryBackend;
use support::{Count, Gate, Remote, idle, over};
use tokio::task::JoinHandle;

fn cache() -> Cache {
    Cache::builder(MemoryBackend::default()).build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_share_one_load() {
    for cache in [cache(), over(&Remote::new()).build()] {
        for borrowing in [false, true] {
            let (loads, gate) = (Count::new(), Gate::closed());
            let callers: Vec<_> = (0..1000)
                .map(|_| {
                    let (cache, loads, gate) = (cache.clone(), loads.clone(), gate.clone());
                    tokio::spawn(async move {
                        let load = || async move {
                            loads.up();
                            gate.pass().await;
                            Ok::<_, Infallible>("value".to_owned())
                        };
                        if borrowing {
                            cache.borrowing().get_or_load("key", load).await.unwrap()
                        } else {
                            cache.get_or_load("key", load).await.unwrap()
                        }
                    })
                })
                .collect();
            gate.reached().await;
            gate.open();
            for caller in callers {
                assert_eq!(*caller.await.unwrap(), "value");
            }
            assert_eq!(loads.get(), 1);
            assert_eq!(cache.in_flight(), 0);
            cache.invalidate("key").await.unwrap();
        }
    }
}

#[tokio::test]
async fn those_who_wait_get_the_very_object_that_was_loaded() {
    let (cache, gate) = (cache(), Gate::closed());
    let call = || {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move {
            let load = || async move {
                gate.pass().await;
                Ok::<_, Infallible>("value".to_owned())
            };
            cache.get_or_load("key", load).await.unwrap()
        })
    };
    let callers = [call(), call(), call()];
    gate.reached().await;
    idle().await;
    gate.open();
    let hit = async { cache.get::<String>("key").await.unwrap() };
    let mut values = Vec::new();
    for caller in callers {
        values.push(caller.await.unwrap());
    }
    let hit = hit.await.unwrap();
    assert!(values.iter().all(|value| Arc::ptr_eq(value, &hit)));
}

#[tokio::test(start_paused = true)]
async fn different_keys_do_not_wait_for_each_other() {
    let (cache, gate) = (cache(), Gate::closed());
    let held = tokio::spawn({
        let (cache, gate) = (cache.clone(), gate.clone());
        async move {
            let load = || async move {
                gate.pass().await;
                Ok::<_, Infallible>(1)
            };
            cache.get_or_load("held", load).await.unwrap()
        }
    });
    gate.reached().await;
    assert_eq!(cache.in_flight(), 1);
    for number in 0..100 {
        cache
            .get_or_load(number.to_string(), Count::new().loading(number))
            .await
            .unwrap();
    }
    gate.open();
    held.await.unwrap();
}

/// Two types under one key is a mistake that must not end in a wrong value or a deadlock.
#[tokio::test(start_paused = true)]
async fn two_types_under_one_key_each_get_their_own() {
    fn call<T: Clone + Debug + PartialEq + Send + Sync + 'static>(
        cache: &Cache,
        gate: &Gate,
        value: T,
    ) -> JoinHandle<()>
    where
        cache_core::Json: cache_core::Coder<T>,
    {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move {
            let expected = value.clone();
            let load = || async move {
                gate.pass().await;
                Ok::<_, Infallible>(value)
            };
            assert_eq!(*cache.get_or_load("key", load).await.unwrap(), expected);
        })
    }
    for cache in [cache(), over(&Remote::new()).build()] {
        let gate = Gate::closed();
        let text = call(&cache, &gate, "text".to_owned());
        let number = call(&cache, &gate, 7);
        gate.reached().await;
        idle().await;
        gate.open();
        text.await.unwrap();
        number.await.unwrap();
        assert_eq!(cache.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn loaders_with_different_errors_share_the_value() {
    let (cache, gate, loads) = (cache(), Gate::closed(), Count::new());
    let first = tokio::spawn({
        let (cache, gate, loads) = (cache.clone(), gate.clone(), loads.clone());
        async move {
            let load = || async move {
                gate.pass().await;
                Ok::<_, String>(loads.up())
            };
            *cache.get_or_load("key", load).await.unwrap()
        }
    });
    gate.reached().await;
    let second = tokio::spawn({
        let (cache, loads) = (cache.clone(), loads.clone());
        async move {
            *cache
                .get_or_load("key", || async move { Ok::<_, Infallible>(loads.up()) })
                .await
                .unwrap()
        }
    });
    idle().await;
    gate.open();
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_ways_to_load_share_one_load() {
    let (cache, gate, loads) = (cache(), Gate::closed(), Count::new());
    let number = |loads: Count, gate: Gate| async move {
        gate.pass().await;
        Ok::<_, Infallible>(loads.up())
    };
    let callers = [0, 1, 2, 3, 4].map(|way| {
        let (cache, gate, loads) = (cache.clone(), gate.clone(), loads.clone());
        tokio::spawn(async move {
            let load = move || number(loads, gate);
            match way {
                0 => *cache.get_or_load("key", load).await.unwrap(),
                1 => *cache.borrowing().get_or_load("key", load).await.unwrap(),
                2 => {
                    let load = |_| async { load().await.map(Loaded::new) };
                    *cache.get_or_load_with("key", load).await.unwrap().unwrap()
                }
                3 => *cache
                    .get_or_load_optional("key", || async { load().await.map(Some) })
                    .await
                    .unwrap()
                    .unwrap(),
                _ => *cache.refresh("key", load).await.unwrap(),
            }
        })
    });
    gate.reached().await;
    idle().await;
    assert_eq!(cache.in_flight(), 1);
    gate.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 1);
    }
    assert_eq!((loads.get(), cache.in_flight()), (1, 0));
}

/// The futures can be spawned wherever their loads can.
#[tokio::test]
async fn futures_can_move_between_threads() {
    fn sendable<F: Future + Send>(future: F) -> F {
        future
    }
    let cache = cache();
    let view = cache.borrowing();
    let borrowed = String::from("borrowed");
    let load = || async { Ok::<_, Infallible>(borrowed.clone()) };
    sendable(cache.get_or_load("a", || async { Ok::<_, Infallible>(1) }))
        .await
        .unwrap();
    sendable(cache.get_or_load_optional("b", || async { Ok::<_, Infallible>(Some(1)) }))
        .await
        .unwrap();
    sendable(cache.refresh("c", || async { Ok::<_, Infallible>(1) }))
        .await
        .unwrap();
    sendable(view.get_or_load("d", load)).await.unwrap();
    sendable(cache.get::<i32>("a")).await.unwrap();
    sendable(cache.get_many::<i32, _>(["a"])).await.unwrap();
    sendable(cache.set("a", 1)).await.unwrap();
    sendable(cache.invalidate("a")).await.unwrap();
    sendable(cache.clear("a")).await.unwrap();
    sendable(cache.adapter().lookup::<i32>(&cache.key("a"))).await;
    sendable(cache.shutdown()).await;
    // A borrowing load need not be.
    let cell = std::rc::Rc::new(2);
    let value = view.get_or_load("e", || async { Ok::<_, Infallible>(*cell) }).await;
    assert_eq!(*value.unwrap(), 2);
}
