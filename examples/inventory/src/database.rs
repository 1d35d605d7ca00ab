//! What is in stock, in Postgres.

use std::sync::Arc;

use larder::{Cache, CommitError, cached, invalidates};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
use sqlx::{FromRow, PgTransaction, Row};

use crate::feed::PostgresFeed;

/// Something in stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// How many there are.
    pub quantity: i64,
}

impl FromRow<'_, PgRow> for Item {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            quantity: row.try_get("quantity")?,
        })
    }
}

/// What can go wrong. `Clone`, so that callers of one failing query get the same error.
#[derive(Debug, Clone)]
pub enum InventoryError {
    /// The database reported an error.
    Database(Arc<sqlx::Error>),
    /// The change is made, but the cache could not be told.
    Cache(larder::cache_core::Error),
}

impl From<sqlx::Error> for InventoryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<larder::cache_core::Error> for InventoryError {
    fn from(error: larder::cache_core::Error) -> Self {
        Self::Cache(error)
    }
}

impl From<CommitError<sqlx::Error>> for InventoryError {
    fn from(error: CommitError<sqlx::Error>) -> Self {
        match error {
            CommitError::Commit(error) => error.into(),
            CommitError::Invalidation(error) => Self::Cache(error),
            other => sqlx::Error::Protocol(other.to_string()).into(),
        }
    }
}

impl std::fmt::Display for InventoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InventoryError {}

/// The database, and the cache in front of it.
#[derive(Debug, Clone)]
pub struct Inventory {
    pool: PgPool,
    cache: Cache,
}

impl Inventory {
    /// Opens the database at a URL such as `postgres://user@host/name`, and follows its changes. Creates tables and
    /// triggers if there are none.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn open(url: &str, cache: Cache) -> Result<Self, sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(5).connect(url).await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&pool).await?;
        let feed = PostgresFeed::new(url, &cache);
        tokio::spawn(cache.follow(feed, PostgresFeed::all(&cache)).run());
        Ok(Self { pool, cache })
    }

    /// Returns the cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Finds an item.
    ///
    /// # Errors
    /// Those of the database.
    #[cached(cache = self.cache, ttl = "1h", negative_ttl = "1m", namespace = "items", key = "{id}", tags = ["item:{id}"])]
    pub async fn item(&self, id: i64) -> Result<Option<Item>, InventoryError> {
        let query = sqlx::query_as("SELECT * FROM items WHERE id = $1").bind(id);
        Ok(query.fetch_optional(&self.pool).await?)
    }

    /// Returns all items.
    ///
    /// # Errors
    /// Those of the database.
    #[cached(cache = self.cache, ttl = "1h", namespace = "items", key = "all", tags = ["items"])]
    pub async fn items(&self) -> Result<Vec<Item>, InventoryError> {
        let query = sqlx::query_as("SELECT * FROM items ORDER BY id");
        Ok(query.fetch_all(&self.pool).await?)
    }

    /// Takes one of an item out of stock, and notes the sale: both or neither. Returns whether there was one.
    ///
    /// # Errors
    /// Those of the database, and [`InventoryError::Cache`].
    pub async fn sell(&self, id: i64) -> Result<bool, InventoryError> {
        let deferred = self.cache.deferred();
        let mut transaction = self.pool.begin().await?;
        if !deferred.scope(self.take(&mut transaction, id)).await? {
            transaction.rollback().await?;
            deferred.rolled_back();
            return Ok(false);
        }
        let note = sqlx::query("INSERT INTO sales (item) VALUES ($1)").bind(id);
        note.execute(&mut *transaction).await?;
        deferred.commit(async move { transaction.commit().await }).await?;
        Ok(true)
    }

    /// A part of a transaction, which need not know when that is committed: [`Deferred::scope`](larder::Deferred::scope)
    /// collects what it invalidates.
    #[invalidates(cache = self.cache, tags = ["item:{id}", "items"])]
    async fn take(&self, transaction: &mut PgTransaction<'_>, id: i64) -> Result<bool, InventoryError> {
        let update = sqlx::query("UPDATE items SET quantity = quantity - 1 WHERE id = $1 AND quantity > 0").bind(id);
        Ok(update.execute(&mut **transaction).await?.rows_affected() > 0)
    }
}
