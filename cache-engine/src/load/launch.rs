//! Starts a load: in a task of its own, in its caller's task, or without the cache.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use cache_core::{Coder, Key};
use tracing::Instrument;

use crate::event::LoadFailure;
use crate::load::acquire::Acquired;
use crate::load::call::Accepts;
use crate::load::context::{Load, Loaded};
use crate::load::contribution::Collector;
use crate::load::engine::Engine;
use crate::load::error::LoadError;
use crate::load::fill::Outcome;
use crate::load::on_hit::Due;
use crate::load::reading::Reading;
use crate::load::run::Ended;
use crate::load::stack::LoadStack;
use crate::load::step::LoadStart;
use crate::store::record::Found;
use crate::tags::scope::Tagger;
use crate::tier::read::Read;
use crate::trace::load::{LoadSpan, RunsFor, verification};

impl<C: Send + Sync + 'static> Engine<C> {
    /// Obtains a value that was not found fresh. The load runs in a task of its own, and continues if its caller
    /// is cancelled.
    pub(crate) async fn load_detached<T, E, F, Fut>(
        &self,
        key: &Key,
        reading: Reading<T>,
        accepts: Accepts,
        load: F,
    ) -> Outcome<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        if let (Due::Verification, Read::Fresh(found, _)) = (reading.due, &reading.read) {
            self.hit(key, found);
            self.verify_detached(key, found.clone(), load);
            return Ok(Some(found.clone()));
        }
        let launch = |start| self.launch_detached(key, start, accepts, load);
        self.drive(key, reading, accepts, true, launch).await
    }

    /// Obtains a value that was not found fresh. The load runs in its caller's task.
    pub(crate) async fn load_borrowing<T, E, F, Fut>(
        &self,
        key: &Key,
        reading: Reading<T>,
        accepts: Accepts,
        load: F,
    ) -> Outcome<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut,
        Fut: Future<Output = Result<Loaded<T>, E>>,
    {
        if let (Due::Verification, Read::Fresh(found, _)) = (reading.due, &reading.read) {
            self.hit(key, found);
            let context = Load::new(key.clone(), None, Tagger::default());
            let verifying = async {
                if let Some(Ok(loaded)) = self.load_to_verify(async move { load(context).await }).await {
                    self.compare(key, found, loaded.value).await;
                }
            };
            let span = verification(self.shared.events.cache(), key, RunsFor::Caller);
            verifying.instrument(span).await;
            return Ok(Some(found.clone()));
        }
        // Boxed: `drive` launches in several places, and would have room for the load in each.
        let launch = |start| Box::pin(self.launch_borrowing(key, start, accepts, load));
        self.drive(key, reading, accepts, false, launch).await
    }

    /// Runs the load in its caller's task.
    async fn launch_borrowing<T, E, F, Fut>(
        &self,
        key: &Key,
        start: Option<LoadStart<T, E>>,
        accepts: Accepts,
        load: F,
    ) -> Outcome<T, E>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut,
        Fut: Future<Output = Result<Loaded<T>, E>>,
    {
        let Some(start) = start else {
            let span = self.span_for_caller(key);
            return span.scope(self.load_uncoalesced(key, &span, load)).await;
        };
        let span = start.fill.span();
        let loading = async {
            match self.acquire(start, accepts).await {
                Acquired::Answered(outcome) => outcome,
                Acquired::Load(fill) => match self.run(fill, LoadStack::current(), load).await {
                    Ended::Outcome(outcome) => outcome,
                    Ended::Panicked(_, panic) => resume_unwind(panic),
                },
            }
        };
        span.scope(loading).await
    }

    /// Starts the load in a task of its own, and returns the future that waits for it.
    fn launch_detached<T, E, F, Fut>(
        &self,
        key: &Key,
        start: Option<LoadStart<T, E>>,
        accepts: Accepts,
        load: F,
    ) -> impl Future<Output = Outcome<T, E>> + use<T, E, F, Fut, C>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        let (send, receive) = tokio::sync::oneshot::channel();
        let (engine, key) = (self.clone(), key.clone());
        let outer = LoadStack::current();
        let collector = self.collector();
        let scope = Collector::scope(collector.as_ref());
        let (span, whom) = match &start {
            Some(start) => (start.fill.span(), start.fill.runs_for()),
            None => (self.span_for_caller(&key), RunsFor::Caller),
        };
        let own = span.clone();
        // Boxed, since each of the futures around it would move it.
        let task = Box::pin(async move {
            let outcome = match start {
                None => engine.load_uncoalesced(&key, &own, load).await,
                Some(start) => match engine.acquire(start, accepts).await {
                    Acquired::Answered(outcome) => outcome,
                    Acquired::Load(fill) => engine.run(fill, outer, load).await.into_outcome(),
                },
            };
            // The caller may have been cancelled.
            let _ = send.send(outcome);
        });
        let task = async move { scope.scope(task).await };
        let awaited = self.shared.spawn_load(span, whom, task);
        async move {
            let _awaited = awaited;
            let outcome = receive.await.unwrap_or_else(|_| Err(LoadError::Panicked(task_ended())));
            if let Some(collector) = collector {
                collector.join();
            }
            outcome
        }
    }

    /// Returns the span of a load for one caller, which begins now.
    fn span_for_caller(&self, key: &Key) -> LoadSpan {
        LoadSpan::new(self.shared.events.cache(), key, None, false, RunsFor::Caller)
    }

    /// Loads for one caller, because the value is not shared.
    async fn load_uncoalesced<T, E, F, Fut>(&self, key: &Key, span: &LoadSpan, load: F) -> Outcome<T, E>
    where
        F: FnOnce(Load<T>) -> Fut,
        Fut: Future<Output = Result<Loaded<T>, E>>,
    {
        self.contribute_uncoalesced().await;
        let outcome = load_uncached(key, load).await;
        match &outcome {
            Ok(_) => span.record_outcome("ok"),
            Err(_) => span.record_failure(LoadFailure::Error),
        }
        outcome
    }
}

/// Returns what happened to a load whose task has ended without a result.
pub(super) fn task_ended() -> Arc<str> {
    "the task of the load was ended, by a panic outside of the loader or with its runtime".into()
}

/// Loads for one caller, and stores nothing.
pub(crate) async fn load_uncached<T, E, F, Fut>(key: &Key, load: F) -> Outcome<T, E>
where
    F: FnOnce(Load<T>) -> Fut,
    Fut: Future<Output = Result<Loaded<T>, E>>,
{
    match load(Load::new(key.clone(), None, Tagger::default())).await {
        Ok(loaded) => Ok(loaded.value.map(Found::unkept)),
        Err(error) => Err(LoadError::Failed(Arc::new(error))),
    }
}
