//! A write that returns `Ok` was carried out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, ErrorKind, GetOrAdd, ManualClock, SetOutcome, Value};
use memcache_async::ascii::Protocol;
use support::{Fake, hour, key, over_one, put, read};

fn large() -> Value {
    Bytes::from(vec![b'x'; 1000]).into()
}

#[tokio::test]
async fn the_codec_alone_loses_a_write_and_says_it_was_done() {
    // The control: the codec alone.
    let fake = Fake::new();
    fake.limit_values(500);
    let mut codec = Protocol::new(fake.connect().unwrap());
    codec.set("lost", &[b'x'; 1000], 0).await.unwrap();
    codec.version().await.unwrap();
    assert!(fake.keys().is_empty());
}

#[tokio::test]
async fn a_value_that_only_the_server_finds_too_large_is_an_error_and_leaves_nothing_stale() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    put(&backend, "key", "old").await.unwrap();
    fake.limit_values(500);

    let error = backend.set(&key("key"), large(), hour()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert_eq!(read(&backend, "key").await.unwrap(), None);
    let error = backend.set(&key("key"), large(), hour().if_absent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");

    // A refusal does not close the connection.
    put(&backend, "key", "small").await.unwrap();
    assert_eq!(read(&backend, "key").await.unwrap().as_deref(), Some("small"));
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn a_server_without_memory_refuses_and_is_not_taken_for_dead() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    put(&backend, "key", "old").await.unwrap();
    fake.run_out_of_memory(true);
    for _ in 0..5 {
        let error = put(&backend, "key", "new").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Rejected, true),
            "{error}"
        );
        assert_eq!(
            read(&backend, "key").await.unwrap(),
            None,
            "neither the old value nor the new one"
        );
    }
    fake.run_out_of_memory(false);
    put(&backend, "key", "new").await.unwrap();
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn a_delete_is_done_when_it_returns() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    put(&backend, "key", "value").await.unwrap();
    assert!(backend.delete(&key("key")).await.unwrap());
    fake.take_commands();
    assert!(!backend.delete(&key("key")).await.unwrap());
    // Nothing is left in the store either, however short its life.
    assert_eq!(fake.take_commands(), ["get p:n:key", "delete p:n:key"]);
    assert!(fake.keys().is_empty());
}

#[tokio::test]
async fn each_operation_takes_the_round_trips_that_are_promised() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    let key = key("key");
    let value = || Value::from(Bytes::from_static(b"value"));
    let commands = || -> Vec<String> {
        let first_words = fake.take_commands().into_iter();
        first_words
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    };

    assert!(matches!(
        backend.set(&key, value(), hour().if_absent()).await.unwrap(),
        SetOutcome::Stored(_)
    ));
    assert_eq!(commands(), ["add"]);
    let version = backend.set(&key, value(), hour()).await.unwrap().version().unwrap();
    assert_eq!(commands(), ["set"]);
    backend.get(&key).await.unwrap();
    assert_eq!(commands(), ["get"]);
    backend.get_many(&[key.clone(), support::key("other")]).await.unwrap();
    assert_eq!(commands(), ["get"]);
    let version = backend.set(&key, value(), hour().if_version(version)).await.unwrap();
    assert_eq!(commands(), ["gets", "cas"]);
    assert!(backend.delete_if(&key, version.version().unwrap()).await.unwrap());
    assert_eq!(commands(), ["gets", "cas"]);
    backend.delete(&key).await.unwrap();
    assert_eq!(commands(), ["get", "delete"]);
}

