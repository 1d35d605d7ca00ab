//! Real memcached servers that come and go, named by a configuration endpoint as that of ElastiCache.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod memcached_support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, ErrorKind, Key, Prefix, SetOptions};
use cache_engine::Cache;
use cache_memcached::{MemcachedBackend, MemcachedBackendBuilder};
use integration_tests::Memcached;
use memcached_support::authority::Authority;
use memcached_support::endpoint::Endpoint;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// On a busy machine, no server must be taken for one that is down.
const PATIENCE: Duration = Duration::from_secs(20);

const REFRESH: Duration = Duration::from_millis(200);

fn key(number: usize) -> Key {
    Prefix::new("nodes").namespace("n").key(number.to_string())
}

fn keys() -> Vec<Key> {
    (0..60).map(key).collect()
}

fn builder() -> MemcachedBackendBuilder {
    MemcachedBackend::builder()
        .connect_timeout(PATIENCE)
        .operation_timeout(PATIENCE)
        .node_refresh(REFRESH)
}

async fn over(endpoint: &Endpoint) -> MemcachedBackend {
    builder().auto_discovery(&endpoint.address()).connect().await.unwrap()
}

/// A process whose servers are named once and for all.
async fn fixed(addresses: &[&str]) -> MemcachedBackend {
    let name =
        |builder: MemcachedBackendBuilder, address: &&str| builder.server(&address.replace("127.0.0.1", "localhost"));
    addresses.iter().fold(builder(), name).connect().await.unwrap()
}

async fn put_all(backend: &MemcachedBackend, value: &'static str) {
    for key in keys() {
        let value = Bytes::from_static(value.as_bytes());
        let outcome = backend
            .set(&key, value.into(), SetOptions::new(Duration::from_secs(3600)))
            .await;
        outcome.unwrap().version().expect("always stored");
    }
}

async fn delete_all(backend: &MemcachedBackend) {
    for key in keys() {
        backend.delete(&key).await.unwrap();
    }
}

/// Returns how many keys have this value.
async fn count(backend: &MemcachedBackend, value: &str) -> usize {
    let records = backend.get_many(&keys()).await.unwrap();
    let is_it = |record: &&cache_core::Record| record.value.as_bytes().is_some_and(|bytes| bytes == value.as_bytes());
    records.iter().flatten().filter(is_it).count()
}

