//! What a user sees when DynamoDB is down, slow or throttled, or an answer is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dynamodb_support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use cache_core::{Backend, Error, ErrorKind, Key, SetOutcome};
use cache_dynamodb::DynamoBackend;
use integration_tests::DynamoDb;

use crate::dynamodb_support::proxy::{Fate, Proxy};
use crate::dynamodb_support::{builder, fresh_name, fresh_table, hour, key, patient, put, stored, text};

/// Makes a table behind a proxy, and two handles: one through the proxy and one past it.
async fn behind(fate: impl Fn(&str, usize) -> Fate + Send + Sync + 'static) -> (Proxy, DynamoBackend, DynamoBackend) {
    let (server, table) = fresh_table("faults").await;
    let proxy = Proxy::start(server.address(), fate).await;
    let through = patient(&proxy.endpoint(), &table).connect().await.unwrap();
    let beside = patient(server.endpoint(), &table).connect().await.unwrap();
    (proxy, through, beside)
}

fn value(text: &'static str) -> cache_core::Value {
    Bytes::from_static(text.as_bytes()).into()
}

fn keys(count: usize) -> Vec<Key> {
    (0..count).map(|number| key(&number.to_string())).collect()
}

async fn every_call(backend: &DynamoBackend) -> Vec<(&'static str, Error)> {
    let (a, b) = (key("a"), [key("a"), key("b")]);
    let version = cache_core::Version::from_u128(1);
    vec![
        ("get", backend.get(&a).await.unwrap_err()),
        ("set", backend.set(&a, value("x"), hour()).await.unwrap_err()),
        (
            "set if absent",
            backend.set(&a, value("x"), hour().if_absent()).await.unwrap_err(),
        ),
        ("delete", backend.delete(&a).await.unwrap_err()),
        ("delete_if", backend.delete_if(&a, version).await.unwrap_err()),
        ("get_many", backend.get_many(&b).await.unwrap_err()),
        (
            "set_many",
            backend
                .set_many(vec![(a.clone(), value("x"), hour())])
                .await
                .unwrap_err(),
        ),
        ("delete_many", backend.delete_many(&b).await.unwrap_err()),
        ("ping", backend.ping().await.unwrap_err()),
    ]
}

#[tokio::test]
async fn a_store_that_is_down_is_unavailable_soon() {
    // Bound and closed again, so that nothing listens there.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let backend = builder(&endpoint, "cache").connect().await.unwrap();
    for (call, error) in every_call(&backend).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{call}: {error}");
        assert!(error.is_retryable(), "{call}: {error}");
        assert_eq!(error.backend(), Some("dynamodb"));
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_a_timeout_in_bounded_time() {
    let proxy = Proxy::start("nowhere", |_, _| Fate::Hang).await;
    let backend = builder(&proxy.endpoint(), "cache")
        .attempt_timeout(Duration::from_millis(100))
        .operation_timeout(Duration::from_millis(250));
    let backend = backend.connect().await.unwrap();
    let begun = Instant::now();
    let errors = every_call(&backend).await;
    // Nine calls of a quarter of a second, on a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    for (call, error) in errors {
        assert_eq!(error.kind(), ErrorKind::Timeout, "{call}: {error}");
    }
}

#[tokio::test]
async fn a_table_that_is_not_there_is_a_mistake_of_the_configuration() {
    let server = DynamoDb::shared().await;
    let table = fresh_name("missing");
    let backend = patient(server.endpoint(), &table).connect().await.unwrap();
    for (call, error) in every_call(&backend).await {
        assert_eq!(error.kind(), ErrorKind::Configuration, "{call}: {error}");
        assert!(!error.is_retryable());
        assert!(
            error.message().contains(&table) && error.message().contains("create_table_if_missing"),
            "{call}: {error}"
        );
    }
}

#[tokio::test]
async fn credentials_that_are_refused_are_an_auth_error() {
    let proxy = Proxy::start("nowhere", |_, _| Fate::Fail(400, "UnrecognizedClientException")).await;
    let backend = builder(&proxy.endpoint(), "cache").connect().await.unwrap();
    for (call, error) in every_call(&backend).await {
        assert_eq!(error.kind(), ErrorKind::Auth, "{call}: {error}");
    }
}

#[tokio::test]
async fn a_request_that_is_throttled_once_is_repeated() {
    for code in [
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
    ] {
        let (proxy, through, _) = behind(move |_, number| match number {
            0 => Fate::Fail(400, code),
            _ => Fate::Pass,
        })
        .await;
        put(&through, "a", "value").await;
        assert_eq!(text(through.get(&key("a")).await.unwrap()).as_deref(), Some("value"));
        assert_eq!((proxy.seen("PutItem").len(), proxy.seen("GetItem").len()), (2, 2));
    }
}

#[tokio::test]
async fn throttling_without_end_is_a_rejection_after_bounded_attempts() {
    let proxy = Proxy::start("nowhere", |_, _| {
        Fate::Fail(400, "ProvisionedThroughputExceededException")
    })
    .await;
    let backend = builder(&proxy.endpoint(), "cache")
        .max_attempts(3)
        .connect()
        .await
        .unwrap();
    let error = backend.get(&key("a")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Rejected, true),
        "{error}"
    );
    assert_eq!(proxy.seen("GetItem").len(), 3);
}

