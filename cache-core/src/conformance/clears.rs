//! `clear` removes the records of a scope: all of them, and no others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use crate::backend::{SetMode, SetOptions};
use crate::conformance::keys::HOSTILE;
use crate::conformance::trial::{HOUR, Stop, Trial, Verdict, ensure, matches_value};
use crate::error::ErrorKind;
use crate::key::{Key, Namespace, Scope};
use crate::record::Value;

fn needs_clear(trial: &Trial) -> Verdict {
    if trial.subject.declared.has_clear() {
        Ok(())
    } else {
        Err(Stop::NotApplicable("the backend does not declare `clear`"))
    }
}

async fn clears(trial: &Trial, scope: &Scope, expected: u64) -> Verdict {
    let removed = trial.backend().clear(scope).await?;
    ensure!(
        removed == expected,
        "clear of {:?} counts {removed}, and {expected} records were there",
        scope.as_str()
    );
    Ok(())
}

/// Writes a few records in each namespace, clears one namespace after the other, and checks all of them each time.
async fn each_is_cleared_alone(trial: &Trial, namespaces: &[Namespace]) -> Verdict {
    let names = ["", "a", "b:c", "*"];
    let keys = |namespace: &Namespace| names.map(|name| namespace.key(name));
    for key in namespaces.iter().flat_map(keys) {
        trial.put(&key, key.as_str().to_owned()).await?;
    }
    for (place, namespace) in namespaces.iter().enumerate() {
        clears(trial, &namespace.scope(), names.len() as u64).await?;
        let all: Vec<Key> = namespaces.iter().flat_map(keys).collect();
        let cleared = names.len() * (place + 1);
        for (number, record) in trial.backend().get_many(&all).await?.into_iter().enumerate() {
            let key = &all[number];
            if number >= cleared {
                matches_value(key, record, key.as_str().as_bytes())?;
            } else {
                ensure!(
                    record.is_none(),
                    "{key:?} holds a record after its namespace was cleared"
                );
            }
        }
        clears(trial, &namespace.scope(), 0).await?;
    }
    Ok(())
}

pub(super) async fn clear_is_refused_where_not_declared(trial: Trial) -> Verdict {
    if trial.subject.declared.has_clear() {
        return Err(Stop::NotApplicable("the backend declares `clear`"));
    }
    let key = trial.key("kept");
    trial.put(&key, "value").await?;
    match trial.backend().clear(&trial.namespace("n").scope()).await {
        Ok(removed) => ensure!(
            false,
            "clear is not declared, and answers as if it had removed {removed} records"
        ),
        Err(error) => ensure!(
            error.kind() == ErrorKind::Rejected,
            "clear is not declared, and its error is not \"rejected\" but {error}"
        ),
    }
    trial.holds(&key, "value").await?;
    Ok(())
}

pub(super) async fn clear_stops_at_the_boundary(trial: Trial) -> Verdict {
    needs_clear(&trial)?;
    let names = [
        "user",
        "users",
        "use",
        "user:admin",
        "user:",
        ":user",
        "user!",
        "user%3A",
        "User",
        "xuser",
        "user ",
    ];
    let mut namespaces: Vec<Namespace> = names.iter().map(|name| trial.namespace(name)).collect();
    namespaces.push(trial.namespace("user").reserved("lease"));
    namespaces.push(trial.other_prefix().namespace("user"));
    each_is_cleared_alone(&trial, &namespaces).await?;
    namespaces.reverse();
    each_is_cleared_alone(&trial, &namespaces).await
}

pub(super) async fn clear_of_the_empty_namespace(trial: Trial) -> Verdict {
    needs_clear(&trial)?;
    let namespaces = ["", "a", ":", " "].map(|name| trial.namespace(name));
    each_is_cleared_alone(&trial, &namespaces).await
}

pub(super) async fn clear_of_a_prefix(trial: Trial) -> Verdict {
    needs_clear(&trial)?;
    let names = ["", "a", "b", "*"];
    let own: Vec<Key> = names.iter().map(|name| trial.namespace(name).key("name")).collect();
    let foreign: Vec<Key> = names
        .iter()
        .map(|name| trial.other_prefix().namespace(name).key("name"))
        .collect();
    for key in own.iter().chain(&foreign) {
        trial.put(key, "value").await?;
    }
    clears(&trial, &trial.prefix().scope(), own.len() as u64).await?;
    for key in &own {
        trial.lacks(key, "after its prefix was cleared").await?;
    }
    for key in &foreign {
        trial.holds(key, "value").await?;
    }
    Ok(())
}

