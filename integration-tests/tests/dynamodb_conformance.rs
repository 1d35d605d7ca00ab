//! The conformance kit on DynamoDB Local.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dynamodb_support;

use std::time::Duration;

use cache_core::conformance::Subject;
use cache_core::{Clock, ManualClock, SystemClock};
use integration_tests::DynamoDb;
use tokio::sync::OnceCell;

use crate::dynamodb_support::{fresh_name, make_table, patient};

/// One table for all checks, and a handle for each. The table has no TTL, since the clock of some handles stands still
/// and DynamoDB's does not.
async fn table() -> (&'static DynamoDb, &'static str) {
    static TABLE: OnceCell<String> = OnceCell::const_new();
    let server = DynamoDb::shared().await;
    let table = TABLE.get_or_init(|| async {
        let table = fresh_name("conformance");
        make_table(server, &table, "key").await;
        table
    });
    (server, table.await)
}

/// DynamoDB Local carries out one write at a time, all checks run concurrently, and all of that may share two
/// processors.
const TIMEOUT: Duration = Duration::from_secs(400);

mod real_time {
    use super::*;

    async fn subject() -> Subject {
        let (server, table) = table().await;
        let backend = patient(server.endpoint(), table).connect().await.unwrap();
        Subject::new(backend).with_timeout(TIMEOUT)
    }

    cache_core::conformance!(subject().await, declares: [value_bytes]);
}

/// Lifetimes to the exact millisecond. Checks that do not depend on time run above with the kit's own numbers, and here
/// with small ones.
mod to_the_millisecond {
    use super::*;

    async fn subject() -> Subject {
        let (server, table) = table().await;
        let clock = ManualClock::starting_at(SystemClock.now());
        let backend = patient(server.endpoint(), table)
            .clock(clock.clone())
            .connect()
            .await
            .unwrap();
        Subject::new(backend)
            .with_clock(clock)
            .with_timeout(TIMEOUT)
            .with_writers(8)
            .with_batch(2)
            .with_steps(300)
    }

    cache_core::conformance!(subject().await, declares: [value_bytes]);
}
