//! What tags said lately: for as long as the user allows, or until the store tells of a change.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cache_core::{Key, Scope};
use tokio::time::Instant;

use super::State;
use crate::notices::{Mark, Notices};

/// How many tags are remembered at most.
const MOST: usize = 10_000;

/// What tags said when they were read last.
#[derive(Debug)]
pub(crate) struct Memo {
    /// For how long that is good.
    bound: Duration,
    /// For how long it is kept, for those who want to know what this process knows to be outdated.
    kept: Duration,
    /// It is good, too, until a change is told of.
    notices: Option<Arc<Notices>>,
    known: RwLock<HashMap<Key, Remembered>>,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    state: State,
    /// When the store was asked, or later.
    asked: Instant,
    /// A change since then would have been told of.
    noticed: bool,
}

/// When the store was asked for what is to be remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    at: Instant,
    mark: Option<Mark>,
}

impl Memo {
    /// Remembers for `bound`, which may be zero, and until `notices` tell otherwise.
    pub(crate) fn new(bound: Duration, kept: Duration, notices: Option<Arc<Notices>>) -> Self {
        Self {
            bound,
            kept: kept.max(bound),
            notices,
            known: RwLock::default(),
        }
    }

    fn is_idle(&self) -> bool {
        self.kept.is_zero() && self.notices.is_none()
    }

    /// To be taken before the store is asked.
    pub(super) fn ask(&self) -> Asked {
        let told = self.notices.as_ref().filter(|notices| notices.are_told());
        Asked {
            at: Instant::now(),
            mark: told.map(|notices| notices.reserved_mark()),
        }
    }

    /// What a tag says, if that is good still.
    pub(super) fn recall(&self, key: &Key) -> Option<State> {
        if self.is_idle() {
            return None;
        }
        let remembered = self.remembered(key)?;
        let told = || remembered.noticed && self.notices.as_ref().is_some_and(|notices| notices.are_told());
        (remembered.asked.elapsed() < self.bound || told()).then_some(remembered.state)
    }

    /// What a tag said last, as far as this process knows.
    pub(super) fn recall_last(&self, key: &Key) -> Option<State> {
        let remembered = self.remembered(key)?;
        (remembered.asked.elapsed() < self.kept).then_some(remembered.state)
    }

    fn remembered(&self, key: &Key) -> Option<Remembered> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(key).copied()
    }

    /// Remembers what the store said, unless something later is known.
    pub(super) fn remember(&self, key: &Key, state: State, asked: Asked) {
        self.put(key, state, asked, |known| known.asked <= asked.at);
    }

    /// Remembers what this process wrote. Answers to questions that were asked before say nothing any more, so this
    /// counts from now; and the store will tell of it as of any other change.
    pub(super) fn replace(&self, key: &Key, state: State) {
        let asked = Asked {
            at: Instant::now(),
            mark: None,
        };
        self.put(key, state, asked, |_| true);
    }

    fn put(&self, key: &Key, state: State, asked: Asked, over: impl FnOnce(&Remembered) -> bool) {
        if self.is_idle() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(key) {
            known.retain(|_, remembered| remembered.noticed || remembered.asked.elapsed() < self.kept);
            if known.len() >= MOST {
                known.clear();
            }
        }
        // Under the lock, which whoever tells of a change takes afterwards.
        let unmoved = |notices: &Arc<Notices>| asked.mark == Some(notices.reserved_mark());
        let remembered = Remembered {
            state,
            asked: asked.at,
            noticed: self.notices.as_ref().is_some_and(unmoved),
        };
        match known.get_mut(key) {
            Some(old) if over(old) => *old = remembered,
            Some(_) => {}
            None => {
                known.insert(key.clone(), remembered);
            }
        }
    }

    /// The record of a tag was changed.
    pub(crate) fn forget(&self, key: &Key) {
        if key.is_reserved() && !self.is_idle() {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.remove(key);
        }
    }

    /// Any record in `scope` may have been changed.
    pub(crate) fn forget_all(&self, scope: &Scope) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|key, _| !scope.contains(key));
    }
}
