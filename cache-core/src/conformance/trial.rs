//! One run of a check: the backend, keys of its own, and common steps.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::backend::{Backend, SetMode, SetOptions, SetOutcome};
use crate::conformance::subject::Subject;
use crate::error::Error;
use crate::key::{Key, Namespace, Prefix};
use crate::record::{Record, Value, Version};
use crate::ttl::Ttl;

/// Why a check stops early.
#[derive(Debug)]
pub(super) enum Stop {
    Failed(String),
    NotApplicable(&'static str),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let mut message = format!("the backend answered with an error: {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self::Failed(message)
    }
}

pub(super) type Verdict = Result<(), Stop>;

/// Ends the check unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::conformance::trial::Stop::Failed(format!($($message)+)));
        }
    };
}
pub(super) use ensure;

/// The lifetime of the records of most checks: longer than any check, and short enough that a store without `clear` is
/// soon clean again.
pub(super) const HOUR: Ttl = Ttl::from_millis(60 * 60 * 1000);

/// How much two clocks that count milliseconds may differ.
pub(super) const GRAIN: Duration = Duration::from_millis(2);

#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) subject: Subject,
    prefix_name: String,
}

impl Trial {
    pub(super) fn new(subject: Subject) -> Self {
        Self {
            subject,
            prefix_name: format!("conformance-{:016x}", random_seed()),
        }
    }

    pub(super) fn backend(&self) -> &dyn Backend {
        &*self.subject.backend
    }

    /// Returns the handles to the store: the one under test, and the other one if there is one.
    pub(super) fn handles(&self) -> impl Iterator<Item = &dyn Backend> {
        std::iter::once(self.backend()).chain(self.subject.other.as_deref())
    }

    pub(super) fn prefix(&self) -> Prefix {
        Prefix::new(&self.prefix_name)
    }

    /// Returns another prefix, which is cleaned up together with the trial's.
    pub(super) fn other_prefix(&self) -> Prefix {
        Prefix::new(&format!("{}-other", self.prefix_name))
    }

    pub(super) fn namespace(&self, name: &str) -> Namespace {
        self.prefix().namespace(name)
    }

    pub(super) fn key(&self, name: &str) -> Key {
        self.namespace("n").key(name)
    }

    pub(super) fn keys<const N: usize>(&self, names: [&str; N]) -> [Key; N] {
        names.map(|name| self.key(name))
    }

    /// Removes the records of the check if the store can clear, and closes the handle.
    pub(super) async fn finish(self) {
        let tidy = async {
            if self.backend().capabilities().clear {
                // A failed clean-up is not a failure of the check.
                let _ = self.backend().clear(&self.prefix().scope()).await;
                let _ = self.backend().clear(&self.other_prefix().scope()).await;
            }
            if let Some(other) = &self.subject.other {
                let _ = other.close().await;
            }
            let _ = self.backend().close().await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(30), tidy).await;
    }

