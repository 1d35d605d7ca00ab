//! The connections to one server, which calls share.
//!
//! What is queued on a connection at the same time is sent together, which costs one system call and wakes the server once.
//! So calls gather on as few connections as keep both sides busy: two, on which client and server take turns, and more of
//! them only while each has many calls, or is busy with a large value, which holds up the calls after it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::error::Fault;
use crate::line::Line;
use crate::protocol::Command;
use crate::stream::Connector;

/// The calls that the only connection has before a second one is opened.
const FEW: usize = 4;

/// The calls that each of several connections has before another one is opened.
const SHARE: usize = 32;

/// The calls that are worth a system call of their own.
const GROUP: usize = 8;

/// The number of calls over which the load is observed.
const WINDOW: usize = 256;

/// The key that is read on a connection before calls use it. No key of the user's is written like this.
const PROBE_KEY: &str = "%~larder-probe";

/// The time after a failure before another connection is opened besides those that are open.
const PAUSE: Duration = Duration::from_secs(1);

/// How often an attempt to connect that ended with its runtime is repeated.
const ATTEMPTS: usize = 2;

pub(crate) struct Pool {
    name: String,
    connector: Connector,
    most: usize,
    connect_timeout: Duration,
    silence: Duration,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    open: Vec<Arc<Line>>,
    /// The connection that is being opened, and its task. All calls wait for the same one if there is no other.
    opening: Option<(Opening, AbortHandle)>,
    /// When another connection may be opened besides those that are open.
    not_before: Option<Instant>,
    /// The place of the connection that the last call was given.
    last: usize,
    load: Load,
    is_closed: bool,
}

impl Lines {
    /// Forgets the connections that have ended, and an attempt that ended with its runtime or by a panic.
    fn tidy(&mut self) {
        // Otherwise the task itself has removed it.
        let mut has_failed = self.opening.take_if(|(_, task)| task.is_finished()).is_some();
        self.open.retain(|line| {
            has_failed |= !line.is_open() && !line.has_answered();
            line.is_open()
        });
        if has_failed {
            self.pause();
        }
    }

    fn pause(&mut self) {
        self.not_before = Some(Instant::now() + PAUSE);
    }

    /// Chooses a connection for a call. Also returns whether another one is to be opened besides those that are open.
    fn choose(&mut self, most: usize) -> Option<(&Arc<Line>, bool)> {
        let (at, least) = self.open.iter().enumerate().min_by_key(|(_, line)| rank(line))?;
        let share = if self.open.len() == 1 { FEW } else { SHARE };
        let needs_another = (least.is_held_up() || least.in_flight() >= share)
            && self.open.len() < most
            && self.opening.is_none()
            && self.not_before.is_none_or(|time| Instant::now() >= time);
        self.load
            .note(1 + self.open.iter().map(|line| line.in_flight()).sum::<usize>());
        let group = self.load.group(self.open.len());
        let joins_last = self.open.get(self.last).is_some_and(|last| {
            let (is_held_up, calls) = rank(last);
            last.is_gathering() && !is_held_up && calls < group
        });
        if !joins_last {
            self.last = at;
        }
        Some((&self.open[self.last], needs_another))
    }
}

/// Returns the lower of two for the connection on which a call is answered sooner.
fn rank(line: &Line) -> (bool, usize) {
    // A server that accepts connections which it does not serve gets few calls on them.
    let doubt = if line.has_answered() { 0 } else { SHARE - 1 };
    (line.is_held_up(), line.in_flight() + doubt)
}

/// How many calls there are at the same time.
#[derive(Default)]
struct Load {
    /// The most among the calls of this window, and of the one before it.
    most: usize,
    most_before: usize,
    /// The calls of this window.
    calls: usize,
}

impl Load {
    /// Notes that there are so many calls, of which one has just come.
    fn note(&mut self, at_once: usize) {
        if self.calls == WINDOW {
            self.most_before = std::mem::take(&mut self.most);
            self.calls = 0;
        }
        self.most = self.most.max(at_once);
        self.calls += 1;
    }

    /// Returns how many calls gather on one of so many connections: its share. With few calls, only two connections are
    /// used.
    fn group(&self, connections: usize) -> usize {
        let most = self.most.max(self.most_before);
        (most / connections).max((most / 2).min(GROUP))
    }
}

type Opening = Shared<BoxFuture<'static, Result<Arc<Line>, Refusal>>>;

/// Why there is no connection, for all calls that waited for it.
#[derive(Debug, Clone)]
enum Refusal {
    Io(io::ErrorKind, String),
    Timeout,
    /// The runtime ended, or the function that connects panicked.
    Cancelled,
}

