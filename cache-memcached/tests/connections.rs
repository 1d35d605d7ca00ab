//! An answer goes to the call that it belongs to, and to no other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache_core::{Backend, ErrorKind, SetMode};
use cache_memcached::MemcachedBackend;
use memcache_async::ascii::Protocol;
use support::{Fake, hour, key, over_one, put, read};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_millis(10);

/// Returns a backend whose connections are made by a function of their number.
fn over_connections(connect: impl Fn(usize) -> io::Result<DuplexStream> + Send + Sync + 'static) -> MemcachedBackend {
    let (connect, count) = (Arc::new(connect), AtomicUsize::new(0));
    MemcachedBackend::builder()
        .server("a:1")
        .connector(move |_| {
            let (connect, number) = (Arc::clone(&connect), count.fetch_add(1, Ordering::SeqCst));
            async move { connect(number) }
        })
        .build()
        .unwrap()
}

/// Returns a connection on which the first command gets this answer as soon as it begins, and nothing more is read.
fn strange(answer: &'static str) -> DuplexStream {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    tokio::spawn(async move {
        theirs.read_u8().await?;
        theirs.write_all(answer.as_bytes()).await?;
        std::future::pending::<io::Result<()>>().await
    });
    ours
}

fn over_strange(answer: &'static str) -> MemcachedBackend {
    over_connections(move |_| Ok(strange(answer)))
}

