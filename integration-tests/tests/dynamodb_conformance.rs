//! The conformance kit on DynamoDB Local.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dynamodb_support;

use std::time::Duration;

use cache_core::conformance::Subject;
use tokio::sync::OnceCell;

use crate::dynamodb_support::{fresh_table, patient};

/// One table for all checks, and a handle for each. The kit's own numbers; only time is added: DynamoDB Local takes one
/// write at a time, all checks run side by side, and a machine of two processors runs both.
async fn subject() -> Subject {
    static TABLE: OnceCell<(String, String)> = OnceCell::const_new();
    let (endpoint, table) = TABLE
        .get_or_init(|| async {
            let (server, table) = fresh_table("conformance").await;
            (server.endpoint().to_owned(), table)
        })
        .await;
    Subject::new(patient(endpoint, table).connect().await.unwrap()).with_timeout(Duration::from_secs(400))
}

cache_core::conformance!(subject().await);
