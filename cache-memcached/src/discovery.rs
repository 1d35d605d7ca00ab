//! The servers of a provider: it is asked for their list now and then, and when a call finds that the list has changed.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Clock, Error, ErrorKind, SystemClock, VersionSource};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::agreement::{Agreement, Proposal, remind};
use crate::error::{configuration, error};
use crate::fleet::Fleet;
use crate::membership::Names;
use crate::nodes::Provider;
use crate::server::{Bounds, Server};
use crate::stream::address;
use crate::transport::Transport;

/// The pause after the first failure. It doubles with each, up to the interval in which the provider is asked.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The pause while other processes use another list.
const BEHIND_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause while calls fail for want of a list.
const DOWN_PAUSE: Duration = Duration::from_secs(2);

/// The limit for longer intervals.
const LONGEST_INTERVAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// For how many intervals other processes may use another list before this one puts its own through.
const PATIENCE: u32 = 2;

#[derive(Debug)]
pub(crate) struct Discovery {
    source: Source,
    state: Arc<Mutex<State>>,
}

/// What is needed to read the list.
#[derive(Clone)]
struct Source {
    provider: Provider,
    transport: Transport,
    bounds: Bounds,
    interval: Duration,
    nonces: Arc<VersionSource>,
}

#[derive(Debug)]
struct State {
    fleet: Option<Arc<Fleet>>,
    /// Closed when the list has been read.
    reading: Option<watch::Receiver<()>>,
    /// When the list is read next.
    due: Instant,
    /// Why the list could not be read the last time.
    failed: Option<Error>,
    pause: Duration,
    /// Since when other processes use another list.
    behind_since: Option<Instant>,
    closed: bool,
}

/// What a call gets.
enum Answer {
    Fleet(Arc<Fleet>),
    Wait(watch::Receiver<()>),
}

impl Discovery {
    pub(crate) fn new(provider: Provider, transport: Transport, bounds: Bounds, interval: Duration) -> Self {
        Self {
            source: Source {
                provider,
                transport,
                bounds,
                // A longer one could not be added to a time.
                interval: interval.min(LONGEST_INTERVAL),
                nonces: Arc::new(VersionSource::new()),
            },
            state: Arc::new(Mutex::new(State {
                fleet: None,
                reading: None,
                due: Instant::now(),
                failed: None,
                pause: FIRST_PAUSE,
                behind_since: None,
                closed: false,
            })),
        }
    }

    /// Returns the servers of now. Waits for them for as long as a call to a server may take.
    pub(crate) async fn current(&self) -> Result<Arc<Fleet>, Error> {
        let limit = self.source.bounds.operation_timeout;
        match self.answer()? {
            Answer::Fleet(fleet) => Ok(fleet),
            Answer::Wait(reading) => timeout(limit, self.after(reading)).await.unwrap_or_else(|_| {
                Err(error(
                    ErrorKind::Timeout,
                    format!("the list of servers is being read, and was not there within {limit:?}"),
                ))
            }),
        }
    }

    /// As [`current`](Self::current), but waits for as long as it takes to read the list once.
    pub(crate) async fn first(&self) -> Result<Arc<Fleet>, Error> {
        match self.answer()? {
            Answer::Fleet(fleet) => Ok(fleet),
            Answer::Wait(reading) => self.after(reading).await,
        }
    }

    /// Returns the servers that were used last.
    pub(crate) fn known(&self) -> Option<Arc<Fleet>> {
        self.state.lock().fleet.clone()
    }

    /// Closes all connections, also those of servers that a reading of the list is about to find.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        if let Some(fleet) = &state.fleet {
            fleet.close();
        }
    }

    async fn after(&self, mut reading: watch::Receiver<()>) -> Result<Arc<Fleet>, Error> {
        // An error means that the list has been read, or that the runtime which read it has ended.
        while reading.changed().await.is_ok() {}
        let state = self.state.lock();
        match (&state.fleet, &state.failed) {
            (Some(fleet), _) if !fleet.is_outdated() => Ok(Arc::clone(fleet)),
            (_, Some(failed)) => Err(failed.clone()),
            _ => Err(error(ErrorKind::Unavailable, "the list of servers has changed again")),
        }
    }

    fn answer(&self) -> Result<Answer, Error> {
        let mut state = self.state.lock();
        let is_due = Instant::now() >= state.due;
        let reading = state.reading.clone().filter(|reading| reading.has_changed().is_ok());
        match state.fleet.clone().filter(|fleet| !fleet.is_outdated()) {
            Some(fleet) => {
                // After a time without calls, the list may be any age.
                let is_overdue = Instant::now() >= state.due + self.source.interval;
                match reading {
                    None if is_overdue => Ok(Answer::Wait(self.read(&mut state))),
                    None if is_due => {
                        self.read(&mut state);
                        Ok(Answer::Fleet(fleet))
                    }
                    _ => Ok(Answer::Fleet(fleet)),
                }
            }
            None => match (reading, &state.failed) {
                (Some(reading), _) => Ok(Answer::Wait(reading)),
                (None, Some(failed)) if !is_due => Err(failed.clone()),
                (None, _) => Ok(Answer::Wait(self.read(&mut state))),
            },
        }
    }

    /// Begins to read the list. It goes on if the caller leaves.
    fn read(&self, state: &mut State) -> watch::Receiver<()> {
        let (done, reading) = watch::channel(());
        state.reading = Some(reading.clone());
        let (source, shared) = (self.source.clone(), Arc::clone(&self.state));
        let (fleet, behind_since) = (state.fleet.clone(), state.behind_since);
        let insists = behind_since.is_some_and(|since| since.elapsed() >= source.interval * PATIENCE);
        tokio::spawn(async move {
            let reading = AssertUnwindSafe(source.read(fleet.as_deref(), insists)).catch_unwind();
            let outcome = reading.await.unwrap_or_else(|_| {
                Err(error(
                    ErrorKind::Unavailable,
                    "the provider of the list of servers panicked",
                ))
            });
            shared.lock().settle(outcome, source.interval);
            drop(done);
        });
        reading
    }
}

