//! Counts by reason.

use std::sync::{Mutex, PoisonError};

/// The most reasons that are told apart.
const MOST: usize = 64;

/// The name under which further reasons are counted.
const OTHER: &str = "other";

/// Counts by reason. Reasons are few and fixed, so a list is quicker than a map.
#[derive(Debug, Default)]
pub(crate) struct Reasons(Mutex<Vec<(&'static str, u64)>>);

impl Reasons {
    pub(crate) fn add(&self, reason: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counts.iter().any(|(name, _)| *name == reason);
        let reason = if known || counts.len() < MOST - 1 {
            reason
        } else {
            OTHER
        };
        match counts.iter_mut().find(|(name, _)| *name == reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((reason, 1)),
        }
    }

    /// Returns the counts, in the order of the reasons' names.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        counts.sort_unstable();
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded() {
        let reasons = Reasons::default();
        for n in 0..200 {
            reasons.add(String::leak(format!("reason {n:03}")));
        }
        reasons.add("reason 000");
        let counts = reasons.counts();
        assert_eq!(counts.len(), MOST);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 201);
        assert_eq!((counts[0], counts[1]), (("other", 137), ("reason 000", 2)));
    }
}
