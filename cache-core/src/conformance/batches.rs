//! Batch calls return a result for each key, in order, for batches of any size.

use std::collections::HashSet;

use crate::backend::{SetOptions, SetOutcome};
use crate::conformance::trial::{HOUR, Stop, Trial, Verdict, ensure, failed, matches_value};
use crate::key::Key;
use crate::record::{Record, Value, Version};

type Entry = (Key, Value, SetOptions);

fn entry(key: &Key, value: impl Into<String>, options: SetOptions) -> Entry {
    (key.clone(), Value::Bytes(value.into().into()), options)
}

async fn read(trial: &Trial, keys: &[Key]) -> Result<Vec<Option<Record>>, Stop> {
    let records = trial.backend().get_many(keys).await?;
    ensure!(
        records.len() == keys.len(),
        "a batch read of {} keys has {} answers",
        keys.len(),
        records.len()
    );
    Ok(records)
}

async fn write(trial: &Trial, entries: Vec<Entry>) -> Result<Vec<SetOutcome>, Stop> {
    let asked = entries.len();
    let outcomes = trial.backend().set_many(entries).await?;
    ensure!(
        outcomes.len() == asked,
        "a batch write of {asked} entries has {} answers",
        outcomes.len()
    );
    Ok(outcomes)
}

pub(super) async fn empty_batches_do_nothing(trial: Trial) -> Verdict {
    let key = trial.key("bystander");
    trial.put(&key, "value").await?;
    read(&trial, &[]).await?;
    write(&trial, Vec::new()).await?;
    let removed = trial.backend().delete_many(&[]).await?;
    ensure!(removed == 0, "an empty batch delete counts {removed}");
    trial.holds(&key, "value").await?;
    Ok(())
}

pub(super) async fn batch_read_keeps_the_order_of_its_keys(trial: Trial) -> Verdict {
    let mut names: Vec<String> = (0..40).map(|number| format!("name {number}")).collect();
    fastrand::shuffle(&mut names);
    let keys: Vec<Key> = names.iter().map(|name| trial.key(name)).collect();
    for (index, key) in keys.iter().enumerate() {
        // Every third key is missing, including the first and the last.
        if index % 3 != 0 {
            trial.put(key, names[index].clone()).await?;
        }
    }
    for (index, record) in read(&trial, &keys).await?.into_iter().enumerate() {
        if index % 3 == 0 {
            ensure!(
                record.is_none(),
                "a batch read gives a record for a key that has none, at place {index}"
            );
        } else {
            let batch = matches_value(&keys[index], record, names[index].as_bytes())?;
            let single = trial.holds(&keys[index], &names[index]).await?;
            ensure!(
                batch.version == single.version && batch.remaining.is_some() == single.remaining.is_some(),
                "a batch read gives {batch:?}, and a single read {single:?}"
            );
        }
    }
    let missing: Vec<Key> = (0..5).map(|number| trial.key(&format!("missing {number}"))).collect();
    let found = read(&trial, &missing).await?.iter().flatten().count();
    ensure!(found == 0, "a batch read of missing keys only finds {found} records");
    Ok(())
}

pub(super) async fn batch_read_answers_duplicates(trial: Trial) -> Verdict {
    let [a, b, missing] = trial.keys(["a", "b", "missing"]);
    trial.put(&a, "a").await?;
    trial.put(&b, "b").await?;
    let keys = [&a, &b, &a, &missing, &a, &b, &missing, &a].map(Key::clone);
    for (key, record) in keys.iter().zip(read(&trial, &keys).await?) {
        if *key == missing {
            ensure!(record.is_none(), "a batch read gives a record for a key that has none");
        } else {
            matches_value(key, record, key.name().as_bytes())?;
        }
    }
    Ok(())
}

pub(super) async fn batch_write_reports_in_order(trial: Trial) -> Verdict {
    let names = [
        "always",
        "new",
        "taken",
        "right version",
        "wrong version",
        "gone",
        "last",
    ];
    let [always, new, taken, right, wrong, gone, last] = trial.keys(names);
    let old = trial.put(&wrong, "older").await?;
    trial.put(&taken, "old").await?;
    trial.put(&wrong, "old").await?;
    let held = trial.put(&right, "old").await?;
    let removed = trial.put(&gone, "old").await?;
    trial.backend().delete(&gone).await?;
    let hour = SetOptions::new(HOUR);
    let outcomes = write(
        &trial,
        vec![
            entry(&always, "stored", hour),
            entry(&new, "stored", hour.if_absent()),
            entry(&taken, "must not be stored", hour.if_absent()),
            entry(&right, "stored", hour.if_version(held)),
            entry(&wrong, "must not be stored", hour.if_version(old)),
            entry(&gone, "must not be stored", hour.if_version(removed)),
            entry(&last, "stored", hour),
        ],
    )
    .await?;
    let stored: Vec<bool> = outcomes.iter().map(|outcome| outcome.version().is_some()).collect();
    let expected = [true, true, false, true, false, false, true];
    ensure!(
        stored == expected,
        "a batch write of {names:?} stored {stored:?}, and should store {expected:?}"
    );
    for (key, outcome) in [&always, &new, &taken, &right, &wrong, &gone, &last]
        .into_iter()
        .zip(outcomes)
    {
        match outcome {
            SetOutcome::Stored(version) => {
                let record = trial.holds(key, "stored").await?;
                ensure!(
                    record.version == version,
                    "a batch write gave {key:?} the version of another entry"
                );
            }
            SetOutcome::Refused if *key == gone => trial.lacks(key, "after a refused batch write").await?,
            SetOutcome::Refused => {
                trial.holds(key, "old").await?;
            }
        }
    }
    Ok(())
}