fn warn_of(problem: &Error) {
    tracing::warn!(
        target: "cache",
        error = %problem,
        "memcached: the list of servers cannot be read; the last one is kept"
    );
}

/// The outcome of reading the list.
enum Read {
    /// It is the same as before.
    Unchanged,
    Changed(Fleet),
    Behind(Error),
}

impl Source {
    async fn read(&self, fleet: Option<&Fleet>, mut insists: bool) -> Result<Read, Error> {
        let is_outdated = fleet.is_none_or(Fleet::is_outdated);
        let current = fleet.and_then(Fleet::membership);
        let (list, provider_failed) = match (self.provider.names().await, current) {
            (Ok(list), _) => (list, None),
            // A server has forgotten what it belongs to, or other processes have another list. The last list of this one
            // decides, though not against that of the others.
            (Err(problem), Some(current)) if is_outdated => {
                insists = false;
                (current.list(), Some(problem))
            }
            (Err(problem), _) => return Err(problem),
        };
        if let (Some(fleet), Some(current)) = (fleet, current)
            && !is_outdated
            && current.is_of(&list)
        {
            remind(fleet.servers(), current).await;
            return Ok(Read::Unchanged);
        }
        let known = fleet.map_or(&[][..], Fleet::servers);
        let servers = self.servers(&list, known)?;
        let leaving: Vec<Arc<Server>> = known
            .iter()
            .filter(|server| !list.names.contains(server.name()))
            .cloned()
            .collect();
        let proposal = Proposal {
            list: &list,
            servers: &servers,
            leaving: &leaving,
            current,
            insists,
            reach: &|name| self.reach(name),
        };
        let nonce = || {
            let version = self.nonces.next().as_u128();
            (version >> 64) as u64 ^ version as u64
        };
        let agreed = proposal.agree(SystemClock.now().as_millis(), nonce).await;
        let agreed = agreed.map_err(|problem| match &provider_failed {
            Some(failed) => {
                let message = format!("{}; and the provider of the list failed: {failed}", problem.message());
                error(problem.kind(), message).with_retryable(problem.is_retryable())
            }
            None => problem,
        })?;
        Ok(match agreed {
            Agreement::Reached(membership) => {
                if let Some(failed) = &provider_failed {
                    warn_of(failed);
                }
                if !leaving.is_empty() || servers.len() != known.len() {
                    tracing::info!(target: "cache", servers = ?list.names, "memcached: the list of servers has changed");
                }
                Read::Changed(Fleet::changing(servers, membership))
            }
            Agreement::Behind(other) => {
                let theirs: Vec<&String> = other.members.keys().collect();
                let own = match &provider_failed {
                    None => format!("the provider of this one names {:?}", list.names),
                    Some(failed) => format!(
                        "the provider of this one, which named {:?}, failed: {failed}",
                        list.names
                    ),
                };
                let message = format!("other processes use the servers {theirs:?}, and {own}");
                Read::Behind(error(ErrorKind::Unavailable, message))
            }
        })
    }

    /// Returns the servers of a list. Those that are known keep their connections.
    fn servers(&self, list: &Names, known: &[Arc<Server>]) -> Result<Vec<Arc<Server>>, Error> {
        let known: HashMap<&str, &Arc<Server>> = known.iter().map(|server| (server.name(), server)).collect();
        let servers = list.names.iter().map(|name| {
            if let Some(server) = known.get(name.as_str()) {
                return Ok(Arc::clone(server));
            }
            self.reach(name)
        });
        servers.collect()
    }

    fn reach(&self, name: &str) -> Result<Arc<Server>, Error> {
        let address = address(name).map_err(configuration)?;
        let connector = self.transport.connector(address);
        Ok(Arc::new(Server::new(name.to_owned(), connector, &self.bounds)))
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl State {
    fn settle(&mut self, outcome: Result<Read, Error>, interval: Duration) {
        let now = Instant::now();
        let behind_since = self.behind_since.take();
        self.due = now + interval;
        match outcome {
            Ok(read) => {
                self.pause = FIRST_PAUSE;
                self.failed = None;
                match read {
                    Read::Unchanged => {}
                    Read::Changed(fleet) => {
                        if self.closed {
                            fleet.close();
                        }
                        self.fleet = Some(Arc::new(fleet));
                    }
                    Read::Behind(problem) => {
                        if behind_since.is_none() {
                            tracing::warn!(target: "cache", error = %problem, "memcached: the list of servers");
                        }
                        self.behind_since = behind_since.or(Some(now));
                        self.due = now + BEHIND_PAUSE.min(interval);
                        self.failed = Some(problem);
                    }
                }
            }
            Err(problem) => {
                // At most one line for each attempt, whose pauses grow.
                warn_of(&problem);
                self.behind_since = behind_since;
                let pause = self.pause.min(interval);
                self.pause = (pause * 2).min(interval);
                // While there is a list to go on with, the failure concerns no call.
                if self.fleet.as_ref().is_some_and(|fleet| !fleet.is_outdated()) {
                    self.due = now + pause;
                    self.failed = None;
                } else {
                    self.due = now + pause.min(DOWN_PAUSE);
                    self.failed = Some(problem);
                }
            }
        }
    }
}
