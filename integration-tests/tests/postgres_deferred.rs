//! Writes in transactions on a real PostgreSQL: what is cached equals what is committed, whatever breaks during the
//! commit. `scripts/postgres` installs one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod database_support;

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use cache_core::testing::Gate;
use cache_engine::{Cache, CommitError};
use cache_redis::RedisBackend;
use database_support::proxy::{Fate, Proxy};
use database_support::{PATIENCE, cached, changing, memory, until};
use integration_tests::{Postgres, Redis, postgres};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{PgTransaction, Row};
use tokio::time::Instant;

/// A database with one row, read directly and written through a proxy.
struct Shop {
    direct: PgPool,
    proxied: PgPool,
    proxy: Proxy,
    cache: Cache,
}

/// A trigger by which a commit takes its time: it runs during `COMMIT`, and waits for the lock of a session of the test.
const SCHEMA: &str = "
    CREATE TABLE rows (id INT PRIMARY KEY, name TEXT NOT NULL, waits BOOLEAN NOT NULL DEFAULT FALSE);
    INSERT INTO rows VALUES (1, 'old');
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(1);
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER waits AFTER UPDATE ON rows DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.waits) EXECUTE FUNCTION wait();
";

impl Shop {
    async fn over(cache: Cache) -> Self {
        let server = Postgres::shared().await;
        let database = server.create_database();
        let proxy = Proxy::start(&server.address()).await;
        let pool = |url: String| {
            let options = PgPoolOptions::new().acquire_timeout(PATIENCE);
            async move { options.connect(&url).await.unwrap() }
        };
        let direct = pool(server.url(&database)).await;
        sqlx::raw_sql(SCHEMA).execute(&direct).await.unwrap();
        Self {
            direct,
            proxied: pool(postgres::url_at(proxy.address(), &database)).await,
            proxy,
            cache,
        }
    }

    async fn new() -> Self {
        Self::over(memory()).await
    }

    async fn stored(&self) -> String {
        let row = sqlx::query("SELECT name FROM rows")
            .fetch_one(&self.direct)
            .await
            .unwrap();
        row.get(0)
    }

    async fn cached(&self) -> String {
        cached(&self.cache, self.stored()).await
    }

