//! A cache that follows the changes of a real PostgreSQL by `LISTEN`, as the example `inventory` does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod database_support;

use std::time::Duration;

use cache_engine::{Cache, ChangeFeed, Invalidation};
use database_support::{PATIENCE, cached, memory, until};
use integration_tests::Postgres;
use inventory::{Inventory, Item};
use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// The service, and another client of its database.
struct Shop {
    inventory: Inventory,
    other: PgPool,
    /// Connected to another database of the server.
    admin: PgPool,
    database: String,
    url: String,
}

impl Shop {
    async fn start() -> Self {
        let server = Postgres::shared().await;
        let database = server.create_database();
        let url = server.url(&database);
        let inventory = Inventory::open(&url, memory()).await.unwrap();
        let shop = Self {
            inventory,
            other: PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap(),
            admin: PgPool::connect(&server.url("postgres")).await.unwrap(),
            database,
            url,
        };
        shop.change("INSERT INTO items VALUES (1, 'Apple', 3), (2, 'Pear', 3)")
            .await;
        shop.listens().await;
        shop.name_is("Apple").await;
        shop
    }

    async fn change(&self, sql: &str) {
        sqlx::raw_sql(sql).execute(&self.other).await.unwrap();
    }

    async fn name(&self) -> String {
        let item = self.inventory.item(1).await.unwrap();
        item.map_or_else(|| "none".to_owned(), |item| item.name)
    }

    async fn name_is(&self, expected: &str) {
        until(expected, async || self.name().await).await;
    }

    async fn all(&self) -> Vec<Item> {
        self.inventory.items().await.unwrap()
    }

    /// The processes that listen.
    async fn listeners(&self) -> Vec<i32> {
        let query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%' \
                     UNION SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'SELECT 1'";
        sqlx::query_scalar(query).fetch_all(&self.other).await.unwrap()
    }

    /// Kills whoever listens, and changes an item while nobody can connect.
    async fn change_in_a_gap(&self, name: &str) {
        self.listens().await;
        let allow = async |allow: bool| {
            let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allow}", self.database);
            sqlx::raw_sql(&sql).execute(&self.admin).await.unwrap();
        };
        allow(false).await;
        for process in self.listeners().await {
            let kill = sqlx::query("SELECT pg_terminate_backend($1)").bind(process);
            kill.execute(&self.admin).await.unwrap();
        }
        while !self.listeners().await.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        let update = sqlx::query("UPDATE items SET name = $1 WHERE id = 1").bind(name);
        update.execute(&self.other).await.unwrap();
        allow(true).await;
    }

    async fn listens(&self) {
        let begun = Instant::now();
        loop {
            if !self.listeners().await.is_empty() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "nobody listens");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn what_another_client_changes_is_seen() {
    let shop = Shop::start().await;
    assert_eq!(shop.all().await.len(), 2);
    shop.change("UPDATE items SET name = 'Plum' WHERE id = 1").await;
    shop.name_is("Plum").await;
    shop.change("INSERT INTO items VALUES (3, 'Fig', 1)").await;
    until("3", async || shop.all().await.len().to_string()).await;
    shop.change("UPDATE items SET id = 10 WHERE id = 1").await;
    shop.name_is("none").await;
    shop.change("INSERT INTO items VALUES (1, 'Quince', 1)").await;
    shop.name_is("Quince").await;
    shop.change("DELETE FROM items WHERE id = 1").await;
    shop.name_is("none").await;
    shop.change("INSERT INTO items VALUES (1, 'Cherry', 1)").await;
    shop.name_is("Cherry").await;
    shop.change("TRUNCATE items").await;
    shop.name_is("none").await;
    until("0", async || shop.all().await.len().to_string()).await;
}

#[tokio::test]
async fn what_is_not_committed_is_not_reported() {
    let shop = Shop::start().await;
    let mut transaction = shop.other.begin().await.unwrap();
    let update = sqlx::query("UPDATE items SET name = 'Plum' WHERE id = 1");
    update.execute(&mut *transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    // A change that comes later is reported later.
    shop.change("UPDATE items SET name = 'Fig' WHERE id = 2").await;
    until("Fig", async || shop.inventory.item(2).await.unwrap().unwrap().name).await;
    let events = shop.inventory.cache().stats().tag_invalidations;
    assert_eq!(shop.name().await, "Apple");
    assert!(events >= 2, "{events}");
}

#[tokio::test]
async fn a_change_while_nobody_listened_is_seen() {
    let shop = Shop::start().await;
    for name in ["Plum", "Fig"] {
        shop.change_in_a_gap(name).await;
        shop.name_is(name).await;
    }
}

/// A feed that connects again by itself, and tells nobody.
struct Careless {
    cache: Cache,
    listener: PgListener,
    /// The last report. Those before it have been carried out.
    heard: watch::Sender<String>,
}

impl ChangeFeed for Careless {
    type Error = sqlx::Error;

    async fn connect(&mut self) -> Result<(), sqlx::Error> {
        self.listener.listen("changes").await
    }

    async fn next(&mut self) -> Result<Option<Invalidation>, sqlx::Error> {
        let tag = self.listener.recv().await?;
        self.heard.send_replace(tag.payload().to_owned());
        Ok(Some(self.cache.invalidation().add_tag(tag.payload())))
    }
}

/// The negative control: what a listener does that has no notion of a gap.
#[tokio::test]
async fn a_listener_that_connects_again_by_itself_misses_a_change() {
    let shop = Shop::start().await;
    let cache = memory();
    let url = &shop.url;
    let listener = PgListener::connect(url).await.unwrap();
    let (heard, mut hears) = watch::channel(String::new());
    let feed = Careless {
        cache: cache.clone(),
        listener,
        heard,
    };
    tokio::spawn(cache.follow(feed, cache.invalidation()).run());
    let read = async || {
        let query = sqlx::query_scalar("SELECT name FROM items WHERE id = 1");
        cached(&cache, async { query.fetch_one(&shop.other).await.unwrap() }).await
    };
    let tag = "UPDATE items SET name = 'Plum' WHERE id = 1; SELECT pg_notify('changes', 'row')";
    until("Plum", async || {
        // Until the feed listens.
        shop.change(tag).await;
        read().await
    })
    .await;
    // No report of those changes comes later.
    shop.change("SELECT pg_notify('changes', 'end')").await;
    hears.wait_for(|last| last == "end").await.unwrap();
    assert_eq!(read().await, "Plum");
    shop.change_in_a_gap("Fig").await;
    // The next change of something else is reported: it listens again.
    let heard = cache.stats().tag_invalidations;
    let begun = Instant::now();
    while cache.stats().tag_invalidations == heard {
        assert!(begun.elapsed() < PATIENCE, "it does not listen again");
        shop.change("SELECT pg_notify('changes', 'other')").await;
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(read().await, "Plum", "outdated");
}

#[tokio::test]
async fn a_sale_is_seen_at_once() {
    let shop = Shop::start().await;
    for left in [2, 1, 0] {
        shop.inventory.item(1).await.unwrap();
        assert!(shop.inventory.sell(1).await.unwrap());
        assert_eq!(shop.inventory.item(1).await.unwrap().unwrap().quantity, left);
    }
    assert!(!shop.inventory.sell(1).await.unwrap(), "sold out");
}
