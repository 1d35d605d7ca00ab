//! A warehouse on PostgreSQL.
//!
//! - [`Inventory::sell`] writes in a transaction, and invalidates after its commit by `Cache::deferred`.
//! - [`PostgresFeed`] reports every change of the database to the cache, whoever made it, by triggers and `LISTEN`.

mod database;
mod feed;
mod routes;

pub use self::database::{Inventory, InventoryError, Item};
pub use self::feed::PostgresFeed;
pub use self::routes::router;
