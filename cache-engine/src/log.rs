//! Rate limiting for the log: a problem that repeats with every request writes one line a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cache_core::Error;
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(1);

/// Admits one line a second for each subject, and counts the suppressed lines in between.
#[derive(Debug)]
pub(crate) struct LogLimit(Mutex<Vec<Subject>>);

#[derive(Debug)]
struct Subject {
    name: &'static str,
    last: Instant,
    suppressed: u64,
}

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Returns how many lines about `subject` were suppressed since the last one, or `None` if this one must be
    /// suppressed too.
    pub(crate) fn admit(&self, subject: &'static str) -> Option<u64> {
        let now = Instant::now();
        let mut subjects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = subjects.iter_mut().find(|known| known.name == subject) else {
            subjects.push(Subject {
                name: subject,
                last: now,
                suppressed: 0,
            });
            return Some(0);
        };
        if now.duration_since(known.last) < INTERVAL {
            known.suppressed += 1;
            return None;
        }
        known.last = now;
        Some(std::mem::take(&mut known.suppressed))
    }
}

/// Logs `message` about `error` at level error, at most once a second for each message. Used where no cache is at hand,
/// and so no event can be emitted.
pub(crate) fn log_error(message: &'static str, error: Option<&Error>) {
    static LIMIT: LogLimit = LogLimit::new();
    if let Some(suppressed) = LIMIT.admit(message) {
        let error = error.map(tracing::field::debug);
        tracing::error!(target: "cache", error, suppressed, "{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_a_second_for_each_subject() {
        let limit = LogLimit::new();
        assert_eq!(limit.admit("store"), Some(0));
        assert_eq!([limit.admit("store"), limit.admit("store")], [None, None]);
        assert_eq!(limit.admit("lease"), Some(0), "another subject");
        tokio::time::advance(INTERVAL).await;
        assert_eq!(limit.admit("store"), Some(2));
        assert_eq!(limit.admit("store"), None);
    }
}
