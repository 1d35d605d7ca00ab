//! The lanes to the store, and calls over them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Error, ErrorKind};
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::{Options, Server};
use fred::types::{ClusterHash, CustomCommand, Expiration, Resp3Frame, SetOptions, Value};
use redis_protocol::redis_keyslot;
use tokio::sync::watch;

use crate::error::{closed, error, from_fred, from_server, unexpected};
use crate::gather::{self, Command};
use crate::lane::Lane;
use crate::reply::{Reply, error_text};
use crate::script::{self, Script};
use crate::swap::Swap;

/// How often fred may write a command to a Cluster: once, and again for each redirection, which fred counts as a write.
/// Outside a Cluster the limit is one, since fred would also repeat a command that was in flight when its connection
/// broke.
const CLUSTER_ATTEMPTS: u32 = 3;

/// The destination of a command.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// The owner of the key at this place among the arguments.
    Key(usize),
    /// Any node.
    Any,
    /// This node of the Cluster.
    Node(Server),
}

/// When [`Connection::write`] writes, and what it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// Always. Answers something.
    Always,
    /// Only if there is nothing under the key. Answers something if the string was written.
    IfAbsent,
    /// Only if there is nothing under the key. Answers the string that is there, or `None` if the new one was written.
    OrGet,
}

/// The connections of a backend, which its clones share.
pub(crate) struct Connection {
    lanes: Vec<Arc<Lane>>,
    next: AtomicUsize,
    closed: AtomicBool,
    /// Ends the subscriptions when it is set to true or dropped.
    ended: watch::Sender<bool>,
    in_flight: AtomicUsize,
    most_in_flight: usize,
    timeout: Duration,
    clustered: bool,
}

impl Connection {
    pub(crate) fn new(lanes: Vec<Arc<Lane>>, timeout: Duration, most_in_flight: usize, clustered: bool) -> Self {
        Self {
            lanes,
            next: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            ended: watch::Sender::new(false),
            in_flight: AtomicUsize::new(0),
            most_in_flight,
            timeout,
            clustered,
        }
    }

    pub(crate) fn is_clustered(&self) -> bool {
        self.clustered
    }

    /// Returns how long a call may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns a receiver that becomes true, or loses its sender, when the handle is closed or dropped.
    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    /// Returns the next lane in turn that is connected, or the next one if none is. Waits for the first attempt to
    /// connect, so that a call right after `build` reaches the store.
    pub(crate) async fn lane(&self) -> Result<&Arc<Lane>, Error> {
        let lane = self.next_lane()?;
        if !lane.was_attempted() {
            // Boxed, since a call moves its whole future.
            Box::pin(self.first_attempt(lane)).await?;
        }
        Ok(lane)
    }

    async fn first_attempt(&self, lane: &Lane) -> Result<(), Error> {
        if tokio::time::timeout(self.timeout, lane.attempted()).await.is_err() && !self.closed.load(Ordering::Acquire) {
            return Err(error(
                ErrorKind::Unavailable,
                format!("not connected yet: the first attempt goes on after {:?}", self.timeout),
            ));
        }
        Ok(())
    }

