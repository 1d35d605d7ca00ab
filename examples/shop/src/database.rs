//! What the shop sells and who has bought it, in SQLite.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{ConnectOptions, FromRow, Row};

/// Something that the shop sells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What it is among.
    pub category: String,
    /// Its price.
    pub cents: i64,
}

impl FromRow<'_, SqliteRow> for Item {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            category: row.try_get("category")?,
            cents: row.try_get("cents")?,
        })
    }
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, cents INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS orders (user TEXT NOT NULL, item INTEGER NOT NULL);
    INSERT OR IGNORE INTO items VALUES
        (1, 'Apple', 'fruit', 40), (2, 'Banana', 'fruit', 30), (3, 'Carrot', 'vegetable', 10);
";

/// The database. It counts its queries, to show what the cache saves.
#[derive(Debug, Clone)]
pub struct Database {
    pool: SqlitePool,
    // A database in memory lasts as long as a connection to it. Those of the pool end with a query whose caller leaves.
    _keeper: Arc<SqliteConnection>,
    queries: Arc<AtomicU64>,
    distance: Duration,
}

impl Database {
    /// Opens the database at a URL such as `sqlite:shop.db?mode=rwc`, or `sqlite::memory:`. Makes the tables if there are none.
    ///
    /// # Errors
    /// Those of SQLite.
    pub async fn open(url: &str) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::from_str(url)?;
        let keeper = options.connect().await?;
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Self {
            pool,
            _keeper: Arc::new(keeper),
            queries: Arc::default(),
            distance: Duration::ZERO,
        })
    }

    /// Makes each query take about this much longer, as in a database elsewhere.
    #[must_use]
    pub fn with_distance(self, distance: Duration) -> Self {
        Self { distance, ..self }
    }

    /// How many queries there have been.
    pub fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    async fn pool(&self) -> &SqlitePool {
        self.queries.fetch_add(1, Ordering::Relaxed);
        if !self.distance.is_zero() {
            // A few queries take much longer than the others.
            let factor = if fastrand::u8(..100) < 4 { 5.0 } else { 0.5 };
            tokio::time::sleep(self.distance.mul_f64(factor + fastrand::f64())).await;
        }
        &self.pool
    }

    pub(crate) async fn items(&self, category: Option<&str>) -> Result<Vec<Item>, sqlx::Error> {
        sqlx::query_as("SELECT * FROM items WHERE ?1 IS NULL OR category = ?1 ORDER BY id")
            .bind(category)
            .fetch_all(self.pool().await)
            .await
    }

    pub(crate) async fn item(&self, id: i64) -> Result<Option<Item>, sqlx::Error> {
        sqlx::query_as("SELECT * FROM items WHERE id = ?")
            .bind(id)
            .fetch_optional(self.pool().await)
            .await
    }

    pub(crate) async fn orders(&self, user: &str) -> Result<Vec<Item>, sqlx::Error> {
        sqlx::query_as(
            "SELECT items.* FROM orders JOIN items ON items.id = orders.item WHERE user = ? ORDER BY orders.rowid",
        )
        .bind(user)
        .fetch_all(self.pool().await)
        .await
    }

    /// Whether there is such an item, which `user` has bought then.
    pub(crate) async fn order(&self, user: &str, id: i64) -> Result<bool, sqlx::Error> {
        let done = sqlx::query("INSERT INTO orders SELECT ?, id FROM items WHERE id = ?")
            .bind(user)
            .bind(id)
            .execute(self.pool().await)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Changes an item and notes the change, both or neither. Returns `None` if there is no such item.
    pub(crate) async fn change(&self, id: i64, name: &str, cents: i64) -> Result<Option<Item>, sqlx::Error> {
        let mut transaction = self.pool().await.begin().await?;
        let item = sqlx::query_as("UPDATE items SET name = ?, cents = ? WHERE id = ? RETURNING *")
            .bind(name)
            .bind(cents)
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(item)
    }
}
