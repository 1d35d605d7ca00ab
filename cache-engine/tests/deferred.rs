//! `Cache::deferred`: what a transaction changes is invalidated after its commit, or when its outcome is unknown.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use cache_core::{ErrorKind, ManualClock};
use cache_engine::{Cache, CommitError, Deferred, cached, invalidates};
use futures_util::FutureExt;
use support::{Count, Fate, Gate, Remote, SEC, idle, local, over};

/// A database with transactions: what is written is seen after the commit.
#[derive(Clone, Default)]
struct Database {
    rows: Arc<Mutex<HashMap<u32, String>>>,
}

struct Transaction {
    database: Database,
    written: Vec<(u32, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DbError {
    ConnectionLost,
    Cache,
}

impl From<cache_core::Error> for DbError {
    fn from(_: cache_core::Error) -> Self {
        Self::Cache
    }
}

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection was lost")
    }
}

impl std::error::Error for DbError {}

impl Database {
    fn begin(&self) -> Transaction {
        Transaction {
            database: self.clone(),
            written: Vec::new(),
        }
    }

    fn read(&self, id: u32) -> String {
        self.rows.lock().unwrap().get(&id).cloned().unwrap_or_default()
    }
}

impl Transaction {
    fn write(&mut self, id: u32, name: &str) {
        self.written.push((id, name.to_owned()));
    }

    fn carry_out(self) {
        self.database.rows.lock().unwrap().extend(self.written);
    }

    async fn commit(self) -> Result<(), DbError> {
        tokio::task::yield_now().await;
        self.carry_out();
        Ok(())
    }

    /// The database commits, and the answer is lost.
    async fn commit_without_answer(self) -> Result<(), DbError> {
        self.commit().await?;
        Err(DbError::ConnectionLost)
    }
}

#[derive(Clone)]
struct Shop {
    cache: Cache,
    database: Database,
    reads: Count,
}

impl Shop {
    fn over(cache: Cache) -> Self {
        Self {
            cache,
            database: Database::default(),
            reads: Count::new(),
        }
    }

    fn new() -> Self {
        Self::over(local(&ManualClock::new()).build())
    }

    #[cached(cache = self.cache, key = "{id}", tags = ["item:{id}"])]
    async fn item(&self, id: u32) -> String {
        self.reads.up();
        self.database.read(id)
    }

    #[invalidates(cache = self.cache, tags = ["item:{id}"])]
    async fn rename(&self, transaction: &mut Transaction, id: u32, name: &str) -> Result<(), DbError> {
        transaction.write(id, name);
        Ok(())
    }

    /// A transaction that writes item 1, and what it invalidates.
    fn writing(&self, name: &str) -> (Transaction, Deferred) {
        let mut transaction = self.database.begin();
        transaction.write(1, name);
        let deferred = self.cache.deferred();
        deferred.add_tag("item:1");
        (transaction, deferred)
    }
}

#[tokio::test]
async fn what_was_collected_is_invalidated_after_the_commit_and_not_before() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    shop.item(1).await;
    assert_eq!(shop.reads.get(), 1, "nothing is invalidated so far");
    let committed = deferred
        .commit(async move { transaction.commit().await.map(|()| 7) })
        .await;
    assert_eq!(committed.unwrap(), 7);
    assert_eq!(shop.item(1).await, "new");
}

#[tokio::test]
async fn keys_namespaces_sets_and_everything_can_be_added() {
    let cache = local(&ManualClock::new()).build();
    let other = cache.with_namespace("other");
    let third = cache.with_namespace("third");
    let store = async || {
        cache.set("key", 1).await.unwrap();
        other.set("key", 1).await.unwrap();
        third.set("key", 1).await.unwrap();
    };
    let left = async || {
        let mut left = 0;
        for cache in [&cache, &other, &third] {
            left += usize::from(cache.get::<i32>("key").await.unwrap().is_some());
        }
        left
    };
    let commit = async || Ok::<_, Infallible>(());
    store().await;
    let deferred = cache.deferred();
    deferred
        .add_key("key")
        .add_namespace("other")
        .add(third.invalidation().add_key("key"));
    assert_eq!(left().await, 3);
    deferred.commit_borrowing(commit()).await.unwrap();
    assert_eq!(left().await, 0);
    store().await;
    let deferred = cache.deferred();
    deferred.add_everything();
    deferred.commit_borrowing(commit()).await.unwrap();
    assert_eq!(left().await, 0);
}

