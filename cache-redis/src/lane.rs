//! A lane: one client of fred's, which multiplexes calls over one connection to each server, and its supervisor.
//!
//! fred reconnects by itself when a connection breaks. It does not if a server keeps the connection open and stops
//! answering while there is traffic, if a full socket blocks its task, or if that task ends with an error. So the
//! supervisor replaces a client that has ended, or that has not answered for as long as a call may take.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cache_core::{Error, ErrorKind};
use fred::clients::Client;
use fred::interfaces::{AuthInterface, ClientLike, ClusterInterface, EventInterface};
use fred::types::config::Options;
use fred::types::{Builder, ClusterHash, ConnectHandle, CustomCommand, Value};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::credentials::fetch;
use crate::error::{self, from_fred};
use crate::gather::Gathering;

/// The pause between two attempts of the supervisor, which tries only after fred has given up.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The shortest time between two updates of the Cluster's slots because of a node that does not answer.
const SYNC_AFTER: Duration = Duration::from_secs(2);

/// The pause after credentials could not be refreshed.
const REFRESH_AFTER: Duration = Duration::from_secs(5);

pub(crate) struct Lane {
    client: RwLock<Client>,
    origin: Instant,
    /// Milliseconds from `origin` to the last answer.
    answered: AtomicU64,
    replace: Notify,
    last_error: Mutex<Option<Error>>,
    syncing: AtomicBool,
    doubted: AtomicBool,
    /// Whether the first attempt to connect has ended, with or without success.
    attempted: watch::Sender<bool>,
    /// `None` for a client from a user's pool.
    supervisor: Option<Supervisor>,
    /// How often the connections are authenticated again.
    refresh: Option<Duration>,
    gathering: Arc<Gathering>,
}

/// The task that supervises a client, and the builder for new clients.
struct Supervisor {
    builder: Builder,
    task: RwLock<Option<AbortHandle>>,
}

impl Lane {
    /// Makes a lane over a client from a user's pool.
    pub(crate) fn over(client: Client) -> Arc<Self> {
        let lane = Self::new(client, None, None);
        lane.attempted.send_replace(true);
        Arc::new(lane)
    }

    fn new(client: Client, builder: Option<&Builder>, refresh: Option<Duration>) -> Self {
        Self {
            client: RwLock::new(client),
            origin: Instant::now(),
            answered: AtomicU64::new(0),
            replace: Notify::new(),
            last_error: Mutex::new(None),
            syncing: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            attempted: watch::Sender::new(false),
            refresh,
            gathering: Arc::default(),
            supervisor: builder.map(|builder| Supervisor {
                builder: builder.clone(),
                task: RwLock::new(None),
            }),
        }
    }

    /// Starts the supervisor on the caller's runtime.
    fn supervise(self: &Arc<Self>, router: Option<Router>) {
        if let Some(supervisor) = &self.supervisor {
            let task = tokio::spawn(supervise(self.clone(), supervisor.builder.clone(), router));
            *supervisor.task.write() = Some(task.abort_handle());
        }
    }

    /// Starts again on the caller's runtime if the client's runtime has ended, and its connections with it.
    pub(crate) fn revive(self: &Arc<Self>) {
        let Some(supervisor) = &self.supervisor else { return };
        let ended = |task: &Option<AbortHandle>| task.as_ref().is_some_and(AbortHandle::is_finished);
        if !ended(&supervisor.task.read()) || Handle::try_current().is_err() {
            return;
        }
        let mut task = supervisor.task.write();
        if !ended(&task) {
            return;
        }
        if let Ok(client) = supervisor.builder.build() {
            *self.client.write() = client;
            *self.last_error.lock() = None;
            self.attempted.send_replace(false);
            self.heard();
            let supervised = tokio::spawn(supervise(self.clone(), supervisor.builder.clone(), None));
            *task = Some(supervised.abort_handle());
        }
    }

    /// Ends the supervisor.
    pub(crate) fn abort(&self) {
        if let Some(task) = self
            .supervisor
            .as_ref()
            .and_then(|supervisor| supervisor.task.read().clone())
        {
            task.abort();
        }
    }

    /// Returns whether this crate supervises the client.
    pub(crate) fn is_supervised(&self) -> bool {
        self.supervisor.is_some()
    }

    /// Waits until the first attempt to connect has ended, with or without success.
    pub(crate) async fn attempted(&self) {
        // There is no error, since `self` owns the sender.
        let _ = self.attempted.subscribe().wait_for(|attempted| *attempted).await;
    }

    pub(crate) fn was_attempted(&self) -> bool {
        *self.attempted.borrow()
    }

    /// Makes a lane that connects in the background.
    pub(crate) fn start(builder: &Builder, refresh: Option<Duration>) -> Result<Arc<Self>, Error> {
        let client = builder.build().map_err(|error| from_fred(&error))?;
        let lane = Arc::new(Self::new(client, Some(builder), refresh));
        lane.supervise(None);
        Ok(lane)
    }

    /// Makes a lane, and returns when it is connected.
    pub(crate) async fn connect(builder: &Builder, refresh: Option<Duration>) -> Result<Arc<Self>, Error> {
        let client = builder.build().map_err(|error| from_fred(&error))?;
        let lane = Arc::new(Self::new(client.clone(), Some(builder), refresh));
        let mut router = Router::start(&client);
        tokio::select! {
            ended = router.ended() => Err(ended),
            () = connected(&client) => {
                lane.attempted.send_replace(true);
                lane.supervise(Some(router));
                Ok(lane)
            }
        }
    }