#[tokio::test(start_paused = true)]
async fn the_codec_alone_answers_bob_with_alices_value() {
    // The control: the codec alone returns another call's answer.
    let fake = Fake::new();
    let mut codec = Protocol::new(fake.connect().unwrap());
    for name in ["alice", "bob"] {
        codec.add(name, format!("{name}'s").as_bytes(), 0).await.unwrap();
    }
    fake.freeze();
    assert!(timeout(SOON, codec.get("alice")).await.is_err());
    fake.thaw();
    assert_eq!(codec.get("bob").await.unwrap(), b"alice's");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_never_answers_a_later_one() {
    let fake = Fake::new();
    // One connection, so that the next call uses the one of the dropped call.
    let backend = over_one(&fake).connections(1).build().unwrap();
    for name in ["alice", "bob"] {
        put(&backend, name, &format!("{name}'s")).await.unwrap();
    }
    let alice = key("alice");
    for call in 0..8 {
        fake.freeze();
        let dropped = async {
            let value = bytes::Bytes::from_static(b"alice's").into();
            match call {
                0 => drop(backend.get(&alice).await),
                1 => drop(backend.set(&alice, value, hour()).await),
                2 => drop(backend.set(&alice, value, hour().if_absent()).await),
                3 => drop(backend.get_many(&[alice.clone(), key("carol")]).await),
                4 => drop(backend.delete(&key("dave")).await),
                5 => drop(backend.ping().await),
                6 => drop(backend.get_or_add(&alice, value, hour()).await),
                _ => drop(backend.delete_if(&key("dave"), cache_core::Version::from_u128(1)).await),
            }
        };
        assert!(timeout(SOON, dropped).await.is_err());
        fake.thaw();
        assert_eq!(
            read(&backend, "bob").await.unwrap().as_deref(),
            Some("bob's"),
            "call {call}"
        );
        assert_eq!(read(&backend, "nobody").await.unwrap(), None, "call {call}");
        assert_eq!(backend.connections(), 1);
    }
    assert_eq!(fake.connections(), 1, "no dropped call costs its connection");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_timed_out_never_answers_a_later_one() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    for name in ["alice", "bob"] {
        put(&backend, name, &format!("{name}'s")).await.unwrap();
    }
    fake.freeze();
    let error = read(&backend, "alice").await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, Some("get")));
    fake.thaw();
    assert_eq!(read(&backend, "bob").await.unwrap().as_deref(), Some("bob's"));
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_unasked_answers_nothing() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    put(&backend, "bob", "bob's").await.unwrap();
    for stray in ["SERVER_ERROR out of memory\r\n", "END\r\n", "STORED\r\n"] {
        fake.say_unasked(stray);
        tokio::time::sleep(SOON).await;
        assert_eq!(
            read(&backend, "bob").await.unwrap().as_deref(),
            Some("bob's"),
            "{stray:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_another_key_is_an_error_and_ends_the_connection() {
    let backend = cache_memcached::MemcachedBackend::builder()
        .server("a:1")
        .connector(|_| async {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let mut question = [0; 1024];
                while theirs.read(&mut question).await.is_ok_and(|count| count > 0) {
                    theirs.write_all(b"VALUE p:n:alice 0 1\r\nx\r\nEND\r\n").await?;
                }
                std::io::Result::Ok(())
            });
            Ok(ours)
        })
        .build()
        .unwrap();
    let error = read(&backend, "bob").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("p:n:alice"), "{error}");
    assert_eq!(backend.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn values_that_nobody_asked_for_are_found_out_before_they_are_there() {
    for answer in [
        "VALUE p:n:alice 0 1000000\r\n",
        "VALUE p:n:bob 0 1\r\nx\r\nVALUE p:n:bob 0 1000000\r\n",
    ] {
        let backend = over_strange(answer);
        let error = read(&backend, "bob").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_calls_on_a_connection_without_authentication_are_told() {
    let backend = over_strange("CLIENT_ERROR unauthenticated\r\n");
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { put(&backend, "bob", "bob's").await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Auth);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_early_and_then_freezes_is_left() {
    let fake = Fake::new();
    let good = fake.clone();
    // The first connection refuses a value of which little was sent, and takes no more bytes.
    let backend = over_connections(move |number| match number {
        0 => Ok(strange("SERVER_ERROR object too large for cache\r\n")),
        _ => good.connect(),
    });
    let value = bytes::Bytes::from(vec![0; 100_000]);
    let error = backend.set(&key("bob"), value.into(), hour()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let _ = read(&backend, "bob").await;
    assert_eq!(read(&backend, "bob").await.unwrap(), None);
}

#[test]
fn a_runtime_that_stands_still_holds_up_no_later_call() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let backend = over_one(&Fake::new()).connections(1).build().unwrap();
    let still = runtime();
    still.block_on(put(&backend, "bob", "bob's")).unwrap();
    runtime().block_on(async {
        assert_eq!(read(&backend, "bob").await.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(read(&backend, "bob").await.unwrap().as_deref(), Some("bob's"));
    });
    drop(still);
}

/// Makes so many calls at a time, which all succeed.
async fn burst(backend: &MemcachedBackend, calls: usize) {
    let calls: Vec<_> = (0..calls)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { put(&backend, "bob", "bob's").await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_more_connections_is_not_asked_for_one_all_the_time() {
    for hangs_up in [false, true] {
        let (fake, attempts) = (Fake::new(), Arc::new(AtomicUsize::new(0)));
        let backend = over_connections({
            let attempts = Arc::clone(&attempts);
            move |number| {
                attempts.fetch_add(1, Ordering::SeqCst);
                match number {
                    0 => fake.connect(),
                    _ if hangs_up => Ok(tokio::io::duplex(1024).0),
                    _ => Err(io::ErrorKind::ConnectionRefused.into()),
                }
            }
        });
        for _ in 0..20 {
            burst(&backend, 40).await;
        }
        assert_eq!(attempts.load(Ordering::SeqCst), 2);
        tokio::time::sleep(Duration::from_secs(1)).await;
        for _ in 0..20 {
            burst(&backend, 40).await;
        }
        assert_eq!(attempts.load(Ordering::SeqCst), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_never_answered_is_not_preferred() {
    let fake = Fake::new();
    let connections = Arc::new(AtomicUsize::new(0));
    let backend = over_connections({
        let connections = Arc::clone(&connections);
        move |number| {
            connections.fetch_add(1, Ordering::SeqCst);
            match number {
                0 => fake.connect(),
                _ => Ok(strange("")),
            }
        }
    });
    burst(&backend, 40).await;
    burst(&backend, 40).await;
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    burst(&backend, 20).await;
    // However many calls there are, none is lost on it.
    burst(&backend, 400).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_comes_soon_and_a_third_one_late() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    for (calls, connections) in [(1, 1), (3, 1), (8, 2), (16, 2), (400, 3)] {
        for _ in 0..20 {
            burst(&backend, calls).await;
        }
        let opened = fake.connections();
        assert!(
            opened == connections || connections > 2 && opened > 2,
            "{calls} calls at once: {opened}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_read_twice_is_found_twice() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    put(&backend, "bob", "bob's").await.unwrap();
    for others in [0, 1, 20] {
        let mut keys = vec![key("bob"), key("nobody"), key("bob")];
        keys.extend((0..others).map(|number| key(&format!("other {number}"))));
        let records = backend.get_many(&keys).await.unwrap();
        let found: Vec<usize> = (0..keys.len()).filter(|at| records[*at].is_some()).collect();
        assert_eq!((records.len(), found), (keys.len(), vec![0, 2]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_value_does_not_hold_up_all_calls() {
    for is_read in [true, false] {
        let fake = Fake::new();
        put(&over_one(&fake).build().unwrap(), "bob", "bob's").await.unwrap();
        // The value stays on its way.
        let answer = if is_read { "VALUE p:n:large 0 1000000\r\n" } else { "" };
        let backend = over_connections(move |number| match number {
            0 => Ok(strange(answer)),
            _ => fake.connect(),
        });
        let call = |name: &'static str| {
            let backend = backend.clone();
            tokio::spawn(async move { read(&backend, name).await })
        };
        let first = if is_read {
            call("large")
        } else {
            let (backend, large) = (backend.clone(), "x".repeat(1_000_000));
            tokio::spawn(async move { put(&backend, "large", &large).await.map(|()| None) })
        };
        tokio::time::sleep(SOON).await;
        // It opens another connection, for the calls to come.
        let second = call("bob");
        tokio::time::sleep(SOON).await;
        assert_eq!(call("bob").await.unwrap().unwrap().as_deref(), Some("bob's"));
        assert!(!first.is_finished() && !second.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_while_connecting_more_connections_are_opened() {
    let fake = Fake::new();
    let backend = over_connections({
        let fake = fake.clone();
        move |number| match number {
            1 => panic!("in the function that connects"),
            _ => fake.connect(),
        }
    });
    for _ in 0..5 {
        burst(&backend, 40).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(fake.connections() > 1);
}

#[tokio::test(start_paused = true)]
async fn calls_of_the_same_moment_share_a_connection_and_each_gets_its_own_answer() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    for number in 0..200 {
        put(&backend, &number.to_string(), &format!("value {number}"))
            .await
            .unwrap();
    }
    let calls: Vec<_> = (0..200)
        .map(|number: usize| {
            let backend = backend.clone();
            tokio::spawn(async move {
                let name = number.to_string();
                if number.is_multiple_of(7) {
                    // Dropped while its answer is on its way.
                    let _ = timeout(Duration::ZERO, read(&backend, &name)).await;
                }
                assert_eq!(read(&backend, &format!("no {name}")).await.unwrap(), None);
                read(&backend, &name).await.unwrap()
            })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), Some(format!("value {number}")));
    }
    assert!(fake.connections() <= 16, "{}", fake.connections());
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_arrives_is_replaced() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(1).build().unwrap();
    put(&backend, "bob", "bob's").await.unwrap();
    fake.freeze();
    assert_eq!(read(&backend, "bob").await.unwrap_err().kind(), ErrorKind::Timeout);
    tokio::time::sleep(SOON).await;
    assert_eq!(backend.connections(), 0, "it may be dead");
    fake.thaw();
    assert_eq!(read(&backend, "bob").await.unwrap().as_deref(), Some("bob's"));
    assert_eq!(fake.connections(), 2);

    // One that answers somebody is not.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        read(&backend, "bob").await.unwrap();
    }
    assert_eq!(fake.connections(), 2);
}

#[test]
fn a_runtime_that_has_ended_takes_no_later_call_with_it() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    for turn in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            put(&backend, "bob", &turn.to_string()).await.unwrap();
            assert_eq!(read(&backend, "bob").await.unwrap(), Some(turn.to_string()));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_server_is_used_at_once() {
    let fake = Fake::new();
    let backend = over_one(&fake).build().unwrap();
    put(&backend, "bob", "bob's").await.unwrap();
    fake.restart();
    tokio::time::sleep(SOON).await;
    assert_eq!(read(&backend, "bob").await.unwrap(), None);
    put(&backend, "bob", "new").await.unwrap();
    assert_eq!(read(&backend, "bob").await.unwrap().as_deref(), Some("new"));
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_connections_than_allowed() {
    let fake = Fake::new();
    let backend = over_one(&fake).connections(3).build().unwrap();
    let calls: Vec<_> = (0..64)
        .map(|call| {
            let backend = backend.clone();
            tokio::spawn(async move { put(&backend, &call.to_string(), "value").await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(fake.connections() <= 3, "{}", fake.connections());
}

#[tokio::test(start_paused = true)]
async fn without_compare_and_swap_the_server_is_refused() {
    let fake = Fake::new();
    fake.switch_cas_off();
    let backend = over_one(&fake).build().unwrap();
    put(&backend, "bob", "bob's").await.unwrap();
    let version = backend.get(&key("bob")).await.unwrap().unwrap().version;
    let mut options = hour();
    options.mode = SetMode::IfVersion(version);
    let error = backend
        .set(&key("bob"), bytes::Bytes::new().into(), options)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

/// Starts calls on the only connection, which breaks before they are answered, and returns their outcomes.
async fn lost_together<T: Send + 'static, C: Future<Output = T> + Send + 'static>(
    fake: &Fake,
    calls: impl IntoIterator<Item = C>,
) -> Vec<T> {
    fake.freeze();
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(SOON).await;
    fake.hang_up();
    fake.thaw();
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    outcomes
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_one_failure_and_reads_are_asked_again() {
    let fake = Fake::new();
    let backend = over_one(&fake)
        .connections(1)
        .when_down(cache_memcached::WhenDown::Skip)
        .build()
        .unwrap();
    put(&backend, "bob", "bob's").await.unwrap();
    let write = || {
        let backend = backend.clone();
        async move { put(&backend, "alice", "alice's").await }
    };
    for outcome in lost_together(&fake, (0..5).map(|_| write())).await {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    fake.take_commands();
    assert_eq!(read(&backend, "bob").await.unwrap().as_deref(), Some("bob's"));
    assert_eq!(fake.take_commands(), ["get p:n:bob"], "the server is not emptied");

    let again = || {
        let backend = backend.clone();
        async move { read(&backend, "bob").await }
    };
    let outcomes = lost_together(&fake, (0..5).map(|_| again())).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1);
    for value in outcomes.into_iter().flatten() {
        assert_eq!(value.as_deref(), Some("bob's"));
    }
    assert_eq!(read(&backend, "bob").await.unwrap().as_deref(), Some("bob's"));
}
