//! The tokens of leases, so that replacing or removing one takes no read before.
//!
//! A load ends soon after it began, with the lease as it was. A token counts only on the connection that told it: see
//! [`session`](crate::session).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use cache_core::{Timestamp, Version};
use parking_lot::Mutex;

use crate::line::Line;

/// The most tokens that are remembered. The oldest one is forgotten first.
const MOST: usize = 4096;

/// The token of a record.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) line: Weak<Line>,
    pub(crate) token: u64,
    pub(crate) deadline: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: HashMap<Version, Known>,
    /// In the order in which they were noted. Some may be gone.
    order: VecDeque<Version>,
}

impl Tokens {
    /// Remembers the token of a record that this process wrote.
    pub(crate) fn note(&self, version: Version, line: &Arc<Line>, token: u64, deadline: Option<Timestamp>) {
        let known = Known {
            line: Arc::downgrade(line),
            token,
            deadline,
        };
        let mut state = self.0.lock();
        state.known.insert(version, known);
        state.order.push_back(version);
        if state.order.len() > MOST
            && let Some(oldest) = state.order.pop_front()
        {
            state.known.remove(&oldest);
        }
    }

    /// Returns the token of a record, which is used once.
    pub(crate) fn take(&self, version: Version) -> Option<Known> {
        self.0.lock().known.remove(&version)
    }
}
