//! One server: its connections, and every call bounded.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use cache_core::{Error, ErrorKind};
use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType,
};

use crate::error::{Fault, closed, configuration, error};
use crate::health::{Admission, Health, Standing};
use crate::session::Session;
use crate::stream::Connector;

/// What is set for every server alike.
#[derive(Clone)]
pub(crate) struct Bounds {
    pub(crate) connections: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) failures: u32,
    pub(crate) pause: Duration,
}

#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    pool: Pool<Opener>,
    health: Health,
    timeout: Duration,
    connect_timeout: Duration,
    pause: Duration,
}

impl Server {
    pub(crate) fn new(name: String, connector: Connector, bounds: &Bounds) -> Result<Self, Error> {
        let opener = Opener {
            name: name.clone(),
            connector,
        };
        let pool = Pool::builder(opener)
            .max_size(bounds.connections)
            .create_timeout(Some(bounds.connect_timeout))
            // Shorter than the whole call, so that the error says what was waited for.
            .wait_timeout(Some(bounds.operation_timeout * 3 / 4))
            // The connection that was used last is the one that most likely still stands.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|problem| configuration(problem.to_string()))?;
        Ok(Self {
            name,
            pool,
            health: Health::new(bounds.failures, bounds.pause, bounds.operation_timeout),
            timeout: bounds.operation_timeout,
            connect_timeout: bounds.connect_timeout,
            pause: bounds.pause,
        })
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Runs a call that takes a [`session`](Self::session), within the time that a call may take, and draws conclusions
    /// about the server's health.
    ///
    /// While the server is left alone the call fails at once, except for one in a while that finds out whether the
    /// server is back.
    pub(crate) async fn call<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Error> {
        match self.health.admit().or_else(|| self.health.probe()) {
            Some(admission) => self.bounded(admission, work).await,
            None => Err(self.left_alone()),
        }
    }

    /// As [`call`](Self::call), where coming back takes more than an answer.
    pub(crate) async fn call_if_up<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Error> {
        match self.health.admit() {
            Some(admission) => self.bounded(admission, work).await,
            None => Err(self.left_alone()),
        }
    }

    /// Asks for a sign of life, whether the server is left alone or not.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let work = async { self.session().await?.version().await };
        self.bounded(self.health.probe_now(), work).await
    }

    /// Empties a server that is back, if it is time to look. Tells whether it may be used.
    pub(crate) async fn rejoin(&self) -> bool {
        match self.health.standing() {
            Standing::Up => true,
            Standing::Down => false,
            Standing::Due => {
                let Some(admission) = self.health.probe() else {
                    return false;
                };
                self.empty(admission).await.is_ok()
            }
        }
    }

    /// As [`ping`](Self::ping), and empties a server that was left alone.
    pub(crate) async fn ping_and_rejoin(&self) -> Result<(), Error> {
        match self.health.standing() {
            Standing::Up => self.ping().await,
            _ => self.empty(self.health.probe_now()).await,
        }
    }

    async fn empty(&self, admission: Admission<'_>) -> Result<(), Error> {
        let work = async { self.session().await?.flush_all().await };
        self.bounded(admission, work).await
    }

    async fn bounded<T>(
        &self,
        admission: Admission<'_>,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(answer)) => {
                admission.good();
                Ok(answer)
            }
            Ok(Err(fault)) => {
                match &fault {
                    Fault::Closed => drop(admission),
                    Fault::Busy => admission.slow(),
                    fault if fault.blames_server() => admission.bad(),
                    _ => admission.good(),
                }
                Err(fault.into_error(&self.name))
            }
            Err(_) => {
                admission.slow();
                Err(error(
                    ErrorKind::Timeout,
                    format!("{}: no answer within {:?}", self.name, self.timeout),
                ))
            }
        }
    }

    fn left_alone(&self) -> Error {
        if self.pool.is_closed() {
            return closed();
        }
        error(
            ErrorKind::Unavailable,
            format!(
                "{}: does not answer, and is asked again once every {:?}",
                self.name, self.pause
            ),
        )
    }

    /// A connection that is in step, for the caller alone.
    pub(crate) async fn session(&self) -> Result<Lent, Fault> {
        match self.pool.get().await {
            Ok(session) => Ok(Lent(Some(session))),
            Err(PoolError::Backend(fault)) => Err(Fault::Io(fault)),
            Err(PoolError::Timeout(TimeoutType::Create)) => Err(Fault::ConnectTimeout(self.connect_timeout)),
            Err(PoolError::Timeout(_)) => Err(Fault::Busy),
            Err(PoolError::Closed) => Err(Fault::Closed),
            Err(problem) => Err(Fault::OutOfStep(problem.to_string())),
        }
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.pool.status().size
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}

/// A session that is lent out. It goes back to the pool in step, or not at all.
pub(crate) struct Lent(Option<Object<Opener>>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(session) = self.0.take_if(|session| !session.is_in_step()) {
            // Closed here and now; its place in the pool is free.
            drop(Object::take(session));
        }
    }
}

impl Deref for Lent {
    type Target = Session;

    fn deref(&self) -> &Session {
        // Only `drop` takes it out.
        match &self.0 {
            Some(session) => session,
            None => unreachable!("a session is used after it was given back"),
        }
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Session {
        match &mut self.0 {
            Some(session) => session,
            None => unreachable!("a session is used after it was given back"),
        }
    }
}

/// Makes the connections of a pool.
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
        // A server that was restarted has ended its connections, and it shows.
        if session.is_usable() {
            Ok(())
        } else {
            Err(RecycleError::message("the connection was ended or is out of step"))
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
