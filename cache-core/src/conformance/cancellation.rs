//! Dropping a call at any point does not affect later calls.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::backend::{SetMode, SetOptions};
use crate::conformance::trial::{HOUR, Stop, Trial, Verdict, ensure, failed, matches_value, show_value};
use crate::key::Key;
use crate::record::Value;

/// The number of calls that are tried.
const CALLS: usize = 10;

/// A call of a correct backend needs fewer polls if the store answers.
const MOST_POLLS: usize = 40;

/// Polls `call` at most `polls` times, then drops it. Returns its output if it finished.
pub(super) async fn polled<F: Future>(polls: usize, call: F) -> Option<F::Output> {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Dropped after the request was sent and before the answer arrived.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Polls `call` at most `polls` times, then drops it. Returns whether it finished.
async fn dropped_after(polls: usize, call: impl Future) -> bool {
    polled(polls, call).await.is_some()
}

/// Begins the call with this number on `key`, and drops it after `polls` polls.
async fn interrupt(trial: &Trial, number: usize, key: &Key, polls: usize) -> Result<bool, Stop> {
    let backend = trial.backend();
    let options = SetOptions::new(HOUR);
    let value = || Value::Bytes("new".into());
    let beside = key.reserved("beside");
    Ok(match number {
        0 => dropped_after(polls, backend.get(key)).await,
        1 => dropped_after(polls, backend.set(key, value(), options)).await,
        2 => dropped_after(polls, backend.delete(key)).await,
        3 => dropped_after(polls, backend.get_many(&[key.clone(), beside])).await,
        4 => {
            let entries = vec![(key.clone(), value(), options), (beside, value(), options)];
            dropped_after(polls, backend.set_many(entries)).await
        }
        5 => dropped_after(polls, backend.delete_many(&[key.clone(), beside])).await,
        6 => dropped_after(polls, backend.set(&beside, value(), options.if_absent())).await,
        7 => {
            let version = trial.put(key, "old").await?;
            dropped_after(polls, backend.set(key, value(), options.if_version(version))).await
        }
        8 => dropped_after(polls, backend.get_or_add(&beside, value(), options)).await,
        _ => {
            dropped_after(
                polls,
                backend.set(key, Value::Bytes(vec![b'n'; 100_000].into()), options),
            )
            .await
        }
    })
}

pub(super) async fn dropped_calls_do_not_answer_later_ones(trial: Trial) -> Verdict {
    let [bob, carol, missing] = trial.keys(["bob", "carol", "missing"]);
    trial.put(&bob, "bob's").await?;
    trial.put(&carol, "carol's").await?;
    for polls in 0..MOST_POLLS {
        let mut all_done = true;
        for number in 0..CALLS {
            let alice = trial.key(&format!("alice {polls} {number}"));
            trial.put(&alice, "old").await?;
            all_done &= interrupt(&trial, number, &alice, polls).await?;

            // Each of these would read an answer that the dropped call left over.
            match number % 3 {
                0 => trial.lacks(&missing, "after a call on another key was dropped").await?,
                1 => drop(trial.holds(&bob, "bob's").await?),
                _ => {
                    let keys = [carol.clone(), missing.clone(), bob.clone()];
                    let records = trial.backend().get_many(&keys).await?;
                    let [first, second, third] = <[_; 3]>::try_from(records)
                        .map_err(|records| failed(format!("{} answers for 3 keys", records.len())))?;
                    matches_value(&carol, first, b"carol's")?;
                    ensure!(second.is_none(), "a missing key holds {second:?} after a dropped call");
                    matches_value(&bob, third, b"bob's")?;
                }
            }
            trial.holds(&carol, "carol's").await?;
            trial.lacks(&missing, "after a call on another key was dropped").await?;
            let fresh = trial.key(&format!("fresh {polls} {number}"));
            let version = trial
                .stores(&fresh, "fresh", SetMode::IfAbsent, "after a dropped call")
                .await?;
            trial
                .refuses(&fresh, SetMode::IfAbsent, "over a record, after a dropped call")
                .await?;
            let record = trial.holds(&fresh, "fresh").await?;
            ensure!(
                record.version == version,
                "a write was given another version after a dropped call"
            );
            ensure!(
                trial.backend().delete(&fresh).await?,
                "a delete reports nothing after a dropped call"
            );
            ensure!(
                !trial.backend().delete(&fresh).await?,
                "a second delete reports a record"
            );

            // The dropped call was carried out or not.
            if let Some(record) = trial.get(&alice).await? {
                let whole = record
                    .value
                    .as_bytes()
                    .is_some_and(|bytes| bytes == "old" || bytes == "new" || bytes[..] == [b'n'; 100_000]);
                ensure!(
                    whole,
                    "a key whose write was dropped holds {}, which nobody wrote",
                    show_value(&record.value)
                );
            }
        }
        if all_done {
            break;
        }
    }
    Ok(())
}

pub(super) async fn dropped_calls_under_load_do_not_mix_answers(trial: Trial) -> Verdict {
    trial
        .at_once(|trial, writer| async move {
            let own = trial.key(&format!("own {writer}"));
            let value = format!("value of {writer}");
            trial.put(&own, value.clone()).await?;
            for round in 0..15 {
                let victim = trial.key(&format!("victim {writer}"));
                if round % 2 == 0 {
                    interrupt(&trial, fastrand::usize(..CALLS), &victim, fastrand::usize(..6)).await?;
                } else {
                    // After a time, which may be just when the answer has arrived.
                    let pause = Duration::from_micros(fastrand::u64(..3000));
                    let call = interrupt(&trial, fastrand::usize(..CALLS), &victim, usize::MAX);
                    if let Ok(done) = tokio::time::timeout(pause, call).await {
                        done?;
                    }
                }
                trial.holds(&own, &value).await?;
            }
            Ok(())
        })
        .await?;
    Ok(())
}
