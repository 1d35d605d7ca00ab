//! A server that is down costs little, and is used again when it is back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use cache_core::{Backend, ErrorKind, SetOptions};
use cache_memcached::{MemcachedBackend, STAND_IN_MILLIS, WhenDown};
use support::{Fake, hour, key, over, over_one, put, read};
use tokio::time::{Instant, advance, timeout};

const OPERATION_TIMEOUT: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_secs(1);

/// Returns names of keys, grouped by their server.
async fn names(backend: &MemcachedBackend, fakes: &[Fake]) -> Vec<Vec<String>> {
    let mut names = vec![Vec::new(); fakes.len()];
    for number in 0..30 {
        let name = format!("key {number}");
        put(backend, &name, "old").await.unwrap();
        let stored = format!("p:n:key%20{number}");
        names[fakes.iter().position(|fake| fake.keys().contains(&stored)).unwrap()].push(name);
    }
    assert!(names.iter().all(|names| names.len() > 1), "{names:?}");
    names
}

async fn take_down(backend: &MemcachedBackend, name: &str) {
    for _ in 0..3 {
        assert!(read(backend, name).await.is_err());
    }
}

fn fleet(when_down: WhenDown) -> (Vec<Fake>, MemcachedBackend) {
    let fakes: Vec<Fake> = (0..3).map(|_| Fake::new()).collect();
    let backend = over(&fakes).when_down(when_down).build().unwrap();
    (fakes, backend)
}

#[tokio::test(start_paused = true)]
async fn a_frozen_server_costs_three_timeouts_and_then_nothing() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    put(&backend, "key", "value").await.unwrap();
    fake.freeze();
    for _ in 0..3 {
        let begun = Instant::now();
        let error = read(&backend, "key").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!((OPERATION_TIMEOUT..OPERATION_TIMEOUT * 2).contains(&begun.elapsed()));
    }
    let begun = Instant::now();
    for _ in 0..100 {
        let error = read(&backend, "key").await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);

    // Once per pause, one of many calls probes the server.
    advance(PAUSE).await;
    let begun = Instant::now();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { read(&backend, "key").await.unwrap_err().kind() })
        })
        .collect();
    let mut timeouts = 0;
    for call in calls {
        timeouts += usize::from(call.await.unwrap() == ErrorKind::Timeout);
    }
    assert_eq!((timeouts, begun.elapsed() < OPERATION_TIMEOUT * 2), (1, true));

    fake.thaw();
    advance(PAUSE).await;
    assert_eq!(read(&backend, "key").await.unwrap().as_deref(), Some("value"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_little_patience_finds_a_frozen_server_out_too() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    put(&backend, "key", "value").await.unwrap();
    fake.freeze();
    for _ in 0..3 {
        assert!(timeout(OPERATION_TIMEOUT / 2, read(&backend, "key")).await.is_err());
    }
    assert_eq!(read(&backend, "key").await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_never_made_is_given_up() {
    let backend = MemcachedBackend::builder()
        .server("a:1")
        .connector(|_| std::future::pending::<std::io::Result<tokio::io::DuplexStream>>())
        .connect_timeout(Duration::from_millis(30))
        .build()
        .unwrap();
    let begun = Instant::now();
    let error = backend.get(&key("key")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("no connection within 30ms"), "{error}");
    assert!(begun.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_an_answer_has_an_end_for_each_call() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    put(&backend, "key", "value").await.unwrap();
    fake.freeze();
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { read(&backend, "key").await.unwrap_err() })
        })
        .collect();
    let begun = Instant::now();
    for call in calls {
        assert_eq!(call.await.unwrap().kind(), ErrorKind::Timeout);
    }
    assert!(begun.elapsed() <= OPERATION_TIMEOUT + Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn calls_on_the_connection_of_one_that_was_dropped_get_their_answers() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    put(&backend, "key", "value").await.unwrap();
    fake.freeze();
    let dropped = tokio::spawn({
        let backend = backend.clone();
        async move { timeout(OPERATION_TIMEOUT / 4, read(&backend, "key")).await.is_err() }
    });
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { read(&backend, "key").await })
        })
        .collect();
    assert!(dropped.await.unwrap());
    fake.thaw();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().as_deref(), Some("value"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_calls_is_answered() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    put(&backend, "key", "value").await.unwrap();
    let calls: Vec<_> = (0..5000)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { read(&backend, "key").await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().as_deref(), Some("value"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_sent_has_a_bound_and_a_server_is_not_down_for_it() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    put(&backend, "key", "value").await.unwrap();
    let megabyte = bytes::Bytes::from(vec![0; 1_000_000]);
    let calls: Vec<_> = (0..80)
        .map(|_| {
            let (backend, value) = (backend.clone(), megabyte.clone().into());
            tokio::spawn(async move { backend.set(&key("large"), value, hour()).await })
        })
        .collect();
    let mut refused = 0;
    for call in calls {
        if let Err(error) = call.await.unwrap() {
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Rejected, true));
            refused += 1;
        }
    }
    assert!((10..20).contains(&refused), "{refused}");
    assert_eq!(read(&backend, "key").await.unwrap().as_deref(), Some("value"));
}

