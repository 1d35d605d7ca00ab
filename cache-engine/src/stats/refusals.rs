//! The last refusals of an adapter to store, by key.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use cache_core::Key;
use tokio::time::Instant;

/// The most refusals that are remembered.
const MOST: usize = 1_024;

/// The last refusals. Keys may be long, so only their hashes are held.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    hasher: RandomState,
    last: Mutex<VecDeque<(u64, &'static str, Instant)>>,
}

impl Refusals {
    pub(crate) fn add(&self, key: &Key, reason: &'static str) {
        let hash = self.hasher.hash_one(key);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == MOST {
            last.pop_front();
        }
        last.push_back((hash, reason, Instant::now()));
    }

    /// Returns the refusals of `key` that are remembered, the last first.
    pub(crate) fn of(&self, key: &Key) -> Vec<(&'static str, Instant)> {
        let hash = self.hasher.hash_one(key);
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = last.iter().rev().filter(|(other, ..)| *other == hash);
        of_key.map(|(_, reason, at)| (*reason, *at)).collect()
    }
}
