//! The change feeds that are followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many change feeds are followed, and how many of them have no connection.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    followed: AtomicUsize,
    lost: AtomicUsize,
}

impl Feeds {
    /// Returns how many are followed.
    pub(crate) fn followed(&self) -> usize {
        self.followed.load(Ordering::Relaxed)
    }

    /// Returns how many of them have no connection.
    pub(crate) fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A change feed that is followed until this is dropped.
#[derive(Debug)]
pub(crate) struct FollowedFeed {
    feeds: Arc<Feeds>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unconnected,
    Connected,
    Lost,
}

impl FollowedFeed {
    /// Counts a feed that has no connection yet.
    pub(crate) fn new(feeds: &Arc<Feeds>) -> Self {
        feeds.followed.fetch_add(1, Ordering::Relaxed);
        feeds.lost.fetch_add(1, Ordering::Relaxed);
        Self {
            feeds: Arc::clone(feeds),
            state: State::Unconnected,
        }
    }

    /// Notes that the feed is connected. Returns whether it was not before.
    pub(crate) fn connected(&mut self) -> bool {
        let before = std::mem::replace(&mut self.state, State::Connected);
        if before != State::Connected {
            self.feeds.lost.fetch_sub(1, Ordering::Relaxed);
        }
        before != State::Connected
    }

    /// Notes that the feed has no connection. Returns whether that is news.
    pub(crate) fn lost(&mut self) -> bool {
        let before = std::mem::replace(&mut self.state, State::Lost);
        if before == State::Connected {
            self.feeds.lost.fetch_add(1, Ordering::Relaxed);
        }
        before != State::Lost
    }
}

impl Drop for FollowedFeed {
    fn drop(&mut self) {
        self.feeds.followed.fetch_sub(1, Ordering::Relaxed);
        if self.state != State::Connected {
            self.feeds.lost.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
