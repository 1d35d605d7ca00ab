//! `IfAbsent` and `IfVersion`, on which leases and fenced fills rest.

use std::time::Duration;

use crate::backend::{GetOrAdd, SetMode, SetOptions, SetOutcome};
use crate::conformance::trial::{Stop, Trial, Verdict, ensure, failed, show_value};
use crate::error::ErrorKind;
use crate::key::Key;
use crate::record::{Record, Version};

pub(super) async fn if_absent_writes_only_where_nothing_is(trial: Trial) -> Verdict {
    let key = trial.key("absent");
    let version = trial
        .stores(&key, "first", SetMode::IfAbsent, "where nothing is")
        .await?;
    trial.refuses(&key, SetMode::IfAbsent, "over a record").await?;
    unchanged(&trial, &key, "first", version).await?;
    let version = trial.put(&key, "").await?;
    trial.refuses(&key, SetMode::IfAbsent, "over an empty value").await?;
    unchanged(&trial, &key, "", version).await?;
    trial.backend().delete(&key).await?;
    let version = trial
        .stores(&key, "second", SetMode::IfAbsent, "after a delete")
        .await?;
    unchanged(&trial, &key, "second", version).await
}

pub(super) async fn if_version_writes_only_over_that_version(trial: Trial) -> Verdict {
    let [key, absent] = trial.keys(["versioned", "absent"]);
    let first = trial.put(&key, "first").await?;
    trial
        .refuses(&absent, SetMode::IfVersion(first), "where nothing is")
        .await?;
    trial.lacks(&absent, "after a refused compare-and-set").await?;
    let second = trial
        .stores(&key, "second", SetMode::IfVersion(first), "over that version")
        .await?;
    unchanged(&trial, &key, "second", second).await?;
    trial
        .refuses(&key, SetMode::IfVersion(first), "over a newer version")
        .await?;
    unchanged(&trial, &key, "second", second).await?;
    // Writing the same value again makes a new version too.
    let third = trial.put(&key, "second").await?;
    trial
        .refuses(
            &key,
            SetMode::IfVersion(second),
            "after the same value was written again",
        )
        .await?;
    unchanged(&trial, &key, "second", third).await?;
    for token in [0, 1, u128::MAX] {
        let made_up = Version::from_u128(token);
        if made_up != third {
            trial
                .refuses(&key, SetMode::IfVersion(made_up), "for a made-up version")
                .await?;
            trial
                .refuses(&absent, SetMode::IfVersion(made_up), "where nothing is")
                .await?;
        }
    }
    unchanged(&trial, &key, "second", third).await
}

pub(super) async fn if_version_is_refused_after_delete(trial: Trial) -> Verdict {
    let key = trial.key("deleted");
    let lease = trial
        .stores(&key, "lease", SetMode::IfAbsent, "where nothing is")
        .await?;
    trial.backend().delete(&key).await?;
    trial
        .refuses(&key, SetMode::IfVersion(lease), "after its record was deleted")
        .await?;
    trial.lacks(&key, "after a refused fill").await?;
    let next = trial.stores(&key, "lease", SetMode::IfAbsent, "after a delete").await?;
    trial
        .refuses(
            &key,
            SetMode::IfVersion(lease),
            "over a record that was deleted and written anew",
        )
        .await?;
    unchanged(&trial, &key, "lease", next).await?;
    trial.backend().delete_many(std::slice::from_ref(&key)).await?;
    trial
        .refuses(
            &key,
            SetMode::IfVersion(next),
            "after its record was deleted in a batch",
        )
        .await?;
    trial.lacks(&key, "after a refused fill").await
}

pub(super) async fn if_absent_has_one_winner(trial: Trial) -> Verdict {
    for (key, racers) in trial.races() {
        has_one_winner(&trial, &key, SetMode::IfAbsent, racers).await?;
    }
    Ok(())
}

pub(super) async fn if_version_has_one_winner(trial: Trial) -> Verdict {
    for (key, racers) in trial.races() {
        let version = trial.put(&key, "contended").await?;
        has_one_winner(&trial, &key, SetMode::IfVersion(version), racers).await?;
    }
    Ok(())
}

pub(super) async fn compare_and_set_loses_no_update(trial: Trial) -> Verdict {
    let key = trial.key("counter");
    let lost = trial
        .at_once(|trial, _| {
            let key = key.clone();
            async move { increment(&trial, &key).await }
        })
        .await?;
    let record = trial.get(&key).await?;
    let record = record.ok_or_else(|| failed("the counter is gone"))?;
    let counted = count(&record)?;
    ensure!(
        counted == trial.subject.writers,
        "{} of {} increments by IfAbsent and IfVersion were lost, though each of them was told that it was stored",
        trial.subject.writers.saturating_sub(counted),
        trial.subject.writers
    );
    ensure!(
        lost.contains(&record.version),
        "the counter has a version that no increment was given"
    );
    Ok(())
}

