//! The test process's side of a worker.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

use crate::worker::protocol::{Action, Answer, CacheId, Order, Outcome, Report, Settings};

/// A worker process. It ends with the last handle, or with the test process.
pub struct Worker {
    child: Mutex<Child>,
    shared: Arc<Shared>,
}

/// The worker ended, or was killed, before it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// A load that has begun and waits for its answer. Without one it waits for ever.
#[derive(Debug)]
pub struct LoadAsk {
    /// The call whose loader it is.
    pub call: u64,
    load: u64,
    orders: mpsc::UnboundedSender<Order>,
}

impl LoadAsk {
    /// Sends the answer.
    pub fn answer(self, answer: Answer) {
        let _ = self.orders.send(Order::Answer {
            load: self.load,
            answer,
        });
    }
}

struct Shared {
    orders: mpsc::UnboundedSender<Order>,
    /// The calls that have not ended; `None` after the worker has ended.
    pending: Mutex<Option<HashMap<u64, oneshot::Sender<Outcome>>>>,
}

impl Worker {
    /// Starts `program`, which is `cache-worker`, on the store at `url`. Calls `loads` for every load; it must return
    /// quickly.
    ///
    /// # Panics
    /// Panics if the worker cannot be started or does not reach its store.
    pub async fn start(program: &Path, url: &str, loads: impl Fn(LoadAsk) + Send + Sync + 'static) -> Self {
        let mut child = Command::new(program)
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
        let stdin = child.stdin.take().expect("piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut first = String::new();
        let ready = stdout.read_line(&mut first).await.is_ok() && !first.is_empty();
        assert!(ready, "the worker on {url} did not start: see above");
        let (orders, outgoing) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            orders,
            pending: Mutex::new(Some(HashMap::new())),
        });
        tokio::spawn(write(stdin, outgoing));
        tokio::spawn(read(stdout, Arc::clone(&shared), loads));
        Self {
            child: Mutex::new(child),
            shared,
        }
    }

    /// Opens a cache. Later orders can use it.
    pub fn open(&self, cache: CacheId, settings: Settings) {
        self.order(Order::Open { cache, settings });
    }

    /// Starts an action on a cache. `call` is a unique number. The action has begun when this returns; the future waits
    /// for its end.
    ///
    /// # Errors
    /// Fails if the worker has ended.
    pub fn act(
        &self,
        cache: CacheId,
        call: u64,
        action: Action,
    ) -> impl Future<Output = Result<Outcome, Gone>> + use<> {
        self.call(call, Order::Do { cache, call, action })
    }

    /// Closes a cache after its work has ended, and deletes `keys`.
    ///
    /// # Errors
    /// The worker is gone.
    pub fn close(
        &self,
        cache: CacheId,
        call: u64,
        keys: Vec<String>,
    ) -> impl Future<Output = Result<Outcome, Gone>> + use<> {
        self.call(call, Order::Close { cache, call, keys })
    }

    /// Kills the worker as `kill -9` does, and waits until it has ended.
    pub async fn kill(&self) {
        let _ = self.child().start_kill();
        while matches!(self.child().try_wait(), Ok(None)) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// Suspends the worker, as on a suspended machine: it does nothing until it is [resumed](Self::resume), and time
    /// goes on.
    pub async fn stop(&self) {
        self.signal("STOP").await;
    }

    /// Ends [`stop`](Self::stop).
    pub async fn resume(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let id = self.child().id().expect("it has not ended").to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -s $0 $1", name, &id])
            .status()
            .await;
        assert!(sent.is_ok_and(|status| status.success()), "no {name} to {id}");
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, call: u64, order: Order) -> impl Future<Output = Result<Outcome, Gone>> + use<> {
        let (send, receive) = oneshot::channel();
        if let Some(pending) = &mut *self.shared.pending() {
            pending.insert(call, send);
            self.order(order);
        }
        async move { receive.await.map_err(|_| Gone) }
    }

    fn order(&self, order: Order) {
        let _ = self.shared.orders.send(order);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("id", &self.child().id())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn pending(&self) -> std::sync::MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Outcome>>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(mut stdin: ChildStdin, mut orders: mpsc::UnboundedReceiver<Order>) {
    let (mut batch, mut lines) = (Vec::new(), Vec::new());
    while orders.recv_many(&mut batch, 256).await > 0 {
        for order in batch.drain(..) {
            serde_json::to_writer(&mut lines, &order).expect("an order is always JSON");
            lines.push(b'\n');
        }
        // The reading side notices that the worker has ended.
        if stdin.write_all(&lines).await.is_err() {
            return;
        }
        lines.clear();
    }
}

async fn read(stdout: BufReader<ChildStdout>, shared: Arc<Shared>, loads: impl Fn(LoadAsk)) {
    let mut lines = stdout.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // The last line of a killed worker may be cut.
        let Ok(report) = serde_json::from_str(&line) else { break };
        match report {
            Report::Ready => {}
            Report::Done { call, outcome } => {
                let caller = shared.pending().as_mut().and_then(|pending| pending.remove(&call));
                if let Some(caller) = caller {
                    let _ = caller.send(outcome);
                }
            }
            Report::Load { call, load } => loads(LoadAsk {
                call,
                load,
                orders: shared.orders.clone(),
            }),
        }
    }
    // Ends the calls that wait for the worker.
    *shared.pending() = None;
}
