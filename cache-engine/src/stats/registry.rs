//! The counters of all namespaces of a cache.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use cache_core::{Key, Namespace};

use crate::stats::counters::{Counter, NamespaceCounters};
use crate::stats::feeds::Feeds;
use crate::stats::recent::{Invalidated, Recent};
use crate::stats::refusals::Refusals;
use crate::stats::snapshot::{CacheTier, NamespaceStats};

/// The most namespaces that are told apart.
const MOST: usize = 1_000;

/// The number of namespaces whose counters are found without hashing their names.
const RECENT: usize = 32;

/// The name under which further namespaces are counted. No namespace has it, since `!` is escaped in names.
pub(crate) const OTHER: &str = "!other";

/// The counters of a cache.
#[derive(Debug)]
pub(crate) struct Stats {
    /// By the text that the keys of a namespace begin with.
    namespaces: RwLock<HashMap<Box<str>, Arc<NamespaceCounters>>>,
    other: Arc<NamespaceCounters>,
    /// The namespaces of the last hits, each in a slot that its name leads to quickly. A cached function has a namespace
    /// of its own, and a cache has many functions.
    recent: [RwLock<Option<Arc<NamespaceCounters>>>; RECENT],
    pub(crate) refusals: Refusals,
    pub(crate) feeds: Arc<Feeds>,
    /// Set once somebody asks for it.
    pub(crate) recent_events: OnceLock<Recent>,
    pub(crate) tag_invalidations: Counter,
    pub(crate) clears: Counter,
    pub(crate) store_failures: Counter,
    pub(crate) decode_failures: Counter,
    pub(crate) encode_failures: Counter,
}

impl Stats {
    pub(crate) fn new() -> Self {
        Self {
            namespaces: RwLock::default(),
            other: Arc::new(NamespaceCounters::new("", OTHER)),
            recent: Default::default(),
            refusals: Refusals::default(),
            feeds: Arc::default(),
            recent_events: OnceLock::new(),
            tag_invalidations: Counter::default(),
            clears: Counter::default(),
            store_failures: Counter::default(),
            decode_failures: Counter::default(),
            encode_failures: Counter::default(),
        }
    }

    pub(crate) fn of(&self, namespace: &Namespace) -> Arc<NamespaceCounters> {
        self.at(namespace.scope().as_str(), namespace.name())
    }

    pub(crate) fn of_key(&self, key: &Key) -> Arc<NamespaceCounters> {
        let text = key.as_str();
        let scope = text.get(..text.len() - key.name().len()).unwrap_or_default();
        self.at(scope, key.namespace_name())
    }

    /// Counts a hit.
    pub(crate) fn hit(&self, key: &Key, tier: CacheTier) {
        let recent = &self.recent[slot(key)];
        if let Some(counters) = &*recent.read().unwrap_or_else(PoisonError::into_inner)
            && counters.covers(key)
        {
            return counters.hit(tier);
        }
        let counters = self.of_key(key);
        counters.hit(tier);
        if !Arc::ptr_eq(&counters, &self.other) {
            *recent.write().unwrap_or_else(PoisonError::into_inner) = Some(counters);
        }
    }

    /// Remembers an invalidation, if somebody asks for the last ones.
    pub(crate) fn invalidated(&self, target: Invalidated<'_>, soft: bool) {
        if let Some(recent) = self.recent_events.get() {
            recent.invalidated(target, soft);
        }
    }

    /// Returns the counters of the namespace whose keys begin with `scope`.
    pub(crate) fn at(&self, scope: &str, name: &str) -> Arc<NamespaceCounters> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = namespaces.get(scope) {
            return Arc::clone(known);
        }
        let is_full = namespaces.len() >= MOST;
        drop(namespaces);
        if is_full {
            return Arc::clone(&self.other);
        }
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        if namespaces.len() >= MOST && !namespaces.contains_key(scope) {
            return Arc::clone(&self.other);
        }
        let new = || Arc::new(NamespaceCounters::new(scope, name));
        Arc::clone(namespaces.entry(scope.into()).or_insert_with(new))
    }

    /// Returns the counts of each namespace, in the order of their names.
    pub(crate) fn namespaces(&self) -> Vec<NamespaceStats> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<NamespaceStats> = namespaces.values().map(|counters| counters.stats()).collect();
        let is_full = namespaces.len() >= MOST;
        drop(namespaces);
        all.sort_unstable_by(|one, other| one.namespace.cmp(&other.namespace));
        if is_full {
            all.push(self.other.stats());
        }
        all
    }
}

/// Returns the number of the slot for a key's namespace: from the length and a few bytes of what comes before the name.
#[inline]
fn slot(key: &Key) -> usize {
    let text = key.as_str().as_bytes();
    let len = text.len() - key.name().len();
    let byte = |at: usize| usize::from(text.get(at).copied().unwrap_or_default());
    (len + byte(len.saturating_sub(2)) + 3 * byte(len.saturating_sub(4)) + 5 * byte(len / 2)) % RECENT
}

#[cfg(test)]
mod tests {
    use cache_core::Prefix;

    use super::*;

    #[test]
    fn bounded_and_by_whole_names() {
        let (stats, prefix) = (Stats::new(), Prefix::new("shop"));
        for n in 0..MOST + 500 {
            let namespace = prefix.namespace(&format!("tenant {n:04}"));
            let counters = stats.of(&namespace);
            let key = namespace.key("1");
            assert!(counters.covers(&key) && Arc::ptr_eq(&counters, &stats.of_key(&key)));
            stats.hit(&key, CacheTier::Store);
        }
        let all = stats.namespaces();
        assert_eq!(
            (all.len(), &*all[MOST].namespace, all[MOST].hits.store),
            (MOST + 1, OTHER, 500)
        );
        let user = stats.of(&prefix.namespace("tenant 0001"));
        assert!(!user.covers(&prefix.namespace("tenant 00011").key("1")));
        assert!(!user.covers(&prefix.namespace("").key("tenant 0001:1")));
    }
}