    /// Lets `time` pass.
    pub(super) async fn pass(&self, time: Duration) {
        match &self.subject.clock {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    /// Waits until there is no record under `key`, and fails if there still is one `after` from now, and the slack.
    pub(super) async fn until_absent(&self, key: &Key, after: Duration) -> Verdict {
        let latest = Instant::now() + after + self.subject.slack;
        if self.subject.clock.is_some() {
            self.pass(after + GRAIN).await;
        }
        loop {
            let asked = Instant::now();
            if self.get(key).await?.is_none() {
                return Ok(());
            }
            ensure!(
                self.subject.clock.is_none() && asked <= latest,
                "{} is still there after its lifetime of {after:?}",
                show(key)
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Option<Record>, Stop> {
        Ok(self.backend().get(key).await?)
    }

    pub(super) async fn set(&self, key: &Key, value: impl Into<Bytes>, mode: SetMode) -> Result<SetOutcome, Stop> {
        let mut options = SetOptions::new(HOUR);
        options.mode = mode;
        Ok(self.backend().set(key, Value::Bytes(value.into()), options).await?)
    }

    /// Writes `value`, which must succeed.
    pub(super) async fn put(&self, key: &Key, value: impl Into<Bytes>) -> Result<Version, Stop> {
        self.put_for(key, value, HOUR).await
    }

    /// Writes `value` for `ttl`, which must succeed.
    pub(super) async fn put_for(&self, key: &Key, value: impl Into<Bytes>, ttl: Ttl) -> Result<Version, Stop> {
        let value = Value::Bytes(value.into());
        match self.backend().set(key, value, SetOptions::new(ttl)).await? {
            SetOutcome::Stored(version) => Ok(version),
            SetOutcome::Refused => Err(failed(format!("a set of {} without a mode was refused", show(key)))),
        }
    }

    /// Writes `value` under `mode`, which must succeed; `when` says in which situation.
    pub(super) async fn stores(&self, key: &Key, value: &str, mode: SetMode, when: &str) -> Result<Version, Stop> {
        match self.set(key, value.to_owned(), mode).await? {
            SetOutcome::Stored(version) => Ok(version),
            SetOutcome::Refused => Err(failed(format!("a set with {mode:?} was refused {when}"))),
        }
    }

    /// Tries to write under `mode`, which must be refused; `when` says in which situation.
    pub(super) async fn refuses(&self, key: &Key, mode: SetMode, when: &str) -> Verdict {
        let outcome = self.set(key, "must not be stored", mode).await?;
        ensure!(
            outcome == SetOutcome::Refused,
            "a set with {mode:?} was carried out {when}"
        );
        Ok(())
    }

    /// Checks that there is a record with `value` under `key`.
    pub(super) async fn holds(&self, key: &Key, value: impl AsRef<[u8]>) -> Result<Record, Stop> {
        let record = self.get(key).await?;
        matches_value(key, record, value.as_ref())
    }

    /// Checks that there is no record under `key`. `when` describes the situation.
    pub(super) async fn lacks(&self, key: &Key, when: &str) -> Verdict {
        match self.get(key).await? {
            None => Ok(()),
            Some(record) => Err(failed(format!(
                "{} holds {} {when}, and should hold nothing",
                show(key),
                show_value(&record.value)
            ))),
        }
    }

    /// Returns a fresh key for each race, and how many tasks are in it: once all writers, then a few, for a quarter of a
    /// second. What is no single step shows only if two tasks are at it at the same moment, so it takes many starts rather
    /// than many tasks.
    pub(super) fn races(&self) -> impl Iterator<Item = (Key, usize)> {
        const LEAST: usize = 25;
        const MOST: usize = 1_000;
        const TIME: Duration = Duration::from_millis(250);
        let (all, begun) = (self.subject.writers, Instant::now());
        (0..MOST)
            .take_while(move |race| *race < LEAST || begun.elapsed() < TIME)
            .map(move |race| {
                let racers = if race == 0 { all } else { all.min(8) };
                (self.key(&format!("race {race}")), racers)
            })
    }

    /// Runs `call` in as many concurrent tasks as there are writers, and collects the results.
    pub(super) async fn at_once<T, F>(&self, call: impl Fn(Trial, usize) -> F) -> Result<Vec<T>, Stop>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Stop>> + Send + 'static,
    {
        self.at_once_by(self.subject.writers, call).await
    }

    /// Runs `call` in this number of concurrent tasks, and collects the results.
    pub(super) async fn at_once_by<T, F>(&self, racers: usize, call: impl Fn(Trial, usize) -> F) -> Result<Vec<T>, Stop>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Stop>> + Send + 'static,
    {
        let start = Arc::new((Barrier::new(racers), AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for racer in 0..racers {
            let (start, call) = (start.clone(), call(self.clone(), racer));
            tasks.spawn(async move {
                start.0.wait().await;
                wait_for_a_companion(&start.1);
                call.await
            });
        }
        let mut answers = Vec::with_capacity(racers);
        while let Some(answer) = tasks.join_next().await {
            answers.push(answer.map_err(|panic| failed(panic.to_string()))??);
        }
        Ok(answers)
    }
}

/// Lets the tasks begin in pairs, each pair at the same moment on two threads. The barrier alone wakes one task after the
/// other.
fn wait_for_a_companion(arrived: &AtomicUsize) {
    /// The time within which another thread takes a task, if one is free.
    const PATIENCE: Duration = Duration::from_micros(50);
    let number = arrived.fetch_add(1, Ordering::AcqRel);
    let since = Instant::now();
    while number.is_multiple_of(2) && arrived.load(Ordering::Acquire) == number + 1 && since.elapsed() < PATIENCE {
        std::hint::spin_loop();
    }
}

pub(super) fn failed(message: impl Into<String>) -> Stop {
    Stop::Failed(message.into())
}

pub(super) fn matches_value(key: &Key, record: Option<Record>, value: &[u8]) -> Result<Record, Stop> {
    match record {
        Some(record) if record.value.as_bytes().is_some_and(|bytes| bytes == value) => Ok(record),
        Some(record) => Err(failed(format!(
            "{} holds {}, and should hold {}",
            show(key),
            show_value(&record.value),
            show_bytes(value)
        ))),
        None => Err(failed(format!(
            "{} holds nothing, and should hold {}",
            show(key),
            show_bytes(value)
        ))),
    }
}

pub(super) fn show(key: &Key) -> String {
    shorten(key)
}

pub(super) fn show_value(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => show_bytes(bytes),
        Value::Shared(shared) => format!("{shared:?}"),
    }
}

fn show_bytes(bytes: &[u8]) -> String {
    let start = Bytes::copy_from_slice(&bytes[..bytes.len().min(40)]);
    format!(
        "{} byte{} ({start:?}{})",
        bytes.len(),
        if bytes.len() == 1 { "" } else { "s" },
        if bytes.len() > 40 { "…" } else { "" }
    )
}

fn shorten(what: &impl Debug) -> String {
    let text = format!("{what:?}");
    let length = text.chars().count();
    if length <= 160 {
        return text;
    }
    let start: String = text.chars().take(120).collect();
    format!("{start}… ({length} characters)")
}

/// Returns a random number from the operating system.
pub(super) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}