    async fn write(&self, name: &str) -> PgTransaction<'static> {
        let mut transaction = self.proxied.begin().await.unwrap();
        let update = sqlx::query("UPDATE rows SET name = $1, waits = $2")
            .bind(name)
            .bind(name == "waits");
        update.execute(&mut *transaction).await.unwrap();
        transaction
    }

    /// Holds the lock that a commit of `waits` waits for.
    async fn holding(&self) -> PgTransaction<'static> {
        let mut holder = self.direct.begin().await.unwrap();
        sqlx::query("SELECT pg_advisory_xact_lock(1)")
            .execute(&mut *holder)
            .await
            .unwrap();
        holder
    }

    /// Waits until a session waits for the lock, in its `COMMIT`. Returns its process.
    async fn committing(&self) -> i32 {
        let query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'COMMIT' \
                     AND wait_event_type = 'Lock'";
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "nobody commits");
            if let Some(row) = sqlx::query(query).fetch_optional(&self.direct).await.unwrap() {
                return row.get(0);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
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
async fn a_commit_whose_answer_is_lost_is_seen() {
    let redis = RedisBackend::connect(Redis::shared().await.url()).await.unwrap();
    let redis = Cache::builder(redis).prefix("postgres-deferred").build();
    redis.clear_all().await.unwrap();
    for cache in [memory(), redis] {
        let shop = Shop::over(cache).await;
        assert_eq!(shop.cached().await, "old");
        let (transaction, deferred) = (shop.write("new").await, changing(&shop.cache));
        shop.proxy.set(Fate::LoseAnswer);
        let error = deferred
            .commit(async move { transaction.commit().await })
            .await
            .unwrap_err();
        assert!(matches!(error, CommitError::Commit(_)), "{error}");
        assert_eq!(shop.stored().await, "new");
        assert_eq!(shop.cached().await, "new");
    }
}

/// The negative control: a service that invalidates after a commit that returned `Ok`.
#[tokio::test]
async fn an_invalidation_after_ok_alone_is_lost_with_the_answer() {
    let shop = Shop::new().await;
    assert_eq!(shop.cached().await, "old");
    let transaction = shop.write("new").await;
    shop.proxy.set(Fate::LoseAnswer);
    if transaction.commit().await.is_ok() {
        shop.cache.invalidate_tag("row").await.unwrap();
    }
    assert_eq!(shop.stored().await, "new");
    assert_eq!(shop.cached().await, "old", "outdated");
}

#[tokio::test]
async fn a_commit_that_takes_place_after_its_connection_broke_is_seen() {
    let shop = Shop::new().await;
    let transaction = shop.write("new").await;
    let deferred = changing(&shop.cache).with_commit_timeout(Duration::from_secs(15));
    let gate = Gate::closed();
    shop.proxy.set(Fate::Delay(gate.clone()));
    deferred
        .commit(async move { transaction.commit().await })
        .await
        .unwrap_err();
    // A reader between the invalidation and the commit stores the old row.
    assert_eq!(shop.cached().await, "old");
    gate.open();
    until("new", async || shop.cached().await).await;
}

#[tokio::test]
async fn a_commit_that_never_answers_is_seen() {
    let shop = Shop::new().await;
    assert_eq!(shop.cached().await, "old");
    let transaction = shop.write("new").await;
    let deferred = changing(&shop.cache).with_commit_timeout(Duration::from_secs(1));
    shop.proxy.set(Fate::Hang);
    let commit = tokio::spawn(deferred.commit(async move { transaction.commit().await }));
    until("new", async || shop.cached().await).await;
    commit.abort();
}

#[tokio::test]
async fn a_session_that_is_killed_during_its_commit_is_rolled_back() {
    let shop = Shop::new().await;
    assert_eq!(shop.cached().await, "old");
    let holder = shop.holding().await;
    let (transaction, deferred) = (shop.write("waits").await, changing(&shop.cache));
    let commit = tokio::spawn(deferred.commit(async move { transaction.commit().await }));
    let process = shop.committing().await;
    let kill = sqlx::query("SELECT pg_terminate_backend($1)").bind(process);
    kill.execute(&shop.direct).await.unwrap();
    let error = commit.await.unwrap().unwrap_err();
    assert!(matches!(error, CommitError::Commit(_)), "{error}");
    holder.rollback().await.unwrap();
    assert_eq!(shop.stored().await, "old");
    assert_eq!(shop.cached().await, "old");
}

#[tokio::test]
async fn a_caller_that_leaves_during_the_commit_does_not_interrupt_it() {
    let shop = Shop::new().await;
    assert_eq!(shop.cached().await, "old");
    let holder = shop.holding().await;
    let (transaction, deferred) = (shop.write("waits").await, changing(&shop.cache));
    {
        let mut commit = pin!(deferred.commit(async move { transaction.commit().await }));
        assert!(
            commit
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        shop.committing().await;
    }
    assert_eq!(shop.cached().await, "old");
    holder.rollback().await.unwrap();
    shop.cache.shutdown().await;
    assert_eq!(shop.stored().await, "waits");
    assert_eq!(shop.cached().await, "waits");
}

#[tokio::test]
async fn a_load_that_read_before_the_commit_stores_nothing() {
    let shop = Shop::new().await;
    let (transaction, deferred) = (shop.write("new").await, changing(&shop.cache));
    let gate = Gate::closed();
    let slow = async {
        let row = shop.stored().await;
        gate.pass().await;
        row
    };
    let commit = async {
        gate.reached().await;
        deferred
            .commit(async move { transaction.commit().await })
            .await
            .unwrap();
        gate.open();
    };
    let (loaded, ()) = tokio::join!(cached(&shop.cache, slow), commit);
    assert_eq!(loaded, "old", "its caller began before the commit");
    assert_eq!(shop.cached().await, "new");
}