#[tokio::test]
async fn what_was_collected_softly_stays_for_its_stale_window() {
    let cache = local(&ManualClock::new()).stale_if_error(SEC * 60).build();
    cache.set("key", "old".to_owned()).await.unwrap();
    let deferred = cache.soft().deferred();
    deferred.add_key("key");
    deferred
        .commit_borrowing(async { Ok::<_, Infallible>(()) })
        .await
        .unwrap();
    assert!(cache.get::<String>("key").await.unwrap().is_none());
    let value = cache
        .get_or_load("key", || async { Err::<String, _>("down") })
        .await
        .unwrap();
    assert_eq!(*value, "old");
}

#[tokio::test]
async fn nothing_is_invalidated_after_a_rollback() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    drop(transaction);
    deferred.rolled_back();
    idle().await;
    shop.item(1).await;
    assert_eq!(shop.reads.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_commit_leaves_the_outcome_unknown() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    let result = deferred.commit(transaction.commit_without_answer()).await;
    assert!(matches!(result, Err(CommitError::Commit(DbError::ConnectionLost))));
    assert_eq!(shop.item(1).await, "new", "gone when the commit has returned its error");
}

/// The negative control of the test before: this is what most services do.
#[tokio::test]
async fn an_invalidation_after_ok_alone_is_lost_with_the_answer() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    deferred.rolled_back();
    if transaction.commit_without_answer().await.is_ok() {
        shop.cache.invalidate_tag("item:1").await.unwrap();
    }
    assert_eq!(shop.item(1).await, "", "outdated");
}

