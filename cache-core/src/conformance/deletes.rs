//! `delete` and `delete_if` remove the right records, and report it.

use std::time::Duration;

use crate::backend::SetMode;
use crate::conformance::trial::{Trial, Verdict, ensure};

pub(super) async fn delete_reports_what_it_removed(trial: Trial) -> Verdict {
    let [key, other] = trial.keys(["deleted", "other"]);
    trial.put(&other, "other").await?;
    ensure!(
        !trial.backend().delete(&key).await?,
        "a delete reports a record where there was none"
    );
    for value in ["value", ""] {
        trial.put(&key, value).await?;
        ensure!(
            trial.backend().delete(&key).await?,
            "a delete of a record with the value {value:?} reports that there was none"
        );
        trial.lacks(&key, "after it was deleted").await?;
        ensure!(!trial.backend().delete(&key).await?, "a second delete reports a record");
    }
    trial.holds(&other, "other").await?;
    Ok(())
}

pub(super) async fn delete_if_removes_that_version_only(trial: Trial) -> Verdict {
    let [key, absent] = trial.keys(["versioned", "absent"]);
    let first = trial.put(&key, "first").await?;
    let second = trial.put(&key, "second").await?;
    ensure!(
        !trial.backend().delete_if(&key, first).await?,
        "a delete_if with an older version reports that it removed the record"
    );
    let record = trial.holds(&key, "second").await?;
    ensure!(record.version == second, "a refused delete_if changed the version");
    ensure!(
        !trial.backend().delete_if(&absent, second).await?,
        "a delete_if reports a record where there was none"
    );
    trial.lacks(&absent, "after a delete_if").await?;
    ensure!(
        trial.backend().delete_if(&key, second).await?,
        "a delete_if with the record's version reports that it did nothing"
    );
    // The provided method writes an empty value with a lifetime of a millisecond.
    trial.until_absent(&key, Duration::from_millis(1)).await?;
    ensure!(
        !trial.backend().delete_if(&key, second).await?,
        "a second delete_if reports a record"
    );
    trial
        .refuses(&key, SetMode::IfVersion(second), "after its record was removed")
        .await?;
    trial
        .stores(&key, "third", SetMode::IfAbsent, "after a delete_if")
        .await?;
    ensure!(
        !trial.backend().delete_if(&key, second).await?,
        "a delete_if removed a record that was written anew"
    );
    trial.holds(&key, "third").await?;
    Ok(())
}

pub(super) async fn concurrent_deletes_remove_once(trial: Trial) -> Verdict {
    for (key, racers) in trial.races() {
        trial.put(&key, "value").await?;
        let reports = trial
            .at_once_by(racers, |trial, _| {
                let key = key.clone();
                async move { Ok(trial.backend().delete(&key).await?) }
            })
            .await?;
        let removed = reports.iter().filter(|removed| **removed).count();
        ensure!(
            removed == 1,
            "{removed} of {} concurrent deletes report the one record",
            reports.len()
        );
        trial.lacks(&key, "after it was deleted").await?;
    }
    Ok(())
}

pub(super) async fn concurrent_delete_ifs_remove_once(trial: Trial) -> Verdict {
    for (key, racers) in trial.races() {
        let version = trial.put(&key, "value").await?;
        let reports = trial
            .at_once_by(racers, |trial, _| {
                let key = key.clone();
                async move { Ok(trial.backend().delete_if(&key, version).await?) }
            })
            .await?;
        let removed = reports.iter().filter(|removed| **removed).count();
        ensure!(
            removed == 1,
            "{removed} of {} concurrent delete_ifs report the one record",
            reports.len()
        );
        trial.until_absent(&key, Duration::from_millis(1)).await?;
    }
    Ok(())
}
