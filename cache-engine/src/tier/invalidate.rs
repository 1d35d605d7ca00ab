//! Invalidation at the storage tier: of keys, tags and namespaces, hard and soft.
//!
//! An invalidation that the store does not carry out is remembered and retried until it succeeds. Meanwhile, what
//! it concerns counts as invalid in this process.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{Error, ErrorKind, Key, Namespace, SetOptions, SetOutcome};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use crate::event::Event;
use crate::store::record;
use crate::tags::attempts::Attempts;
use crate::tags::invalidate::is_refusal;
use crate::tier::pending::{Attempt, How, PAUSE};
use crate::tier::storage::Tier;
use crate::tier::target::InvalidationTarget as Target;

/// How many keys are invalidated softly at the same time.
const AT_A_TIME: usize = 64;

/// How long a process that ends goes on trying to invalidate, after a store that answers again would have been noticed.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// The limit for the whole of that time.
const LONGEST_END: Duration = Duration::from_secs(10);

impl Tier {
    /// Removes the record of a key. Returns whether there was one.
    pub(crate) async fn delete(self: &Arc<Self>, key: &Key) -> Result<bool, Error> {
        let work = async {
            let result = self.store.delete(key).await;
            self.forget_near(key);
            result
        };
        self.carry_out(false, || vec![Target::Key(key.clone())], work).await
    }

    /// Removes the records of several keys in one batch.
    pub(crate) async fn delete_many(self: &Arc<Self>, keys: &[Key]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let work = async {
            let result = self.store.delete_many(keys).await.map(drop);
            for key in keys {
                self.forget_near(key);
            }
            result
        };
        let targets = || keys.iter().cloned().map(Target::Key).collect();
        self.carry_out(false, targets, work).await
    }

    /// Invalidates a key softly: its value is retained, but is no longer fresh. Breaks the fence of a running load.
    pub(crate) async fn soften(self: &Arc<Self>, key: &Key) -> Result<(), Error> {
        let work = async {
            let result = self.try_soften(key).await;
            self.forget_near(key);
            result
        };
        self.carry_out(true, || vec![Target::Key(key.clone())], work).await
    }

    /// Invalidates several keys softly. Tries all of them, and returns the first failure.
    pub(crate) async fn soften_many(self: &Arc<Self>, keys: &[Key]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let work = async {
            let soften = |key| async move {
                let result = self.try_soften(key).await;
                self.forget_near(key);
                result
            };
            let results: Vec<Result<(), Error>> = stream::iter(keys.iter().map(soften))
                .buffered(AT_A_TIME)
                .collect()
                .await;
            let failures = || results.iter().filter_map(|result| result.as_ref().err());
            // One that a retry helps with leaves the keys pending.
            let failure = failures()
                .find(|error| !is_mistake(error))
                .or_else(|| failures().next());
            failure.cloned().map_or(Ok(()), Err)
        };
        let targets = || keys.iter().cloned().map(Target::Key).collect();
        self.carry_out(true, targets, work).await
    }

    /// Invalidates tags.
    pub(crate) async fn invalidate_tags(self: &Arc<Self>, tags: &[&str], soft: bool) -> Result<(), Error> {
        let targets = || tags.iter().map(|tag| Target::Tag((*tag).into())).collect();
        self.carry_out(soft, targets, self.tags.invalidate(tags, soft)).await
    }

    /// Clears a namespace, or everything below the prefix. Returns how many records were removed, if the store reports
    /// it.
    pub(crate) async fn clear(self: &Arc<Self>, namespace: Option<&Namespace>) -> Result<Option<u64>, Error> {
        self.carry_out(false, || vec![target(namespace)], self.try_clear(namespace, false))
            .await
    }

    /// Clears a namespace, or everything below the prefix, softly.
    pub(crate) async fn clear_softly(self: &Arc<Self>, namespace: Option<&Namespace>) -> Result<(), Error> {
        if !self.tags.clears_by_epoch() {
            let scope = namespace.map_or_else(|| self.prefix.scope(), Namespace::scope);
            let message = format!(
                "{:?} cannot be cleared softly, since the store enumerates its records to clear them: build the cache \
                 with `.tag_namespaces(true)`",
                scope.as_str()
            );
            return Err(Error::new(ErrorKind::Rejected, message).with_operation("clear"));
        }
        self.carry_out(true, || vec![target(namespace)], self.try_clear(namespace, true))
            .await
            .map(drop)
    }

