//! Commands of callers that are ready at the same time reach Redis together.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, ErrorKind, Key, Prefix, Raw, SetOptions, SetOutcome, Value, Version};
use cache_engine::Cache;
use cache_redis::RedisBackend;
use fred::prelude::{Builder, Client, ClientLike, Config};
use fred::types::{ClusterHash, CustomCommand, InfoKind};
use integration_tests::{Redis, RedisCluster};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;

const TASKS: usize = 64;
const CALLS: usize = 20;

fn key(number: usize) -> Key {
    Prefix::new("gathering").namespace("n").key(number.to_string())
}

fn value(number: usize, call: usize) -> Bytes {
    format!("{number}.{call}").into()
}

async fn write(backend: &RedisBackend, number: usize, value: Bytes) {
    let options = SetOptions::new(Duration::from_secs(60));
    let set = backend.set(&key(number), Value::Bytes(value), options).await;
    assert!(set.unwrap().version().is_some());
}

async fn read(backend: &RedisBackend, number: usize) -> Bytes {
    match backend.get(&key(number)).await.unwrap().unwrap().value {
        Value::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

/// A busy machine is no reason to fail.
const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(redis: &Redis) -> RedisBackend {
    connect_to(redis.url(), 1).await
}

async fn connect_to(url: &str, connections: usize) -> RedisBackend {
    let builder = RedisBackend::builder().url(url).connections(connections);
    builder.operation_timeout(PATIENCE).connect().await.unwrap()
}

async fn control(redis: &Redis) -> Client {
    control_of(redis.url()).await
}

async fn control_of(url: &str) -> Client {
    let control = Builder::from_config(Config::from_url(url).unwrap()).build().unwrap();
    control.init().await.unwrap();
    control
}

/// Returns how often the server has read from a connection.
async fn reads(control: &Client) -> u64 {
    let info: String = control.info(Some(InfoKind::Stats)).await.unwrap();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_reads_processed:"));
    line.unwrap().trim().parse().unwrap()
}

/// Returns how often a script was called.
async fn scripts(control: &Client) -> u64 {
    count(control, "calls").await
}

/// Returns how often the server refused to call a script.
async fn refused(control: &Client) -> u64 {
    count(control, "rejected_calls").await
}

async fn count(control: &Client, what: &str) -> u64 {
    let info: String = control.info(Some(InfoKind::CommandStats)).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:"));
    let mut counts = line.unwrap_or_default().split(',').map(|count| count.split_once('='));
    let count = counts.find_map(|count| count.filter(|(name, _)| *name == what));
    count.map_or(0, |(_, count)| count.trim().parse().unwrap())
}

/// Writes and reads in `tasks` tasks at the same time. Returns how often the server has read meanwhile.
async fn reads_of(backend: &RedisBackend, control: &Client, tasks: usize, calls: usize) -> u64 {
    let before = reads(control).await;
    let start = Arc::new(Barrier::new(tasks));
    let running: Vec<_> = (0..tasks)
        .map(|number| {
            let (backend, start) = (backend.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                for call in 0..calls {
                    write(&backend, number, value(number, call)).await;
                    assert_eq!(read(&backend, number).await, value(number, call));
                }
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
    reads(control).await - before
}

/// With a worker of its own, tokio runs the task of the connection right after each caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commands_of_many_callers_arrive_together() {
    let redis = Redis::start().await;
    let backend = connect(&redis).await;
    let control = control(&redis).await;
    let together = reads_of(&backend, &control, TASKS, CALLS).await;
    // The control: one after another, each command arrives alone.
    let alone = reads_of(&backend, &control, 1, TASKS * CALLS).await;
    let commands = (2 * TASKS * CALLS) as u64;
    assert!(alone >= commands, "{alone} reads of {commands} commands");
    assert!(together < commands / 4, "{together} reads of {commands} commands");
}

/// Loads missing keys in `tasks` tasks at the same time. Returns how often the server has read meanwhile, and how often a
/// script was called.
async fn reads_and_scripts_of_misses(
    cache: &Cache<Raw>,
    control: &Client,
    what: &'static str,
    tasks: usize,
    calls: usize,
) -> (u64, u64) {
    let before = (reads(control).await, scripts(control).await);
    let start = Arc::new(Barrier::new(tasks));
    let running: Vec<_> = (0..tasks)
        .map(|number| {
            let (cache, start) = (cache.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                for call in 0..calls {
                    let load = move || async move { Ok::<_, Infallible>(value(number, call)) };
                    let loaded = cache.get_or_load(&format!("{what} {number}.{call}"), load).await;
                    assert_eq!(*loaded.unwrap(), value(number, call));
                }
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
    (reads(control).await - before.0, scripts(control).await - before.1)
}

/// A miss takes a lease and fills it by a script, and several fills share a call of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn misses_of_many_callers_arrive_together() {
    let redis = Redis::start().await;
    let backend = connect(&redis).await;
    let control = control(&redis).await;
    let builder = Cache::builder(backend).coder(Raw).prefix("misses");
    let cache = builder.backend_timeout(PATIENCE).build();
    // The server does not know the script yet.
    reads_and_scripts_of_misses(&cache, &control, "first", 1, 1).await;
    let (together, scripts_together) = reads_and_scripts_of_misses(&cache, &control, "together", TASKS, CALLS).await;
    // The control: one after another, each command arrives alone.
    let (alone, scripts_alone) = reads_and_scripts_of_misses(&cache, &control, "alone", 1, TASKS * CALLS).await;
    let misses = (TASKS * CALLS) as u64;
    assert!(alone >= 2 * misses, "{alone} reads of {misses} misses");
    assert_eq!(scripts_alone, misses);
    assert!(together < misses / 2, "{together} reads of {misses} misses");
    assert!(
        scripts_together < misses / 4,
        "{scripts_together} scripts of {misses} misses"
    );
    // All were stored.
    for number in 0..TASKS {
        for call in 0..CALLS {
            let stored = cache.get::<Bytes>(&format!("together {number}.{call}")).await.unwrap();
            assert_eq!(*stored.unwrap(), value(number, call));
        }
    }
}

/// Replaces a record of this version.
async fn replace(
    backend: &RedisBackend,
    number: usize,
    version: Version,
    value: Bytes,
) -> Result<SetOutcome, cache_core::Error> {
    let options = SetOptions::new(Duration::from_secs(60)).if_version(version);
    backend.set(&key(number), Value::Bytes(value), options).await
}

/// Replaces all records at the same time.
async fn replace_all(
    backend: &RedisBackend,
    versions: &[Version],
    value: impl Fn(usize) -> Bytes,
) -> Vec<Result<SetOutcome, cache_core::Error>> {
    let start = Arc::new(Barrier::new(versions.len()));
    let running: Vec<_> = versions
        .iter()
        .enumerate()
        .map(|(number, version)| {
            let (backend, start, version, value) = (backend.clone(), Arc::clone(&start), *version, value(number));
            tokio::spawn(async move {
                start.wait().await;
                replace(&backend, number, version, value).await
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in running {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

/// Writes as many records as there are tasks, and returns their versions.
async fn versions(backend: &RedisBackend) -> Vec<Version> {
    let mut versions = Vec::new();
    for number in 0..TASKS {
        let options = SetOptions::new(Duration::from_secs(60));
        let set = backend.set(&key(number), Value::Bytes(value(number, 0)), options).await;
        versions.push(set.unwrap().version().unwrap());
    }
    versions
}

/// Of conditional writes that share a call, each has its own condition, string and answer. Long strings are sent alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_conditional_write_has_its_own_outcome() {
    let redis = Redis::start().await;
    let backend = connect(&redis).await;
    let mut expected = versions(&backend).await;
    for (number, version) in expected.iter_mut().enumerate() {
        if number % 3 == 0 {
            *version = Version::from_u128(7);
        }
    }
    let long = |number: usize| match number % 5 {
        0 => Bytes::from(vec![u8::try_from(number).unwrap(); 100_000]),
        _ => value(number, 1),
    };
    let outcomes = replace_all(&backend, &expected, long).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let is_stored = outcome.unwrap().version().is_some();
        assert_eq!(is_stored, number % 3 != 0);
        let there = if is_stored { long(number) } else { value(number, 0) };
        assert_eq!(read(&backend, number).await, there);
    }
}

/// Of conditional writes that share a call, one that the server refuses does not fail the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_refused_conditional_write_does_not_fail_the_others() {
    let redis = Redis::start().await;
    let all = connect(&redis).await;
    let expected = versions(&all).await;
    let command = CustomCommand::new_static("ACL", ClusterHash::Random, false);
    // Keys that end with an odd digit are not allowed.
    let rules = vec!["SETUSER", "even", "on", ">secret", "~*[02468]", "+@all"];
    let _: String = control(&redis).await.custom(command, rules).await.unwrap();
    let url = redis.url().replace("redis://", "redis://even:secret@");
    let even = RedisBackend::builder()
        .url(&url)
        .connections(1)
        .connect()
        .await
        .unwrap();
    let outcomes = replace_all(&even, &expected, |number| value(number, 1)).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let there = if number % 2 == 0 {
            assert!(outcome.unwrap().version().is_some());
            value(number, 1)
        } else {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Auth);
            value(number, 0)
        };
        assert_eq!(read(&all, number).await, there);
    }
}

/// Where the server refuses keys of several shards in one call, each conditional write is sent by itself, and soon without a
/// call that is refused before.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_of_shards_gets_each_conditional_write_by_itself() {
    let cluster = RedisCluster::start().await;
    // A client that takes one server of the Cluster for all there is. Keys of other servers are refused.
    let url = format!("redis://{}", cluster.nodes()[0]);
    let backend = connect_to(&url, 1).await;
    let control = control_of(&url).await;
    let mut records = Vec::new();
    let mut number = 0;
    while records.len() < TASKS {
        let options = SetOptions::new(Duration::from_secs(60));
        let set = backend.set(&key(number), Value::Bytes(value(number, 0)), options).await;
        if let Ok(outcome) = set {
            records.push((number, outcome.version().unwrap()));
        }
        number += 1;
    }
    let mut refusals = Vec::new();
    for round in 1..=2 {
        let before = refused(&control).await;
        let start = Arc::new(Barrier::new(TASKS));
        let writers: Vec<_> = records
            .into_iter()
            .map(|(number, version)| {
                let (backend, start) = (backend.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    let replaced = replace(&backend, number, version, value(number, round)).await;
                    (number, replaced.unwrap().version().expect("stored"))
                })
            })
            .collect();
        records = Vec::new();
        for writer in writers {
            records.push(writer.await.unwrap());
        }
        refusals.push(refused(&control).await - before);
    }
    println!("calls that the server refused for {TASKS} writes, twice: {refusals:?}");
    assert!(refusals[0] > 0 && refusals[1] == 0);
    for (number, _) in records {
        assert_eq!(read(&backend, number).await, value(number, 2));
    }
}

/// Forwards connections to Redis as a proxy of shards does that sends a script to the server of its first key: the other
/// keys are not found there. Returns the port, and how many calls had several keys.
async fn by_the_first_key(to: &str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (to, shared) = (to.to_owned(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&shared);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (far, counter) = (TcpStream::connect(&to).await.unwrap(), Arc::clone(&counter));
            let ((near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut far_in, &mut near_out).await });
            tokio::spawn(async move {
                let mut near_in = BufReader::new(near_in);
                while let Some(mut words) = command(&mut near_in).await {
                    if words[0].starts_with(b"EVAL") {
                        let keys: usize = String::from_utf8_lossy(&words[2]).parse().unwrap();
                        counter.fetch_add(usize::from(keys > 1), Ordering::SeqCst);
                        for key in words.iter_mut().skip(4).take(keys.saturating_sub(1)) {
                            key.splice(0..0, *b"elsewhere:");
                        }
                    }
                    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
                    for word in words {
                        bytes.extend(format!("${}\r\n", word.len()).bytes());
                        bytes.extend(word);
                        bytes.extend(b"\r\n");
                    }
                    if far_out.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, shared)
}

/// Reads a command of a client.
async fn command(from: &mut BufReader<OwnedReadHalf>) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    for _ in 0..number(from).await? {
        let mut word = vec![0; number(from).await? + 2];
        from.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(word);
    }
    Some(words)
}

/// Reads a number after its sign.
async fn number(from: &mut BufReader<OwnedReadHalf>) -> Option<usize> {
    let mut line = String::new();
    from.read_line(&mut line).await.ok()?;
    line.get(1..)?.trim().parse().ok()
}

/// What a proxy of shards does not find is asked for again, so that no caller is told that its record has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_proxy_does_not_find_is_written_by_itself() {
    let redis = Redis::start().await;
    let address = redis.url().strip_prefix("redis://").unwrap();
    let (port, shared) = by_the_first_key(address).await;
    let backend = connect_to(&format!("redis://127.0.0.1:{port}"), 1).await;
    let mut expected = versions(&backend).await;
    let mut calls = Vec::new();
    for round in 1..=2 {
        // One that has changed is refused all the same.
        expected[0] = Version::from_u128(7);
        let outcomes = replace_all(&backend, &expected, |number| value(number, round)).await;
        calls.push(shared.swap(0, Ordering::SeqCst));
        for (number, outcome) in outcomes.into_iter().enumerate() {
            let version = outcome.unwrap().version();
            assert_eq!(version.is_some(), number > 0, "write {number} of round {round}");
            expected[number] = version.unwrap_or(expected[number]);
        }
    }
    println!("shared calls of the script for {TASKS} writes, twice: {calls:?}");
    assert!(calls[0] > 0 && calls[1] == 0);
    for number in 0..TASKS {
        assert_eq!(
            read(&backend, number).await,
            value(number, if number > 0 { 2 } else { 0 })
        );
    }
}

/// A caller that leaves takes nobody's answer along.
#[tokio::test]
async fn callers_that_leave_do_not_disturb_the_others() {
    let redis = Redis::start().await;
    let backend = connect(&redis).await;
    for number in 0..TASKS {
        write(&backend, number, value(number, 0)).await;
    }
    for round in 0..CALLS {
        let running: Vec<_> = (0..TASKS)
            .map(|number| {
                let backend = backend.clone();
                tokio::spawn(async move { read(&backend, number).await })
            })
            .collect();
        tokio::task::yield_now().await;
        for (number, task) in running.into_iter().enumerate() {
            if number % 3 == round % 3 {
                task.abort();
            } else {
                assert_eq!(task.await.unwrap(), value(number, 0));
            }
        }
    }
}
