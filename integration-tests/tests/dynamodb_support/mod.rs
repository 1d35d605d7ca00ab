//! Support for the tests of DynamoDB.
#![allow(dead_code, reason = "each test file uses its own part of it")]

pub(crate) mod proxy;

use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, Key, Prefix, Record, SetOptions, SetOutcome, Version};
use cache_dynamodb::{DynamoBackend, DynamoBackendBuilder};
use integration_tests::{DynamoDb, wire};
use serde_json::{Value as Json, json};

/// Longer than any test.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Returns a builder for a server that accepts any credentials.
pub(crate) fn builder(endpoint: &str, table: &str) -> DynamoBackendBuilder {
    DynamoBackend::builder()
        .table(table)
        .endpoint(endpoint)
        .region("us-east-1")
        .static_credentials("local", "local")
}

/// Returns a unique name.
pub(crate) fn fresh_name(what: &str) -> String {
    format!("{what}-{:016x}", fastrand::u64(..))
}

/// Returns the shared server and a new table.
pub(crate) async fn fresh_table(what: &str) -> (&'static DynamoDb, String) {
    let server = DynamoDb::shared().await;
    let table = fresh_name(what);
    let backend = patient(server.endpoint(), &table).connect().await.unwrap();
    assert!(backend.create_table_if_missing().await.unwrap());
    (server, table)
}

/// Returns a builder with long time limits, for a server that shares two processors with the tests.
pub(crate) fn patient(endpoint: &str, table: &str) -> DynamoBackendBuilder {
    builder(endpoint, table)
        .connect_timeout(Duration::from_secs(10))
        .attempt_timeout(Duration::from_secs(30))
        .operation_timeout(Duration::from_secs(60))
}

pub(crate) fn key(name: &str) -> Key {
    Prefix::new("shop").namespace("users").key(name)
}

pub(crate) fn hour() -> SetOptions {
    SetOptions::new(HOUR)
}

pub(crate) async fn put(backend: &DynamoBackend, name: &str, value: &'static str) -> Version {
    stored(
        backend
            .set(&key(name), Bytes::from_static(value.as_bytes()).into(), hour())
            .await
            .unwrap(),
    )
}

pub(crate) fn stored(outcome: SetOutcome) -> Version {
    outcome.version().expect("the write was refused")
}

pub(crate) fn text(record: Option<Record>) -> Option<String> {
    let record = record?;
    Some(String::from_utf8_lossy(record.value.as_bytes().expect("bytes")).into_owned())
}

/// Sends a request to the server without the SDK.
pub(crate) async fn ask(server: &DynamoDb, operation: &str, request: Json) -> Json {
    let (status, body) = wire::dynamodb(server.address(), operation, &request.to_string())
        .await
        .unwrap();
    assert_eq!(status, 200, "{operation} {request}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Creates a table as another application might: with this partition key and without TTL.
pub(crate) async fn make_table(server: &DynamoDb, table: &str, key: &str) {
    let request = json!({
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
    });
    ask(server, "CreateTable", request).await;
}
