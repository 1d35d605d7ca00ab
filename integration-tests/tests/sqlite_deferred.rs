//! Writes in transactions on SQLite: what is cached equals what is committed, wherever a commit is interrupted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod database_support;

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use cache_engine::{Cache, CommitError};
use database_support::{PATIENCE, cached, changing, memory, until};
use futures_util::poll;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{Row, Sqlite, Transaction};

struct Shop {
    pool: SqlitePool,
    cache: Cache,
    _folder: tempfile::TempDir,
}

impl Shop {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("shop.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        let pool = SqlitePoolOptions::new()
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await
            .unwrap();
        let schema = "CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT NOT NULL); \
                      CREATE TABLE parts (row INTEGER REFERENCES rows DEFERRABLE INITIALLY DEFERRED); \
                      INSERT INTO rows VALUES (1, 'old');";
        sqlx::raw_sql(schema).execute(&pool).await.unwrap();
        Self {
            pool,
            cache: memory(),
            _folder: folder,
        }
    }

    async fn stored(&self) -> String {
        let row = sqlx::query("SELECT name FROM rows")
            .fetch_one(&self.pool)
            .await
            .unwrap();
        row.get(0)
    }

    async fn cached(&self) -> String {
        cached(&self.cache, self.stored()).await
    }

    async fn write(&self, name: &str) -> Transaction<'static, Sqlite> {
        let mut transaction = self.pool.begin().await.unwrap();
        let update = sqlx::query("UPDATE rows SET name = ?").bind(name);
        update.execute(&mut *transaction).await.unwrap();
        transaction
    }
}

#[tokio::test]
async fn a_committed_write_is_seen_and_one_that_is_rolled_back_costs_nothing() {
    let shop = Shop::new().await;
    assert_eq!(shop.cached().await, "old");
    let (transaction, deferred) = (shop.write("new").await, changing(&shop.cache));
    assert_eq!(shop.cached().await, "old");
    deferred
        .commit(async move { transaction.commit().await })
        .await
        .unwrap();
    assert_eq!(shop.cached().await, "new");

    let (transaction, deferred) = (shop.write("newer").await, changing(&shop.cache));
    transaction.rollback().await.unwrap();
    deferred.rolled_back();
    let unused = async { unreachable!("the entry is still there") };
    assert_eq!(cached(&shop.cache, unused).await, "new");
}

#[tokio::test]
async fn a_commit_that_the_database_refuses_is_an_error_of_the_database() {
    let shop = Shop::new().await;
    assert_eq!(shop.cached().await, "old");
    let (mut transaction, deferred) = (shop.write("new").await, changing(&shop.cache));
    let orphan = sqlx::query("INSERT INTO parts VALUES (7)");
    orphan.execute(&mut *transaction).await.unwrap();
    let error = deferred
        .commit(async move { transaction.commit().await })
        .await
        .unwrap_err();
    assert!(matches!(error, CommitError::Commit(_)), "{error}");
    assert_eq!(shop.cached().await, "old");
}

/// Drops a commit that borrows after each number of polls.
#[tokio::test]
async fn a_commit_that_is_interrupted_anywhere_is_seen() {
    for polls in 0..12 {
        let shop = Shop::new().await;
        assert_eq!(shop.cached().await, "old");
        let transaction = shop.write("new").await;
        let deferred = changing(&shop.cache).with_commit_timeout(Duration::from_secs(1));
        {
            let mut commit = pin!(deferred.commit_borrowing(async { transaction.commit().await }));
            for _ in 0..polls {
                if let Poll::Ready(result) = poll!(commit.as_mut()) {
                    result.unwrap();
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // Waits until the connection has ended the transaction, either way.
        drop(shop.write("other").await);
        let stored = shop.stored().await;
        until(&stored, async || shop.cached().await).await;
    }
}
