//! Servers from a provider: they come and go, and no old value comes back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::{Backend, Error, ErrorKind};
use cache_memcached::{MemcachedBackend, MemcachedBackendBuilder, NodeList, WhenDown};
use proptest::prelude::*;
use support::{Fake, hour, key, put, read};
use tokio::time::{advance, sleep};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const REFRESH: Duration = Duration::from_secs(30);

/// Servers with the names `a:1`, `b:1` and so on.
#[derive(Clone)]
struct Machines(HashMap<String, Fake>);

impl Machines {
    fn new(count: usize) -> Self {
        Self(
            ('a'..)
                .take(count)
                .map(|name| (format!("{name}:1"), Fake::new()))
                .collect(),
        )
    }

    fn of(&self, name: char) -> &Fake {
        &self.0[&format!("{name}:1")]
    }

    fn builder(&self) -> MemcachedBackendBuilder {
        let machines = self.0.clone();
        MemcachedBackend::builder().connector(move |name| {
            let fake = machines[&name].clone();
            async move { fake.connect() }
        })
    }

    /// A process with a list of servers that never changes.
    fn fixed(&self, names: &str) -> MemcachedBackend {
        let name = |builder: MemcachedBackendBuilder, name| builder.server(&format!("{name}:1"));
        names.chars().fold(self.builder(), name).build().unwrap()
    }
}

/// The list of servers as one process sees it: the initials of their names.
#[derive(Clone, Default)]
struct Registry {
    list: Arc<Mutex<(String, Option<u64>)>>,
    failure: Arc<Mutex<Option<&'static str>>>,
    asked: Arc<AtomicUsize>,
}

impl Registry {
    fn new(names: &str) -> Self {
        let registry = Self::default();
        registry.set(names);
        registry
    }

    fn set(&self, names: &str) {
        names.clone_into(&mut self.list.lock().unwrap().0);
    }

    fn set_version(&self, names: &str, version: u64) {
        *self.list.lock().unwrap() = (names.to_owned(), Some(version));
    }