/// Waits until the condition holds.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Changes the nodes, and waits until the process has read the list after that.
async fn change(endpoint: &Endpoint, nodes: &[&str], process: &MemcachedBackend) {
    endpoint.set(nodes);
    // The second time it is asked, what the first answer led to is over.
    let asked = endpoint.asked();
    until(async || {
        let _ = process.get(&key(0)).await;
        endpoint.asked() >= asked + 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_joins_takes_its_share_and_one_that_leaves_gives_it_back() {
    let servers = Memcached::start(3).await;
    let [a, b, c] = [0, 1, 2].map(|server| servers.addresses()[server].as_str());
    let endpoint = Endpoint::start(&[a, b], None).await;
    let process = over(&endpoint).await;
    put_all(&process, "old").await;
    change(&endpoint, &[a, b, c], &process).await;
    let kept = count(&process, "old").await;
    assert!((25..55).contains(&kept), "{kept} of 60 keys are where they were");
    put_all(&process, "new").await;
    assert_eq!(count(&process, "new").await, 60);
    change(&endpoint, &[a, b], &process).await;
    assert_eq!(count(&process, "new").await, kept);
    servers.kill(2).await;
    put_all(&process, "newest").await;
    assert_eq!(count(&process, "newest").await, 60);
}

/// The server is frozen while it is not in the list, so it keeps what it has, as after a network failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_returns_with_old_data_does_not_serve_it() {
    let servers = Memcached::start(3).await;
    let [a, b, c] = [0, 1, 2].map(|server| servers.addresses()[server].as_str());
    let endpoint = Endpoint::start(&[a, b, c], None).await;
    let process = over(&endpoint).await;
    put_all(&process, "old").await;

    endpoint.set(&[a, b]);
    change(&endpoint, &[a, b], &process).await;
    servers.freeze(2).await;
    delete_all(&process).await;
    servers.thaw(2).await;
    change(&endpoint, &[a, b, c], &process).await;
    assert_eq!(count(&process, "old").await, 0);
    assert_eq!(
        count(&over(&endpoint).await, "old").await,
        0,
        "nor to a process that starts now"
    );
    put_all(&process, "new").await;
    assert_eq!(count(&process, "new").await, 60);

    // The control: the old records are there, and a process that knows nothing of the changes reads them.
    let servers = Memcached::start(3).await;
    let [a, b, c] = [0, 1, 2].map(|server| servers.addresses()[server].as_str());
    put_all(&fixed(&[a, b, c]).await, "old").await;
    delete_all(&fixed(&[a, b]).await).await;
    assert!(count(&fixed(&[a, b, c]).await, "old").await > 5);
}

/// The other half of the hazard: the server stays, and its keys go away and return.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_does_not_serve_what_it_had_before_another_one_came_and_went() {
    let servers = Memcached::start(3).await;
    let [a, b, c] = [0, 1, 2].map(|server| servers.addresses()[server].as_str());
    let endpoint = Endpoint::start(&[a, b], None).await;
    let process = over(&endpoint).await;
    put_all(&process, "old").await;
    change(&endpoint, &[a, b, c], &process).await;
    delete_all(&process).await;
    change(&endpoint, &[a, b], &process).await;
    assert_eq!(count(&process, "old").await, 0);

    let servers = Memcached::start(3).await;
    let [a, b, c] = [0, 1, 2].map(|server| servers.addresses()[server].as_str());
    put_all(&fixed(&[a, b]).await, "old").await;
    delete_all(&fixed(&[a, b, c]).await).await;
    assert!(count(&fixed(&[a, b]).await, "old").await > 5);
}

/// The source of the values, and up to which of them all caches were told.
#[derive(Default)]
struct Source {
    current: AtomicU64,
    told: AtomicU64,
}

/// Two processes read, write and invalidate all the time, while servers join, leave, freeze, restart and return. No
/// answer is older than the last invalidation that was carried out before its question.
#[tokio::test(flavor = "multi_thread")]
async fn servers_come_and_go_under_load_and_no_answer_is_old() {
    let servers = Memcached::start(3).await;
    let [a, b, c] = [0, 1, 2].map(|server| servers.addresses()[server].as_str());
    let endpoint = Endpoint::start(&[a, b], None).await;
    let sources: Arc<Vec<Source>> = Arc::new((0..20).map(|_| Source::default()).collect());
    let (stop, answers, loads) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut tasks = Vec::new();
    for process in 0..2 {
        let cache = Cache::builder(over(&endpoint).await)
            .prefix("load")
            .namespace("n")
            .backend_timeout(PATIENCE)
            .build();
        for task in 0..3 {
            let (cache, sources, stop) = (cache.clone(), Arc::clone(&sources), Arc::clone(&stop));
            let (answers, loads) = (Arc::clone(&answers), Arc::clone(&loads));
            tasks.push(tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(process * 10 + task);
                while !stop.load(Ordering::SeqCst) {
                    let number = random.usize(..sources.len());
                    let source = &sources[number];
                    if random.u8(..) < 20 {
                        let value = source.current.fetch_add(1, Ordering::SeqCst) + 1;
                        // One that fails is reported to its caller, and stays pending in this process.
                        if cache.invalidate(number.to_string()).await.is_ok() {
                            source.told.fetch_max(value, Ordering::SeqCst);
                        }
                        continue;
                    }
                    let told = source.told.load(Ordering::SeqCst);
                    let (counted, loaded) = (Arc::clone(&loads), Arc::clone(&sources));
                    let load = async move || {
                        counted.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, Infallible>(loaded[number].current.load(Ordering::SeqCst))
                    };
                    let value = *cache.get_or_load(number.to_string(), load).await.unwrap();
                    assert!(value >= told, "{number}: {value} was read after {told} was told");
                    answers.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
    }
    let watcher = over(&endpoint).await;
    for nodes in [
        &[a, b, c][..],
        &[a, b],
        &[b, c],
        &[a, b, c],
        &[c],
        &[a, c],
        &[a, b, c],
        &[a, b],
    ] {
        change(&endpoint, nodes, &watcher).await;
        let before = answers.load(Ordering::SeqCst);
        until(async || answers.load(Ordering::SeqCst) > before + 200).await;
    }
    // Without an answer of the servers each answer is a load, and a quick one. With them, most come from the cache.
    until(async || {
        let counts = || (answers.load(Ordering::SeqCst), loads.load(Ordering::SeqCst));
        let before = counts();
        until(async || answers.load(Ordering::SeqCst) > before.0 + 200).await;
        let now = counts();
        now.1 - before.1 < (now.0 - before.0) * 9 / 10
    })
    .await;
    servers.kill(1).await;
    servers.restart(1).await;
    let before = answers.load(Ordering::SeqCst);
    until(async || answers.load(Ordering::SeqCst) > before + 200).await;
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_engine_is_asked_by_its_own_command() {
    let endpoint = Endpoint::start(&[&Memcached::shared().await.addresses()[0]], None).await;
    endpoint.grow_old();
    over(&endpoint).await.ping().await.unwrap();
    assert!(endpoint.asked() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_away_changes_nothing_and_another_one_is_asked() {
    let servers = Memcached::start(2).await;
    let [a, b] = [0, 1].map(|server| servers.addresses()[server].as_str());
    let [first, second] = [Endpoint::start(&[a], None).await, Endpoint::start(&[a], None).await];
    second.set(&[a, b]);
    let process = over(&first).await;
    put_all(&process, "value").await;
    first.go_down(true);
    let asked = first.asked();
    until(async || {
        assert_eq!(count(&process, "value").await, 60);
        first.asked() >= asked + 3
    })
    .await;
    let error = builder().auto_discovery(&first.address()).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&first.address()), "{error}");
    let url = format!(
        "memcached://{},{}?auto_discovery=true",
        first.address(),
        second.address()
    );
    builder().url(&url).connect().await.unwrap();
    assert!(second.asked() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_server_is_no_configuration_endpoint() {
    let url = format!("{}?auto_discovery=true", Memcached::shared().await.url());
    let error = builder().url(&url).connect().await.unwrap_err();
    assert!(error.to_string().contains("knows no list of nodes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_discovery_by_tls() {
    let authority = Authority::new();
    let server = authority.memcached(None).await;
    let [certificate, key] = authority.issue("localhost");
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let endpoint = Endpoint::start(&[&server.addresses()[0]], Some(acceptor)).await;
    let url = format!("memcacheds://{}?auto_discovery=true", endpoint.address());
    let secure = builder().url(&url).ca_certificates(authority.pem()).build().unwrap();
    until(async || secure.ping().await.is_ok()).await;
    put_all(&secure, "value").await;
    assert_eq!(count(&secure, "value").await, 60);
    let stranger = builder().url(&url).ca_certificates(Authority::new().pem());
    let error = stranger.connect().await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}
