//! Values come back as they were written, and a value that is too large leaves no record.

use bytes::Bytes;

use crate::backend::{SetMode, SetOptions, SetOutcome};
use crate::conformance::declared::tried_value_bytes;
use crate::conformance::trial::{HOUR, Stop, Trial, Verdict, ensure, failed};
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::record::Value;

pub(super) async fn empty_value_comes_back(trial: Trial) -> Verdict {
    let key = trial.key("empty");
    trial.put(&key, Bytes::new()).await?;
    trial.holds(&key, b"").await?;
    trial.put(&key, "no longer empty").await?;
    trial.put(&key, Bytes::new()).await?;
    trial.holds(&key, b"").await?;
    Ok(())
}

pub(super) async fn binary_value_comes_back(trial: Trial) -> Verdict {
    let every_byte: Vec<u8> = (0..=u8::MAX).cycle().take(1024).collect();
    let values: &[&[u8]] = &[
        &every_byte,
        b"\0",
        b"\0\0\0\0",
        b"\r\n",
        b"END\r\n",
        b"\r\nSTORED\r\nVALUE a 0 1\r\nb\r\nEND\r\n",
        b"$-1\r\n",
        b"\xff\xfe\xfd",
        b"\xc3\x28 is not UTF-8",
        b"{\"json\": null}",
        b"12345",
        b" spaces at both ends ",
    ];
    for (index, value) in values.iter().enumerate() {
        let key = trial.key(&format!("binary {index}"));
        trial.put(&key, Bytes::copy_from_slice(value)).await?;
        trial.holds(&key, value).await?;
    }
    Ok(())
}

pub(super) async fn large_value_comes_back(trial: Trial) -> Verdict {
    const MOST: usize = 32 << 20;
    let limit = trial.backend().limits().value_bytes.unwrap_or(1 << 20);
    for size in [1000, 4096, 65_537, 399_000, 1 << 20, limit] {
        if size > limit.min(MOST) {
            continue;
        }
        // No two parts are equal, so that a lost or repeated part is detected.
        let value: Vec<u8> = (0..size / 4 + 1)
            .flat_map(|word| (word as u32).wrapping_mul(0x9e37_79b1).to_le_bytes())
            .take(size)
            .collect();
        let key = trial.key(&format!("large {size}"));
        trial.put(&key, value.clone()).await?;
        trial.holds(&key, &value).await?;
        trial.backend().delete(&key).await?;
    }
    Ok(())
}

pub(super) async fn overwrite_replaces_the_value(trial: Trial) -> Verdict {
    let [key, other] = trial.keys(["overwritten", "other"]);
    trial.put(&other, "other").await?;
    for value in ["first", "a second, longer value", "3", "", "again something"] {
        trial.put(&key, value).await?;
        trial.holds(&key, value).await?;
        trial.holds(&key, value).await?;
    }
    trial.holds(&other, "other").await?;
    Ok(())
}

pub(super) async fn too_large_value_is_refused(trial: Trial) -> Verdict {
    let limit = limit(&trial)?;
    for size in [limit + 1, limit + limit / 2 + 1] {
        let key = trial.key(&format!("too large {size}"));
        refused_as_too_large(&trial, &key, size, SetMode::Always).await?;
        trial.lacks(&key, "after its value was refused as too large").await?;
        refused_as_too_large(&trial, &key, size, SetMode::IfAbsent).await?;
        trial.lacks(&key, "after its value was refused as too large").await?;
        // The handle still works, for this key and for others.
        trial.put(&key, "small").await?;
        trial.holds(&key, "small").await?;
    }
    Ok(())
}

pub(super) async fn too_large_value_leaves_nothing_stale(trial: Trial) -> Verdict {
    let size = limit(&trial)? + 1;
    let [always, absent, version, outdated] = trial.keys(["always", "absent", "version", "outdated"]);

    trial.put(&always, "old").await?;
    refused_as_too_large(&trial, &always, size, SetMode::Always).await?;
    trial
        .lacks(&always, "after an overwrite was refused as too large")
        .await?;

    // A mode that does not hold changes nothing, even if the value is too large.
    trial.put(&absent, "old").await?;
    let _ = set_of_size(&trial, &absent, size, SetMode::IfAbsent).await;
    trial.holds(&absent, "old").await?;
    let first = trial.put(&outdated, "old").await?;
    trial.put(&outdated, "newer").await?;
    let _ = set_of_size(&trial, &outdated, size, SetMode::IfVersion(first)).await;
    trial.holds(&outdated, "newer").await?;

    // The old record may stay or be removed, but must not change.
    let held = trial.put(&version, "old").await?;
    refused_as_too_large(&trial, &version, size, SetMode::IfVersion(held)).await?;
    if trial.get(&version).await?.is_some() {
        let record = trial.holds(&version, "old").await?;
        ensure!(
            record.version == held,
            "a refused value changed the version of the record"
        );
    }
    Ok(())
}

pub(super) async fn too_large_value_in_a_batch_leaves_nothing_stale(trial: Trial) -> Verdict {
    let size = limit(&trial)? + 1;
    let [before, large, after] = trial.keys(["before", "large", "after"]);
    trial.put(&large, "old").await?;
    let entry = |key: &Key, value| (key.clone(), Value::Bytes(value), SetOptions::new(HOUR));
    let entries = vec![
        entry(&before, Bytes::from_static(b"before")),
        entry(&large, Bytes::from(vec![0; size])),
        entry(&after, Bytes::from_static(b"after")),
    ];
    match trial.backend().set_many(entries).await {
        Ok(outcomes) => ensure!(false, "a value over the limit was taken in a batch: {outcomes:?}"),
        Err(error) => ensure!(
            error.kind() == ErrorKind::TooLarge,
            "the error of the batch is not \"too large\" but {error}"
        ),
    }
    trial
        .lacks(&large, "after a batch overwrite was refused as too large")
        .await?;
    for (key, value) in [(&before, "before"), (&after, "after")] {
        if trial.get(key).await?.is_some() {
            trial.holds(key, value).await?;
        }
    }
    trial.put(&large, "small").await?;
    trial.holds(&large, "small").await?;
    Ok(())
}

fn limit(trial: &Trial) -> Result<usize, Stop> {
    if !trial.subject.declared.has_value_bytes() {
        let reason = "the backend does not declare `value_bytes` of at most 1 GiB";
        return Err(Stop::NotApplicable(reason));
    }
    tried_value_bytes(trial.backend().limits()).ok_or_else(|| failed("the backend has no limit of the value's size"))
}

async fn set_of_size(trial: &Trial, key: &Key, size: usize, mode: SetMode) -> Result<SetOutcome, Error> {
    let mut options = SetOptions::new(HOUR);
    options.mode = mode;
    let value = Value::Bytes(Bytes::from(vec![0; size]));
    trial.backend().set(key, value, options).await
}

async fn refused_as_too_large(trial: &Trial, key: &Key, size: usize, mode: SetMode) -> Verdict {
    match set_of_size(trial, key, size, mode).await {
        Ok(outcome) => {
            ensure!(
                false,
                "a value of {size} bytes, over the declared limit, with {mode:?}: {outcome:?}, and should be an error"
            );
        }
        Err(error) => ensure!(
            error.kind() == ErrorKind::TooLarge,
            "the error of a value of {size} bytes is not \"too large\" but {error}"
        ),
    }
    Ok(())
}