    /// Tries to carry out some of what is pending, for a read that waits for it. Does nothing if that was tried just now.
    pub(crate) async fn carry_out_some_pending(&self) {
        if let Some(attempt) = self.pending.attempt() {
            let batches = attempt.batches();
            self.attempt(attempt, batches.into_iter().take(1)).await;
        }
    }

    /// Tries to carry out all that is pending.
    pub(crate) async fn carry_out_pending(&self) {
        let attempt = self.pending.next_attempt().await;
        let batches = attempt.batches();
        self.attempt(attempt, batches).await;
    }

    /// Carries out all that is pending, before the process ends. Gives up when a store that answers again would have been
    /// noticed.
    pub(crate) async fn carry_out_last_pending(&self) {
        let limit = self.store.recovery_time().saturating_add(LAST_CHANCE).min(LONGEST_END);
        let until = Instant::now() + limit;
        loop {
            self.carry_out_pending().await;
            if self.pending.is_empty() || Instant::now() >= until {
                return;
            }
            sleep(LAST_CHANCE / 10).await;
        }
    }

    async fn attempt(&self, attempt: Attempt<'_>, batches: impl IntoIterator<Item = Vec<(Target, How)>>) {
        let mut count = 0;
        let mut refused = false;
        // Whether the store says that a refusal passes soon, as during a failover.
        let mut passing = false;
        for batch in batches {
            let batch = batch.into_iter().map(|(target, how)| async move {
                let result = self.try_target(&target, how.soft).await;
                (target, how, result)
            });
            let (mut is_away, mut is_done) = (false, false);
            for (target, how, result) in join_all(batch).await {
                match result {
                    Ok(()) => {
                        is_done = true;
                        attempt.done(&target, how);
                        count += 1;
                        self.downstream.add(&[target], how.soft);
                    }
                    Err(error) => {
                        is_away |= is_outage(&error);
                        passing |= error.is_retryable();
                    }
                }
            }
            // An outage ends soon, and costs nothing meanwhile, since the breaker is open.
            refused = !is_away && !is_done;
            if is_away || refused {
                break;
            }
        }
        attempt.ended(refused && count == 0, passing);
        drop(attempt);
        if count > 0 {
            self.events.emit(&Event::InvalidationsRecovered { count });
            self.write_pending_file().await;
        }
    }

    async fn try_target(&self, target: &Target, soft: bool) -> Result<(), Error> {
        match target {
            Target::Key(key) => {
                let result = if soft {
                    self.try_soften(key).await
                } else {
                    self.store.delete(key).await.map(drop)
                };
                self.forget_near(key);
                result
            }
            Target::Tag(tag) => self.tags.invalidate([tag], soft).await,
            Target::Namespace(namespace) => self.try_clear(Some(namespace), soft).await.map(drop),
            Target::Everything => self.try_clear(None, soft).await.map(drop),
        }
    }

    /// Restores the invalidations that were pending when the previous process ended.
    pub(crate) fn restore_pending(self: &Arc<Self>) {
        if self.store.is_local() {
            return;
        }
        if let Err(error) = self.pending.read_file() {
            self.events.emit(&Event::PendingFileFailed { error: &error });
        }
        let count = self.pending.count();
        if count > 0 {
            self.events.emit(&Event::InvalidationPending { count });
            self.retry_pending();
        }
    }

    async fn write_pending_file(&self) {
        if let Err(error) = self.pending.write_file().await {
            self.events.emit(&Event::PendingFileFailed { error: &error });
        }
    }

    async fn try_clear(&self, namespace: Option<&Namespace>, soft: bool) -> Result<Option<u64>, Error> {
        let scope = namespace.map_or_else(|| self.prefix.scope(), Namespace::scope);
        let result = if self.tags.clears_by_epoch() {
            self.tags.end_epoch(namespace, soft).await.map(|()| None)
        } else {
            let removed = self.store.clear(&scope).await;
            self.tags.forget_all(&scope);
            removed.map(Some)
        };
        self.forget_near_all(&scope).await;
        result
    }

