//! What was invalidated and refused last, by name.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cache_core::{Error, Key, Namespace};
use tokio::time::Instant;

/// The most events of a kind that are remembered.
const MOST: usize = 50;

/// The most bytes of a name that are remembered.
const MAX_NAME: usize = 512;

/// What was invalidated and refused last, and how the store failed. Returned by
/// [`Adapter::recent_events`](crate::Adapter::recent_events).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentEvents {
    /// The last invalidations by this process, the last one first.
    pub invalidations: Vec<RecentInvalidation>,
    /// The last responses that an HTTP layer did not store, the last one first.
    pub refusals: Vec<RecentRefusal>,
    /// The last call of the store that failed.
    pub store_failure: Option<RecentStoreFailure>,
}

/// A call of the store that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentStoreFailure {
    /// The name of the operation.
    pub operation: &'static str,
    /// What the store reported, with the causes. A text of more than 512 bytes is cut.
    pub error: String,
    /// How long ago that was.
    pub ago: Duration,
}

/// An invalidation, or several of the same target.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentInvalidation {
    /// What was invalidated.
    pub target: RecentTarget,
    /// Whether the invalidation was soft.
    pub soft: bool,
    /// How often it was invalidated in this way since it is remembered.
    pub count: u64,
    /// How long ago that was, the last time.
    pub ago: Duration,
}

/// A response that was not stored, or several with the same key and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentRefusal {
    /// The key of the request.
    pub target: RecentTarget,
    /// Why the response was not stored: the word that `detail` in `Cache-Status` has for it.
    pub reason: &'static str,
    /// How often that happened since it is remembered.
    pub count: u64,
    /// How long ago it was, the last time.
    pub ago: Duration,
}

/// What an event was about. Names of namespaces are as they are written in keys. Names of more than 512 bytes are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecentTarget {
    /// A key.
    #[non_exhaustive]
    Key {
        /// The name of its namespace.
        namespace: String,
        /// Its name in the namespace.
        name: String,
        /// Whether a name was cut.
        is_cut: bool,
    },
    /// A tag.
    #[non_exhaustive]
    Tag {
        /// The tag.
        name: String,
        /// Whether it was cut.
        is_cut: bool,
    },
    /// A namespace.
    #[non_exhaustive]
    Namespace {
        /// Its name.
        name: String,
        /// Whether it was cut.
        is_cut: bool,
    },
    /// Everything below the cache's prefix.
    Everything,
}