#[tokio::test(start_paused = true)]
async fn by_default_the_keys_of_a_dead_server_fail_and_no_others() {
    let (fakes, backend) = fleet(WhenDown::Fail);
    let names = names(&backend, &fakes).await;
    fakes[1].vanish();
    take_down(&backend, &names[1][0]).await;
    for name in &names[1] {
        assert_eq!(read(&backend, name).await.unwrap_err().kind(), ErrorKind::Unavailable);
        // An invalidation that cannot be carried out is an error.
        assert!(backend.delete(&key(name)).await.is_err());
    }
    for name in names[0].iter().chain(&names[2]) {
        assert_eq!(read(&backend, name).await.unwrap().as_deref(), Some("old"));
    }
    assert!(backend.ping().await.is_err());

    fakes[1].come_back();
    advance(PAUSE).await;
    assert_eq!(read(&backend, &names[1][0]).await.unwrap().as_deref(), Some("old"));
    assert!(backend.ping().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_batch_reads_each_server_once() {
    let (fakes, backend) = fleet(WhenDown::Fail);
    let names = names(&backend, &fakes).await;
    for fake in &fakes {
        fake.take_commands();
    }
    let keys: Vec<_> = names.iter().flatten().map(|name| key(name)).collect();
    let records = backend.get_many(&keys).await.unwrap();
    assert!(records.iter().all(Option::is_some));
    for fake in &fakes {
        assert_eq!(fake.take_commands().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_skipped_server_is_stood_in_for_and_comes_back_empty() {
    let (fakes, backend) = fleet(WhenDown::Skip);
    let names = names(&backend, &fakes).await;
    let name = &names[1][0];
    fakes[1].vanish();
    take_down(&backend, name).await;

    // Its keys work on another server.
    assert_eq!(read(&backend, name).await.unwrap(), None);
    put(&backend, name, "standing in").await.unwrap();
    assert_eq!(read(&backend, name).await.unwrap().as_deref(), Some("standing in"));
    assert!(backend.delete(&key(name)).await.unwrap());
    assert!(backend.ping().await.is_ok());

    // The server still has a value that was invalidated meanwhile.
    fakes[1].come_back();
    advance(PAUSE).await;
    assert_eq!(read(&backend, name).await.unwrap(), None);
    assert!(fakes[1].keys().is_empty());
    put(&backend, name, "new").await.unwrap();
    assert_eq!(fakes[1].keys().len(), 1, "it is in use again");
    for name in &names[0] {
        assert_eq!(
            read(&backend, name).await.unwrap().as_deref(),
            Some("old"),
            "others keep what they have"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_stood_in_once_is_never_read_at_the_next_outage() {
    let (fakes, backend) = fleet(WhenDown::Skip);
    let names = names(&backend, &fakes).await;
    let name = &names[1][0];
    fakes[1].vanish();
    take_down(&backend, name).await;
    let day = SetOptions::new(Duration::from_secs(24 * 60 * 60));
    let value = bytes::Bytes::from_static(b"standing in");
    assert!(
        backend
            .set(&key(name), value.into(), day)
            .await
            .unwrap()
            .version()
            .is_some()
    );
    let remaining = backend.get(&key(name)).await.unwrap().unwrap().remaining.unwrap();
    assert!(remaining <= Duration::from_millis(STAND_IN_MILLIS));

    fakes[1].come_back();
    advance(PAUSE).await;
    put(&backend, name, "newer").await.unwrap();
    assert!(backend.delete(&key(name)).await.unwrap());

    // The server goes down again at once. Its stand-in still has values that were replaced or invalidated since.
    fakes[1].vanish();
    take_down(&backend, name).await;
    assert_eq!(read(&backend, name).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_closed_backend_says_so() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    put(&backend, "key", "value").await.unwrap();
    backend.clone().close().await.unwrap();
    for error in [
        backend.get(&key("key")).await.unwrap_err(),
        backend
            .set(&key("key"), bytes::Bytes::new().into(), hour())
            .await
            .unwrap_err(),
        backend.ping().await.unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Unavailable, false),
            "{error}"
        );
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let build = |url: &str| MemcachedBackend::builder().url(url).build().map(drop);
    for url in [
        "redis://a",
        "memcached://a,a:11211",
        "memcached://a?connections=0",
        "memcached://a?operation_timeout_ms=0",
        "memcached://a?max_value_bytes=0",
    ] {
        assert_eq!(build(url).unwrap_err().kind(), ErrorKind::Configuration, "{url}");
    }
    assert!(MemcachedBackend::builder().build().is_err(), "no server");
    assert!(build("memcached://a,b:1").is_ok());
}
