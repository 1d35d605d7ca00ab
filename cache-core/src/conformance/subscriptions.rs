//! Subscriptions: the changes that they report, those that they do not, and the order.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::{Backend, Change, SetMode, SetOptions, Subscription};
use crate::conformance::cancellation::polled;
use crate::conformance::trial::{HOUR, Stop, Trial, Verdict, ensure, failed, show};
use crate::error::ErrorKind;
use crate::key::{Key, Scope};
use crate::record::Value;

/// The requested heartbeat.
const HEARTBEAT: Duration = Duration::from_millis(50);

/// How long any report may take, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// A subscription and what it has reported.
struct Listener {
    subscription: Box<dyn Subscription>,
    changed: HashSet<Key>,
    /// Whether `Everything` was reported. That is no fault, since the store may be shared.
    everything: bool,
}

impl Listener {
    async fn start(trial: &Trial, scope: &Scope) -> Result<Self, Stop> {
        if !trial.subject.declared.has_subscribe() {
            return Err(Stop::NotApplicable("the backend does not declare `subscribe`"));
        }
        Ok(Self {
            subscription: trial.backend().subscribe(scope, HEARTBEAT).await?,
            changed: HashSet::new(),
            everything: false,
        })
    }

    async fn next(&mut self) -> Result<Change, Stop> {
        match tokio::time::timeout(PATIENCE, self.subscription.next()).await {
            Err(_) => Err(failed(format!(
                "the subscription has reported nothing for {PATIENCE:?}, and should report a `Change::Heartbeat` every \
                 {HEARTBEAT:?}"
            ))),
            Ok(None) => Err(failed("the subscription has ended, and the backend was not closed")),
            Ok(Some(change)) => {
                self.note(&change);
                Ok(change)
            }
        }
    }

    fn note(&mut self, change: &Change) {
        match change {
            Change::Record(key) => drop(self.changed.insert(key.clone())),
            Change::Everything => self.everything = true,
            _ => {}
        }
    }

    fn has_reported(&self, key: &Key) -> bool {
        self.everything || self.changed.contains(key)
    }

    /// Waits until every change made until now is reported.
    async fn catch_up(&mut self) -> Verdict {
        let now = Instant::now();
        let latest = now + PATIENCE;
        while !matches!(self.next().await?, Change::Heartbeat(moment) if moment >= now) {
            ensure!(
                Instant::now() < latest,
                "no heartbeat has come for a moment {PATIENCE:?} ago"
            );
        }
        Ok(())
    }

    /// Fails unless the changes of these keys, which were just made, are reported.
    async fn reports(&mut self, keys: &[&Key], how: &str) -> Verdict {
        self.catch_up().await?;
        for key in keys {
            ensure!(
                self.has_reported(key),
                "a heartbeat came, and {} was not reported, which was changed by {how} before",
                show(key)
            );
        }
        self.changed.clear();
        self.everything = false;
        Ok(())
    }
}

fn value() -> Value {
    Value::Bytes("value".into())
}

pub(super) async fn subscribe_is_refused_where_not_declared(trial: Trial) -> Verdict {
    if trial.subject.declared.has_subscribe() {
        return Err(Stop::NotApplicable("the backend declares `subscribe`"));
    }
    match trial.backend().subscribe(&trial.prefix().scope(), HEARTBEAT).await {
        Ok(_) => Err(failed(
            "the backend does not declare `subscribe` and returns a subscription",
        )),
        Err(error) => {
            ensure!(
                error.kind() == ErrorKind::Rejected,
                "the error of subscribe is not \"rejected\" but {error}"
            );
            Ok(())
        }
    }
}

pub(super) async fn every_change_is_reported(trial: Trial) -> Verdict {
    // The scope of a namespace, and the scope of a prefix.
    for scope in [trial.namespace("n").scope(), trial.prefix().scope()] {
        let mut listener = Listener::start(&trial, &scope).await?;
        listener.reports(&[], "nobody").await?;
        for (number, handle) in trial.handles().enumerate() {
            changes(&trial, handle, number, &mut listener).await?;
        }
    }
    Ok(())
}

