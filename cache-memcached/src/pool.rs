//! The connections to one server: opening them, lending them out, and closing those that must not be used again.
//!
//! A connection goes back to the pool only if every command sent on it has been answered in full. Otherwise the next
//! caller would read the answer to this caller's command.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use cache_core::Error;
use deadpool::Runtime;
use deadpool::managed::{
    self, Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType,
};

use crate::error::{Fault, configuration};
use crate::session::Session;
use crate::stream::Connector;

#[derive(Debug)]
pub(crate) struct Pool {
    connections: managed::Pool<Opener>,
    connect_timeout: Duration,
}

impl Pool {
    /// A pool of at most `max_connections` to the server called `name`. A caller waits for a free connection for at most
    /// `wait_timeout`.
    pub(crate) fn new(
        name: String,
        connector: Connector,
        max_connections: usize,
        connect_timeout: Duration,
        wait_timeout: Duration,
    ) -> Result<Self, Error> {
        let connections = managed::Pool::builder(Opener { name, connector })
            .max_size(max_connections)
            .create_timeout(Some(connect_timeout))
            .wait_timeout(Some(wait_timeout))
            // The connection that was used last is the least likely to have been closed by the server since.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|problem| configuration(problem.to_string()))?;
        Ok(Self {
            connections,
            connect_timeout,
        })
    }

    /// Lends out a connection that is in step, and opens one if none is idle.
    pub(crate) async fn session(&self) -> Result<PooledSession, Fault> {
        match self.connections.get().await {
            Ok(session) => Ok(PooledSession(Some(session))),
            Err(PoolError::Backend(fault)) => Err(Fault::Io(fault)),
            Err(PoolError::Timeout(TimeoutType::Create)) => Err(Fault::ConnectTimeout(self.connect_timeout)),
            Err(PoolError::Timeout(_)) => Err(Fault::Busy),
            Err(PoolError::Closed) => Err(Fault::Closed),
            Err(problem) => Err(Fault::OutOfStep(problem.to_string())),
        }
    }

    /// The number of open connections, idle or lent out.
    pub(crate) fn size(&self) -> usize {
        self.connections.status().size
    }

    /// Closes the idle connections at once, and each one that is lent out when its operation ends.
    pub(crate) fn close(&self) {
        self.connections.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.connections.is_closed()
    }
}

/// A session that is lent out. Dropping it returns it to the pool if it is in step, and closes the connection if it is
/// not.
pub(crate) struct PooledSession(Option<Object<Opener>>);

impl Drop for PooledSession {
    fn drop(&mut self) {
        if let Some(session) = self.0.take_if(|session| !session.is_in_step()) {
            // Closes the connection and frees its place in the pool.
            drop(Object::take(session));
        }
    }
}

impl Deref for PooledSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        // Only `drop` takes the session out.
        match &self.0 {
            Some(session) => session,
            None => unreachable!("a session is used after it was returned"),
        }
    }
}

impl DerefMut for PooledSession {
    fn deref_mut(&mut self) -> &mut Session {
        match &mut self.0 {
            Some(session) => session,
            None => unreachable!("a session is used after it was returned"),
        }
    }
}

/// Opens the connections of a pool, and checks an idle one before it is lent out.
struct Opener {
    name: String,
    connector: Connector,
}

impl Manager for Opener {
    type Type = Session;
    type Error = std::io::Error;

    async fn create(&self) -> Result<Session, std::io::Error> {
        Ok(Session::new((self.connector)(self.name.clone()).await?))
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<std::io::Error> {
        // A server that restarted has closed its connections. That shows here, so that no call fails.
        if session.is_usable() {
            Ok(())
        } else {
            Err(RecycleError::message("the connection is closed or out of step"))
        }
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