/// The connection broke, and the database commits after the invalidation.
#[tokio::test(start_paused = true)]
async fn a_commit_that_takes_place_late_is_invalidated_again() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    let result = deferred.commit(async { Err::<(), _>(DbError::ConnectionLost) }).await;
    result.unwrap_err();
    // A reader between the invalidation and the commit stores the old row.
    assert_eq!(shop.item(1).await, "");
    transaction.carry_out();
    assert_eq!(shop.item(1).await, "", "outdated, for the commit timeout");
    tokio::time::sleep(SEC * 6).await;
    assert_eq!(shop.item(1).await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_the_second_invalidation() {
    let shop = Shop::new();
    let (transaction, deferred) = shop.writing("new");
    let deferred = deferred.with_commit_timeout(SEC * 3600);
    deferred
        .commit(async { Err::<(), _>(DbError::ConnectionLost) })
        .await
        .unwrap_err();
    shop.item(1).await;
    transaction.carry_out();
    let begun = tokio::time::Instant::now();
    shop.cache.shutdown().await;
    assert!(begun.elapsed() < SEC * 60);
    assert_eq!(shop.item(1).await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_is_taken_for_unknown_and_waited_for() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    let (committed, answered) = (Gate::closed(), Gate::closed());
    let commit = {
        let (committed, answered) = (committed.clone(), answered.clone());
        async move {
            committed.pass().await;
            transaction.carry_out();
            answered.pass().await;
            Ok::<_, DbError>(())
        }
    };
    let commit = tokio::spawn(deferred.commit(commit));
    committed.open();
    tokio::time::sleep(SEC * 6).await;
    assert_eq!(shop.item(1).await, "new", "invalidated before the answer");
    assert!(!commit.is_finished());
    let reads = shop.reads.get();
    answered.open();
    commit.await.unwrap().unwrap();
    shop.item(1).await;
    assert_eq!(shop.reads.get(), reads + 1, "and after it");
}

#[tokio::test]
async fn a_caller_that_leaves_interrupts_no_commit() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    let gate = Gate::closed();
    let held = gate.clone();
    {
        let commit = deferred.commit(async move {
            held.pass().await;
            transaction.commit().await
        });
        let mut commit = pin!(commit);
        assert!(
            commit
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    gate.open();
    shop.cache.shutdown().await;
    assert_eq!(shop.database.read(1), "new");
    assert_eq!(shop.item(1).await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_borrowing_commit_that_is_dropped_is_of_unknown_outcome() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    {
        let commit = deferred.commit_borrowing(async {
            transaction.carry_out();
            pending::<Result<(), DbError>>().await
        });
        assert!(pin!(commit).as_mut().now_or_never().is_none());
    }
    shop.cache.shutdown().await;
    assert_eq!(shop.item(1).await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_dropped_is_carried_out() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    transaction.commit().await.unwrap();
    drop(deferred);
    shop.cache.shutdown().await;
    assert_eq!(shop.item(1).await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_commit_reaches_the_caller_and_the_cache() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    let commit = deferred.commit(async move {
        transaction.commit_without_answer().await.expect("an answer");
        Ok::<_, DbError>(())
    });
    let panicked = tokio::spawn(commit).await.unwrap_err();
    assert!(panicked.is_panic());
    shop.cache.shutdown().await;
    assert_eq!(shop.item(1).await, "new");
}

#[tokio::test]
async fn a_load_that_began_before_the_commit_stores_nothing_old() {
    let shop = Shop::new();
    let gate = Gate::closed();
    let tagged = shop.cache.with_tags(["item:1"]);
    let load = {
        let (shop, gate, tagged) = (shop.clone(), gate.clone(), tagged.clone());
        tokio::spawn(async move {
            let load = || async move {
                let name = shop.database.read(1);
                gate.pass().await;
                Ok::<_, Infallible>(name)
            };
            tagged.get_or_load("slow", load).await.unwrap()
        })
    };
    gate.reached().await;
    let (transaction, deferred) = shop.writing("new");
    deferred.commit(transaction.commit()).await.unwrap();
    gate.open();
    assert_eq!(*load.await.unwrap(), "", "its caller began before");
    assert!(tagged.get::<String>("slow").await.unwrap().is_none());
}

#[tokio::test]
async fn functions_in_the_scope_of_a_transaction_invalidate_after_its_commit() {
    let shop = Shop::new();
    shop.item(1).await;
    let mut transaction = shop.database.begin();
    let deferred = shop.cache.deferred();
    deferred.scope(shop.rename(&mut transaction, 1, "new")).await.unwrap();
    assert_eq!(shop.item(1).await, "");
    assert_eq!(shop.reads.get(), 1, "nothing is invalidated so far");
    deferred.commit(transaction.commit()).await.unwrap();
    assert_eq!(shop.item(1).await, "new");
}

/// The negative control: without a scope, a reader between the write and its commit stores the old row.
#[tokio::test]
async fn a_function_outside_of_a_scope_invalidates_too_early() {
    let shop = Shop::new();
    let mut transaction = shop.database.begin();
    shop.rename(&mut transaction, 1, "new").await.unwrap();
    shop.item(1).await;
    transaction.commit().await.unwrap();
    assert_eq!(shop.item(1).await, "", "outdated");
}

#[tokio::test]
async fn everything_that_invalidates_is_collected_in_a_scope() {
    let cache = local(&ManualClock::new()).namespace("n").tag_namespaces(true).build();
    let tagged = cache.with_tags(["tag"]);
    let ways: [(&str, Box<dyn AsyncWay>); 12] = [
        (
            "invalidate",
            Box::new(async |cache: Cache| cache.invalidate("key").await.unwrap()),
        ),
        (
            "invalidate_tag",
            Box::new(async |cache: Cache| cache.invalidate_tag("tag").await.unwrap()),
        ),
        (
            "invalidate_many",
            Box::new(async |cache: Cache| cache.invalidate_many(["other", "key"]).await.unwrap()),
        ),
        (
            "invalidate_tags",
            Box::new(async |cache: Cache| cache.invalidate_tags(["other", "tag"]).await.unwrap()),
        ),
        (
            "clear",
            Box::new(async |cache: Cache| {
                cache.clear("n").await.unwrap();
            }),
        ),
        (
            "clear_all",
            Box::new(async |cache: Cache| {
                cache.clear_all().await.unwrap();
            }),
        ),
        (
            "soft invalidate",
            Box::new(async |cache: Cache| cache.soft().invalidate("key").await.unwrap()),
        ),
        (
            "soft tag",
            Box::new(async |cache: Cache| cache.soft().invalidate_tag("tag").await.unwrap()),
        ),
        (
            "soft invalidate_many",
            Box::new(async |cache: Cache| cache.soft().invalidate_many(["other", "key"]).await.unwrap()),
        ),
        (
            "soft tags",
            Box::new(async |cache: Cache| cache.soft().invalidate_tags(["other", "tag"]).await.unwrap()),
        ),
        (
            "soft clear",
            Box::new(async |cache: Cache| cache.soft().clear_all().await.unwrap()),
        ),
        (
            "set",
            Box::new(async |cache: Cache| {
                cache.invalidation().add_key("key").run().await.unwrap();
            }),
        ),
    ];
    for (name, way) in ways {
        tagged.set("key", 1).await.unwrap();
        let deferred = cache.deferred();
        deferred.scope(way.go(cache.clone())).await;
        assert!(cache.get::<i32>("key").await.unwrap().is_some(), "{name} is too early");
        deferred.commit(async { Ok::<_, Infallible>(()) }).await.unwrap();
        assert!(cache.get::<i32>("key").await.unwrap().is_none(), "{name} is lost");
    }
}

/// Something that is done with a cache.
trait AsyncWay {
    fn go(&self, cache: Cache) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
}

impl<F: AsyncFn(Cache)> AsyncWay for F {
    fn go(&self, cache: Cache) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(self(cache))
    }
}

#[tokio::test]
async fn what_a_transaction_reads_is_not_stored() {
    let shop = Shop::new();
    let (transaction, deferred) = shop.writing("uncommitted");
    let load = async || {
        let name = transaction.written[0].1.clone();
        shop.cache
            .borrowing()
            .get_or_load("1", async || Ok::<_, Infallible>(name))
            .await
            .unwrap()
    };
    assert_eq!(*deferred.scope(load()).await, "uncommitted");
    deferred.rolled_back();
    assert!(shop.cache.get::<String>("1").await.unwrap().is_none());
}

#[tokio::test]
async fn a_whole_transaction_can_be_the_commit() {
    let shop = Shop::new();
    shop.item(1).await;
    let deferred = shop.cache.deferred();
    let (database, writer) = (shop.database.clone(), shop.clone());
    let transaction = async move {
        let mut transaction = database.begin();
        writer.rename(&mut transaction, 1, "new").await?;
        transaction.commit().await
    };
    deferred.commit(transaction).await.unwrap();
    assert_eq!(shop.item(1).await, "new");
}

#[tokio::test]
async fn a_part_of_a_transaction_is_carried_out_with_the_whole_too() {
    let shop = Shop::new();
    shop.item(1).await;
    let (transaction, outer) = shop.writing("new");
    let part = async {
        let inner = shop.cache.deferred();
        inner.add_tag("item:2");
        inner.commit(async { Ok::<_, Infallible>(()) }).await.unwrap();
    };
    outer.scope(part).await;
    shop.item(2).await;
    outer.commit(transaction.commit()).await.unwrap();
    let reads = shop.reads.get();
    shop.item(2).await;
    assert_eq!(shop.reads.get(), reads + 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_leaves_the_invalidations_pending() {
    let remote = Remote::new();
    let shop = Shop::over(over(&remote).breaker(0, Duration::ZERO).build());
    shop.item(1).await;
    let (transaction, deferred) = shop.writing("new");
    remote.plan(|_| Fate::Fail(ErrorKind::Unavailable));
    let error = deferred.commit(transaction.commit()).await.unwrap_err();
    assert!(error.is_committed(), "{error}");
    assert_eq!(shop.cache.pending_invalidations(), 1);
    remote.plan(|_| Fate::Pass);
    shop.cache.shutdown().await;
    assert_eq!(shop.item(1).await, "new");
}

#[test]
fn a_runtime_that_ends_during_the_commit_leaves_the_invalidations_pending() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let remote = Remote::new();
    let shop = Shop::over(over(&remote).build());
    runtime.block_on(async {
        shop.item(1).await;
        let (transaction, deferred) = shop.writing("new");
        let commit = deferred.commit(async move {
            transaction.carry_out();
            pending::<Result<(), DbError>>().await
        });
        drop(tokio::spawn(commit));
        idle().await;
    });
    drop(runtime);
    assert_eq!(shop.database.read(1), "new");
    assert!(shop.cache.pending_invalidations() > 0);
}
