//! A small shop, to show how a whole service is cached. `main.rs` reads the environment and serves [`router`].

mod accounts;
mod admin;
mod catalogue;
mod database;
mod error;
mod live;
pub mod load;
mod metrics;
mod routes;
mod sessions;
mod state;

pub use database::{Database, Item};
pub use error::ShopError;
pub use metrics::metrics;
pub use routes::router;
pub use sessions::random_token;
pub use state::App;
