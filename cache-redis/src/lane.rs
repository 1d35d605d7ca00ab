//! One client of fred's, which multiplexes all calls over one connection to each server, and its supervisor.
//!
//! fred reconnects by itself when a connection breaks. It does not where a server keeps its connections and says
//! nothing, as long as there is traffic; where a full socket keeps its task from running; and where that task ends with
//! an error. So the supervisor replaces a client that has ended, or that has not answered for as long as a call may
//! take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cache_core::{Error, ErrorKind};
use fred::clients::Client;
use fred::interfaces::{ClientLike, ClusterInterface, EventInterface};
use fred::types::config::Options;
use fred::types::{Builder, ClusterHash, ConnectHandle, CustomCommand, Value};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::error::{self, from_fred};

/// Between two attempts of the supervisor, which makes them only where fred has given up.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Between two looks at the Cluster's map of slots that a silent node gives cause for.
const SYNC_AFTER: Duration = Duration::from_secs(2);

pub(crate) struct Lane {
    client: RwLock<Client>,
    origin: Instant,
    /// Milliseconds from `origin` to the last answer of any kind.
    answered: AtomicU64,
    replace: Notify,
    last_error: Mutex<Option<Error>>,
    syncing: AtomicBool,
    doubted: AtomicBool,
    /// Whether the first attempt to connect has ended, in whatever way.
    attempted: watch::Sender<bool>,
    /// None of a client that somebody else looks after.
    supervisor: Option<Supervisor>,
}

/// The task that looks after a client, and what it makes clients from.
struct Supervisor {
    builder: Builder,
    task: RwLock<Option<AbortHandle>>,
}

impl Lane {
    /// A lane over a client that somebody else looks after.
    pub(crate) fn over(client: Client) -> Arc<Self> {
        let lane = Self::new(client, None);
        lane.attempted.send_replace(true);
        Arc::new(lane)
    }

    fn new(client: Client, builder: Option<&Builder>) -> Self {
        Self {
            client: RwLock::new(client),
            origin: Instant::now(),
            answered: AtomicU64::new(0),
            replace: Notify::new(),
            last_error: Mutex::new(None),
            syncing: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            attempted: watch::Sender::new(false),
            supervisor: builder.map(|builder| Supervisor {
                builder: builder.clone(),
                task: RwLock::new(None),
            }),
        }
    }

    /// Has a task look after the client, on the runtime of the caller.
    fn supervise(self: &Arc<Self>, router: Option<Router>) {
        if let Some(supervisor) = &self.supervisor {
            let task = tokio::spawn(supervise(self.clone(), supervisor.builder.clone(), router));
            *supervisor.task.write() = Some(task.abort_handle());
        }
    }

    /// Begins anew on the caller's runtime if the one that the client ran on has ended, and its connections with it.
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

    /// Ends the task that looks after the client.
    pub(crate) fn abort(&self) {
        if let Some(task) = self
            .supervisor
            .as_ref()
            .and_then(|supervisor| supervisor.task.read().clone())
        {
            task.abort();
        }
    }

    /// Whether this crate looks after the client.
    pub(crate) fn is_supervised(&self) -> bool {
        self.supervisor.is_some()
    }

    /// Waits until the first attempt to connect has ended, in whatever way.
    pub(crate) async fn attempted(&self) {
        // An error would say that the sender is gone, which is part of `self`.
        let _ = self.attempted.subscribe().wait_for(|attempted| *attempted).await;
    }

    pub(crate) fn was_attempted(&self) -> bool {
        *self.attempted.borrow()
    }

    /// A lane that connects in the background, from now on.
    pub(crate) fn start(builder: &Builder) -> Result<Arc<Self>, Error> {
        let client = builder.build().map_err(|error| from_fred(&error))?;
        let lane = Arc::new(Self::new(client, Some(builder)));
        lane.supervise(None);
        Ok(lane)
    }

    /// A lane that is connected.
    pub(crate) async fn connect(builder: &Builder) -> Result<Arc<Self>, Error> {
        let client = builder.build().map_err(|error| from_fred(&error))?;
        let lane = Arc::new(Self::new(client.clone(), Some(builder)));
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

    pub(crate) fn is_connected(&self) -> bool {
        self.client.read().is_connected()
    }

    pub(crate) fn client(&self) -> Client {
        self.client.read().clone()
    }

    /// Why there is no connection, where it is known.
    pub(crate) fn last_error(&self) -> Option<Error> {
        self.last_error.lock().clone()
    }

    /// To be told of every answer.
    pub(crate) fn heard(&self) {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.answered.store(now, Ordering::Relaxed);
    }

    /// To be told of every call that was given up before it was answered, with its options: asks the same server whether
    /// it is there, unless that is being asked already.
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
                // That there is no connection is known already.
                Err(_) => {}
            }
            lane.doubted.store(false, Ordering::Release);
        });
    }

    /// To be told of every call that was not answered in time.
    pub(crate) fn missed(self: &Arc<Self>, timeout: Duration) {
        if !self.is_supervised() {
            return;
        }
        let answered = Duration::from_millis(self.answered.load(Ordering::Relaxed));
        if self.origin.elapsed().saturating_sub(answered) >= timeout {
            self.replace.notify_one();
        } else if self.client.read().client_config().server.is_clustered() && !self.syncing.swap(true, Ordering::AcqRel)
        {
            // One node is silent and others are not. If it has been replaced, the others know by whom.
            let lane = self.clone();
            tokio::spawn(async move {
                // What comes of it shows in the calls that follow.
                let _ = lane.client().sync_cluster().await;
                tokio::time::sleep(SYNC_AFTER).await;
                lane.syncing.store(false, Ordering::Release);
            });
        }
    }
}

/// The task of fred's that runs a client. It ends with this.
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

/// Keeps the lane's client running until it is aborted itself.
async fn supervise(lane: Arc<Lane>, builder: Builder, mut router: Option<Router>) {
    loop {
        let client = lane.client();
        let mut errors = client.error_rx();
        let mut running = router.take().unwrap_or_else(|| Router::start(&client));
        let ended = loop {
            tokio::select! {
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
        // A new client, so that nothing of the old one's state is in its way: its calls end with an error.
        if let Ok(client) = builder.build() {
            *lane.client.write() = client;
            lane.heard();
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}
