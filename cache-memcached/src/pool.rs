//! The connections to one server, which calls share.
//!
//! One connection carries many calls, and does so the better the more there are: what is queued at the same time is sent
//! together. Another one is opened only while each has many calls, so that a large value does not hold up all others.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::error::Fault;
use crate::line::Line;
use crate::stream::Connector;

/// The calls that each connection has before another one is opened.
const SHARE: usize = 16;

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
    is_closed: bool,
}

impl Lines {
    /// Forgets the connections that have ended, and an attempt that ended with its runtime or by a panic.
    fn tidy(&mut self) {
        self.open.retain(|line| line.is_open());
        // Otherwise the task itself has removed it.
        self.opening.take_if(|(_, task)| task.is_finished());
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

    /// Returns the connection with the fewest calls. Opens one if there is none.
    pub(crate) async fn line(&self) -> Result<Arc<Line>, Fault> {
        for _ in 0..ATTEMPTS {
            let opening = {
                let mut lines = self.lines.lock();
                if lines.is_closed {
                    return Err(Fault::Closed);
                }
                lines.tidy();
                match lines.open.iter().min_by_key(|line| line.in_flight()).cloned() {
                    Some(line) => {
                        if line.in_flight() >= SHARE && lines.open.len() < self.most && lines.opening.is_none() {
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
            if let Ok(line) = &opened {
                if lines.is_closed {
                    line.close();
                } else {
                    lines.open.push(Arc::clone(line));
                }
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
