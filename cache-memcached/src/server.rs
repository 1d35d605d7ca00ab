//! One server: each call is bounded in time and counts for or against the server's health.

use std::future::Future;
use std::sync::Weak;
use std::time::Duration;

use cache_core::{Error, ErrorKind};
use tokio::time::{timeout, timeout_at};

use crate::error::{Fault, closed, error};
use crate::health::{Admission, Health, Standing};
use crate::line::Line;
use crate::pool::Pool;
use crate::session::Session;
use crate::stream::Connector;

/// The settings that all servers share.
#[derive(Clone)]
pub(crate) struct Bounds {
    pub(crate) connections: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    /// The number of failures in a row after which a server is down.
    pub(crate) failures: u32,
    /// The time between two probes of a server that is down.
    pub(crate) pause: Duration,
}

#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    pool: Pool,
    health: Health,
    timeout: Duration,
    pause: Duration,
}

impl Server {
    pub(crate) fn new(name: String, connector: Connector, bounds: &Bounds) -> Self {
        Self {
            pool: Pool::new(
                name.clone(),
                connector,
                bounds.connections,
                bounds.connect_timeout,
                bounds.operation_timeout,
            ),
            name,
            health: Health::new(bounds.failures, bounds.pause, bounds.operation_timeout),
            timeout: bounds.operation_timeout,
            pause: bounds.pause,
        }
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Runs `work`, which uses a [`session`](Self::session), within the operation timeout, and records the outcome in the
    /// server's health.
    ///
    /// Fails at once while the server is down, except for one call in each pause, which probes whether it is back.
    pub(crate) async fn call<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Error> {
        match self.health.admit().or_else(|| self.health.probe()) {
            Some(admission) => self.bounded(admission, work).await,
            None => Err(self.down()),
        }
    }

    /// As [`call`](Self::call), but never probes: for servers that must be emptied before they are used again.
    pub(crate) async fn call_if_up<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Error> {
        match self.health.admit() {
            Some(admission) => self.bounded(admission, work).await,
            None => Err(self.down()),
        }
    }

    /// As [`call`](Self::call), even if the server is down. Success ends its pause.
    pub(crate) async fn call_anyway<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Error> {
        self.bounded(self.health.probe_now(), work).await
    }

    /// Sends a `version` command, even if the server is down. An answer ends its pause.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.call_anyway(async { self.session().await?.version().await }).await
    }

    /// Returns whether the server may be used. Empties one that is down and answers the probe that is due.
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

    /// As [`ping`](Self::ping), and empties a server that was down.
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
        let limited = match admission.begun().checked_add(self.timeout) {
            Some(end) => timeout_at(end, work),
            None => timeout(self.timeout, work),
        };
        match limited.await {
            Ok(Ok(answer)) => {
                admission.good();
                Ok(answer)
            }
            Ok(Err(fault)) => {
                let fault = match self.health.has_answered() {
                    true => fault,
                    false => fault.at_first(),
                };
                match &fault {
                    Fault::Closed | Fault::Busy | Fault::Lost(_) => admission.nothing(),
                    Fault::Silent(_) => admission.slow(),
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

    /// The error of a call that is not sent because the server is down.
    fn down(&self) -> Error {
        if self.pool.is_closed() {
            return closed();
        }
        error(
            ErrorKind::Unavailable,
            format!(
                "{}: the server is down; it is probed once every {:?}",
                self.name, self.pause
            ),
        )
    }

    /// Returns a session on the connection that gathers calls now, or else on the one with the fewest.
    pub(crate) async fn session(&self) -> Result<Session<'_>, Fault> {
        Session::new(&self.pool).await
    }

    /// Returns a session on this connection, if it is one to this server and still open.
    pub(crate) fn session_on(&self, line: &Weak<Line>) -> Option<Session<'_>> {
        let line = line.upgrade().filter(|line| self.pool.has(line))?;
        Some(Session::on(&self.pool, line))
    }

    /// The number of open connections.
    pub(crate) fn connections(&self) -> usize {
        self.pool.size()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}
