//! A record exists for its lifetime: not shorter, and not for ever.

use std::time::{Duration, Instant};

use crate::backend::{SetMode, SetOptions, SetOutcome};
use crate::clock::Clock;
use crate::conformance::trial::{GRAIN, HOUR, Stop, Trial, Verdict, ensure, failed};
use crate::key::Key;
use crate::record::{Record, Value, Version};
use crate::ttl::Ttl;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) async fn lifetime_of_1_ms_ends(trial: Trial) -> Verdict {
    ends_after(&trial, 1).await
}

pub(super) async fn lifetime_of_500_ms_ends_and_not_early(trial: Trial) -> Verdict {
    ends_after(&trial, 500).await
}

pub(super) async fn lifetime_of_1_s_ends_and_not_early(trial: Trial) -> Verdict {
    ends_after(&trial, 1000).await
}

pub(super) async fn lifetime_of_1500_ms_ends_and_not_early(trial: Trial) -> Verdict {
    ends_after(&trial, 1500).await
}

pub(super) async fn lifetime_of_31_days_is_kept(trial: Trial) -> Verdict {
    // At 30 days, and above, where memcached changes the meaning of the number.
    are_kept(&trial, &[30 * DAY, 30 * DAY + Duration::from_millis(1), 31 * DAY]).await
}

pub(super) async fn longest_lifetime_is_kept(trial: Trial) -> Verdict {
    are_kept(&trial, &[400 * DAY, Duration::from_millis(Ttl::MAX_MILLIS)]).await
}

pub(super) async fn no_lifetime_means_no_end(trial: Trial) -> Verdict {
    let key = trial.key("for ever");
    trial.put_for(&key, "value", Ttl::FOREVER).await?;
    let wait = if trial.subject.clock.is_some() {
        1000 * 365 * DAY
    } else {
        Duration::from_millis(1100)
    };
    trial.pass(wait).await;
    let record = trial.holds(&key, "value").await?;
    ensure!(
        record.remaining.is_none(),
        "a record without an end has a remaining lifetime of {:?}",
        record.remaining
    );
    trial.backend().delete(&key).await?;
    Ok(())
}

pub(super) async fn remaining_lifetime_counts_down(trial: Trial) -> Verdict {
    let key = trial.key("counts down");
    let ttl = Duration::from_secs(60);
    let begun = Instant::now();
    trial.put_for(&key, "value", ttl.into()).await?;
    let first = trial.holds(&key, "value").await?;
    let first = plausible(&first, ttl, begun.elapsed())?;

    let pause = Duration::from_millis(1200);
    trial.pass(pause).await;
    let second = trial.holds(&key, "value").await?;
    let passed = if trial.subject.clock.is_some() {
        pause
    } else {
        begun.elapsed()
    };
    let second = plausible(&second, ttl, passed)?;
    ensure!(
        second + pause <= first + GRAIN,
        "the remaining lifetime was {first:?}, and {second:?} when {pause:?} had passed"
    );
    let batch = trial.backend().get_many(&[key]).await?;
    let Some(Some(record)) = batch.first() else {
        return Err(failed("a batch read misses a record that a single read found"));
    };
    plausible(
        record,
        ttl,
        if trial.subject.clock.is_some() {
            pause
        } else {
            begun.elapsed()
        },
    )?;
    Ok(())
}

pub(super) async fn overwrite_replaces_the_lifetime(trial: Trial) -> Verdict {
    let short = Ttl::from_millis(300);
    let [to_long, to_none, long_to_short, none_to_short, last] =
        trial.keys(["to long", "to none", "long to short", "none to short", "last"]);
    trial.put_for(&to_long, "old", short).await?;
    trial.put_for(&to_long, "new", HOUR).await?;
    trial.put_for(&to_none, "old", short).await?;
    trial.put_for(&to_none, "new", Ttl::FOREVER).await?;
    trial.put_for(&long_to_short, "old", HOUR).await?;
    trial.put_for(&long_to_short, "new", short).await?;
    trial.put_for(&none_to_short, "old", Ttl::FOREVER).await?;
    trial.put_for(&none_to_short, "new", short).await?;
    trial.put_for(&last, "new", short).await?;
    trial.until_absent(&last, Duration::from_millis(300)).await?;

    let record = trial.holds(&to_long, "new").await?;
    ensure!(
        record.remaining.is_some(),
        "a record that was overwritten with a lifetime has none"
    );
    let record = trial.holds(&to_none, "new").await?;
    ensure!(
        record.remaining.is_none(),
        "a record that was overwritten without an end still has a remaining lifetime of {:?}",
        record.remaining
    );
    trial.lacks(&long_to_short, "after its new, shorter lifetime").await?;
    trial.lacks(&none_to_short, "after its new, shorter lifetime").await?;
    trial.backend().delete(&to_none).await?;
    Ok(())
}

