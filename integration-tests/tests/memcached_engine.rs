//! Two caches on one memcached, like two processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache_engine::Cache;
use cache_memcached::MemcachedBackend;
use integration_tests::Memcached;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

async fn cache(servers: &Memcached, prefix: &str) -> Cache {
    let patience = Duration::from_secs(10);
    let backend = MemcachedBackend::builder()
        .url(&servers.url())
        .connect_timeout(patience)
        .operation_timeout(patience)
        .connect()
        .await
        .unwrap();
    Cache::builder(backend)
        .prefix(&format!("engine-{}-{prefix}", std::process::id()))
        .namespace("things")
        .backend_timeout(patience)
        .build()
}

/// Makes two caches with their own connections.
async fn two(servers: &Memcached, prefix: &str) -> [Cache; 2] {
    [cache(servers, prefix).await, cache(servers, prefix).await]
}

/// A load that waits until the test lets it go on.
#[derive(Default)]
struct Gate {
    reached: Notify,
    open: Notify,
}

fn load(cache: &Cache, value: &str, gate: Option<Arc<Gate>>) -> JoinHandle<Arc<String>> {
    let (cache, value) = (cache.clone(), value.to_owned());
    tokio::spawn(async move {
        let load = async move || {
            if let Some(gate) = gate {
                gate.reached.notify_one();
                gate.open.notified().await;
            }
            Ok::<_, Infallible>(value)
        };
        cache.get_or_load("key", load).await.unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_load_once() {
    for servers in [Memcached::shared().await, Memcached::shared_fleet().await] {
        let caches = two(servers, "once").await;
        let loads = Arc::new(AtomicUsize::new(0));
        for key in 0..5 {
            let callers: Vec<_> = (0..20)
                .map(|caller| {
                    let (cache, loads) = (caches[caller % 2].clone(), Arc::clone(&loads));
                    tokio::spawn(async move {
                        let load = async move || {
                            tokio::time::sleep(Duration::from_millis(30)).await;
                            Ok::<_, Infallible>(loads.fetch_add(1, Ordering::SeqCst))
                        };
                        let key = format!("{} {key}", servers.addresses().len());
                        *cache.get_or_load(key, load).await.unwrap()
                    })
                })
                .collect();
            for caller in callers {
                assert_eq!(caller.await.unwrap(), key);
            }
        }
        assert_eq!(loads.load(Ordering::SeqCst), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_elsewhere_fences_a_load_under_way() {
    let [here, there] = two(Memcached::shared().await, "fence").await;
    let gate = Arc::new(Gate::default());
    let starter = load(&here, "old", Some(Arc::clone(&gate)));
    gate.reached.notified().await;
    there.invalidate("key").await.unwrap();
    gate.open.notify_one();
    assert_eq!(*starter.await.unwrap(), "old", "who started the load keeps its value");
    assert_eq!(
        there.get::<String>("key").await.unwrap(),
        None,
        "and nobody else gets it"
    );
    assert_eq!(*load(&there, "new", None).await.unwrap(), "new");
    assert_eq!(*load(&here, "newer", None).await.unwrap(), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleared_namespace_is_empty_for_everybody_and_its_boundary_holds() {
    for servers in [Memcached::shared().await, Memcached::shared_fleet().await] {
        let [here, there] = two(servers, &format!("clear-{}", servers.addresses().len())).await;
        let beside = here.with_namespace("things-too");
        for key in 0..50 {
            here.set(key.to_string(), key).await.unwrap();
            beside.set(key.to_string(), key).await.unwrap();
        }
        there.clear("things").await.unwrap();
        for key in 0..50 {
            assert_eq!(here.get::<i32>(key.to_string()).await.unwrap(), None);
            assert_eq!(there.get::<i32>(key.to_string()).await.unwrap(), None);
            assert_eq!(beside.get::<i32>(key.to_string()).await.unwrap().as_deref(), Some(&key));
        }
        here.set("0", 1).await.unwrap();
        assert_eq!(there.get::<i32>("0").await.unwrap().as_deref(), Some(&1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_elsewhere_fences_a_load_under_way() {
    let [here, there] = two(Memcached::shared().await, "clear-fence").await;
    let gate = Arc::new(Gate::default());
    let starter = load(&here, "old", Some(Arc::clone(&gate)));
    gate.reached.notified().await;
    there.clear("things").await.unwrap();
    gate.open.notify_one();
    assert_eq!(*starter.await.unwrap(), "old");
    assert_eq!(there.get::<String>("key").await.unwrap(), None);
    assert_eq!(*load(&there, "new", None).await.unwrap(), "new");
    assert_eq!(*load(&here, "newer", None).await.unwrap(), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_of_three_stops_nobody() {
    let servers = Memcached::start(3).await;
    let backend = MemcachedBackend::connect(&servers.url()).await.unwrap();
    let cache = Cache::builder(backend).prefix("dead").namespace("things").build();
    let answer = |key: u32| cache.get_or_load(key.to_string(), async move || Ok::<_, Infallible>(key));
    for key in 0..50 {
        assert_eq!(*answer(key).await.unwrap(), key);
    }
    servers.kill(2).await;
    for key in 0..50 {
        assert_eq!(*answer(key).await.unwrap(), key);
    }
}