/// Makes every call that changes a record, by one handle.
async fn changes(trial: &Trial, handle: &dyn Backend, number: usize, listener: &mut Listener) -> Verdict {
    let name = |name: &str| trial.key(&format!("{name}:ä:{number}"));
    let (a, b) = (name("a"), name("b"));
    let options = SetOptions::new(HOUR);
    let written = async |key: &Key, mode: SetMode| {
        let mut options = options;
        options.mode = mode;
        let outcome = handle.set(key, value(), options).await?;
        outcome
            .version()
            .ok_or_else(|| failed(format!("a set of {} was refused", show(key))))
    };
    let first = written(&a, SetMode::Always).await?;
    listener.reports(&[&a], "a set").await?;
    let second = written(&a, SetMode::IfVersion(first)).await?;
    listener.reports(&[&a], "a compare-and-set").await?;
    written(&b, SetMode::IfAbsent).await?;
    listener.reports(&[&b], "a set if absent").await?;
    written(&a, SetMode::Always).await?;
    written(&b, SetMode::Always).await?;
    listener.reports(&[&a, &b], "two sets").await?;
    ensure!(!handle.delete_if(&a, second).await?, "an old version was removed");
    handle.delete(&b).await?;
    listener.reports(&[&b], "a delete").await?;
    let third = written(&a, SetMode::Always).await?;
    listener.reports(&[&a], "a set").await?;
    ensure!(handle.delete_if(&a, third).await?, "a delete_if did nothing");
    listener.reports(&[&a], "a delete_if").await?;
    let entries = [&a, &b].map(|key| (key.clone(), value(), options));
    let _ = handle.set_many(entries.into()).await?;
    listener.reports(&[&a, &b], "a batch write").await?;
    handle.delete_many(&[a.clone(), b.clone()]).await?;
    listener.reports(&[&a, &b], "a batch delete").await
}

pub(super) async fn cleared_records_are_reported(trial: Trial) -> Verdict {
    let namespace = trial.namespace("cleared");
    let mut listener = Listener::start(&trial, &namespace.scope()).await?;
    if !trial.subject.declared.has_clear() {
        return Err(Stop::NotApplicable("the backend does not declare `clear`"));
    }
    let keys: Vec<Key> = (0..50).map(|number| namespace.key(format!("entry {number}"))).collect();
    for handle in trial.handles() {
        for key in &keys {
            trial.put(key, "value").await?;
        }
        let all: Vec<&Key> = keys.iter().collect();
        listener.reports(&all, "sets").await?;
        handle.clear(&namespace.scope()).await?;
        listener.reports(&all, "a clear").await?;
    }
    Ok(())
}

pub(super) async fn changes_elsewhere_are_not_reported(trial: Trial) -> Verdict {
    let namespace = trial.namespace("user");
    let mut listener = Listener::start(&trial, &namespace.scope()).await?;
    let elsewhere = [
        trial.namespace("users").key("k"),
        trial.namespace("user:admin").key("k"),
        trial.namespace("use").key("k"),
        trial.namespace("us*").key("k"),
        trial.namespace("").key("k"),
        namespace.reserved("lease").key("k"),
        trial.other_prefix().namespace("user").key("k"),
    ];
    for key in &elsewhere {
        trial.put(key, "value").await?;
    }
    let inside = namespace.key("k");
    trial.put(&inside, "value").await?;
    listener.catch_up().await?;
    ensure!(listener.has_reported(&inside), "a change in the scope is not reported");
    for key in &elsewhere {
        ensure!(
            !listener.changed.contains(key),
            "{} is reported, and is not in {:?}",
            show(key),
            namespace.scope().as_str()
        );
    }
    Ok(())
}

pub(super) async fn heartbeats_keep_coming(trial: Trial) -> Verdict {
    let mut listener = Listener::start(&trial, &trial.namespace("n").scope()).await?;
    let mut last = None;
    for _ in 0..10 {
        let asked = Instant::now();
        let moment = loop {
            if let Change::Heartbeat(moment) = listener.next().await? {
                break moment;
            }
            ensure!(asked.elapsed() < PATIENCE, "no heartbeat has come for {PATIENCE:?}");
        };
        ensure!(moment <= Instant::now(), "a heartbeat is for a moment in the future");
        ensure!(
            last.is_none_or(|last| last < moment),
            "a heartbeat is for a moment that is not later than that of the one before"
        );
        last = Some(moment);
    }
    Ok(())
}

