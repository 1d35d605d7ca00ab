//! The connections to one server, which calls share.
//!
//! One connection carries many calls, and does so the better the more there are: what is queued at the same time is sent
//! together. Another one is opened only while each has many calls, or is busy with a large value, which holds up the calls
//! after it.

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
use crate::stream::Connector;

/// The calls that each connection has before another one is opened.
const SHARE: usize = 32;

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

    /// Returns the connection on which a call is answered soonest.
    fn best(&self) -> Option<&Arc<Line>> {
        self.open.iter().min_by_key(|line| {
            // A server that accepts connections which it does not serve gets few calls on them.
            let doubt = if line.has_answered() { 0 } else { SHARE - 1 };
            (line.is_held_up(), line.in_flight() + doubt)
        })
    }

    /// Returns whether another connection is opened besides those that are open, of which this is the best.
    fn needs_another(&self, best: &Line, most: usize) -> bool {
        (best.is_held_up() || best.in_flight() >= SHARE)
            && self.open.len() < most
            && self.opening.is_none()
            && self.not_before.is_none_or(|time| Instant::now() >= time)
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

    /// Returns the connection on which a call is answered soonest. Opens one if there is none.
    pub(crate) async fn line(&self) -> Result<Arc<Line>, Fault> {
        for _ in 0..ATTEMPTS {
            let opening = {
                let mut lines = self.lines.lock();
                if lines.is_closed {
                    return Err(Fault::Closed);
                }
                lines.tidy();
                match lines.best().cloned() {
                    Some(line) => {
                        if lines.needs_another(&line, self.most) {
                            // For the calls to come.
                            lines.opening = Some(self.open());
                        }
                        return Ok(line);
                    }
                    None => lines.opening.get_or_insert_with(|| self.open()).0.clone(),
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

    /// Opens a connection in a task of its own, since several calls may wait for it. Call this with the lock held.
    fn open(&self) -> (Opening, AbortHandle) {
        let (lines, connecting) = (Arc::clone(&self.lines), (self.connector)(self.name.clone()));
        let (limit, silence) = (self.connect_timeout, self.silence);
        let task = tokio::spawn(async move {
            let opened = match tokio::time::timeout(limit, connecting).await {
                Ok(Ok(stream)) => Ok(Line::start(stream, silence)),
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
