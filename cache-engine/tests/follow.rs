//! `Cache::follow`: what a feed reports is invalidated, and what it may have missed as well.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::{ErrorKind, ManualClock};
use cache_engine::{Cache, ChangeFeed, Invalidation};
use support::{Fate, Remote, SEC, local, over};
use tokio::sync::mpsc;

/// What becomes of a connection next.
enum Report {
    Tag(&'static str),
    End,
    Fail,
    Panic,
}

#[derive(Clone, Default)]
struct Server {
    connection: Arc<Mutex<Option<mpsc::UnboundedSender<Report>>>>,
    connects: support::Count,
    checks: support::Count,
    refuses: Arc<Mutex<bool>>,
    hangs: Arc<Mutex<bool>>,
}

impl Server {
    fn report(&self, report: Report) {
        let connection = self.connection.lock().unwrap();
        let sent = connection.as_ref().expect("a connection").send(report);
        assert!(sent.is_ok(), "nobody listens");
    }

    async fn connected(&self, times: usize) {
        while self.connects.get() < times || self.connection.lock().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

struct Feed {
    cache: Cache,
    server: Server,
    reports: Option<mpsc::UnboundedReceiver<Report>>,
}

impl ChangeFeed for Feed {
    type Error = &'static str;

    async fn connect(&mut self) -> Result<(), Self::Error> {
        if *self.server.refuses.lock().unwrap() {
            return Err("refused");
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.server.connection.lock().unwrap() = Some(sender);
        self.reports = Some(receiver);
        self.server.connects.up();
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Invalidation>, Self::Error> {
        match self.reports.as_mut().unwrap().recv().await {
            Some(Report::Tag(tag)) => Ok(Some(self.cache.invalidation().add_tag(tag))),
            Some(Report::Fail) => Err("reset"),
            Some(Report::Panic) => panic!("a feed with a bug"),
            Some(Report::End) | None => Ok(None),
        }
    }

    async fn check(&mut self) -> Result<(), Self::Error> {
        self.server.checks.up();
        if *self.server.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

fn follow(cache: &Cache) -> (Server, tokio::task::JoinHandle<()>) {
    let server = Server::default();
    let feed = Feed {
        cache: cache.clone(),
        server: server.clone(),
        reports: None,
    };
    let missed = cache.invalidation().add_namespace("items");
    (server, tokio::spawn(cache.follow(feed, missed).run()))
}

fn cache() -> Cache {
    local(&ManualClock::new()).namespace("items").build()
}

async fn gone(cache: &Cache, key: &str) {
    while cache.get::<i32>(key).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_reported_is_invalidated() {
    let cache = cache();
    let (server, _task) = follow(&cache);
    server.connected(1).await;
    cache.with_tags(["a"]).set("1", 1).await.unwrap();
    cache.with_tags(["b"]).set("2", 2).await.unwrap();
    cache.with_tags(["c"]).set("3", 3).await.unwrap();
    server.report(Report::Tag("a"));
    server.report(Report::Tag("b"));
    gone(&cache, "1").await;
    gone(&cache, "2").await;
    assert!(cache.get::<i32>("3").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_before_the_first_connection_may_be_outdated() {
    let cache = cache();
    let other = cache.with_namespace("other");
    cache.set("1", 1).await.unwrap();
    other.set("1", 1).await.unwrap();
    let (server, _task) = follow(&cache);
    server.connected(1).await;
    gone(&cache, "1").await;
    assert!(
        other.get::<i32>("1").await.unwrap().is_some(),
        "the feed says nothing about it"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_gap_may_have_missed_is_invalidated() {
    for end in [Report::End, Report::Fail, Report::Panic] {
        let cache = cache();
        let (server, _task) = follow(&cache);
        server.connected(1).await;
        *server.refuses.lock().unwrap() = true;
        server.report(end);
        tokio::time::sleep(SEC * 100).await;
        cache.set("1", 1).await.unwrap();
        *server.refuses.lock().unwrap() = false;
        server.connected(2).await;
        gone(&cache, "1").await;
    }
}

#[tokio::test(start_paused = true)]
async fn reports_before_the_end_of_a_connection_count() {
    let cache = cache();
    let other = cache.with_namespace("other").with_tags(["a"]);
    let (server, _task) = follow(&cache);
    server.connected(1).await;
    other.set("1", 1).await.unwrap();
    *server.refuses.lock().unwrap() = true;
    server.report(Report::Tag("a"));
    server.report(Report::Fail);
    gone(&other, "1").await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_hangs_is_replaced() {
    let cache = cache();
    let (server, _task) = follow(&cache);
    server.connected(1).await;
    tokio::time::sleep(SEC * 60).await;
    assert!(server.checks.get() > 5, "a silent connection is checked");
    assert_eq!(server.connects.get(), 1, "and kept");
    *server.hangs.lock().unwrap() = true;
    server.connected(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_breaks_at_once_is_connected_at_growing_pauses() {
    let cache = cache();
    let (server, _task) = follow(&cache);
    for times in 1..10 {
        server.connected(times).await;
        server.report(Report::Fail);
    }
    let begun = tokio::time::Instant::now();
    server.connected(10).await;
    assert!(begun.elapsed() > SEC * 10, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_gets_the_change_later() {
    let remote = Remote::new();
    let cache = over(&remote).namespace("items").breaker(0, Duration::ZERO).build();
    let (server, _task) = follow(&cache);
    server.connected(1).await;
    cache.with_tags(["a"]).set("1", 1).await.unwrap();
    remote.plan(|_| Fate::Fail(ErrorKind::Unavailable));
    server.report(Report::Tag("a"));
    while cache.pending_invalidations() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    remote.plan(|_| Fate::Pass);
    gone(&cache, "1").await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_it() {
    let cache = cache();
    let (server, task) = follow(&cache);
    server.connected(1).await;
    cache.shutdown().await;
    task.await.unwrap();
}