/// The changes, in the order of the moments at which each was certain.
#[derive(Default)]
struct Done(Mutex<Vec<(Key, Instant)>>);

impl Done {
    fn add(&self, key: Key) {
        let mut done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        done.push((key, Instant::now()));
    }

    /// Returns the changes from number `first` to the last one before `moment`.
    fn between(&self, first: usize, moment: Instant) -> Vec<(Key, Instant)> {
        let done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let later = done.iter().skip(first);
        later.take_while(|(_, when)| *when < moment).cloned().collect()
    }
}

pub(super) async fn heartbeat_follows_the_changes_before_it(trial: Trial) -> Verdict {
    const ROUNDS: usize = 60;
    let namespace = trial.namespace("n");
    let mut listener = Listener::start(&trial, &namespace.scope()).await?;
    let done = Arc::new(Done::default());
    let all = trial.subject.writers * ROUNDS;
    let listening = tokio::spawn({
        let done = done.clone();
        async move {
            let mut looked_at = 0;
            while looked_at < all {
                let Change::Heartbeat(moment) = listener.next().await? else {
                    continue;
                };
                for (key, when) in done.between(looked_at, moment) {
                    ensure!(
                        listener.has_reported(&key),
                        "a heartbeat is for a moment {:?} after {} was changed, which was not reported before",
                        moment - when,
                        show(&key)
                    );
                    looked_at += 1;
                }
            }
            Ok(())
        }
    });
    let written = trial
        .at_once(|trial, writer| {
            let (done, namespace) = (done.clone(), namespace.clone());
            async move {
                let handles: Vec<&dyn Backend> = trial.handles().collect();
                let handle = handles[writer % handles.len()];
                for round in 0..ROUNDS {
                    let key = namespace.key(format!("{writer} {round}"));
                    let _ = handle.set(&key, value(), SetOptions::new(HOUR)).await?;
                    done.add(key);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Ok(())
            }
        })
        .await;
    if let Err(stop) = written {
        listening.abort();
        return Err(stop);
    }
    listening.await.map_err(|panic| failed(panic.to_string()))?
}

pub(super) async fn dropped_waits_lose_no_change(trial: Trial) -> Verdict {
    let namespace = trial.namespace("n");
    let mut listener = Listener::start(&trial, &namespace.scope()).await?;
    let handle = trial.handles().last().unwrap_or(trial.backend());
    let keys: Vec<Key> = (0..100).map(|number| namespace.key(format!("{number}"))).collect();
    let mut polls = 0;
    for key in &keys {
        let _ = handle.set(key, value(), SetOptions::new(HOUR)).await?;
        // Each number of polls gets its turn right after a change.
        for _ in 0..3 {
            polls = (polls + 1) % 4;
            match polled(polls + 1, listener.subscription.next()).await {
                Some(Some(change)) => listener.note(&change),
                Some(None) => return Err(failed("the subscription has ended, and the backend was not closed")),
                None => tokio::task::yield_now().await,
            }
        }
    }
    let all: Vec<&Key> = keys.iter().collect();
    listener
        .reports(&all, "a set while waits for changes were dropped")
        .await
}

pub(super) async fn close_ends_the_subscription(trial: Trial) -> Verdict {
    let mut listener = Listener::start(&trial, &trial.namespace("n").scope()).await?;
    listener.catch_up().await?;
    trial.backend().close().await?;
    let ended = async { while listener.subscription.next().await.is_some() {} };
    ensure!(
        tokio::time::timeout(PATIENCE, ended).await.is_ok(),
        "the subscription goes on {PATIENCE:?} after the backend was closed"
    );
    for _ in 0..3 {
        let again = tokio::time::timeout(PATIENCE, listener.subscription.next()).await;
        ensure!(
            matches!(again, Ok(None)),
            "a subscription that has ended returns {again:?} afterwards"
        );
    }
    Ok(())
}