#[tokio::test]
async fn what_a_batch_leaves_undone_is_done_after_all() {
    // Half of each batch is left unprocessed, and once all of it.
    let (proxy, through, beside) = behind(|operation, number| match (operation, number) {
        ("BatchGetItem" | "BatchWriteItem", 1) => Fate::Nothing,
        ("BatchGetItem" | "BatchWriteItem", _) => Fate::Half,
        _ => Fate::Pass,
    })
    .await;
    let keys = keys(60);
    let entries = keys
        .iter()
        .map(|key| (key.clone(), Bytes::from(key.as_str().to_owned()).into(), hour()))
        .collect();
    let outcomes = through.set_many(entries).await.unwrap();
    assert!(proxy.seen("BatchWriteItem").len() > 3);

    for backend in [&through, &beside] {
        let records = backend.get_many(&keys).await.unwrap();
        for ((key, outcome), record) in keys.iter().zip(&outcomes).zip(records) {
            let record = record.expect("every write was carried out");
            assert_eq!(*outcome, SetOutcome::Stored(record.version));
            assert_eq!(text(Some(record)).as_deref(), Some(key.as_str()));
        }
    }
    assert!(proxy.seen("BatchGetItem").len() > 2);
}

#[tokio::test]
async fn a_batch_that_is_never_done_is_a_rejection_after_bounded_attempts() {
    let proxy = Proxy::start("nowhere", |_, _| Fate::Nothing).await;
    let backend = builder(&proxy.endpoint(), "cache").connect().await.unwrap();
    let error = backend.get_many(&keys(2)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Rejected, true),
        "{error}"
    );
    let entry = (key("a"), value("x"), hour());
    let error = backend.set_many(vec![entry]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::Rejected, true),
        "{error}"
    );
    assert!(proxy.seen("BatchGetItem").len() < 10 && proxy.seen("BatchWriteItem").len() < 10);
}

#[tokio::test]
async fn reads_are_consistent_unless_that_is_switched_off() {
    let (server, table) = fresh_table("consistency").await;
    for consistent in [true, false] {
        let proxy = Proxy::start(server.address(), |_, _| Fate::Pass).await;
        let backend = patient(&proxy.endpoint(), &table)
            .consistent_reads(consistent)
            .connect()
            .await
            .unwrap();
        backend.get(&key("a")).await.unwrap();
        backend.get_many(&keys(2)).await.unwrap();
        assert_eq!(proxy.seen("GetItem")[0]["ConsistentRead"], consistent);
        let batch = &proxy.seen("BatchGetItem")[0]["RequestItems"][&table];
        assert_eq!(batch["ConsistentRead"], consistent);
    }
}

#[tokio::test]
async fn a_winner_whose_answer_was_lost_knows_that_it_won() {
    let (proxy, through, beside) = behind(|operation, number| match (operation, number) {
        // The first attempt of each of the two writes.
        ("PutItem", 0 | 2) => Fate::LoseAnswer,
        _ => Fate::Pass,
    })
    .await;
    let a = key("a");
    let lease = stored(through.set(&a, value("lease"), hour().if_absent()).await.unwrap());
    assert_eq!(proxy.seen("PutItem").len(), 2, "the client repeats it");
    assert_eq!(beside.get(&a).await.unwrap().unwrap().version, lease);

    let filled = stored(through.set(&a, value("value"), hour().if_version(lease)).await.unwrap());
    assert_eq!(proxy.seen("PutItem").len(), 4, "the client repeats it");
    let record = beside.get(&a).await.unwrap().unwrap();
    assert_eq!(record.version, filled);
    assert_eq!(text(Some(record)).as_deref(), Some("value"));
}

#[tokio::test]
async fn a_loser_whose_request_was_lost_knows_that_it_lost() {
    let (proxy, through, beside) = behind(|operation, number| match (operation, number) {
        ("PutItem", 0 | 2) => Fate::LoseRequest,
        _ => Fate::Pass,
    })
    .await;
    let held = put(&beside, "a", "another's").await;
    let refused = through.set(&key("a"), value("x"), hour().if_absent()).await.unwrap();
    assert_eq!(refused, SetOutcome::Refused);
    let newer = put(&beside, "a", "another's").await;
    let refused = through
        .set(&key("a"), value("x"), hour().if_version(held))
        .await
        .unwrap();
    assert_eq!(refused, SetOutcome::Refused);
    assert_eq!(proxy.seen("PutItem").len(), 4, "the client repeats it");
    assert_eq!(beside.get(&key("a")).await.unwrap().unwrap().version, newer);
}

#[tokio::test]
async fn no_call_scans_the_table() {
    let (proxy, through, _) = behind(|_, _| Fate::Pass).await;
    let version = put(&through, "a", "value").await;
    through.get(&key("a")).await.unwrap();
    through.get_many(&keys(3)).await.unwrap();
    let _ = through.set_many(vec![(key("b"), value("x"), hour())]).await.unwrap();
    through.delete_many(&keys(3)).await.unwrap();
    through.delete_if(&key("a"), version).await.unwrap();
    through.ping().await.unwrap();
    let scope = cache_core::Prefix::new("shop").namespace("users").scope();
    let error = through.clear(&scope).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(proxy.seen("Scan").len() + proxy.seen("Query").len(), 0);
    // Round trips: one for each call, and one for each key of a batch that deletes.
    let count = |operation| proxy.seen(operation).len();
    assert_eq!((count("GetItem"), count("PutItem"), count("DeleteItem")), (2, 1, 4));
    assert_eq!((count("BatchGetItem"), count("BatchWriteItem")), (1, 1));
}
