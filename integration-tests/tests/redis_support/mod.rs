//! Support for the tests of the Redis backend.
#![allow(dead_code, reason = "no test file uses all of it")]

pub(crate) mod listener;
pub(crate) mod near;
pub(crate) mod proxy;

use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, Key, Namespace, Prefix, Record, SetOptions, Version};
use cache_redis::RedisBackend;
use integration_tests::wire;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Returns a unique prefix, since other tests use the same store.
pub(crate) fn prefix() -> Prefix {
    Prefix::new(&format!("test-{:016x}", fastrand::u64(..)))
}

pub(crate) fn namespace() -> Namespace {
    prefix().namespace("n")
}

pub(crate) async fn put(redis: &RedisBackend, key: &Key, value: &'static str) -> Version {
    let outcome = redis.set(key, Bytes::from(value).into(), SetOptions::new(HOUR)).await;
    outcome.unwrap().version().unwrap()
}

pub(crate) async fn value(redis: &RedisBackend, key: &Key) -> Option<Bytes> {
    redis.get(key).await.unwrap().map(|record| bytes(&record))
}

pub(crate) fn bytes(record: &Record) -> Bytes {
    record.value.as_bytes().unwrap().clone()
}

/// Waits until the call succeeds. Returns how long that took.
pub(crate) async fn until_ok<T, E: std::fmt::Display>(
    limit: Duration,
    mut call: impl AsyncFnMut() -> Result<T, E>,
) -> Duration {
    let begun = Instant::now();
    loop {
        match call().await {
            Ok(_) => return begun.elapsed(),
            Err(error) if begun.elapsed() > limit => panic!("not within {limit:?}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Returns how often the server ran `command` since `CONFIG RESETSTAT`, including calls by scripts.
pub(crate) async fn calls(address: &str, command: &str) -> u64 {
    let stats = wire::redis(address, "INFO commandstats").await.unwrap();
    stats
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")))
        .and_then(|rest| rest.split(',').next())
        .map_or(0, |calls| calls.parse().unwrap())
}

/// Returns the tracking connections of a server.
pub(crate) async fn trackers(address: &str) -> Vec<String> {
    let clients = wire::redis(address, "CLIENT LIST").await.unwrap();
    let tracking = clients.lines().filter(|client| client.contains("flags=tB"));
    let id = |client: &str| Some(client.split(' ').next()?.strip_prefix("id=")?.to_owned());
    tracking.map(|client| id(client).unwrap()).collect()
}

/// Forwards every connection to another address, through `wrap` on this side.
pub(crate) async fn forward<S, F>(
    listener: TcpListener,
    to: String,
    wrap: impl Fn(tokio::net::TcpStream) -> F + Send + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = std::io::Result<S>> + Send + 'static,
{
    loop {
        let (near, _) = listener.accept().await.unwrap();
        let (wrapped, to) = (wrap(near), to.clone());
        tokio::spawn(async move {
            let Ok(mut near) = wrapped.await else { return };
            let Ok(mut far) = tokio::net::TcpStream::connect(to).await else {
                return;
            };
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}

/// Sends a command in RESP, with any bytes in the arguments, on a new connection.
pub(crate) async fn send(address: &str, arguments: &[&[u8]]) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut command = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        command.extend(format!("${}\r\n", argument.len()).into_bytes());
        command.extend_from_slice(argument);
        command.extend_from_slice(b"\r\n");
    }
    stream.write_all(&command).await.unwrap();
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(read > 0 && answer[0] != b'-', "{}", String::from_utf8_lossy(&answer));
}
