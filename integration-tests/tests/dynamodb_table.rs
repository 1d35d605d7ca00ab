//! The table: creating it, and the items in it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dynamodb_support;

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use cache_core::{Backend, ErrorKind, SetOutcome, Ttl, Version};
use cache_dynamodb::DynamoBackend;
use integration_tests::DynamoDb;
use serde_json::json;

use crate::dynamodb_support::{ask, fresh_name, fresh_table, hour, key, make_table, patient, put, stored, text};

#[tokio::test]
async fn processes_that_race_make_one_table_with_its_ttl_on() {
    let server = DynamoDb::shared().await;
    let table = fresh_name("race");
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let builder = patient(server.endpoint(), &table);
        racers.spawn(async move { builder.connect().await?.create_table_if_missing().await });
    }
    let created: Vec<bool> = racers.join_all().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(created.iter().filter(|created| **created).count(), 1, "{created:?}");

    let described = ask(server, "DescribeTable", json!({ "TableName": table })).await;
    let described = &described["Table"];
    assert_eq!(described["TableStatus"], "ACTIVE");
    assert_eq!(described["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(
        described["KeySchema"],
        json!([{"AttributeName": "key", "KeyType": "HASH"}])
    );
    let ttl = ask(server, "DescribeTimeToLive", json!({ "TableName": table })).await;
    assert_eq!(
        ttl["TimeToLiveDescription"],
        json!({"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"})
    );

    // The next start finds the table complete.
    let url = format!(
        "dynamodb://{table}?region=us-east-1&endpoint={}&create_table_if_missing=true",
        server.endpoint()
    );
    let builder = DynamoBackend::builder().url(&url).static_credentials("local", "local");
    let backend = builder.connect().await.unwrap();
    assert!(!backend.create_table_if_missing().await.unwrap());
    put(&backend, "a", "value").await;
}

#[tokio::test]
async fn the_ttl_of_a_table_that_is_there_is_switched_on() {
    let server = DynamoDb::shared().await;
    let table = fresh_name("by-hand");
    make_table(server, &table, "key").await;
    let backend = patient(server.endpoint(), &table).connect().await.unwrap();
    assert!(!backend.create_table_if_missing().await.unwrap());
    let ttl = ask(server, "DescribeTimeToLive", json!({ "TableName": table })).await;
    assert_eq!(ttl["TimeToLiveDescription"]["TimeToLiveStatus"], "ENABLED");
}

#[tokio::test]
async fn a_table_for_something_else_is_refused() {
    let server = DynamoDb::shared().await;
    let table = fresh_name("other-key");
    make_table(server, &table, "id").await;
    let builder = patient(server.endpoint(), &table);
    let error = builder
        .clone()
        .create_table_if_missing(true)
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.message().contains("`key`"), "{error}");
    let backend = builder.connect().await.unwrap();
    let error = backend.get(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");

    let table = fresh_name("other-ttl");
    make_table(server, &table, "key").await;
    let ttl = json!({"TableName": table, "TimeToLiveSpecification": {"Enabled": true, "AttributeName": "expires"}});
    ask(server, "UpdateTimeToLive", ttl).await;
    let builder = patient(server.endpoint(), &table).create_table_if_missing(true);
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.message().contains("expires"), "{error}");
}

#[tokio::test]
async fn records_lie_in_the_table_as_fastapi_cache_has_them() {
    let (server, table) = fresh_table("layout").await;
    let backend = patient(server.endpoint(), &table).connect().await.unwrap();
    let options = cache_core::SetOptions::new(Duration::from_millis(60_500));
    let before = seconds();
    let _ = backend
        .set(&key("42"), Bytes::from("Ada").into(), options)
        .await
        .unwrap();
    let after = seconds();

    let got = ask(
        server,
        "GetItem",
        json!({"TableName": table, "Key": {"key": {"S": "shop:users:42"}}}),
    )
    .await;
    let item = &got["Item"];
    assert_eq!(item["key"], json!({"S": "shop:users:42"}));
    assert_eq!(item["value"], json!({"B": "QWRh"}));
    let ttl: u64 = item["ttl"]["N"].as_str().unwrap().parse().unwrap();
    // Rounded up, so that DynamoDB never removes a record before it expires.
    assert!((before + 61..=after + 62).contains(&ttl), "{before} {ttl} {after}");

    let _ = backend
        .set(
            &key("42"),
            Bytes::new().into(),
            cache_core::SetOptions::new(Ttl::FOREVER),
        )
        .await
        .unwrap();
    let got = ask(
        server,
        "GetItem",
        json!({"TableName": table, "Key": {"key": {"S": "shop:users:42"}}}),
    )
    .await;
    assert_eq!(got["Item"]["value"], json!({"B": ""}));
    assert!(got["Item"].get("ttl").is_none(), "{got}");
}

