//! The handle: `ping`, `close`, and objects of this process.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::SetOptions;
use crate::conformance::trial::{GRAIN, HOUR, Stop, Trial, Verdict, ensure, failed};
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::record::{Record, SharedValue, Value, Version};
use crate::ttl::Ttl;

pub(super) async fn ping_answers(trial: Trial) -> Verdict {
    trial.backend().ping().await?;
    ensure!(!trial.backend().name().is_empty(), "the backend has no name");
    Ok(())
}

pub(super) async fn closed_backend_refuses_every_call(trial: Trial) -> Verdict {
    let key = trial.key("value");
    let version = trial.put(&key, "value").await?;
    let backend = trial.backend();
    // A closed handle cannot remove the record later.
    backend.delete(&key).await?;
    backend.close().await?;
    let value = || Value::Bytes("value".into());
    let options = SetOptions::new(HOUR);
    refused("get", backend.get(&key)).await?;
    if let Some(answer) = backend.get_now(&key) {
        refused("get_now", std::future::ready(answer)).await?;
    }
    refused("set", backend.set(&key, value(), options)).await?;
    refused("set with IfAbsent", backend.set(&key, value(), options.if_absent())).await?;
    refused(
        "set with IfVersion",
        backend.set(&key, value(), options.if_version(version)),
    )
    .await?;
    refused("get_or_add", backend.get_or_add(&key, value(), options)).await?;
    refused("delete", backend.delete(&key)).await?;
    refused("delete_if", backend.delete_if(&key, Version::from_u128(1))).await?;
    refused("get_many", backend.get_many(std::slice::from_ref(&key))).await?;
    refused("set_many", backend.set_many(vec![(key.clone(), value(), options)])).await?;
    refused("delete_many", backend.delete_many(std::slice::from_ref(&key))).await?;
    refused("version", backend.version(&key)).await?;
    refused("ping", backend.ping()).await?;
    if trial.subject.declared.has_clear() {
        refused("clear", backend.clear(&trial.prefix().scope())).await?;
    }
    if trial.subject.declared.has_subscribe() {
        let scope = trial.prefix().scope();
        refused("subscribe", backend.subscribe(&scope, Duration::from_secs(1))).await?;
    }
    // A second close may succeed or fail, but must return.
    let again = tokio::time::timeout(Duration::from_secs(10), backend.close()).await;
    ensure!(again.is_ok(), "a second close does not answer");
    Ok(())
}

async fn refused<T>(call: &str, answer: impl Future<Output = Result<T, Error>>) -> Verdict {
    match tokio::time::timeout(Duration::from_secs(10), answer).await {
        Err(_) => Err(failed(format!("{call} does not answer after close"))),
        Ok(Ok(_)) => Err(failed(format!(
            "{call} works after close, and should be \"unavailable\""
        ))),
        Ok(Err(error)) => {
            ensure!(
                error.kind() == ErrorKind::Unavailable,
                "the error of {call} after close is not \"unavailable\" but {error}"
            );
            Ok(())
        }
    }
}

