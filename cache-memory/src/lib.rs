//! mod
mod backend;
mod builder;
mod deadlines;
mod entry;
mod shard;
mod stats;
mod store;
mod sweeper;

pub use self::backend::MemoryBackend;
pub use self::builder::MemoryBackendBuilder;
pub use self::stats::Stats;
