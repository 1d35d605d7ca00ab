use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cache_core::{Change, Error, ErrorKind, Subscription, async_trait};
use tokio::sync::Notify;

/// Tells listeners of changes, unless it is held up or broken.
#[derive(Debug, Clone, Default)]
pub struct Teller(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// For each listener that was ever there.
    queues: Vec<VecDeque<Change>>,
    held: bool,
    broken: bool,
    /// So many of the listeners are told nothing more.
    ended: usize,
}

impl Teller {
    pub fn tell(&self, notice: Change) {
        let mut state = self.0.state.lock().unwrap();
        if !state.broken {
            for queue in &mut state.queues {
                queue.push_back(notice.clone());
            }
        }
        self.0.woken.notify_waiters();
    }

    /// Nothing arrives from now on, not even signs of life, until it is let go.
    pub fn hold(&self) {
        self.0.state.lock().unwrap().held = true;
    }

    pub fn let_go(&self) {
        self.0.state.lock().unwrap().held = false;
        self.0.woken.notify_waiters();
    }

    /// Tells of changes of one key that wait to be told of as of one.
    pub fn merge(&self) {
        for queue in &mut self.0.state.lock().unwrap().queues {
            let mut told = std::collections::HashSet::new();
            queue.retain(|notice| match notice {
                Change::Record(key) => told.insert(key.clone()),
                _ => true,
            });
        }
    }

    /// Forgets what waits to be told of.
    pub fn swallow(&self) {
        for queue in &mut self.0.state.lock().unwrap().queues {
            queue.clear();
        }
    }

    /// Breaks all streams; what changes from now on is told to nobody.
    pub fn break_off(&self) {
        self.tell(Change::Lost(Error::new(ErrorKind::Unavailable, "broken off")));
        self.0.state.lock().unwrap().broken = true;
    }

    /// The streams are there again.
    pub fn mend(&self) {
        self.0.state.lock().unwrap().broken = false;
        self.tell(Change::Everything);
    }

    /// Ends all streams, as a store does that is closed.
    pub fn end(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.ended = state.queues.len();
        drop(state);
        self.0.woken.notify_waiters();
    }

    /// How many have ever listened.
    pub fn listeners(&self) -> usize {
        self.0.state.lock().unwrap().queues.len()
    }

    pub fn listen(&self, beat: Duration) -> Box<dyn Subscription> {
        let mut state = self.0.state.lock().unwrap();
        state.queues.push(VecDeque::new());
        Box::new(Stream {
            teller: self.clone(),
            number: state.queues.len() - 1,
            beat,
        })
    }
}

#[derive(Debug)]
struct Stream {
    teller: Teller,
    number: usize,
    beat: Duration,
}

impl Stream {
    fn take(&self) -> (Option<Change>, bool) {
        let mut state = self.teller.0.state.lock().unwrap();
        if state.held {
            return (None, true);
        }
        (state.queues[self.number].pop_front(), state.broken)
    }
}

#[async_trait]
impl Subscription for Stream {
    async fn next(&mut self) -> Option<Change> {
        loop {
            let woken = self.teller.0.woken.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let asked = tokio::time::Instant::now();
            if self.number < self.teller.0.state.lock().unwrap().ended {
                return None;
            }
            match self.take() {
                (Some(notice), _) => return Some(notice),
                (None, true) => woken.await,
                (None, false) => {
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep(self.beat) => {
                            // Nothing came in the meantime, or it is still in the queue.
                            if let (None, false) = self.take_if_empty() {
                                return Some(Change::Heartbeat(asked.into_std()));
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Stream {
    fn take_if_empty(&self) -> (Option<()>, bool) {
        let state = self.teller.0.state.lock().unwrap();
        let waiting = state.queues[self.number].front().map(|_| ());
        (waiting, state.broken || state.held)
    }
}