pub(super) async fn clear_takes_names_literally(trial: Trial) -> Verdict {
    needs_clear(&trial)?;
    let mut namespaces: Vec<Namespace> = HOSTILE.iter().map(|name| trial.namespace(name)).collect();
    let patterns = [
        "a*", "a?", "[ab]", "a", "ab", "a]", "\\a", "{a}", "a}b{", "a%", "a_", "A", ".*", "^", "'..'",
    ];
    namespaces.extend(patterns.iter().map(|name| trial.namespace(name)));
    namespaces.extend([250, 2100].map(|length| trial.namespace(&"long".repeat(length / 4))));
    each_is_cleared_alone(&trial, &namespaces).await
}

pub(super) async fn clear_of_many_entries(trial: Trial) -> Verdict {
    needs_clear(&trial)?;
    let (full, beside) = (trial.namespace("full"), trial.namespace("full of others"));
    let count = trial.subject.entries;
    let keys: Vec<Key> = (0..count).map(|number| full.key(format!("entry {number}"))).collect();
    let others: Vec<Key> = (0..count / 10)
        .map(|number| beside.key(format!("entry {number}")))
        .collect();
    for keys in [&keys, &others] {
        for chunk in keys.chunks(500) {
            let entry = |key: &Key| (key.clone(), Value::Bytes("value".into()), SetOptions::new(HOUR));
            trial.backend().set_many(chunk.iter().map(entry).collect()).await?;
        }
    }
    clears(&trial, &full.scope(), count as u64).await?;
    for (keys, expected) in [(&keys, 0), (&others, others.len())] {
        let mut left = 0;
        for chunk in keys.chunks(500) {
            left += trial.backend().get_many(chunk).await?.iter().flatten().count();
        }
        ensure!(
            left == expected,
            "{left} of {} records are there, and {expected} should be",
            keys.len()
        );
    }
    clears(&trial, &full.scope(), 0).await
}

pub(super) async fn clear_leaves_what_is_written_elsewhere_meanwhile(trial: Trial) -> Verdict {
    needs_clear(&trial)?;
    let (full, beside) = (trial.namespace("full"), trial.namespace("beside"));
    for number in 0..300 {
        trial.put(&full.key(format!("entry {number}")), "value").await?;
    }
    let (begun, has_begun) = oneshot::channel();
    let cleared = Arc::new(AtomicBool::new(false));
    let writer = {
        let (trial, beside, cleared) = (trial.clone(), beside.clone(), Arc::clone(&cleared));
        tokio::spawn(async move {
            let (mut begun, mut written) = (Some(begun), 0);
            while written < 20 || (written < 2_000 && !cleared.load(Ordering::Relaxed)) {
                let key = beside.key(format!("entry {written}"));
                trial.put(&key, "value").await?;
                trial.holds(&key, "value").await?;
                written += 1;
                if let Some(begun) = begun.take() {
                    let _ = begun.send(());
                }
            }
            Ok::<_, Stop>(written)
        })
    };
    // A failure of the writer is reported below.
    let _ = has_begun.await;
    let verdict = clears(&trial, &full.scope(), 300).await;
    cleared.store(true, Ordering::Relaxed);
    let written = writer.await.map_err(|panic| Stop::Failed(panic.to_string()))??;
    verdict?;
    for number in 0..written {
        trial.holds(&beside.key(format!("entry {number}")), "value").await?;
    }
    Ok(())
}

pub(super) async fn clear_fences_leases(trial: Trial) -> Verdict {
    needs_clear(&trial)?;
    let namespace = trial.namespace("loading");
    let (absent, stale) = (namespace.key("absent"), namespace.key("stale"));
    let lease = trial
        .stores(&absent, "lease", SetMode::IfAbsent, "where nothing is")
        .await?;
    let old = trial.put(&stale, "stale").await?;
    clears(&trial, &namespace.scope(), 2).await?;
    trial
        .refuses(&absent, SetMode::IfVersion(lease), "after its lease was cleared")
        .await?;
    trial
        .refuses(
            &stale,
            SetMode::IfVersion(old),
            "after the record it replaces was cleared",
        )
        .await?;
    trial.lacks(&absent, "after a refused fill").await?;
    trial.lacks(&stale, "after a refused fill").await?;
    trial
        .stores(&absent, "lease", SetMode::IfAbsent, "after a clear")
        .await?;
    trial
        .refuses(
            &absent,
            SetMode::IfVersion(lease),
            "over a lease that was cleared and taken anew",
        )
        .await
}
