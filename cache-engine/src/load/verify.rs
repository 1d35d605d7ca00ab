//! Verification of hits: the value is loaded as well, and compared with what was found.

use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use cache_core::{Coder, Key};
use futures_util::FutureExt;

use crate::event::Event;
use crate::load::context::{Load, Loaded, LoadedMany};
use crate::load::engine::Engine;
use crate::store::record::Found;
use crate::tags::ambient::Ambient;
use crate::tags::scope::Tagger;
use crate::tier::read::Read;
use crate::trace::load::{RunsFor, verification};

/// How many verifications of one cache run at the same time, at most.
pub(crate) const VERIFICATIONS: usize = 16;

impl<C: Send + Sync + 'static> Engine<C> {
    /// Reports that `found` is the answer to a request.
    pub(crate) fn hit<T>(&self, key: &Key, found: &Found<T>) {
        self.shared.events.emit(&Event::Hit { key, tier: found.tier });
        self.contribute(found);
    }

    /// Verifies `found` by `load`, in the background. Does nothing if too many verifications run.
    pub(crate) fn verify_detached<T, E, F, Fut>(&self, key: &Key, found: Found<T>, load: F)
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: FnOnce(Load<T>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        let (engine, owned) = (self.clone(), key.clone());
        self.spawn_verification(key, async move {
            let key = owned;
            let context = Load::new(key.clone(), None, Tagger::default());
            if let Some(Ok(loaded)) = engine.load_to_verify(async move { load(context).await }).await {
                engine.compare(&key, &found, loaded.value).await;
            }
        });
    }

    /// Verifies values that one load brings, in the background. Does nothing if too many verifications run.
    pub(crate) fn verify_batch<K, T, E, F, Fut>(&self, hits: Vec<(K, Key, Found<T>)>, load: &Arc<F>)
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
        C: Coder<T>,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<LoadedMany<K, T, E>, E>> + Send + 'static,
    {
        let Some((_, first, _)) = hits.first() else { return };
        let (engine, load, first) = (self.clone(), Arc::clone(load), first.clone());
        self.spawn_verification(&first, async move {
            let ids = hits.iter().map(|(id, ..)| id.clone()).collect();
            let Some(Ok(mut loaded)) = engine.load_to_verify(async move { load(ids).await }).await else {
                return;
            };
            for (id, key, found) in hits {
                match loaded.remove(&id) {
                    Some(Ok(loaded)) => engine.compare(&key, &found, loaded.value).await,
                    None => engine.compare(&key, &found, None).await,
                    Some(Err(_)) => {}
                }
            }
        });
    }

    /// Verifies in the background. `key` is one of those that are verified.
    fn spawn_verification(&self, key: &Key, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.shared.verifications).try_acquire_owned() else {
            return;
        };
        if !self.shared.is_open() {
            return;
        }
        let work = async move {
            work.await;
            drop(permit);
        };
        let span = verification(self.shared.events.cache(), key, RunsFor::Nobody);
        let deadline = self.shared.deadline(self.policy.load_timeout);
        self.shared.spawn_in_background(span, deadline, work);
    }

    /// Runs the load of a verification: past all caches, and for the policy's load timeout at most. Returns `None` if it
    /// took longer, or panicked.
    pub(crate) async fn load_to_verify<F: Future>(&self, load: F) -> Option<F::Output> {
        // Unwind safe, since a load that panics is not polled again.
        let load = AssertUnwindSafe(Ambient::bypass(true).around(load)).catch_unwind();
        self.limited(load).await.ok()?.ok()
    }

    /// Compares what was found with what was loaded, and reports a difference, unless the entry was replaced or
    /// invalidated in the meantime.
    pub(crate) async fn compare<T>(&self, key: &Key, found: &Found<T>, loaded: Option<Arc<T>>)
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        let is_same = match &loaded {
            Some(loaded) => self.coder.is_same(&found.value, loaded),
            None => Ok(false),
        };
        match is_same {
            Ok(true) => return,
            Ok(false) => {}
            // As when it is stored.
            Err(error) => return self.shared.events.emit(&Event::not_stored(key, &error)),
        }
        let age = found.age(self.shared.tier.now());
        let is_current = match self.shared.tier.read_store::<T, C>(key, &self.coder).await {
            Read::Fresh(_, version) => found.version == Some(version),
            _ => false,
        };
        if is_current {
            self.shared.events.emit(&Event::Diverged { key, age });
        }
    }
}