    fn fail(&self, message: Option<&'static str>) {
        *self.failure.lock().unwrap() = message;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn process(&self, machines: &Machines) -> MemcachedBackend {
        self.process_with(machines, |builder| builder)
    }

    fn process_with(
        &self,
        machines: &Machines,
        settings: impl FnOnce(MemcachedBackendBuilder) -> MemcachedBackendBuilder,
    ) -> MemcachedBackend {
        let registry = self.clone();
        let provider = move || {
            registry.asked.fetch_add(1, Ordering::SeqCst);
            let (names, version) = registry.list.lock().unwrap().clone();
            let list = NodeList::new(names.chars().map(|name| format!("{name}:1")));
            let answer = match *registry.failure.lock().unwrap() {
                Some(message) => Err(Error::new(ErrorKind::Unavailable, message)),
                None => Ok(version.map_or(list.clone(), |version| list.with_version(version))),
            };
            async move { answer }
        };
        let builder = machines.builder().nodes(provider).node_refresh(REFRESH);
        settings(builder).build().unwrap()
    }
}

/// Lets a process read the list again, as it does after a while.
async fn refresh(process: &MemcachedBackend) {
    advance(REFRESH).await;
    let _ = process.get(&key("any")).await;
    settle().await;
}

/// Lets what goes on in the background end: the clock goes on when nothing else can.
async fn settle() {
    sleep(Duration::from_millis(200)).await;
}

fn names() -> Vec<String> {
    (0..40).map(|number| format!("key-{number}")).collect()
}

async fn put_all(process: &MemcachedBackend, value: &str) {
    for name in names() {
        put(process, &name, value).await.unwrap();
    }
}

/// Returns the names of the keys that have this value.
async fn with_value(process: &MemcachedBackend, value: &str) -> Vec<String> {
    let mut found = Vec::new();
    for name in names() {
        if read(process, &name).await.unwrap().as_deref() == Some(value) {
            found.push(name);
        }
    }
    found
}

/// As [`with_value`], by one call.
async fn many_with_value(process: &MemcachedBackend, value: &str) -> Vec<String> {
    let keys: Vec<_> = names().iter().map(|name| key(name)).collect();
    let records = process.get_many(&keys).await.unwrap();
    let found = names().into_iter().zip(records);
    let is_it = |record: &cache_core::Record| record.value.as_bytes().unwrap() == value.as_bytes();
    found
        .filter(|(_, record)| record.as_ref().is_some_and(is_it))
        .map(|(name, _)| name)
        .collect()
}

/// Returns the names of the keys that are on a machine.
fn keys_on(machine: &Fake) -> Vec<String> {
    let stored = machine.keys();
    names()
        .into_iter()
        .filter(|name| stored.contains(&format!("p:n:{name}")))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_joins_takes_its_own_keys_and_no_others() {
    let (machines, registry) = (Machines::new(3), Registry::new("ab"));
    let process = registry.process(&machines);
    put_all(&process, "old").await;
    registry.set("abc");
    refresh(&process).await;
    let kept = with_value(&process, "old").await;
    put_all(&process, "new").await;
    let moved = keys_on(machines.of('c'));
    assert!(moved.len() > 5 && kept.len() > 15, "{moved:?}");
    assert!(names().iter().all(|name| kept.contains(name) != moved.contains(name)));

    registry.set("ab");
    refresh(&process).await;
    assert_eq!(
        with_value(&process, "new").await,
        kept,
        "the others stay when it leaves"
    );
    assert_eq!(many_with_value(&process, "new").await, kept, "and in a batch");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_returns_has_nothing_that_was_invalidated_meanwhile() {
    let (machines, registry) = (Machines::new(3), Registry::new("abc"));
    let process = registry.process(&machines);
    put_all(&process, "old").await;
    let on_c = keys_on(machines.of('c'));
    assert!(on_c.len() > 5);
    registry.set("ab");
    refresh(&process).await;
    for name in names() {
        process.delete(&key(&name)).await.unwrap();
    }
    assert_eq!(keys_on(machines.of('c')), on_c, "it was not in reach");
    registry.set("abc");
    refresh(&process).await;
    assert_eq!(with_value(&process, "old").await, Vec::<String>::new());
    // A process that starts now knows it from the servers.
    assert_eq!(
        with_value(&Registry::new("abc").process(&machines), "old").await,
        Vec::<String>::new()
    );
    put_all(&process, "new").await;
    assert_eq!(with_value(&process, "new").await, names());
}

/// The same hazard on servers that never leave.
#[tokio::test(start_paused = true)]
async fn a_server_that_stays_has_nothing_that_was_invalidated_on_a_server_that_came_and_went() {
    let (machines, registry) = (Machines::new(3), Registry::new("ab"));
    let process = registry.process(&machines);
    put_all(&process, "old").await;
    registry.set("abc");
    refresh(&process).await;
    for name in names() {
        process.delete(&key(&name)).await.unwrap();
    }
    let left_behind = keys_on(machines.of('a')).len() + keys_on(machines.of('b')).len();
    assert!(left_behind > 5, "{left_behind}");
    registry.set("ab");
    refresh(&process).await;
    assert_eq!(with_value(&process, "old").await, Vec::<String>::new());
    assert_eq!(many_with_value(&process, "old").await, Vec::<String>::new());
    assert_eq!(
        with_value(&Registry::new("ab").process(&machines), "old").await,
        Vec::<String>::new()
    );
}

/// The negative control: what comes back where processes are given lists that differ over time.
#[tokio::test(start_paused = true)]
async fn with_lists_that_are_set_once_old_values_come_back() {
    let machines = Machines::new(3);
    put_all(&machines.fixed("abc"), "old").await;
    for name in names() {
        machines.fixed("ab").delete(&key(&name)).await.unwrap();
    }
    assert!(with_value(&machines.fixed("abc"), "old").await.len() > 5);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_has_not_seen_the_new_list_invalidates_on_the_right_server() {
    let machines = Machines::new(3);
    let (early, late) = (Registry::new("ab"), Registry::new("ab"));
    let (first, second) = (early.process(&machines), late.process(&machines));
    put_all(&first, "old").await;
    assert_eq!(with_value(&second, "old").await, names());

    early.set("abc");
    late.set("abc");
    refresh(&first).await;
    let asked = late.asked();
    put_all(&first, "new").await;
    // Only the first process has read the list again. The other one finds out by its first call.
    for name in names() {
        assert!(second.delete(&key(&name)).await.unwrap(), "{name}");
    }
    assert_eq!(late.asked(), asked + 1);
    assert_eq!(with_value(&first, "new").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_provider_is_late_fails_and_does_nothing_wrong() {
    let machines = Machines::new(3);
    let (early, late) = (Registry::new("ab"), Registry::new("ab"));
    let (first, second) = (early.process(&machines), late.process(&machines));
    put_all(&first, "old").await;
    assert_eq!(with_value(&second, "old").await, names());
    early.set("abc");
    refresh(&first).await;
    put_all(&first, "new").await;
    for name in names() {
        let error = second.delete(&key(&name)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Unavailable, true),
            "{error}"
        );
    }
    let error = second.get(&key("any")).await.unwrap_err();
    assert!(error.to_string().contains("other processes use the servers"), "{error}");
    assert_eq!(with_value(&first, "new").await, names());

    late.set("abc");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(with_value(&second, "new").await, names());
}

/// Its connections may fail for one process alone.
#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_is_told_even_if_it_counts_as_down() {
    let machines = Machines::new(3);
    let (early, late) = (Registry::new("abc"), Registry::new("abc"));
    let first = early.process_with(&machines, |builder| builder.down_after(3, REFRESH * 100));
    let second = late.process_with(&machines, |builder| builder.node_refresh(REFRESH * 100));
    put_all(&first, "old").await;
    assert_eq!(with_value(&second, "old").await, names());
    let on_c = keys_on(machines.of('c'));
    assert!(on_c.len() > 5);
    machines.of('c').vanish();
    for name in &on_c {
        assert!(read(&first, name).await.is_err());
    }
    machines.of('c').come_back();
    let error = read(&first, &on_c[0]).await.unwrap_err();
    assert!(error.to_string().contains("the server is down"), "{error}");

    early.set("ab");
    refresh(&first).await;
    put_all(&first, "new").await;
    // The other process has not read the list again, and calls nothing but the server that has left.
    for name in &on_c {
        let error = read(&second, name).await.unwrap_err();
        assert!(error.to_string().contains("other processes use the servers"), "{error}");
    }
    late.set("ab");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(with_value(&second, "new").await, names());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_others_never_see_is_put_through_in_the_end() {
    let machines = Machines::new(3);
    let old = Registry::new("ab").process(&machines);
    put_all(&old, "old").await;
    let new = Registry::new("abc").process(&machines);
    assert!(new.get(&key("any")).await.is_err());
    sleep(REFRESH * 2).await;
    let _ = new.get(&key("any")).await;
    settle().await;
    put_all(&new, "new").await;
    assert!(
        old.get(&key("any")).await.is_err(),
        "two lists are never used at the same time"
    );
    assert_eq!(with_value(&new, "new").await, names());
}

#[tokio::test(start_paused = true)]
async fn a_newer_version_is_used_at_once_and_an_older_one_never() {
    let machines = Machines::new(3);
    let (early, late) = (Registry::new(""), Registry::new(""));
    early.set_version("ab", 1);
    late.set_version("ab", 1);
    let (first, second) = (early.process(&machines), late.process(&machines));
    put_all(&first, "old").await;
    assert_eq!(with_value(&second, "old").await, names());

    // A process that starts with a newer list need not wait.
    let third = Registry::new("");
    third.set_version("abc", 2);
    let third = third.process(&machines);
    put_all(&third, "new").await;
    assert_eq!(first.get(&key("any")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    early.set_version("abc", 2);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(with_value(&first, "new").await, names());
    // An answer that is late changes nothing.
    early.set_version("ab", 1);
    refresh(&first).await;
    assert_eq!(with_value(&first, "new").await, names());
    assert_eq!(with_value(&third, "new").await, names());
    assert!(second.get(&key("any")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_leaves_the_last_list_and_is_asked_ever_more_seldom() {
    let (machines, registry) = (Machines::new(2), Registry::new("a"));
    registry.fail(Some("no list today"));
    let process = registry.process(&machines);
    let error = process.get(&key("any")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no list today"), "{error}");
    for _ in 0..10 {
        assert!(process.get(&key("any")).await.is_err());
    }
    assert_eq!(registry.asked(), 1, "calls fail at once meanwhile");
    registry.fail(None);
    sleep(Duration::from_secs(1)).await;
    put_all(&process, "value").await;

    let asked = registry.asked();
    registry.fail(Some("no list today"));
    for _ in 0..100 {
        sleep(Duration::from_secs(3)).await;
        assert_eq!(read(&process, "key-1").await.unwrap().as_deref(), Some("value"));
    }
    let times = registry.asked() - asked;
    assert!((8..25).contains(&times), "{times}");
    registry.fail(None);
    registry.set("ab");
    refresh(&process).await;
    settle().await;
    put_all(&process, "new").await;
    assert!(!keys_on(machines.of('b')).is_empty());
}

#[tokio::test(start_paused = true)]
async fn many_callers_wait_for_one_reading_of_the_list() {
    let (machines, registry) = (Machines::new(2), Registry::new("ab"));
    let process = registry.process(&machines);
    let calls: Vec<_> = (0..50)
        .map(|number| {
            let process = process.clone();
            tokio::spawn(async move { put(&process, &format!("key-{number}"), "value").await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(registry.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_does_not_stop_the_reading() {
    let machines = Machines::new(1);
    let provider = || async {
        sleep(Duration::from_secs(5)).await;
        Ok(NodeList::new(["a:1"]))
    };
    let process = machines.builder().nodes(provider).build().unwrap();
    let error = process.get(&key("any")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    sleep(Duration::from_secs(5)).await;
    put(&process, "key", "value").await.unwrap();
    // `connect` waits for as long as it takes.
    machines.builder().nodes(provider).connect().await.unwrap();
    // But not for ever.
    let silent = || std::future::pending::<Result<NodeList, Error>>();
    let error = machines.builder().nodes(silent).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_needs_most_of_the_servers_and_one_that_runs_does_not() {
    let (machines, registry) = (Machines::new(3), Registry::new("abc"));
    let running = registry.process(&machines);
    put_all(&running, "value").await;
    machines.of('a').vanish();
    let started = registry.process(&machines);
    put(&started, &keys_on(machines.of('b'))[0], "value").await.unwrap();
    machines.of('b').vanish();
    let name = &keys_on(machines.of('c'))[0];
    assert_eq!(read(&running, name).await.unwrap().as_deref(), Some("value"));
    let error = read(&registry.process(&machines), name).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("1 of 3 servers answer"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_restarts_empty_or_missed_a_change_is_told_again() {
    let (machines, registry) = (Machines::new(3), Registry::new("ab"));
    let process = registry.process(&machines);
    put_all(&process, "old").await;
    let on_b = keys_on(machines.of('b'));
    machines.of('a').restart();
    assert_eq!(with_value(&process, "old").await, on_b);
    put_all(&process, "old").await;

    // It is away while another server joins.
    machines.of('a').vanish();
    registry.set("abc");
    refresh(&process).await;
    machines.of('a').come_back();
    advance(Duration::from_secs(1)).await;
    put_all(&process, "new").await;
    assert_eq!(with_value(&process, "new").await, names());
}

/// The configuration endpoint may be on the server that restarts.
#[tokio::test(start_paused = true)]
async fn a_server_that_restarts_while_the_provider_fails_is_told_again_by_the_last_list() {
    let (machines, registry) = (Machines::new(2), Registry::new("ab"));
    let process = registry.process(&machines);
    put_all(&process, "old").await;
    registry.fail(Some("no list today"));
    for _ in 0..10 {
        refresh(&process).await;
    }
    machines.of('a').restart();
    put_all(&process, "new").await;
    assert_eq!(with_value(&process, "new").await, names());
}

/// Counts the lines of log that are warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_provider_and_an_agreement_that_fail_together_are_one_line_of_log() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    // With one subscriber, an event that another test makes first would be switched off for all, since that test has none.
    let _second = tracing::Dispatch::new(Warnings::default());
    let (machines, registry) = (Machines::new(2), Registry::new("ab"));
    let process = registry.process(&machines);
    put_all(&process, "value").await;
    let name = &keys_on(machines.of('a'))[0];
    let asked = registry.asked();
    registry.fail(Some("no list today"));
    machines.of('a').restart();
    machines.of('b').vanish();
    settle().await;
    let error = read(&process, name).await.unwrap_err();
    for part in ["1 of 2 servers answer", "no list today"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    sleep(Duration::from_secs(10)).await;
    let _ = read(&process, name).await;
    let attempts = registry.asked() - asked;
    assert!(attempts > 1);
    assert_eq!(warnings.0.load(Ordering::SeqCst), attempts);

    // The servers agree again, and the provider still fails: that is a line, too.
    machines.of('b').come_back();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(read(&process, name).await.unwrap(), None);
    assert_eq!(registry.asked() - asked, attempts + 1);
    assert_eq!(warnings.0.load(Ordering::SeqCst), attempts + 1);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_fails_like_any_other() {
    let machines = Machines::new(1);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let provider = move || {
        let asked = counter.fetch_add(1, Ordering::SeqCst);
        async move {
            assert!(asked > 0, "no resolver");
            Ok(NodeList::new(["a:1"]))
        }
    };
    let process = machines.builder().nodes(provider).build().unwrap();
    for _ in 0..10 {
        let error = process.get(&key("any")).await.unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "calls fail at once meanwhile");
    sleep(Duration::from_secs(1)).await;
    put(&process, "key", "value").await.unwrap();
}

/// A server evicts what is not read, and no call reads the membership.
#[tokio::test(start_paused = true)]
async fn an_evicted_membership_is_there_again_for_a_process_that_starts() {
    let (machines, registry) = (Machines::new(2), Registry::new("ab"));
    let process = registry.process(&machines);
    put_all(&process, "value").await;
    for name in ['a', 'b'] {
        machines.of(name).evict("%~larder-servers");
    }
    refresh(&process).await;
    let started = registry.process(&machines);
    assert_eq!(with_value(&started, "value").await, names());
}

#[tokio::test(start_paused = true)]
async fn a_read_is_one_round_trip_and_a_write_one_more_than_with_a_list_that_is_set_once() {
    let (machines, registry) = (Machines::new(1), Registry::new("a"));
    let process = registry.process(&machines);
    put(&process, "key", "value").await.unwrap();
    machines.of('a').take_commands();
    read(&process, "key").await.unwrap();
    assert_eq!(machines.of('a').take_commands(), ["get p:n:key %~larder-stamp"]);
    process.delete(&key("key")).await.unwrap();
    assert_eq!(machines.of('a').take_commands().len(), 3);
    let fixed = machines.fixed("a");
    put(&fixed, "key", "value").await.unwrap();
    machines.of('a').take_commands();
    read(&fixed, "key").await.unwrap();
    assert_eq!(
        machines.of('a').take_commands(),
        ["get p:n:key"],
        "nothing more than before"
    );
}

#[tokio::test(start_paused = true)]
async fn lists_that_make_no_sense_are_failures() {
    let machines = Machines::new(2);
    for (list, part) in [
        (NodeList::new::<String>([]), "empty"),
        (NodeList::new(["a:1", "a:1"]), "named twice"),
        (NodeList::new(["a:port"]), "host:port"),
        (NodeList::new(["a:1\r\nflush_all"]), "host:port"),
    ] {
        let provider = move || {
            let list = list.clone();
            async move { Ok(list) }
        };
        let error = machines.builder().nodes(provider).connect().await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_backend_says_so() {
    let (machines, registry) = (Machines::new(1), Registry::new("a"));
    let process = registry.process(&machines);
    put(&process, "key", "value").await.unwrap();
    process.close().await.unwrap();
    let error = process.get(&key("key")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Unavailable, false),
        "{error}"
    );
    assert_eq!(process.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_while_the_list_changes_closes_the_new_connections_too() {
    let (machines, registry) = (Machines::new(3), Registry::new("a"));
    let process = registry.process(&machines);
    put(&process, "key", "value").await.unwrap();
    registry.set("bc");
    machines.of('b').freeze();
    advance(REFRESH).await;
    let _ = process.get(&key("any")).await;
    while machines.of('b').connections() == 0 {
        tokio::task::yield_now().await;
    }
    process.close().await.unwrap();
    machines.of('b').thaw();
    settle().await;
    assert!(
        machines.of('c').keys().contains(&"%~larder-stamp".to_owned()),
        "it went through"
    );
    for name in ['a', 'b', 'c'] {
        assert_eq!(machines.of(name).open_connections(), 0, "{name}");
    }
}

#[test]
fn settings_that_exclude_each_other_are_refused() {
    let nodes = || async { Ok(NodeList::new(["a:1"])) };
    let builder = MemcachedBackend::builder;
    for (builder, part) in [
        (builder().nodes(nodes).server("b"), "the server b:11211 is named"),
        (builder().nodes(nodes).auto_discovery("b"), "cannot be combined"),
        (builder().nodes(nodes).when_down(WhenDown::Skip), "WhenDown::Fail"),
        (
            builder().nodes(nodes).node_refresh(Duration::ZERO),
            "`node_refresh` is 0",
        ),
        (builder().auto_discovery("b:port"), "host:port"),
        (
            builder().url("memcached://a?auto_discovery=true&when_down=skip"),
            "WhenDown::Fail",
        ),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// What happens next to three processes.
#[derive(Debug, Clone)]
enum Step {
    /// The provider of a process has another list.
    List(usize, Vec<char>),
    /// Time passes.
    Wait,
    /// A process reads a value, and stores what it should be if there is none.
    Load(usize, usize),
    /// A value changes, and a process invalidates it.
    Invalidate(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let server = || prop::sample::select(vec!['a', 'b', 'c', 'd']);
    let list = prop::collection::btree_set(server(), 1..4).prop_map(|names| names.into_iter().collect());
    let step = prop_oneof![
        2 => (0..3_usize, list).prop_map(|(process, list)| Step::List(process, list)),
        2 => Just(Step::Wait),
        6 => (0..3_usize, 0..6_usize).prop_map(|(process, name)| Step::Load(process, name)),
        4 => (0..3_usize, 0..6_usize).prop_map(|(process, name)| Step::Invalidate(process, name)),
    ];
    prop::collection::vec(step, 1..60)
}

/// Runs the steps. Returns whether a process has read a value from before an invalidation that was carried out.
async fn reads_old_values(steps: &[Step], versions: bool) -> bool {
    let machines = Machines::new(4);
    let registries: Vec<Registry> = (0..3).map(|_| Registry::new("ab")).collect();
    let processes: Vec<MemcachedBackend> = registries.iter().map(|registry| registry.process(&machines)).collect();
    for process in &processes {
        process.ping().await.unwrap();
    }
    let mut truth = [0; 6];
    // Invalidations that failed are carried out before anything is known of the value, as the engine does.
    let mut pending = [false; 6];
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::List(process, list) => {
                let list: String = list.iter().collect();
                match versions {
                    true => registries[*process].set_version(&list, number as u64),
                    false => registries[*process].set(&list),
                }
            }
            Step::Wait => {
                advance(REFRESH).await;
                settle().await;
            }
            Step::Load(process, name) => {
                let (process, key) = (&processes[*process], key(&format!("key-{name}")));
                let found = match number % 2 {
                    0 => process.get(&key).await,
                    _ => process
                        .get_many(std::slice::from_ref(&key))
                        .await
                        .map(|mut found| found.remove(0)),
                };
                match found {
                    Ok(Some(record)) => {
                        let value = u32::from_be_bytes(record.value.as_bytes().unwrap()[..].try_into().unwrap());
                        if value != truth[*name] && !pending[*name] {
                            return true;
                        }
                    }
                    Ok(None) => {
                        let value = bytes::Bytes::copy_from_slice(&u32::to_be_bytes(truth[*name]));
                        let _ = process.set(&key, value.into(), hour().if_absent()).await;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                }
            }
            Step::Invalidate(process, name) => {
                truth[*name] += 1;
                let deleted = processes[*process].delete(&key(&format!("key-{name}"))).await;
                pending[*name] = deleted.is_err();
            }
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn no_process_reads_what_another_one_has_invalidated(steps in steps(), versions: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        prop_assert!(!runtime.block_on(reads_old_values(&steps, versions)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_times_are_no_trouble() {
    let machines = Machines::new(1);
    let process = machines
        .builder()
        .nodes(|| async { Ok(NodeList::new(["a:1".to_owned()])) })
        .node_refresh(Duration::MAX)
        .down_after(3, Duration::MAX)
        .build()
        .unwrap();
    put(&process, "key", "value").await.unwrap();
    refresh(&process).await;
    assert_eq!(read(&process, "key").await.unwrap().as_deref(), Some("value"));
}