pub(super) async fn get_or_add_finds_or_adds(trial: Trial) -> Verdict {
    let key = trial.key("value");
    let first = added(&trial, &key, "first").await?;
    let first = first.ok_or_else(|| failed("get_or_add finds a record where nothing is"))?;
    unchanged(&trial, &key, "first", first).await?;
    for mode in [SetMode::Always, SetMode::IfAbsent, SetMode::IfVersion(first)] {
        let mut options = SetOptions::new(Duration::from_millis(1));
        options.mode = mode;
        let value = crate::Value::Bytes("must not be stored".into());
        match trial.backend().get_or_add(&key, value, options).await? {
            GetOrAdd::Found(record) => {
                let single = trial.holds(&key, "first").await?;
                ensure!(
                    record.value.as_bytes().is_some_and(|bytes| bytes == "first")
                        && record.version == first
                        && record.remaining.is_some() == single.remaining.is_some(),
                    "get_or_add gives {record:?}, and a read {single:?}"
                );
            }
            GetOrAdd::Added(_) => return Err(failed(format!("get_or_add with {mode:?} wrote over a record"))),
        }
    }
    // The lifetime of the calls that found the record is over.
    trial.pass(Duration::from_millis(5)).await;
    unchanged(&trial, &key, "first", first).await?;
    trial.backend().delete(&key).await?;
    let second = added(&trial, &key, "second").await?;
    let second = second.ok_or_else(|| failed("get_or_add finds a record that was deleted"))?;
    ensure!(
        second != first,
        "get_or_add gives the version of a deleted record again"
    );
    // What was added is a record like any other.
    let third = trial
        .stores(&key, "third", SetMode::IfVersion(second), "over what get_or_add added")
        .await?;
    unchanged(&trial, &key, "third", third).await?;
    let short = trial.key("short");
    let options = SetOptions::new(Duration::from_millis(20));
    match trial
        .backend()
        .get_or_add(&short, crate::Value::Bytes("short".into()), options)
        .await?
    {
        GetOrAdd::Added(_) => trial.until_absent(&short, Duration::from_millis(20)).await,
        GetOrAdd::Found(_) => Err(failed("get_or_add finds a record where nothing is")),
    }
}

pub(super) async fn get_or_add_has_one_winner(trial: Trial) -> Verdict {
    for (key, racers) in trial.races() {
        let attempts = trial
            .at_once_by(racers, |trial, writer| {
                let key = key.clone();
                async move {
                    let value = format!("writer {writer}");
                    let options = SetOptions::new(super::trial::HOUR);
                    let outcome = trial
                        .backend()
                        .get_or_add(&key, crate::Value::Bytes(value.into()), options);
                    Ok((writer, outcome.await?))
                }
            })
            .await?;
        let winners: Vec<(usize, Version)> = attempts
            .iter()
            .filter_map(|(writer, outcome)| match outcome {
                GetOrAdd::Added(version) => Some((*writer, *version)),
                GetOrAdd::Found(_) => None,
            })
            .collect();
        let [(winner, version)] = winners[..] else {
            return Err(failed(format!(
                "{} of {racers} concurrent callers of get_or_add were told that they added their value",
                winners.len()
            )));
        };
        unchanged(&trial, &key, &format!("writer {winner}"), version).await?;
        for (_, outcome) in attempts {
            if let GetOrAdd::Found(record) = outcome {
                ensure!(
                    record.version == version,
                    "a caller of get_or_add found {record:?}, which is not what another one added"
                );
            }
        }
    }
    Ok(())
}

/// Adds a value with `get_or_add`. Returns its version, or `None` if there was a record.
async fn added(trial: &Trial, key: &Key, value: &str) -> Result<Option<Version>, Stop> {
    let options = SetOptions::new(super::trial::HOUR);
    let value = crate::Value::Bytes(value.to_owned().into());
    Ok(match trial.backend().get_or_add(key, value, options).await? {
        GetOrAdd::Added(version) => Some(version),
        GetOrAdd::Found(_) => None,
    })
}

/// Returns what the record of a counter says.
fn count(record: &Record) -> Result<usize, Stop> {
    let count = record
        .value
        .as_bytes()
        .and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse().ok());
    count.ok_or_else(|| failed(format!("the counter holds {}", show_value(&record.value))))
}

async fn increment(trial: &Trial, key: &Key) -> Result<Version, Stop> {
    let mut attempts = 0;
    loop {
        let (count, mode) = match trial.get(key).await? {
            None => (0, SetMode::IfAbsent),
            Some(record) => (count(&record)?, SetMode::IfVersion(record.version)),
        };
        // First, so that all writers read before any of them writes; later attempts are spread out.
        let pause = if attempts == 0 {
            2_000
        } else {
            fastrand::u64(..2_000 * attempts.min(10))
        };
        tokio::time::sleep(Duration::from_micros(pause)).await;
        attempts += 1;
        if let Some(version) = attempt(trial, key, (count + 1).to_string(), mode).await? {
            return Ok(version);
        }
    }
}

async fn has_one_winner(trial: &Trial, key: &Key, mode: SetMode, racers: usize) -> Verdict {
    let attempts = trial
        .at_once_by(racers, |trial, writer| {
            let key = key.clone();
            async move {
                let version = attempt(&trial, &key, format!("writer {writer}"), mode).await?;
                Ok(version.map(|version| (writer, version)))
            }
        })
        .await?;
    let winners: Vec<(usize, Version)> = attempts.into_iter().flatten().collect();
    let [(winner, version)] = winners[..] else {
        return Err(failed(format!(
            "{} of {racers} concurrent writers with {mode:?} won",
            winners.len()
        )));
    };
    unchanged(trial, key, &format!("writer {winner}"), version).await
}

/// Writes once under `mode`. A conflict that the backend cannot resolve counts as a refusal, since nothing was written.
async fn attempt(trial: &Trial, key: &Key, value: String, mode: SetMode) -> Result<Option<Version>, Stop> {
    let mut options = crate::SetOptions::new(super::trial::HOUR);
    options.mode = mode;
    match trial
        .backend()
        .set(key, crate::Value::Bytes(value.into()), options)
        .await
    {
        Ok(SetOutcome::Stored(version)) => Ok(Some(version)),
        Ok(SetOutcome::Refused) => Ok(None),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn unchanged(trial: &Trial, key: &Key, value: &str, version: Version) -> Verdict {
    let record = trial.holds(key, value).await?;
    ensure!(
        record.version == version,
        "the record has {:?}, and its last write gave {version:?}",
        record.version
    );
    Ok(())
}