impl Pool {
    /// A pool of at most `most` connections to the server called `name`. A connection on which a call has waited for
    /// as long as `silence`, and on which nothing has arrived, is closed.
    pub(crate) fn new(
        name: String,
        connector: Connector,
        most: usize,
        connect_timeout: Duration,
        silence: Duration,
    ) -> Self {
        Self {
            name,
            connector,
            most,
            connect_timeout,
            silence,
            lines: Arc::default(),
        }
    }

    /// Returns a connection for a call: the one that gathers calls now, or else the one with the fewest. Opens one if there is
    /// none.
    pub(crate) async fn line(&self) -> Result<Arc<Line>, Fault> {
        for _ in 0..ATTEMPTS {
            let opening = {
                let mut lines = self.lines.lock();
                if lines.is_closed {
                    return Err(Fault::Closed);
                }
                lines.tidy();
                match lines
                    .choose(self.most)
                    .map(|(line, another)| (Arc::clone(line), another))
                {
                    Some((line, needs_another)) => {
                        if needs_another {
                            // For the calls to come.
                            lines.opening = Some(self.open(true));
                        }
                        return Ok(line);
                    }
                    None => lines.opening.get_or_insert_with(|| self.open(false)).0.clone(),
                }
            };
            match opening.await {
                Ok(line) => return Ok(line),
                Err(Refusal::Io(kind, text)) => return Err(Fault::Io(io::Error::new(kind, text))),
                Err(Refusal::Timeout) => return Err(Fault::ConnectTimeout(self.connect_timeout)),
                Err(Refusal::Cancelled) => {}
            }
        }
        Err(Fault::Io(io::Error::other("connecting was cancelled")))
    }

    /// Opens a connection in a task of its own, since several calls may wait for it. One besides others is used once it has
    /// answered. Call this with the lock held.
    fn open(&self, besides_others: bool) -> (Opening, AbortHandle) {
        let (lines, connecting) = (Arc::clone(&self.lines), (self.connector)(self.name.clone()));
        let (limit, silence) = (self.connect_timeout, self.silence);
        let task = tokio::spawn(async move {
            let begun = Instant::now();
            let opened = match tokio::time::timeout(limit, connecting).await {
                Ok(Ok(stream)) => {
                    let line = Line::start(stream, silence);
                    match besides_others && !answers(&line, limit.saturating_sub(begun.elapsed())).await {
                        true => {
                            line.close();
                            Err(Refusal::Timeout)
                        }
                        false => Ok(line),
                    }
                }
                Ok(Err(error)) => Err(Refusal::Io(error.kind(), error.to_string())),
                Err(_) => Err(Refusal::Timeout),
            };
            let mut lines = lines.lock();
            lines.opening = None;
            match &opened {
                Ok(line) if lines.is_closed => line.close(),
                Ok(line) => lines.open.push(Arc::clone(line)),
                Err(_) => lines.pause(),
            }
            opened
        });
        let handle = task.abort_handle();
        let opening = async move { task.await.unwrap_or(Err(Refusal::Cancelled)) };
        (opening.boxed().shared(), handle)
    }

    /// Returns whether this is one of the connections, and open.
    pub(crate) fn has(&self, line: &Arc<Line>) -> bool {
        line.is_open() && self.lines.lock().open.iter().any(|open| Arc::ptr_eq(open, line))
    }

    /// The number of connections that are open or being opened.
    pub(crate) fn size(&self) -> usize {
        let lines = self.lines.lock();
        lines.open.iter().filter(|line| line.is_open()).count() + usize::from(lines.opening.is_some())
    }

    /// Closes each connection as soon as no call waits for an answer on it.
    pub(crate) fn close(&self) {
        let mut lines = self.lines.lock();
        lines.is_closed = true;
        for line in lines.open.drain(..) {
            line.close();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lines.lock().is_closed
    }
}

/// Returns whether the server answers on a connection. Some accept connections which they do not serve.
async fn answers(line: &Line, limit: Duration) -> bool {
    let answer = line.ask(Command::get([PROBE_KEY].into_iter()));
    matches!(tokio::time::timeout(limit, answer).await, Ok(Ok(_)))
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .field("open", &self.lines.lock().open)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_calls_gather_on_two_connections_and_many_on_all() {
        let groups = |at_once: usize| {
            let mut load = Load::default();
            (1..=at_once).for_each(|calls| load.note(calls));
            [2, 4].map(|connections| load.group(connections))
        };
        assert_eq!(groups(1), [0, 0]);
        assert_eq!(groups(8), [4, 4]);
        assert_eq!(groups(16), [8, 8]);
        assert_eq!(groups(64), [32, 16]);
    }

    #[test]
    fn a_peak_is_forgotten() {
        let mut load = Load::default();
        load.note(1000);
        for _ in 0..WINDOW {
            load.note(2);
        }
        assert_eq!(load.group(2), 500);
        for _ in 0..WINDOW {
            load.note(2);
        }
        assert_eq!(load.group(2), 1);
    }
}
