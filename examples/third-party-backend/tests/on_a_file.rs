//! On a file: records outlive the process, those that expired are removed, and writes keep their order.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Backend, Clock, Key, ManualClock, Prefix, SetOptions, SystemClock, Timestamp, Ttl, Value};
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use third_party_backend::RedbBackend;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn key(name: &str) -> Key {
    Prefix::new("shop").namespace("users").key(name)
}

fn value() -> Value {
    Value::Bytes(Bytes::from("Ada"))
}

#[tokio::test]
async fn records_are_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.redb");
    let (long, short) = (key("long"), key("short"));
    let clock = ManualClock::new();

    let backend = RedbBackend::new(Database::create(&path).unwrap(), clock.clone());
    let written = backend
        .set(&long, value(), SetOptions::new(Ttl::FOREVER))
        .await
        .unwrap();
    backend
        .set(&short, value(), SetOptions::new(HOUR))
        .await
        .unwrap()
        .version()
        .unwrap();
    backend.close().await.unwrap();
    clock.advance(HOUR);

    let backend = RedbBackend::new(Database::create(&path).unwrap(), clock);
    let record = backend.get(&long).await.unwrap().unwrap();
    assert_eq!(record.value.as_bytes().unwrap(), "Ada");
    assert_eq!(Some(record.version), written.version());
    assert!(backend.get(&short).await.unwrap().is_none());
}

#[tokio::test]
async fn expired_records_are_removed_by_later_writes() {
    let folder = tempfile::tempdir().unwrap();
    let database = Arc::new(Database::create(folder.path().join("cache.redb")).unwrap());
    let clock = ManualClock::new();
    let backend = RedbBackend::new(Arc::clone(&database), clock.clone());
    let rows = |table: &str| {
        let transaction = database.begin_read().unwrap();
        match table {
            "records" => transaction
                .open_table(TableDefinition::<&[u8], (u128, Option<u64>, &[u8])>::new("records"))
                .unwrap()
                .len(),
            _ => transaction
                .open_table(TableDefinition::<(u64, &[u8]), ()>::new("deadlines"))
                .unwrap()
                .len(),
        }
        .unwrap()
    };
    let write = async |name: &str, ttl: Duration| {
        let outcome = backend.set(&key(name), value(), SetOptions::new(ttl)).await.unwrap();
        assert!(outcome.version().is_some());
    };
    for number in 0..20 {
        write(&number.to_string(), HOUR).await;
    }
    // This one lives on, although its first deadline passes.
    write("0", 3 * HOUR).await;
    assert_eq!((rows("records"), rows("deadlines")), (20, 21));

    clock.advance(HOUR + Duration::from_millis(1));
    write("later", HOUR).await;
    write("later", HOUR).await;
    assert_eq!((rows("records"), rows("deadlines")), (2, 2));
    assert!(backend.get(&key("0")).await.unwrap().is_some());
}

/// A clock that stops the first call for the time until the gate is opened.
#[derive(Debug)]
struct GatedClock {
    passed: AtomicBool,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl Clock for GatedClock {
    fn now(&self) -> Timestamp {
        if !self.passed.swap(true, Ordering::SeqCst) {
            self.gate.lock().unwrap().recv().unwrap();
        }
        SystemClock.now()
    }
}

/// Polls the future once, and returns whether it is not ready.
async fn is_pending(mut future: Pin<&mut (impl Future + ?Sized)>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// Drops a `set` whose job has begun, deletes the record by one handle or the other, and returns whether it is there
/// when both are done.
async fn dropped_set_undoes_a_later_delete(one_handle: bool) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let database = Arc::new(Database::create(folder.path().join("cache.redb")).unwrap());
    let (open, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let clock = GatedClock {
        passed: AtomicBool::new(false),
        gate,
    };
    let backend = RedbBackend::new(Arc::clone(&database), clock);
    let other = RedbBackend::new(database, SystemClock);
    let key = key("42");

    {
        let mut set = pin!(backend.set(&key, value(), SetOptions::new(HOUR)));
        assert!(is_pending(set.as_mut()).await, "the job waits at the gate");
    }

    let handle = if one_handle { &backend } else { &other };
    let mut delete = pin!(handle.delete(&key));
    if one_handle {
        for _ in 0..10 {
            assert!(
                is_pending(delete.as_mut()).await,
                "a write that began earlier is not done"
            );
            // Goes by the database, which has one writer at a time: a `delete` that had begun would be done by now.
            other.delete(&self::key("43")).await.unwrap();
        }
        open.send(()).unwrap();
        delete.await.unwrap();
    } else {
        delete.await.unwrap();
        open.send(()).unwrap();
    }
    // Any later write by the first handle follows its earlier ones.
    backend.delete(&self::key("43")).await.unwrap();
    other.get(&key).await.unwrap().is_some()
}

#[tokio::test]
async fn dropped_set_is_carried_out_before_a_later_delete_or_never() {
    assert!(!dropped_set_undoes_a_later_delete(true).await);
}

/// The control: each handle keeps the order of its own writes only.
#[tokio::test]
async fn order_is_that_of_one_handle() {
    assert!(dropped_set_undoes_a_later_delete(false).await);
}
