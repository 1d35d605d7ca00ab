//! Connecting to a fake server in this process, which implements just enough of the protocol. `integration-tests` uses
//! real ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cache_core::{Backend, ErrorKind, Key, Prefix};
use cache_redis::{RedisBackend, RedisBackendBuilder};

/// Long enough for anything that ends by itself, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn key() -> Key {
    Prefix::new("shop").namespace("users").key("42")
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Serves,
    /// Closes the connection on `CLIENT` and `HELLO`, as twemproxy does.
    ClosesOnClient,
}

/// A gate that holds back answers.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let open = self.open.lock().unwrap();
        let _open = self.opened.wait_while(open, |open| !*open).unwrap();
    }
}

/// Serves on separate threads, so that it outlives every runtime.
fn serve(listener: TcpListener, manner: Manner, gate: Arc<Gate>) {
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let gate = gate.clone();
            thread::spawn(move || answer(stream, manner, &gate));
        }
    });
}

fn start(manner: Manner, gate: &Arc<Gate>) -> RedisBackendBuilder {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    serve(listener, manner, gate.clone());
    RedisBackend::builder().server("127.0.0.1", port)
}

fn opened() -> Arc<Gate> {
    let gate = Arc::new(Gate::default());
    gate.open();
    gate
}

fn answer(stream: TcpStream, manner: Manner, gate: &Gate) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let words = command(&mut reader)?;
        gate.wait();
        let answer: &[u8] = match words[0].to_ascii_uppercase().as_str() {
            "CLIENT" | "HELLO" if manner == Manner::ClosesOnClient => return None,
            "PING" => b"+PONG\r\n",
            "CLIENT" => b":1\r\n",
            "INFO" => b"$42\r\n# Server\r\nredis_version:8.0.2\r\nrole:master\r\n",
            "GET" => b"$-1\r\n",
            _ => b"+OK\r\n",
        };
        writer.write_all(answer).ok()?;
    }
}

/// The words of the next command.
fn command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let count: usize = line(reader)?.strip_prefix('*')?.parse().ok()?;
    (0..count)
        .map(|_| {
            let len: usize = line(reader)?.strip_prefix('$')?.parse().ok()?;
            let mut word = vec![0; len + 2];
            reader.read_exact(&mut word).ok()?;
            word.truncate(len);
            String::from_utf8(word).ok()
        })
        .collect()
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    Some(line.trim_end().to_owned())
}

#[tokio::test]
async fn first_call_after_build_waits_for_the_connection() {
    let gate = Arc::new(Gate::default());
    let redis = start(Manner::Serves, &gate)
        .operation_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .build()
        .unwrap();
    let waiting = tokio::spawn({
        let redis = redis.clone();
        async move { redis.get(&key()).await }
    });
    // Long enough for a call that does not wait to fail.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    gate.open();
    assert!(waiting.await.unwrap().unwrap().is_none());
    redis.ping().await.unwrap();
}

#[tokio::test]
async fn a_call_waits_for_the_first_attempt_no_longer_than_it_may_take() {
    let gate = Arc::new(Gate::default());
    let redis = start(Manner::Serves, &gate)
        .operation_timeout(Duration::from_millis(50))
        .connect_timeout(PATIENCE)
        .build()
        .unwrap();
    let error = redis.get(&key()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("not connected yet"), "{error}");
    gate.open();
}

#[tokio::test]
async fn without_a_server_calls_fail_at_once_with_the_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let redis = RedisBackend::builder()
        .server("127.0.0.1", port)
        .operation_timeout(PATIENCE)
        .build()
        .unwrap();
    for _ in 0..3 {
        let began = Instant::now();
        let error = redis.get(&key()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("not connected"), "{error}");
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn connect_to_a_proxy_that_cannot_serve_fails_with_the_reason() {
    let error = start(Manner::ClosesOnClient, &opened()).connect().await.unwrap_err();
    assert_eq!(error.operation(), Some("connect"));
    assert!(error.is_retryable(), "{error}");
    let redis = start(Manner::Serves, &opened()).connect().await.unwrap();
    redis.ping().await.unwrap();
}

#[tokio::test]
async fn connect_within_waits_for_a_server_that_comes_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let connecting = tokio::spawn(
        RedisBackend::builder()
            .server("127.0.0.1", address.port())
            .connect_within(PATIENCE),
    );
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!connecting.is_finished());
    serve(TcpListener::bind(address).unwrap(), Manner::Serves, opened());
    let redis = connecting.await.unwrap().unwrap();
    assert!(redis.get(&key()).await.unwrap().is_none());
}

#[tokio::test]
async fn connect_within_ends_with_the_last_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let builder = RedisBackend::builder().server("127.0.0.1", port);
    let error = builder.connect_within(Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(error.operation(), Some("connect"));
    let error = RedisBackend::builder()
        .connections(0)
        .connect_within(PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "no wait mends it");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Like a backend in a `static` that several tests use, each on its own runtime.
#[test]
fn a_backend_outlives_the_runtime_that_it_was_made_on() {
    let first = runtime();
    let redis = first.block_on(async { start(Manner::Serves, &opened()).connect().await.unwrap() });
    first.block_on(async { redis.ping().await.unwrap() });
    drop(first);
    for _ in 0..2 {
        runtime().block_on(async {
            redis.ping().await.unwrap();
            assert!(redis.get(&key()).await.unwrap().is_none());
        });
    }
    // Closing ends it for good.
    runtime().block_on(async {
        redis.ping().await.unwrap();
        redis.close().await.unwrap();
        assert!(redis.ping().await.is_err());
    });
    runtime().block_on(async { assert!(redis.ping().await.is_err()) });
}

/// A provider with a bug, in the function and in its future. It has failed, and is not asked again until the next attempt.
#[tokio::test]
async fn a_provider_of_credentials_that_panics_has_failed() {
    for in_future in [false, true] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let provider = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            assert!(in_future, "a bug");
            async { panic!("a bug") }
        };
        let connecting = RedisBackend::builder()
            .url("redis://127.0.0.1:1")
            .credentials(provider)
            .connect();
        let failed = tokio::time::timeout(PATIENCE, connecting)
            .await
            .expect("no end")
            .unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Unavailable);
        assert!(failed.message().contains("panicked"), "{failed}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