    /// Returns how often the connections are authenticated again.
    pub(crate) fn refresh(&self) -> Option<Duration> {
        self.refresh
    }

    /// Returns the commands that wait to be sent together.
    pub(crate) fn gathering(&self) -> &Arc<Gathering> {
        &self.gathering
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.read().is_connected()
    }

    pub(crate) fn client(&self) -> Client {
        self.client.read().clone()
    }

    /// Returns why there is no connection, if that is known.
    pub(crate) fn last_error(&self) -> Option<Error> {
        self.last_error.lock().clone()
    }

    /// Records that the server answered. Called for every answer.
    pub(crate) fn heard(&self) {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.answered.store(now, Ordering::Relaxed);
    }

    /// Pings the server of a call that its caller dropped before the answer, given by the call's options, unless a ping
    /// is already in flight.
    pub(crate) fn doubt(self: &Arc<Self>, options: Options) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.is_supervised() || self.doubted.swap(true, Ordering::AcqRel) {
            return;
        }
        let lane = self.clone();
        runtime.spawn(async move {
            let ping = CustomCommand::new_static("PING", ClusterHash::Random, false);
            let client = lane.client().with_options(&options);
            match client.custom_raw(ping, Vec::<Value>::new()).await {
                Ok(_) => lane.heard(),
                Err(error) if from_fred(&error).kind() == ErrorKind::Timeout => {
                    lane.missed(options.timeout.unwrap_or_default());
                }
                // There is no connection, and the supervisor knows it.
                Err(_) => {}
            }
            lane.doubted.store(false, Ordering::Release);
        });
    }

    /// Records that a call timed out. Called for every such call.
    pub(crate) fn missed(self: &Arc<Self>, timeout: Duration) {
        if !self.is_supervised() {
            return;
        }
        let answered = Duration::from_millis(self.answered.load(Ordering::Relaxed));
        if self.origin.elapsed().saturating_sub(answered) >= timeout {
            self.replace.notify_one();
        } else if self.client.read().client_config().server.is_clustered() && !self.syncing.swap(true, Ordering::AcqRel)
        {
            // One node does not answer and others do. If it was replaced, the others know by which node.
            let lane = self.clone();
            tokio::spawn(async move {
                // The result shows in the next calls.
                let _ = lane.client().sync_cluster().await;
                tokio::time::sleep(SYNC_AFTER).await;
                lane.syncing.store(false, Ordering::Release);
            });
        }
    }
}

/// fred's task for a client. Dropping this ends it.
struct Router(ConnectHandle);

impl Router {
    fn start(client: &Client) -> Self {
        Self(client.connect())
    }

    async fn ended(&mut self) -> Error {
        match (&mut self.0).await {
            Ok(Err(error)) => from_fred(&error),
            Ok(Ok(())) => error::error(ErrorKind::Unavailable, "the connection was closed"),
            Err(panic) => error::error(ErrorKind::Unavailable, format!("the client failed: {panic}")),
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until the client is connected.
async fn connected(client: &Client) {
    while !client.is_connected() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Authenticates the client's connections again and again, with what the provider of credentials returns.
async fn refresh_credentials(lane: &Lane, client: &Client) -> Infallible {
    let config = client.client_config();
    let (Some(refresh), Some(provider)) = (lane.refresh, &config.credential_provider) else {
        return std::future::pending().await;
    };
    let mut pause = refresh;
    loop {
        tokio::time::sleep(pause).await;
        let refreshed = match fetch(&**provider, None).await {
            Ok([username, password]) if client.is_connected() => client.auth(Some(username), password).await,
            // A connection that is being made fetches its own.
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        pause = match refreshed {
            Ok(()) => refresh,
            // The connection is still that of the credentials from before.
            Err(error) => {
                *lane.last_error.lock() = Some(from_fred(&error));
                refresh.min(REFRESH_AFTER)
            }
        };
    }
}

/// Keeps the lane's client running until the task is aborted.
async fn supervise(lane: Arc<Lane>, builder: Builder, mut router: Option<Router>) {
    loop {
        let client = lane.client();
        let mut errors = client.error_rx();
        let mut running = router.take().unwrap_or_else(|| Router::start(&client));
        let refreshing = refresh_credentials(&lane, &client);
        tokio::pin!(refreshing);
        let ended = loop {
            tokio::select! {
                never = &mut refreshing => match never {},
                error = running.ended() => break error,
                () = lane.replace.notified() => {
                    break error::error(ErrorKind::Unavailable, "the server stopped answering");
                }
                Ok((error, _)) = errors.recv() => {
                    *lane.last_error.lock() = Some(from_fred(&error));
                    lane.attempted.send_replace(true);
                }
                () = connected(&client), if !lane.was_attempted() => {
                    lane.attempted.send_replace(true);
                }
            }
        };
        *lane.last_error.lock() = Some(ended);
        lane.attempted.send_replace(true);
        drop(running);
        // A new client does not depend on the state of the old one, whose calls fail.
        if let Ok(client) = builder.build() {
            *lane.client.write() = client;
            lane.heard();
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}
