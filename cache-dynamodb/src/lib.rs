//! DynamoDB backend of the caching toolkit.

mod backend;
mod batch;
mod builder;
mod condition;
#[cfg(feature = "aws-config")]
mod connect;
#[cfg(feature = "aws-config")]
mod credentials;
mod error;
mod item;
mod key;
mod store;
mod table;
mod url;

pub use self::backend::DynamoBackend;
pub use self::builder::DynamoBackendBuilder;