pub(super) async fn batch_write_with_duplicates_is_consistent(trial: Trial) -> Verdict {
    let [twice, lease] = trial.keys(["twice", "lease"]);
    let hour = SetOptions::new(HOUR);
    let entries = vec![
        entry(&twice, "entry 0", hour),
        entry(&lease, "entry 1", hour.if_absent()),
        entry(&twice, "entry 2", hour),
        entry(&lease, "entry 3", hour.if_absent()),
    ];
    let versions: Vec<Option<Version>> = write(&trial, entries)
        .await?
        .iter()
        .map(|outcome| outcome.version())
        .collect();
    ensure!(
        versions[0].is_some() && versions[2].is_some() && versions[0] != versions[2],
        "two writes of one key in a batch have the versions {:?} and {:?}",
        versions[0],
        versions[2]
    );
    ensure!(
        versions[1].is_some() != versions[3].is_some(),
        "of two writes of one key with IfAbsent in a batch, not exactly one was carried out"
    );
    for (key, places) in [(&twice, [0, 2]), (&lease, [1, 3])] {
        let Some(record) = trial.get(key).await? else {
            return Err(failed(format!("{key:?} holds nothing after a batch wrote it twice")));
        };
        let winner = places
            .into_iter()
            .find(|place| versions[*place] == Some(record.version));
        let Some(winner) = winner else {
            return Err(failed(format!(
                "{key:?} has a version that neither of its two writes was given"
            )));
        };
        trial.holds(key, format!("entry {winner}")).await?;
    }
    Ok(())
}

pub(super) async fn batch_delete_counts_each_record_once(trial: Trial) -> Verdict {
    let [a, b, kept, missing] = trial.keys(["a", "b", "kept", "missing"]);
    for key in [&a, &b, &kept] {
        trial.put(key, "value").await?;
    }
    let keys = [&a, &missing, &b, &a, &missing, &b].map(Key::clone);
    let removed = trial.backend().delete_many(&keys).await?;
    ensure!(
        removed == 2,
        "a batch delete of two records, named twice each, counts {removed}"
    );
    trial.lacks(&a, "after a batch delete").await?;
    trial.lacks(&b, "after a batch delete").await?;
    trial.holds(&kept, "value").await?;
    let removed = trial.backend().delete_many(&keys).await?;
    ensure!(removed == 0, "a batch delete of missing keys counts {removed}");
    Ok(())
}

pub(super) async fn batches_may_have_any_size(trial: Trial) -> Verdict {
    let limit = trial.backend().limits().batch.unwrap_or(1);
    for size in [limit, limit + 1, trial.subject.batch.max(2 * limit + 1)] {
        let keys: Vec<Key> = (0..size).map(|number| trial.key(&format!("{size} {number}"))).collect();
        let value = |number: usize| format!("value {number} of {size}");
        let entries = keys
            .iter()
            .enumerate()
            .map(|(number, key)| entry(key, value(number), SetOptions::new(HOUR)))
            .collect();
        let outcomes = write(&trial, entries).await?;
        let versions: HashSet<Version> = outcomes.iter().filter_map(|outcome| outcome.version()).collect();
        ensure!(!versions.is_empty(), "a batch write of {size} entries stored nothing");

        // In random order, mixed with as many missing keys.
        let mut order: Vec<usize> = (0..size).collect();
        fastrand::shuffle(&mut order);
        let asked: Vec<Key> = order
            .iter()
            .flat_map(|&number| [keys[number].clone(), trial.key(&format!("missing {number}"))])
            .collect();
        let records = read(&trial, &asked).await?;
        for (place, record) in records.into_iter().enumerate() {
            let number = order[place / 2];
            if place % 2 == 1 {
                ensure!(
                    record.is_none(),
                    "a batch read of {} keys gives a record for a missing key",
                    2 * size
                );
                continue;
            }
            let record = matches_value(&keys[number], record, value(number).as_bytes())?;
            ensure!(
                outcomes[number] == SetOutcome::Stored(record.version),
                "a batch write of {size} entries gave {:?} to a record that is read with {:?}",
                outcomes[number],
                record.version
            );
        }
        let removed = trial.backend().delete_many(&asked).await?;
        ensure!(
            removed == size as u64,
            "a batch delete of {size} records counts {removed}"
        );
        let left = read(&trial, &keys).await?.iter().flatten().count();
        ensure!(left == 0, "{left} of {size} records are left after a batch delete");
    }
    Ok(())
}
