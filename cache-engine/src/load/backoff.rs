//! Pauses between reads of a lease that another process holds.

use std::time::Duration;

use crate::store::changes::ChangeListener;

/// Pauses between reads of a lease that another process holds. Each is longer than the one before.
pub(crate) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(2);
    const LONGEST: Duration = Duration::from_millis(100);

    pub(crate) fn new() -> Self {
        Self(Self::FIRST)
    }

    /// As [`wait`](Self::wait), but at most until a change is reported to `listener`.
    pub(crate) async fn wait_or(&mut self, remaining: Option<Duration>, listener: Option<ChangeListener>) {
        match listener {
            Some(listener) => tokio::select! {
                () = listener.changed() => {}
                () = self.wait(remaining) => {}
            },
            None => self.wait(remaining).await,
        }
    }

    /// As [`wait`](Self::wait), but at most until a change was reported to all of `listeners`.
    pub(crate) async fn wait_or_all(&mut self, listeners: Option<Vec<ChangeListener>>) {
        let changes = listeners.map(|listeners| async move {
            for listener in listeners {
                listener.changed().await;
            }
        });
        match changes {
            Some(changes) => tokio::select! {
                () = changes => {}
                () = self.wait(None) => {}
            },
            None => self.wait(None).await,
        }
    }

    /// Waits, but not longer than `remaining`.
    pub(crate) async fn wait(&mut self, remaining: Option<Duration>) {
        // Half of the pause is random, so that the waiting processes do not all read at the same time.
        let pause = cache_core::jittered(self.0, 0.5);
        // Zero is no information: the lease is still there, and only the clocks differ.
        let remaining = remaining.filter(|remaining| !remaining.is_zero());
        let remaining = remaining.map_or(Duration::MAX, |remaining| {
            remaining.saturating_add(Duration::from_millis(1))
        });
        tokio::time::sleep(pause.min(remaining)).await;
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}