pub(super) async fn shared_objects_come_back_as_they_are(trial: Trial) -> Verdict {
    if !trial.subject.declared.has_shared_objects() {
        return Err(Stop::NotApplicable("the backend does not declare `shared_objects`"));
    }
    let key = trial.key("shared");
    let object: Arc<dyn Any + Send + Sync> = Arc::new(vec![1_u64, 2, 3]);
    let shared = Value::Shared(SharedValue::new(Arc::clone(&object), 24));
    let options = SetOptions::new(HOUR);
    let backend = trial.backend();
    let Some(version) = backend.set(&key, shared.clone(), options).await?.version() else {
        return Err(failed("a set of a shared object was refused"));
    };
    let same = |record: Option<&Record>| {
        record.is_some_and(|record| match &record.value {
            Value::Shared(found) => Arc::ptr_eq(found.object(), &object) && found.weight() == 24,
            Value::Bytes(_) => false,
        })
    };
    for _ in 0..2 {
        ensure!(same(backend.get(&key).await?.as_ref()), "a read gives another object");
        // Showing objects is optional.
        ensure!(
            shown(&trial, &key).is_none_or(|shown| Arc::ptr_eq(&shown, &object)),
            "`view` shows another object"
        );
    }
    ensure!(
        shown(&trial, &trial.key("missing")).is_none(),
        "`view` shows an object where nothing is"
    );
    let batch = backend
        .get_many(&[key.clone(), trial.key("missing"), key.clone()])
        .await?;
    ensure!(
        matches!(&batch[..], [Some(a), None, Some(b)] if same(Some(a)) && same(Some(b))),
        "a batch read gives other objects"
    );
    // Replaces an object by bytes, and bytes by an object.
    let replaced = backend
        .set(&key, Value::Bytes("bytes".into()), options.if_version(version))
        .await?;
    trial.holds(&key, "bytes").await?;
    ensure!(
        shown(&trial, &key).is_none(),
        "`view` shows an object that bytes have replaced"
    );
    let Some(version) = replaced.version() else {
        return Err(failed("bytes over a shared object of that version were refused"));
    };
    let _ = backend.set(&key, shared, options.if_version(version)).await?;
    ensure!(
        same(backend.get(&key).await?.as_ref()),
        "an object over bytes is not read as that object"
    );
    backend.delete(&key).await?;
    ensure!(shown(&trial, &key).is_none(), "`view` shows an object that was deleted");
    Ok(())
}

/// Returns the object that `view` shows.
fn shown(trial: &Trial, key: &Key) -> Option<Arc<dyn Any + Send + Sync>> {
    let mut shown = None;
    trial.backend().view(key, &mut |view| {
        shown = Some(Arc::clone(view.object()));
        true
    });
    shown
}

pub(super) async fn shown_objects_have_the_lifetime_of_their_record(trial: Trial) -> Verdict {
    if !trial.subject.declared.has_shared_objects() {
        return Err(Stop::NotApplicable("the backend does not declare `shared_objects`"));
    }
    let key = trial.key("shown");
    let object = || Value::Shared(SharedValue::new(Arc::new("object"), 6));
    // Where no clock can be moved, waiting must be short.
    let is_moved = trial.subject.clock.is_some();
    let lifetime = Duration::from_millis(if is_moved { 3_600_000 } else { 400 });
    let backend = trial.backend();
    let outlives = |time| {
        let mut answer = None;
        backend.view(&key, &mut |view| {
            answer = Some(view.outlives(time));
            false
        });
        answer
    };
    let _ = backend.set(&key, object(), SetOptions::new(Ttl::FOREVER)).await?;
    ensure!(
        outlives(lifetime).is_none_or(|answer| answer.is_none()),
        "`View::outlives` tells of the end of a record without an end"
    );
    for passed in [Duration::ZERO, lifetime / 2] {
        let begun = Instant::now();
        let _ = backend.set(&key, object(), SetOptions::new(lifetime)).await?;
        trial.pass(passed).await;
        for time in [Duration::ZERO, lifetime / 4, lifetime / 4 * 3, lifetime] {
            let Some(answer) = outlives(time) else {
                // It shows no objects, or the machine was slow.
                continue;
            };
            let at_least = lifetime.saturating_sub(if is_moved { passed } else { begun.elapsed() });
            let is_right = match answer {
                Some(true) => time < lifetime - passed + GRAIN,
                Some(false) => time + GRAIN >= at_least,
                None => false,
            };
            ensure!(
                is_right,
                "`View::outlives` of {time:?} answers {answer:?} {passed:?} after a write for {lifetime:?}"
            );
        }
    }
    trial.until_absent(&key, lifetime / 2).await?;
    ensure!(
        shown(&trial, &key).is_none(),
        "`view` shows an object past its lifetime"
    );
    Ok(())
}