#[tokio::test]
async fn a_lease_is_replaced_or_released_without_reading_it() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    let key = key("key");
    let value = || Value::from(Bytes::from_static(b"value"));
    let lease = hour().lease();
    let added = |outcome| match outcome {
        GetOrAdd::Added(version) => version,
        GetOrAdd::Found(record) => panic!("{record:?}"),
    };

    let version = added(backend.get_or_add(&key, value(), lease).await.unwrap());
    fake.take_commands();
    let fill = backend.set(&key, value(), hour().if_version(version)).await.unwrap();
    assert_eq!(fake.take_commands().len(), 1, "a cas");
    // A second fill of the same load finds the value of the first.
    let again = backend.set(&key, value(), hour().if_version(version)).await.unwrap();
    assert_eq!(again, SetOutcome::Refused);
    assert!(backend.delete_if(&key, fill.version().unwrap()).await.unwrap());

    let taken = backend.set(&key, value(), lease.if_absent()).await.unwrap();
    fake.take_commands();
    assert!(backend.delete_if(&key, taken.version().unwrap()).await.unwrap());
    assert_eq!(fake.take_commands().len(), 1, "a cas");

    // What was invalidated meanwhile is refused, and so is what another process wrote.
    for others in [None, Some(value())] {
        let version = added(backend.get_or_add(&key, value(), lease).await.unwrap());
        assert!(backend.delete(&key).await.unwrap());
        if let Some(others) = others {
            let stranger = over_one(&fake).build().unwrap();
            assert!(stranger.set(&key, others, hour()).await.unwrap().version().is_some());
        }
        let fill = backend.set(&key, value(), hour().if_version(version)).await.unwrap();
        assert_eq!(fill, SetOutcome::Refused);
        backend.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn a_lease_that_the_server_moved_in_its_memory_is_still_replaced_or_released() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    let key = key("key");
    let value = || Value::from(Bytes::from_static(b"value"));
    for is_filled in [true, false] {
        let lease = backend.get_or_add(&key, value(), hour().lease()).await.unwrap();
        let GetOrAdd::Added(lease) = lease else {
            panic!("{lease:?}")
        };
        fake.move_in_memory("p:n:key");
        if is_filled {
            let fill = backend.set(&key, value(), hour().if_version(lease)).await.unwrap();
            assert!(fill.version().is_some(), "{fill:?}");
            assert!(backend.delete(&key).await.unwrap());
        } else {
            assert!(backend.delete_if(&key, lease).await.unwrap());
            assert_eq!(read(&backend, "key").await.unwrap(), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_from_before_a_restart_replaces_nothing() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    let key = key("key");
    let value = || Value::from(Bytes::from_static(b"old"));
    let lease = backend.get_or_add(&key, value(), hour().lease()).await.unwrap();
    let GetOrAdd::Added(lease) = lease else {
        panic!("{lease:?}")
    };

    // The server counts tokens from the beginning again, so that another record gets the token of the lease.
    fake.restart_counting();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let stranger = over_one(&fake).build().unwrap();
    let newer = Value::from(Bytes::from_static(b"new"));
    assert!(stranger.set(&key, newer, hour()).await.unwrap().version().is_some());
    assert_eq!(fake.token("p:n:key"), 1, "as the lease had");

    let fill = backend.set(&key, value(), hour().if_version(lease)).await.unwrap();
    assert_eq!(fill, SetOutcome::Refused);
    assert_eq!(read(&backend, "key").await.unwrap().as_deref(), Some("new"));
    // The control: the token alone.
    let mut codec = Protocol::new(fake.connect().unwrap());
    assert!(codec.cas("p:n:key", b"old", 1, 0).await.unwrap());
}

#[tokio::test]
async fn get_or_add_replaces_what_counts_as_absent() {
    let fake = Fake::new();
    let clock = ManualClock::new();
    let backend = over_one(&fake).clock(clock.clone()).build().unwrap();
    let value = || Value::from(Bytes::from_static(b"value"));
    fake.put_raw("p:n:key", b"somebody else's");
    let key = key("key");
    let minute = cache_core::SetOptions::new(Duration::from_secs(60));
    for _ in 0..2 {
        let added = backend.get_or_add(&key, value(), minute).await.unwrap();
        assert!(matches!(added, GetOrAdd::Added(_)), "{added:?}");
        let found = backend.get_or_add(&key, value(), minute).await.unwrap();
        assert!(matches!(found, GetOrAdd::Found(_)), "{found:?}");
        // memcached itself keeps it a little longer.
        clock.advance(Duration::from_secs(60));
    }
    // A server that is full still reads.
    assert!(backend.set(&key, value(), hour()).await.unwrap().version().is_some());
    fake.run_out_of_memory(true);
    let found = backend.get_or_add(&key, value(), minute).await.unwrap();
    assert!(matches!(found, GetOrAdd::Found(_)), "{found:?}");
}

#[tokio::test]
async fn a_record_that_is_evicted_under_a_compare_and_set_is_a_refusal() {
    // The codec takes this answer for an error.
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    fake.evict_what_is_read();
    let value = || Value::from(Bytes::from_static(b"value"));
    let write = backend.set(&key("key"), value(), hour()).await.unwrap();
    let options = hour().if_version(write.version().unwrap());
    assert_eq!(
        backend.set(&key("key"), value(), options).await.unwrap(),
        SetOutcome::Refused
    );
    put(&backend, "key", "value").await.unwrap();
    assert!(!backend.delete(&key("key")).await.unwrap(), "it was gone already");
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn what_others_wrote_under_a_key_is_absent_and_replaced() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    fake.put_raw("p:n:key", b"somebody else's");
    assert_eq!(read(&backend, "key").await.unwrap(), None);
    let value = Value::from(Bytes::from_static(b"ours"));
    let outcome = backend.set(&key("key"), value, hour().if_absent()).await.unwrap();
    assert!(outcome.version().is_some());
    assert_eq!(read(&backend, "key").await.unwrap().as_deref(), Some("ours"));
}

#[tokio::test]
async fn a_record_that_was_moved_under_another_key_is_absent() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    put(&backend, "alice", "alice's").await.unwrap();
    fake.copy("p:n:alice", "p:n:bob");
    assert_eq!(read(&backend, "alice").await.unwrap().as_deref(), Some("alice's"));
    assert_eq!(read(&backend, "bob").await.unwrap(), None);
    let records = backend.get_many(&[key("bob"), key("alice")]).await.unwrap();
    assert!(records[0].is_none() && records[1].is_some());
}

#[tokio::test]
async fn the_text_of_a_key_is_never_a_command() {
    let fake = Fake::new();
    let mut codec = Protocol::new(fake.connect().unwrap());
    // The control: the codec alone writes another key.
    codec
        .set("a 0 0 1 noreply\r\nx\r\nset victim", b"evil", 0)
        .await
        .unwrap();
    codec.version().await.unwrap();
    assert!(fake.keys().contains(&"victim".to_owned()));

    fake.restart();
    let backend = over_one(&fake).build().unwrap();
    let hostile = "a 0 0 1 noreply\r\nx\r\nset victim";
    put(&backend, hostile, "value").await.unwrap();
    assert_eq!(read(&backend, hostile).await.unwrap().as_deref(), Some("value"));
    assert_eq!(fake.keys(), ["p:n:a%200%200%201%20noreply%0D%0Ax%0D%0Aset%20victim"]);
    assert!(backend.delete(&key(hostile)).await.unwrap());
}

#[tokio::test]
async fn a_command_is_written_in_one_piece() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let (fake, writes) = (Fake::new(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&writes);
    let backend = cache_memcached::MemcachedBackend::builder()
        .server("a:1")
        .connector(move |_| {
            let stream = fake.connect();
            let counted = Arc::clone(&counted);
            async move { Ok(support::Counting::new(stream?, counted)) }
        })
        .build()
        .unwrap();
    let value = || Value::from(Bytes::from_static(b"value"));
    let outcome = backend.set(&key("key"), value(), hour().if_absent()).await.unwrap();
    assert!(outcome.version().is_some());
    assert_eq!(writes.swap(0, Ordering::SeqCst), 1);
    backend.get_many(&[key("a"), key("b"), key("c")]).await.unwrap();
    assert_eq!(writes.swap(0, Ordering::SeqCst), 1);
    put(&backend, "key", "value").await.unwrap();
    assert_eq!(writes.swap(0, Ordering::SeqCst), 1);
    backend
        .get_or_add(&key("other"), value(), hour())
        .await
        .map(drop)
        .unwrap();
    assert_eq!(writes.swap(0, Ordering::SeqCst), 1);
    // What several tasks ask at the same time is sent together.
    let calls = ["a", "b", "c", "d"].map(|name| {
        let backend = backend.clone();
        tokio::spawn(async move { read(&backend, name).await.unwrap() })
    });
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(writes.swap(0, Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_server_is_told_of_lifetimes_in_its_own_terms() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    for (lifetime, told) in [
        (Duration::from_millis(1), "3"),
        (Duration::from_millis(1500), "4"),
        (29 * day, "2505602"),
    ] {
        let options = cache_core::SetOptions::new(lifetime).if_absent();
        backend.delete(&key("key")).await.unwrap();
        fake.take_commands();
        assert!(
            backend
                .set(&key("key"), Bytes::new().into(), options)
                .await
                .unwrap()
                .version()
                .is_some()
        );
        let line = fake.take_commands().remove(0);
        assert_eq!(line.split(' ').nth(3), Some(told), "{line}");
    }
    // As a number of seconds, memcached would take this for a date in 1970.
    let options = cache_core::SetOptions::new(31 * day);
    assert!(
        backend
            .set(&key("long"), Bytes::new().into(), options)
            .await
            .unwrap()
            .version()
            .is_some()
    );
    assert!(backend.get(&key("long")).await.unwrap().is_some());
}