    /// Carries out an invalidation of `targets` by running `work`. If the store does not carry it out, or the caller
    /// does not wait for it, the invalidation is remembered. The returned error says so.
    async fn carry_out<R>(
        self: &Arc<Self>,
        soft: bool,
        targets: impl Fn() -> Vec<Target>,
        work: impl Future<Output = Result<R, Error>>,
    ) -> Result<R, Error> {
        if self.store.is_local() {
            let result = work.await;
            if result.is_ok() {
                self.purge(soft, targets).await;
            }
            return result;
        }
        // If the caller leaves, it is unknown whether the store has carried out the invalidation.
        let given_up = OnDrop(Some(|| self.leave_pending(targets(), soft)));
        let result = work.await;
        given_up.disarm();
        let error = match result {
            Err(error) if !is_mistake(&error) => error,
            Ok(done) => {
                self.purge(soft, targets).await;
                return Ok(done);
            }
            result => return result,
        };
        self.remember(targets(), soft);
        self.write_pending_file().await;
        let message = format!(
            "{}; the invalidation is pending, and is carried out when the store answers again",
            error.message()
        );
        let mut pending = Error::new(error.kind(), message).with_retryable(error.is_retryable());
        if let Some(backend) = error.backend() {
            pending = pending.with_backend(backend.to_owned());
        }
        if let Some(operation) = error.operation() {
            pending = pending.with_operation(operation);
        }
        Err(pending.with_source(error))
    }

    /// Passes on to the purger, if there is one, what a caller has invalidated.
    async fn purge(&self, soft: bool, targets: impl FnOnce() -> Vec<Target>) {
        self.downstream.add_of_caller(targets, soft).await;
    }

    /// Makes the invalidation of `targets` pending, without an attempt to carry it out. Does not wait for the file.
    pub(crate) fn leave_pending(self: &Arc<Self>, targets: Vec<Target>, soft: bool) {
        if !self.store.is_local() {
            self.remember(targets, soft);
            self.pending.write_file_later();
        }
    }

    fn remember(self: &Arc<Self>, targets: Vec<Target>, soft: bool) {
        let since = self.now();
        for target in targets {
            self.pending.add(target, soft, since);
        }
        let count = self.pending.count();
        self.events.emit(&Event::InvalidationPending { count });
        self.retry_pending();
    }

    /// Retries in the background until nothing is pending.
    fn retry_pending(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let Some(mut retrying) = self.pending.retry() else {
            return;
        };
        let tier = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                sleep(PAUSE).await;
                let Some(tier) = tier.upgrade() else { return };
                if !tier.pending.is_empty() {
                    if tier.pending.is_due() {
                        tier.carry_out_pending().await;
                    }
                    continue;
                }
                match retrying.end(|| tier.pending.is_empty()) {
                    Some(again) => retrying = again,
                    None => return,
                }
            }
        });
    }

    async fn try_soften(&self, key: &Key) -> Result<(), Error> {
        let mut attempts = Attempts::default();
        loop {
            attempts.begin()?;
            let Some(record) = self.store.get(key).await? else {
                // The record is absent by this machine's clock. By another machine's clock there may still be a
                // value, or a lease.
                self.store.delete(key).await?;
                return Ok(());
            };
            let done = match record::softened(&record, key, self.now()) {
                Some((value, left)) => {
                    let options = SetOptions::new(left).if_version(record.version);
                    match self.store.set(key, value, options).await {
                        Ok(outcome) => matches!(outcome, SetOutcome::Stored(_)),
                        // A full store accepts no writes. Removing the value is harder than requested, but safe.
                        Err(error) if is_refusal(&error) => self.store.delete_if(key, record.version).await?,
                        Err(error) => return Err(error),
                    }
                }
                None => self.store.delete_if(key, record.version).await?,
            };
            if done {
                return Ok(());
            }
            // The record was written just now, perhaps by a load that began before. Reads it and tries again.
        }
    }
}

/// Calls a function if it is dropped before it is disarmed.
struct OnDrop<F: FnMut()>(Option<F>);

impl<F: FnMut()> OnDrop<F> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(call) = &mut self.0 {
            call();
        }
    }
}

fn target(namespace: Option<&Namespace>) -> Target {
    namespace.map_or(Target::Everything, |namespace| Target::Namespace(namespace.clone()))
}

/// Returns whether the store did not answer.
fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable)
}

/// Returns whether a retry cannot help.
fn is_mistake(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidKey | ErrorKind::Configuration)
}