pub(super) async fn refused_write_leaves_the_lifetime(trial: Trial) -> Verdict {
    let long = trial.key("long");
    trial.put_for(&long, "value", HOUR).await?;
    refused_writes(&trial, &long, Ttl::from_millis(300)).await?;

    // The writes must be refused before the record expires, so a slow store gets more time.
    for lifetime in [500, 2_000, 8_000].map(Duration::from_millis) {
        let [short, last] = trial.keys(["short", "last"]);
        let begun = Instant::now();
        trial.put_for(&short, "value", lifetime.into()).await?;
        let verdict = refused_writes(&trial, &short, HOUR).await;
        if trial.subject.clock.is_none() && begun.elapsed() + GRAIN >= lifetime {
            trial.backend().delete(&short).await?;
            continue;
        }
        verdict?;
        trial.put_for(&last, "value", lifetime.into()).await?;
        trial.until_absent(&last, lifetime).await?;
        trial
            .lacks(&short, "after its lifetime, which a refused write had not prolonged")
            .await?;
        trial.holds(&long, "value").await?;
        return Ok(());
    }
    Err(failed("8 seconds do not do for four calls"))
}

/// Tries to write over a record with modes that do not hold.
async fn refused_writes(trial: &Trial, key: &Key, ttl: Ttl) -> Verdict {
    let old = trial.get(key).await?.map(|record| record.version);
    let not_it = Version::from_u128(old.map_or(0, |version| version.as_u128().wrapping_add(1)));
    let options = SetOptions::new(ttl);
    for options in [options.if_absent(), options.if_version(not_it)] {
        let value = Value::Bytes("must not be stored".into());
        let outcome = trial.backend().set(key, value, options).await?;
        ensure!(
            outcome == SetOutcome::Refused,
            "a set with {:?} was carried out over another record",
            options.mode
        );
    }
    Ok(())
}

pub(super) async fn expired_record_is_absent_to_every_call(trial: Trial) -> Verdict {
    let lifetime = Duration::from_millis(300);
    let names = [
        "get",
        "absent",
        "version",
        "delete",
        "delete if",
        "batch delete",
        "batch set",
        "last",
    ];
    let keys = trial.keys(names);
    let mut versions = Vec::new();
    for key in &keys {
        versions.push(trial.put_for(key, "expired", lifetime.into()).await?);
    }
    let [get, absent, version, delete, delete_if, batch_delete, batch_set, last] = &keys;
    // Only the last record is read meanwhile. The others must expire without being read.
    trial.until_absent(last, lifetime).await?;

    let stored = trial
        .stores(absent, "new", SetMode::IfAbsent, "where only an expired record is")
        .await?;
    ensure!(stored != versions[1], "an expired record's version was used again");
    trial.holds(absent, "new").await?;
    trial
        .refuses(
            version,
            SetMode::IfVersion(versions[2]),
            "over an expired record of that version",
        )
        .await?;
    trial.lacks(version, "after its lifetime and a refused write").await?;
    ensure!(
        !trial.backend().delete(delete).await?,
        "a delete reports an expired record"
    );
    ensure!(
        !trial.backend().delete_if(delete_if, versions[4]).await?,
        "a delete_if reports an expired record"
    );
    let removed = trial
        .backend()
        .delete_many(&[batch_delete.clone(), absent.clone()])
        .await?;
    ensure!(
        removed == 1,
        "a batch delete of one record and an expired one counts {removed}"
    );
    let entries = vec![(
        batch_set.clone(),
        Value::Bytes("new".into()),
        SetOptions::new(HOUR).if_absent(),
    )];
    let outcomes = trial.backend().set_many(entries).await?;
    ensure!(
        matches!(outcomes[..], [SetOutcome::Stored(_)]),
        "a batch write with IfAbsent over an expired record gives {outcomes:?}"
    );
    let records = trial
        .backend()
        .get_many(&[get.clone(), batch_set.clone(), version.clone()])
        .await?;
    let present: Vec<bool> = records.iter().map(Option::is_some).collect();
    ensure!(
        present == [false, true, false],
        "a batch read finds {present:?} where [expired, present, expired] are"
    );
    trial.lacks(get, "after its lifetime").await
}