    fn next_lane(&self) -> Result<&Arc<Lane>, Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.lanes.len();
        (0..count)
            .map(|step| &self.lanes[first.wrapping_add(step) % count])
            .inspect(|lane| lane.revive())
            .find(|lane| lane.is_connected())
            .or_else(|| self.lanes.get(first % count))
            .ok_or_else(closed)
    }

    /// Sends a command, and returns its answer. An error answer becomes an `Err`.
    pub(crate) async fn call(
        &self,
        lane: &Arc<Lane>,
        command: &'static str,
        route: Route,
        arguments: Vec<Value>,
    ) -> Result<Resp3Frame, Error> {
        match self.ask(lane, command, route, arguments).await? {
            Answer::Frame(frame) => Ok(frame),
            Answer::Error(text) => Err(from_server(&text)),
        }
    }

    /// Runs a script on one key, by its hash. Sends the source only if the server does not know the script, which it
    /// may forget at any time.
    pub(crate) async fn run(
        &self,
        lane: &Arc<Lane>,
        script: &'static Script,
        key: &str,
        arguments: &[Bytes],
    ) -> Result<Resp3Frame, Error> {
        let arguments = |script: &'static str| {
            let mut all = Vec::with_capacity(3 + arguments.len());
            all.extend([Value::from_static_str(script), Value::Integer(1), Value::from(key)]);
            all.extend(arguments.iter().cloned().map(Value::Bytes));
            all
        };
        // The key is the argument at index 2.
        let route = || Route::Key(2);
        match self.ask(lane, "EVALSHA", route(), arguments(&script.hash)).await? {
            Answer::Frame(frame) => Ok(frame),
            // The script did not run, so it can be sent again.
            Answer::Error(text) if text.starts_with("NOSCRIPT") => {
                // Boxed, since a call moves its whole future.
                Box::pin(self.call(lane, "EVAL", route(), arguments(script.source))).await
            }
            Answer::Error(text) => Err(from_server(&text)),
        }
    }

    /// Sends a command, and returns its answer.
    pub(crate) async fn ask(
        &self,
        lane: &Arc<Lane>,
        command: &'static str,
        route: Route,
        arguments: Vec<Value>,
    ) -> Result<Answer, Error> {
        let _place = self.place()?;
        let mut options = self.options();
        // fred ignores the slot of a custom command, so the options set it.
        options.cluster_hash = Some(match route {
            Route::Key(index) if self.clustered => slot(arguments.get(index).and_then(Value::as_bytes)),
            Route::Key(_) | Route::Any => ClusterHash::Random,
            Route::Node(server) => {
                options.cluster_node = Some(server);
                ClusterHash::Random
            }
        });
        let command = CustomCommand::new_static(command, ClusterHash::Random, false);
        let client = lane.client().with_options(&options);
        let unanswered = Unanswered::new(lane, options);
        let answer = client.custom_raw(command, arguments).await;
        unanswered.end();
        match answer {
            Ok(frame) => {
                lane.heard();
                Ok(match error_text(&frame) {
                    Some(text) => Answer::Error(text),
                    None => Answer::Frame(frame),
                })
            }
            Err(fred) => Err(self.failed(lane, from_fred(&fred))),
        }
    }

    /// Reads a string by fred's own command. Commands of fred's own are sent together with those of other callers, and so are
    /// [conditional writes](Self::swap). Other scripts and custom commands are not, since fred flushes the connection after
    /// each. An error answer becomes an `Err`.
    pub(crate) async fn read(&self, lane: &Arc<Lane>, key: &str) -> Result<Option<Bytes>, Error> {
        self.gathered(lane, key, Command::Get { key: key.to_owned() }).await
    }

    /// Writes a string by fred's own command, for `lifetime` milliseconds if there is a limit. `write` says what is
    /// answered.
    pub(crate) async fn write(
        &self,
        lane: &Arc<Lane>,
        key: &str,
        string: Bytes,
        lifetime: Option<u64>,
        write: Write,
    ) -> Result<Option<Bytes>, Error> {
        let command = Command::Set {
            key: key.to_owned(),
            string,
            lifetime: lifetime.map(|millis| Expiration::PX(milliseconds(millis))),
            mode: (write != Write::Always).then_some(SetOptions::NX),
            gets: write == Write::OrGet,
        };
        self.gathered(lane, key, command).await
    }

    /// As [`read`](Self::read), for the first bytes of a string. They are empty if there is no string.
    pub(crate) async fn read_start(&self, lane: &Arc<Lane>, key: &str, bytes: usize) -> Result<Bytes, Error> {
        let command = Command::GetStart {
            key: key.to_owned(),
            bytes,
        };
        Ok(self.gathered(lane, key, command).await?.unwrap_or_default())
    }

    /// Writes a string for `lifetime` milliseconds if there is a limit, and if the record under the key has the version
    /// `expected`. Returns whether the string is stored.
    pub(crate) async fn swap(
        &self,
        lane: &Arc<Lane>,
        key: &str,
        string: Bytes,
        lifetime: Option<u64>,
        expected: Bytes,
    ) -> Result<bool, Error> {
        if self.clustered {
            // The keys of several callers are on several servers.
            let arguments = [string, script::lifetime(lifetime), expected];
            return match self.run(lane, &script::SET, key, &arguments).await? {
                Resp3Frame::BlobString { data, .. } => Ok(data[..] == *b"1"),
                _ => Err(unexpected("a conditional write")),
            };
        }
        let swap = Swap {
            key: Bytes::copy_from_slice(key.as_bytes()),
            string,
            lifetime: lifetime.map(milliseconds),
            expected,
        };
        Ok(self.gathered(lane, key, Command::Swap(swap)).await?.is_some())
    }

    async fn gathered(&self, lane: &Arc<Lane>, key: &str, command: Command) -> Result<Option<Bytes>, Error> {
        let place = self.place()?;
        let options = self.options_for(key);
        let answer = gather::ask(
            lane.gathering(),
            lane.client(),
            command,
            &options,
            place.others >= gather::MANY,
        );
        let unanswered = Unanswered::new(lane, options.clone());
        let answer = answer.await;
        unanswered.end();
        match self.answered(lane, answer)? {
            Reply::String(string) => Ok(string),
            Reply::Error(text) => Err(from_server(&text)),
        }
    }

    /// Converts the result of one of fred's own commands. An error answer becomes an `Err`.
    fn answered<T>(&self, lane: &Arc<Lane>, answer: Result<T, fred::error::Error>) -> Result<T, Error> {
        let error = match answer {
            Ok(answer) => {
                lane.heard();
                return Ok(answer);
            }
            Err(error) => error,
        };
        match crate::error::answer(&error) {
            Some(text) => {
                lane.heard();
                Err(from_server(text))
            }
            None => Err(self.failed(lane, from_fred(&error))),
        }
    }

    fn options_for(&self, key: &str) -> Options {
        Options {
            cluster_hash: self.clustered.then(|| slot(Some(key.as_bytes()))),
            ..self.options()
        }
    }

    fn options(&self) -> Options {
        Options {
            max_attempts: Some(if self.clustered { CLUSTER_ATTEMPTS } else { 1 }),
            timeout: Some(self.timeout),
            // Fail at once while there is no connection, and do not send the command again on the next one.
            fail_fast: true,
            ..Options::default()
        }
    }

    /// Returns the error of a call without an answer.
    fn failed(&self, lane: &Arc<Lane>, error: Error) -> Error {
        if self.closed.load(Ordering::Acquire) {
            return closed();
        }
        match error.kind() {
            ErrorKind::Timeout => {
                lane.missed(self.timeout);
                crate::error::error(ErrorKind::Timeout, format!("no answer within {:?}", self.timeout))
            }
            ErrorKind::Unavailable => self.explain(lane, error),
            _ => error,
        }
    }

    /// While there is no connection, the reason for that is the more helpful error.
    fn explain(&self, lane: &Lane, unavailable: Error) -> Error {
        match lane.last_error() {
            Some(reason) if !lane.is_connected() && reason.kind() == ErrorKind::Auth => reason,
            Some(reason) if !lane.is_connected() => {
                error(ErrorKind::Unavailable, format!("not connected: {}", reason.message()))
            }
            _ => unavailable,
        }
    }

    /// Takes a place among the commands in flight. fred itself would queue them without a bound.
    fn place(&self) -> Result<Place<'_>, Error> {
        let others = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            in_flight: &self.in_flight,
            others,
        };
        if others >= self.most_in_flight {
            // Not `Unavailable`: it says nothing about the server, which answers those in flight.
            let message = format!("{} commands are in flight already", self.most_in_flight);
            return Err(error(ErrorKind::Rejected, message).with_retryable(true));
        }
        Ok(place)
    }

    /// Fails unless the server answers on each lane. A proxy may accept connections and serve no command.
    pub(crate) async fn verify(&self) -> Result<(), Error> {
        let pings = self
            .lanes
            .iter()
            .map(|lane| self.call(lane, "PING", Route::Any, Vec::new()));
        match futures_util::future::try_join_all(pings).await {
            Ok(_) => Ok(()),
            Err(failed) => {
                let message = format!(
                    "connected, and PING was not answered ({}): is this a proxy that does not pass on CLIENT, HELLO or PING?",
                    failed.message()
                );
                Err(error(failed.kind(), message))
            }
        }
    }

    /// Closes all connections after the commands in flight have finished or a call's time limit is over. Connections of
    /// a user's pool stay open.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.ended.send_replace(true);
        if !self.lanes.iter().any(|lane| lane.is_supervised()) {
            return Ok(());
        }
        let clients: Vec<Client> = self.lanes.iter().map(|lane| lane.client()).collect();
        let goodbye = futures_util::future::join_all(
            clients
                .iter()
                .filter(|client| client.is_connected())
                .map(ClientLike::quit),
        );
        let in_time = tokio::time::timeout(self.timeout, goodbye).await;
        self.abort();
        match in_time {
            Ok(_) => Ok(()),
            Err(_) => Err(error(
                ErrorKind::Timeout,
                "calls were still under way when the connections were ended",
            )),
        }
    }

    fn abort(&self) {
        for lane in &self.lanes {
            lane.abort();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.abort();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connected = self.lanes.iter().filter(|lane| lane.is_connected()).count();
        f.debug_struct("Connection")
            .field("clustered", &self.clustered)
            .field("connections", &self.lanes.len())
            .field("connected", &connected)
            .field("in_flight", &self.in_flight.load(Ordering::Relaxed))
            .field("command_timeout", &self.timeout)
            .field("closed", &self.closed.load(Ordering::Relaxed))
            .finish()
    }
}