/// What was invalidated.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) enum Invalidated<'a> {
    Key(&'a Key),
    Tag(&'a str),
    Namespace(&'a Namespace),
    Everything,
}

impl Invalidated<'_> {
    fn remembered(self) -> RecentTarget {
        match self {
            Self::Key(key) => {
                let (namespace, name) = (cut(key.namespace_name()), cut(key.name()));
                RecentTarget::Key {
                    is_cut: namespace.1 || name.1,
                    namespace: namespace.0,
                    name: name.0,
                }
            }
            Self::Tag(tag) => {
                let (name, is_cut) = cut(tag);
                RecentTarget::Tag { name, is_cut }
            }
            Self::Namespace(namespace) => {
                let (name, is_cut) = cut(namespace.name());
                RecentTarget::Namespace { name, is_cut }
            }
            Self::Everything => RecentTarget::Everything,
        }
    }
}

/// Returns the beginning of a name, and whether that is not all of it.
fn cut(name: &str) -> (String, bool) {
    let end = (0..=MAX_NAME.min(name.len()))
        .rev()
        .find(|at| name.is_char_boundary(*at));
    let kept = &name[..end.unwrap_or_default()];
    (kept.to_owned(), kept.len() < name.len())
}

/// Remembers what was invalidated and refused last.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    hasher: RandomState,
    invalidations: Ring<bool>,
    refusals: Ring<&'static str>,
    store_failure: Mutex<Option<(&'static str, String, Instant)>>,
}

impl Recent {
    pub(crate) fn store_failed(&self, operation: &'static str, error: &Error) {
        let failure = (operation, cut(&format!("{error:?}")).0, Instant::now());
        *self.store_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    pub(crate) fn invalidated(&self, target: Invalidated<'_>, soft: bool) {
        let hash = self.hasher.hash_one((target, soft));
        self.invalidations.add(hash, target, soft);
    }

    pub(crate) fn refused(&self, key: &Key, reason: &'static str) {
        let target = Invalidated::Key(key);
        let hash = self.hasher.hash_one((target, reason));
        self.refusals.add(hash, target, reason);
    }

    pub(crate) fn events(&self) -> RecentEvents {
        let invalidations = self.invalidations.list(|entry, ago| RecentInvalidation {
            target: entry.target.clone(),
            soft: entry.how,
            count: entry.count,
            ago,
        });
        let refusals = self.refusals.list(|entry, ago| RecentRefusal {
            target: entry.target.clone(),
            reason: entry.how,
            count: entry.count,
            ago,
        });
        let store_failure = self.store_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let store_failure = store_failure.as_ref().map(|(operation, error, at)| RecentStoreFailure {
            operation,
            error: error.clone(),
            ago: at.elapsed(),
        });
        RecentEvents {
            invalidations,
            refusals,
            store_failure,
        }
    }
}

/// The last events of a kind, each target and `how` once, in the order of their last times.
#[derive(Debug)]
struct Ring<H>(Mutex<VecDeque<Entry<H>>>);

#[derive(Debug)]
struct Entry<H> {
    /// Of the target and `how`.
    hash: u64,
    target: RecentTarget,
    how: H,
    count: u64,
    last: Instant,
}

impl<H> Default for Ring<H> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<H> Ring<H> {
    fn add(&self, hash: u64, target: Invalidated<'_>, how: H) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = Instant::now();
        let known = entries.iter().rposition(|entry| entry.hash == hash);
        let entry = match known.and_then(|at| entries.remove(at)) {
            Some(entry) => Entry {
                count: entry.count + 1,
                last,
                ..entry
            },
            None => Entry {
                hash,
                target: target.remembered(),
                how,
                count: 1,
                last,
            },
        };
        if entries.len() == MOST {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    fn list<R>(&self, show: impl Fn(&Entry<H>, Duration) -> R) -> Vec<R> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .rev()
            .map(|entry| show(entry, entry.last.elapsed()))
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use cache_core::Prefix;

    use super::*;

    #[test]
    fn bounded_in_number_and_in_the_length_of_names() {
        let recent = Recent::default();
        let namespace = Prefix::new("shop").namespace(&"n".repeat(2_000));
        for n in 0..1_000 {
            recent.invalidated(
                Invalidated::Key(&namespace.key(format!("{n}{}", "ä".repeat(2_000)))),
                false,
            );
            recent.refused(&namespace.key(format!("{n}")), "private");
        }
        let RecentEvents {
            invalidations,
            refusals,
            ..
        } = recent.events();
        assert_eq!((invalidations.len(), refusals.len()), (MOST, MOST));
        let RecentTarget::Key {
            namespace,
            name,
            is_cut,
        } = &invalidations[0].target
        else {
            panic!()
        };
        assert!(name.starts_with("999ä"), "{name}");
        assert!(*is_cut && name.len() <= MAX_NAME && namespace.len() <= MAX_NAME);
        assert!(name.len() > MAX_NAME - 2, "cut at a whole character, and not before");
    }

    #[test]
    fn what_happens_again_is_listed_once_and_first() {
        let recent = Recent::default();
        recent.invalidated(Invalidated::Tag("a"), false);
        recent.invalidated(Invalidated::Tag("b"), false);
        recent.invalidated(Invalidated::Tag("a"), true);
        recent.invalidated(Invalidated::Everything, false);
        recent.invalidated(Invalidated::Tag("a"), false);
        let tag = |name: &str| RecentTarget::Tag {
            name: name.to_owned(),
            is_cut: false,
        };
        let events = recent.events().invalidations;
        let seen: Vec<_> = events
            .iter()
            .map(|event| (event.target.clone(), event.soft, event.count))
            .collect();
        let expected = [
            (tag("a"), false, 2),
            (RecentTarget::Everything, false, 1),
            (tag("a"), true, 1),
            (tag("b"), false, 1),
        ];
        assert_eq!(seen, expected);
    }
}