/// Writes a record with a lifetime of `millis`, and reads it until it has expired.
async fn ends_after(trial: &Trial, millis: u64) -> Verdict {
    let key = trial.key("short");
    let ttl = Duration::from_millis(millis);
    let begun = Instant::now();
    trial.put_for(&key, "value", ttl.into()).await?;

    if let Some(clock) = &trial.subject.clock {
        clock.advance(ttl - Duration::from_millis(1));
        let record = present(trial, &key, ttl).await?;
        plausible(&record, ttl, ttl - Duration::from_millis(1))?;
        clock.advance(GRAIN);
        return trial
            .lacks(&key, &format!("a millisecond after its lifetime of {ttl:?}"))
            .await;
    }

    let (deadline, latest) = (begun + ttl, Instant::now() + ttl + trial.subject.slack);
    loop {
        let asked = Instant::now();
        let found = trial.get(&key).await?;
        let answered = Instant::now();
        match found {
            None => {
                let early = deadline.saturating_duration_since(answered + GRAIN);
                ensure!(
                    early.is_zero(),
                    "the record is gone {early:?} before its lifetime of {ttl:?} is over"
                );
                return Ok(());
            }
            Some(record) => {
                ensure!(
                    asked <= latest,
                    "the record is still there {:?} after its lifetime of {ttl:?}",
                    asked - deadline
                );
                plausible(&record, ttl, answered - begun)?;
            }
        }
        // In smaller steps near the deadline, to detect a record that expires a little early.
        let left = deadline.saturating_duration_since(Instant::now());
        let pause = (left / 2).clamp(Duration::from_millis(1), Duration::from_millis(50));
        tokio::time::sleep(pause).await;
    }
}

/// Writes records whose lifetimes are too long to wait for, in rising order.
async fn are_kept(trial: &Trial, lifetimes: &[Duration]) -> Verdict {
    let begun = Instant::now();
    let key = |lifetime: Duration| trial.key(&format!("{lifetime:?}"));
    for &lifetime in lifetimes {
        trial.put_for(&key(lifetime), "value", lifetime.into()).await?;
        let record = present(trial, &key(lifetime), lifetime).await?;
        plausible(&record, lifetime, begun.elapsed())?;
    }
    if let Some(clock) = &trial.subject.clock {
        let written = clock.now();
        for &lifetime in lifetimes {
            clock.set(written + (lifetime - Duration::from_millis(1)));
            present(trial, &key(lifetime), lifetime).await?;
            clock.set(written + (lifetime + Duration::from_millis(1)));
            let when = format!("a millisecond after its lifetime of {}", show_time(lifetime));
            trial.lacks(&key(lifetime), &when).await?;
        }
        return Ok(());
    }
    trial.pass(Duration::from_millis(1100)).await;
    for &lifetime in lifetimes {
        let record = present(trial, &key(lifetime), lifetime).await?;
        plausible(&record, lifetime, begun.elapsed())?;
        trial.backend().delete(&key(lifetime)).await?;
    }
    Ok(())
}

async fn present(trial: &Trial, key: &Key, ttl: Duration) -> Result<Record, Stop> {
    let record = trial.get(key).await?;
    record.ok_or_else(|| {
        failed(format!(
            "the record is gone before its lifetime of {} is over",
            show_time(ttl)
        ))
    })
}

/// Returns a time in days and the rest.
fn show_time(time: Duration) -> String {
    let days = time.as_secs() / DAY.as_secs();
    let rest = time.saturating_sub(Duration::from_secs(days * DAY.as_secs()));
    match (days, rest.is_zero()) {
        (0, _) => format!("{time:?}"),
        (1, true) => "1 day".to_owned(),
        (days, true) => format!("{days} days"),
        (days, false) => format!("{days} d and {rest:?}"),
    }
}

/// Checks and returns the remaining lifetime of a record that was written for `ttl` at most `passed` ago.
fn plausible(record: &Record, ttl: Duration, passed: Duration) -> Result<Duration, Stop> {
    let Some(remaining) = record.remaining else {
        return Err(failed(format!(
            "a record with a lifetime of {} is said to have no end",
            show_time(ttl)
        )));
    };
    ensure!(
        remaining <= ttl + GRAIN,
        "the remaining lifetime is {}, and the whole is {}",
        show_time(remaining),
        show_time(ttl)
    );
    let least = ttl.saturating_sub(passed + GRAIN);
    ensure!(
        remaining >= least,
        "the remaining lifetime is {}, and at least {} of {} is left",
        show_time(remaining),
        show_time(least),
        show_time(ttl)
    );
    Ok(remaining)
}
