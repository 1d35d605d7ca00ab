//! The backend fulfils the contract: every check of the test kit, on a database in memory.
#![allow(clippy::unwrap_used)]

use cache_core::SystemClock;
use redb::{Database, backends::InMemoryBackend};
use third_party_backend::RedbBackend;

fn database() -> Database {
    Database::builder().create_with_backend(InMemoryBackend::new()).unwrap()
}

cache_core::conformance!(RedbBackend::new(database(), SystemClock), declares: [clear]);