/// Converts a lifetime, which is at most a hundred years.
fn milliseconds(lifetime: u64) -> i64 {
    i64::try_from(lifetime).unwrap_or(i64::MAX)
}

/// Returns the slot of a key in a Cluster.
fn slot(key: Option<&[u8]>) -> ClusterHash {
    key.map_or(ClusterHash::Random, |key| ClusterHash::Custom(redis_keyslot(key)))
}

/// A command in flight. If the caller drops it before its own time limit, as a caller with a shorter limit does, the
/// lane checks whether the server still answers.
struct Unanswered<'a> {
    lane: &'a Arc<Lane>,
    options: Option<Options>,
}

impl<'a> Unanswered<'a> {
    fn new(lane: &'a Arc<Lane>, options: Options) -> Self {
        Self {
            lane,
            options: Some(options),
        }
    }

    /// Ends the wait: the answer has arrived. No function takes the future of an answer, which is large and would be moved.
    fn end(mut self) {
        self.options = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(options) = self.options.take() {
            self.lane.doubt(options);
        }
    }
}

/// An answer of the server.
pub(crate) enum Answer {
    Frame(Resp3Frame),
    /// An error: a word in capitals, and a message.
    Error(String),
}

struct Place<'a> {
    in_flight: &'a AtomicUsize,
    /// How many other commands were in flight.
    others: usize,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
