//! What an entry contributes to the load that uses it.
//!
//! Each place that hands the result of an entry to its caller, in the caller's own task, reports it here. If that task
//! runs in a load, the entry becomes a part of the load: the load's value is fresh no longer than the part, and carries
//! its tags; see [`crate::tags::parts`]. What a detached load reports is collected, and joined once its caller gets the
//! result, so a refresh in the background contributes to nothing.

use std::sync::Arc;

use cache_core::{Coder, Error, ErrorKind, FreshnessWindows, Key, Tags};

use crate::load::engine::Engine;
use crate::load::fill::Fill;
use crate::load::flight::ResultType;
use crate::load::reading::Reading;
use crate::load::shared::Shared;
use crate::store::record::{Found, Terms};
use crate::tags::ambient::is_within_load;
use crate::tags::declared::Declared;
use crate::tags::fault::Fault;
use crate::tags::parts::Part;
use crate::tags::scope::Tagger;
use crate::tier::read::{Boxed, Read};

impl Shared {
    fn part(&self, terms: &Terms) -> Part {
        let age = self.tier.now().saturating_since(terms.created);
        let FreshnessWindows {
            fresh,
            stale_while_revalidate,
            stale_if_error,
            ..
        } = terms.windows;
        let kept = fresh.map(|fresh| fresh.saturating_add(stale_while_revalidate.max(stale_if_error)));
        Part {
            tags: terms.tags.clone(),
            records: Arc::clone(&self.tier.tags),
            fresh: fresh.map(|fresh| fresh.saturating_sub(age)),
            kept: kept.map(|kept| kept.saturating_sub(age)),
        }
    }

    /// Joins an entry to the load that the current task runs in, if any.
    pub(crate) fn contribute(&self, terms: &Terms) {
        Tagger::current().join(&self.part(terms));
    }

    /// As [`read_found_to_load`](Self::read_found_to_load), for a task that runs in a load: what is found contributes to it. Boxed,
    /// to keep the future of a hit in memory small.
    #[inline(never)]
    pub(crate) fn read_within<'a, T, C>(
        self: &'a Arc<Self>,
        key: &'a Key,
        coder: &'a C,
        declared: &'a Declared,
        result: Option<ResultType>,
    ) -> Boxed<'a, Reading<T>>
    where
        T: Send + Sync + 'static,
        C: Coder<T>,
    {
        Box::pin(async move {
            let reading = self.read_found_to_load(key, coder, declared, result).await;
            if let Read::Fresh(found, _) = &reading.read {
                self.contribute(&found.terms());
            }
            reading
        })
    }
}

impl<C: Send + Sync + 'static> Engine<C> {
    /// Returns whether the current task runs in a load that the entries of this handle contribute to.
    #[inline]
    pub(crate) fn contributes(&self) -> bool {
        self.policy.contributes && is_within_load()
    }

    /// Joins an entry that was found.
    pub(crate) fn contribute<T>(&self, found: &Found<T>) {
        self.contribute_terms(|| found.terms());
    }

    /// Joins an entry.
    pub(crate) fn contribute_terms(&self, terms: impl FnOnce() -> Terms) {
        if self.contributes() {
            self.shared.contribute(&terms());
        }
    }

    /// Joins the result of a load that the caller has led.
    pub(super) fn contribute_load<T, E>(&self, fill: &Fill<T, E>, windows: FreshnessWindows)
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        if !self.contributes() {
            return;
        }
        let outer = Tagger::current();
        match fill.dependencies().filter(|_| !fill.lacks_tags(&self.tags)) {
            Some(tags) => outer.join(&self.shared.part(&Terms {
                created: self.shared.tier.now(),
                windows,
                tags,
            })),
            None => outer.fail(Fault::Failed(unknown_tags())),
        }
    }

    /// Joins a value that its caller loads without the cache: its tags are captured before, and it is as fresh as any
    /// other.
    pub(crate) async fn contribute_uncoalesced(&self) {
        if self.contributes() {
            // Boxed, since the futures of hits contain it.
            Box::pin(self.capture_uncoalesced()).await;
        }
    }

    async fn capture_uncoalesced(&self) {
        let outer = Tagger::current();
        outer.capture_for(self.tags.names(), &self.shared.tier.tags).await;
        outer.join(&self.shared.part(&Terms {
            created: self.shared.tier.now(),
            windows: FreshnessWindows::new(self.policy.ttl),
            tags: Tags::default(),
        }));
    }

    /// Returns what collects the contributions of a detached load for its caller. `None` if they are of no use.
    pub(super) fn collector(&self) -> Option<Collector> {
        self.contributes().then(|| {
            let outer = Tagger::current();
            Collector {
                collected: outer.collector(),
                outer,
            }
        })
    }
}

/// Collects the contributions of a detached load for its caller.
#[derive(Debug)]
pub(super) struct Collector {
    outer: Tagger,
    collected: Tagger,
}

impl Collector {
    /// Returns what the detached load runs in.
    pub(super) fn scope(collector: Option<&Self>) -> Tagger {
        collector
            .map(|collector| collector.collected.clone())
            .unwrap_or_default()
    }

    /// Joins what the load has contributed. Dropped otherwise.
    pub(super) fn join(self) {
        self.outer.absorb(&self.collected);
    }
}

fn unknown_tags() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the tags of an entry that it is made from could not be read",
    )
}
