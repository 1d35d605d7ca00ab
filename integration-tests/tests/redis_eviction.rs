//! Histories on a Redis that evicts the toolkit's own records: values, leases, tags and epochs. A lost record may cost a
//! load or end a value early, but no read returns a value that was loaded before an invalidation that had returned.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::time::Duration;

use integration_tests::histories::{Kind, Options, Store, Summary, run};
use integration_tests::worker::Way;
use integration_tests::{Redis, wire};
use tokio::task::JoinHandle;

/// Histories of each kind and scenario.
const RUNS: u64 = 16;

/// Ends with the test.
struct Adversary(JoinHandle<()>);

impl Drop for Adversary {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Repeats a command, whose last argument is a new random number each time.
fn repeat(server: &Redis, command: String, pause: Duration) -> Adversary {
    let address = server.address().to_owned();
    Adversary(tokio::spawn(async move {
        loop {
            let number = fastrand::u32(1..1 << 30);
            wire::redis(&address, &format!("{command} {number}")).await.unwrap();
            tokio::time::sleep(pause).await;
        }
    }))
}

/// A number from `INFO`.
async fn info(server: &Redis, section: &str, field: &str) -> u64 {
    let text = wire::redis(server.address(), &format!("INFO {section}")).await.unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().trim().parse().unwrap()
}

/// Lets the server evict by this policy, 2 MiB above what it uses now, under a steady stream of other writes.
async fn under_pressure(server: &Redis, policy: &str) -> Adversary {
    let limit = info(server, "memory", "used_memory").await + 2 * 1024 * 1024;
    for setting in [format!("maxmemory {limit}"), format!("maxmemory-policy {policy}")] {
        let answer = wire::redis(server.address(), &format!("CONFIG SET {setting}")).await;
        assert_eq!(answer.unwrap(), "OK");
    }
    // They outlive every record of the toolkit, so that a policy by lifetime evicts the toolkit's records first.
    let fill = "EVAL \"for number = 1, 40 do \
                redis.call('SET', 'filler:' .. ARGV[1] .. ':' .. number, string.rep('x', 1024), 'PX', 31536000000000) \
                end\" 0";
    repeat(server, fill.to_owned(), Duration::from_millis(5))
}

/// Removes about half of the records whose keys match `pattern`, all the time, as a policy might that takes to them.
fn without(server: &Redis, pattern: &str) -> Adversary {
    let evict = "EVAL \"math.randomseed(tonumber(ARGV[2])) \
                 for _, key in ipairs(redis.call('KEYS', ARGV[1])) do \
                 if math.random() < 0.5 and redis.call('UNLINK', key) == 1 then redis.call('INCR', 'removed') end \
                 end\" 0";
    repeat(server, format!("{evict} {pattern}"), Duration::from_millis(3))
}

async fn removed(server: &Redis) -> u64 {
    let removed = wire::redis(server.address(), "GET removed").await.unwrap();
    removed.parse().unwrap_or(0)
}

fn options(server: &Redis, kind: Kind, way: Way, runs: u64) -> Options {
    Options {
        worker: PathBuf::from(env!("CARGO_BIN_EXE_cache-worker")),
        store: Store::Redis,
        url: Some(server.url().to_owned()),
        kind,
        way,
        // Random; a violation prints its seed.
        seed: fastrand::u64(..1 << 32),
        runs,
        at_a_time: Store::Redis.at_a_time(),
        same: false,
        traces: usize::from(way == Way::Real),
    }
}

/// Plays histories of each kind, and expects no violation.
async fn nothing_old_is_read(server: &Redis, scenario: &str) {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_for(Store::Redis)) {
        let summary = run(&options(server, kind, Way::Real, RUNS)).await;
        println!("{summary}: {scenario}, kind {}", kind.name());
        assert_eq!(
            summary.violations, 0,
            "{scenario}, seeds {:?}: see above",
            summary.seeds
        );
        // The histories must have made enough relevant checks.
        assert_eq!(summary.counts.histories, RUNS);
        assert!(summary.counts.bounded > RUNS, "{scenario}: {:?}", summary.counts);
        assert!(summary.counts.failed < RUNS, "{scenario}: {:?}", summary.counts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_old_is_read_whatever_policy_evicts() {
    for policy in ["allkeys-lru", "allkeys-random", "volatile-ttl"] {
        let server = Redis::start().await;
        let _pressure = under_pressure(&server, policy).await;
        // Records like the toolkit's, which show that such records are evicted.
        let plant = "EVAL \"for number = 1, 50 do redis.call('SET', 'planted:' .. number, 'x', 'PX', 600000) end\" 0";
        wire::redis(server.address(), plant).await.unwrap();
        nothing_old_is_read(&server, policy).await;
        assert!(info(&server, "stats", "evicted_keys").await > 1_000, "{policy}");
        let left = "EVAL \"return #redis.call('KEYS', 'planted:*')\" 0";
        let left: u64 = wire::redis(server.address(), left).await.unwrap().parse().unwrap();
        assert!(left < 50, "{policy} has evicted no record with a lifetime");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_old_is_read_when_leases_tags_or_epochs_are_evicted_first() {
    for pattern in ["*!lease:*", "*!tag:*", "*!epoch*"] {
        let server = Redis::start().await;
        let _evictions = without(&server, pattern);
        nothing_old_is_read(&server, pattern).await;
        assert!(removed(&server).await > 0, "{pattern}: nothing was evicted");
    }
}

/// The negative control: a cache that takes a lost tag for an unchanged one.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tag_that_counts_as_unchanged_is_found_out() {
    let server = Redis::start().await;
    let _evictions = without(&server, "*!tag:*");
    let mut played = 0;
    while played < 5_000 {
        let Summary { counts, violations, .. } = run(&options(&server, Kind::Tag, Way::LostTags, 50)).await;
        played += counts.histories;
        if violations > 0 {
            println!("{violations} violations in {played} histories");
            return;
        }
    }
    panic!("nothing was found in {played} histories");
}
