//! What tags said lately, for as long as the user allows.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use cache_core::{Key, Scope};
use tokio::time::Instant;

use super::State;

/// How many tags are remembered at most.
const MOST: usize = 10_000;

/// What tags said when they were read last.
#[derive(Debug)]
pub(super) struct Memo {
    bound: Duration,
    known: RwLock<HashMap<Key, Remembered>>,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    state: State,
    /// When the store was asked, or later.
    asked: Instant,
}

impl Memo {
    /// Remembers for `bound`; zero is not at all.
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            bound,
            known: RwLock::default(),
        }
    }

    pub(super) fn recall(&self, key: &Key) -> Option<State> {
        if self.bound.is_zero() {
            return None;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let remembered = known.get(key)?;
        (remembered.asked.elapsed() < self.bound).then_some(remembered.state)
    }

    /// Remembers what the store said to a question of `asked`, unless something later is known.
    pub(super) fn remember(&self, key: &Key, state: State, asked: Instant) {
        self.put(key, state, asked, |known| known.asked <= asked);
    }

    /// Remembers what this process wrote. Answers to questions that were asked before say nothing any more, so this
    /// counts from now.
    pub(super) fn replace(&self, key: &Key, state: State) {
        self.put(key, state, Instant::now(), |_| true);
    }

    fn put(&self, key: &Key, state: State, asked: Instant, over: impl FnOnce(&Remembered) -> bool) {
        if self.bound.is_zero() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(key) {
            known.retain(|_, remembered| remembered.asked.elapsed() < self.bound);
            if known.len() >= MOST {
                known.clear();
            }
        }
        let remembered = Remembered { state, asked };
        match known.get_mut(key) {
            Some(old) if over(old) => *old = remembered,
            Some(_) => {}
            None => {
                known.insert(key.clone(), remembered);
            }
        }
    }

    pub(super) fn forget(&self, scope: &Scope) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|key, _| !scope.contains(key));
    }
}