#[tokio::test]
async fn items_of_fastapi_cache_are_records_and_can_be_replaced() {
    let (server, table) = fresh_table("foreign").await;
    let backend = patient(server.endpoint(), &table).connect().await.unwrap();
    let write = async |name: &str, value: &str, ttl: u64| {
        let item = json!({"key": {"S": key(name).as_str()}, "value": {"B": value}, "ttl": {"N": ttl.to_string()}});
        ask(server, "PutItem", json!({"TableName": table, "Item": item})).await;
    };
    let ends = seconds() + 600;
    let value = || Bytes::from("ours").into();

    write("a", "QWRh", ends).await;
    let record = backend.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(text(Some(record.clone())).as_deref(), Some("Ada"));
    let left = record.remaining.unwrap();
    assert!(
        left > Duration::from_secs(500) && left <= Duration::from_secs(600),
        "{left:?}"
    );
    let batch = backend.get_many(&[key("a")]).await.unwrap();
    assert_eq!(batch[0].as_ref().unwrap().version, record.version);

    // A foreign item counts as a record for `IfAbsent`, and does not have another version.
    let refused = backend.set(&key("a"), value(), hour().if_absent()).await.unwrap();
    assert_eq!(refused, SetOutcome::Refused);
    let other = Version::from_u128(7);
    let refused = backend.set(&key("a"), value(), hour().if_version(other)).await.unwrap();
    assert_eq!(refused, SetOutcome::Refused);
    assert!(!backend.delete_if(&key("a"), other).await.unwrap());

    // fastapi-cache replaces the item, so the version that was read is gone.
    write("a", "QmVhdHJpY2U=", ends).await;
    let refused = backend
        .set(&key("a"), value(), hour().if_version(record.version))
        .await
        .unwrap();
    assert_eq!(refused, SetOutcome::Refused);
    assert!(!backend.delete_if(&key("a"), record.version).await.unwrap());

    // The version that was read allows one replacement.
    let held = backend.get(&key("a")).await.unwrap().unwrap().version;
    let ours = stored(backend.set(&key("a"), value(), hour().if_version(held)).await.unwrap());
    let refused = backend.set(&key("a"), value(), hour().if_version(held)).await.unwrap();
    assert_eq!(refused, SetOutcome::Refused);
    assert_eq!(backend.get(&key("a")).await.unwrap().unwrap().version, ours);

    write("b", "QWRh", ends).await;
    let held = backend.get(&key("b")).await.unwrap().unwrap().version;
    assert!(backend.delete_if(&key("b"), held).await.unwrap());
    assert!(backend.get(&key("b")).await.unwrap().is_none());

    // An expired item is absent, although DynamoDB has not removed it yet.
    write("c", "QWRh", seconds() - 1).await;
    assert!(backend.get(&key("c")).await.unwrap().is_none());
    assert!(!backend.delete(&key("c")).await.unwrap());
    write("c", "QWRh", seconds() - 1).await;
    stored(backend.set(&key("c"), value(), hour().if_absent()).await.unwrap());
}

#[tokio::test]
async fn long_keys_are_shortened_where_dynamodb_needs_it() {
    let (server, table) = fresh_table("long").await;
    let backend = patient(server.endpoint(), &table).connect().await.unwrap();
    let start = key("").as_str().len();
    for (length, shortened) in [(2047, false), (2048, false), (2049, true), (100_000, true)] {
        let name = "k".repeat(length - start);
        let long = key(&name);
        assert_eq!(long.as_str().len(), length);
        put(&backend, &name, "value").await;
        assert_eq!(text(backend.get(&long).await.unwrap()).as_deref(), Some("value"));
        let item = json!({"TableName": table, "Key": {"key": {"S": stored_key(server, &table).await}}});
        let item = ask(server, "GetItem", item).await;
        let full = item["Item"].get("full_key");
        assert_eq!(full.is_some(), shortened, "{length}");
        if let Some(full) = full {
            assert_eq!(full["S"], long.as_str());
            assert!(item["Item"]["key"]["S"].as_str().unwrap().starts_with("shop:users:kkk"));
        }
        assert!(backend.delete(&long).await.unwrap());
    }
}

#[tokio::test]
async fn the_largest_value_fits_under_every_key() {
    let (server, table) = fresh_table("large").await;
    let backend = patient(server.endpoint(), &table).connect().await.unwrap();
    let limit = backend.limits().value_bytes.unwrap();
    let value = |bytes: usize| Bytes::from(vec![0; bytes]).into();
    let longest = key(&"k".repeat(2048 - key("").as_str().len()));
    stored(backend.set(&longest, value(limit), hour()).await.unwrap());

    // A shortened key takes room of its own. A value that does not fit is refused by the backend and not by the store.
    let long = key(&"k".repeat(100_000));
    stored(backend.set(&long, value(1), hour()).await.unwrap());
    let error = backend.set(&long, value(limit), hour()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(backend.get(&long).await.unwrap().is_none());
    let most: usize = error
        .message()
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .next_back()
        .unwrap();
    stored(backend.set(&long, value(most), hour()).await.unwrap());
    let error = backend.set(&long, value(most + 1), hour()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn a_ready_client_is_used_as_it_is() {
    let (server, table) = fresh_table("ready").await;
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
            aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(server.endpoint())
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .http_client(http)
        .build();
    let client = Client::from_conf(config);
    let backend = DynamoBackend::new(client.clone(), &table);
    put(&backend, "a", "value").await;
    assert_eq!(text(backend.get(&key("a")).await.unwrap()).as_deref(), Some("value"));
    let eventual = DynamoBackend::builder()
        .client(client.clone())
        .table(&table)
        .consistent_reads(false);
    let eventual = eventual.connect().await.unwrap();
    assert_eq!(text(eventual.get(&key("a")).await.unwrap()).as_deref(), Some("value"));

    // Closing the handle affects neither the client nor other handles.
    backend.clone().close().await.unwrap();
    let error = backend.ping().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    eventual.ping().await.unwrap();
    client.describe_table().table_name(&table).send().await.unwrap();
}

/// Returns the partition key of the only item.
async fn stored_key(server: &DynamoDb, table: &str) -> String {
    let all = ask(server, "Scan", json!({ "TableName": table })).await;
    assert_eq!(all["Count"], 1, "{all}");
    all["Items"][0]["key"]["S"].as_str().unwrap().to_owned()
}

fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
