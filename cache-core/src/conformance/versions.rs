//! A version changes on every write, and is never used again.

use std::collections::HashSet;
use std::time::Duration;

use crate::backend::{SetMode, SetOptions};
use crate::conformance::trial::{HOUR, Stop, Trial, Verdict, ensure, failed, show_value};
use crate::record::{Value, Version};
use crate::ttl::Ttl;

/// The versions of one key, which must all be different.
#[derive(Default)]
struct Seen(HashSet<Version>);

impl Seen {
    fn add(&mut self, version: Version, how: &str) -> Verdict {
        ensure!(
            self.0.insert(version),
            "{version:?} was used before; this time it was {how}"
        );
        Ok(())
    }
}

pub(super) async fn every_write_has_a_new_version(trial: Trial) -> Verdict {
    let key = trial.key("written often");
    let mut seen = Seen::default();
    for round in 0..20 {
        // The same value twice, then another one.
        let version = trial.put(&key, format!("value {}", round / 2)).await?;
        seen.add(version, "given to an overwrite")?;
        for _ in 0..2 {
            let record = trial.holds(&key, format!("value {}", round / 2)).await?;
            ensure!(
                record.version == version,
                "the write gave {version:?}, and a read gives {:?}",
                record.version
            );
        }
        let next = trial
            .stores(
                &key,
                "compared and set",
                SetMode::IfVersion(version),
                "over that version",
            )
            .await?;
        seen.add(next, "given to a compare-and-set")?;
        let entry = (key.clone(), Value::Bytes("batch".into()), SetOptions::new(HOUR));
        let outcomes = trial.backend().set_many(vec![entry]).await?;
        let Some(batch) = outcomes.first().and_then(|outcome| outcome.version()) else {
            return Err(failed("a batch write was refused"));
        };
        seen.add(batch, "given to a batch write")?;
        let records = trial.backend().get_many(std::slice::from_ref(&key)).await?;
        let read = records
            .first()
            .and_then(|record| record.as_ref().map(|record| record.version));
        ensure!(
            read == Some(batch),
            "the batch write gave {batch:?}, and a batch read gives {read:?}"
        );
    }
    Ok(())
}

pub(super) async fn versions_do_not_repeat_after_removal(trial: Trial) -> Verdict {
    let key = trial.key("removed often");
    let mut seen = Seen::default();
    for _ in 0..10 {
        seen.add(trial.put(&key, "value").await?, "given after a delete")?;
        trial.backend().delete(&key).await?;
        let version = trial.stores(&key, "value", SetMode::IfAbsent, "after a delete").await?;
        seen.add(version, "given to an IfAbsent after a delete")?;
        ensure!(
            trial.backend().delete_if(&key, version).await?,
            "a delete_if of the record's own version did nothing"
        );
        trial.until_absent(&key, Duration::from_millis(1)).await?;
        if trial.backend().capabilities().clear {
            seen.add(trial.put(&key, "value").await?, "given after a delete_if")?;
            trial.backend().clear(&trial.namespace("n").scope()).await?;
        }
        seen.add(trial.put(&key, "value").await?, "given after a clear or a delete_if")?;
        let version = trial.put_for(&key, "value", Ttl::from_millis(5)).await?;
        seen.add(version, "given to a record with a short lifetime")?;
        trial.until_absent(&key, Duration::from_millis(5)).await?;
    }
    Ok(())
}

pub(super) async fn concurrent_writes_have_versions_of_their_own(trial: Trial) -> Verdict {
    let key = trial.key("contended");
    let written = trial
        .at_once(|trial, writer| {
            let key = key.clone();
            async move {
                let mut written = Vec::new();
                for round in 0..4 {
                    let value = format!("writer {writer}, round {round}");
                    written.push((trial.put(&key, value.clone()).await?, value));
                }
                Ok::<_, Stop>(written)
            }
        })
        .await?;
    let mut seen = Seen::default();
    for (version, _) in written.iter().flatten() {
        seen.add(*version, "given to two concurrent writes")?;
    }
    let Some(record) = trial.get(&key).await? else {
        return Err(failed("nothing is left of many concurrent writes"));
    };
    let last = written.iter().flatten().find(|(version, _)| *version == record.version);
    ensure!(
        last.is_some_and(|(_, value)| record.value.as_bytes().is_some_and(|bytes| bytes == value)),
        "the record holds {} under a version that was given to {last:?}",
        show_value(&record.value)
    );
    Ok(())
}

pub(super) async fn version_is_that_of_the_record(trial: Trial) -> Verdict {
    let key = trial.key("looked at");
    let is = async |expected: Option<Version>, when: &str| {
        let found = trial.backend().version(&key).await?;
        ensure!(
            found == expected,
            "the version {when} is {found:?}, and should be {expected:?}"
        );
        if let Some(record) = trial.backend().get_now(&key) {
            let found = record?.map(|record| record.version);
            ensure!(
                found == expected,
                "the version that `get_now` reads {when} is {found:?}, and should be {expected:?}"
            );
        }
        Ok(())
    };
    is(None, "where nothing is").await?;
    for round in 0..3 {
        // Shorter and longer than any header that a store may add.
        let value = "v".repeat(round * 50);
        let version = trial.put(&key, value.clone()).await?;
        is(Some(version), "after a write").await?;
        let next = trial
            .stores(&key, &value, SetMode::IfVersion(version), "over that version")
            .await?;
        is(Some(next), "after a compare-and-set").await?;
        trial
            .refuses(&key, SetMode::IfVersion(version), "over an old version")
            .await?;
        is(Some(next), "after a refused write").await?;
        let read = trial.holds(&key, &value).await?;
        is(Some(read.version), "after a read").await?;
        trial.backend().delete(&key).await?;
        is(None, "after a delete").await?;
    }
    trial.put_for(&key, "value", Ttl::from_millis(1)).await?;
    trial.until_absent(&key, Duration::from_millis(1)).await?;
    is(None, "after the end of its lifetime").await
}
