//! The handle that users hold, and each operation as commands of Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    Backend, Capabilities, Clock, Error, ErrorKind, GetOrAdd, Key, Limits, Record, Scope, SetMode, SetOptions,
    SetOutcome, Subscription, Value, Version, VersionSource, async_trait,
};
use fred::types::{Resp3Frame, Value as Argument};
use futures_util::future::try_join_all;

use crate::clear::{self, integer};
use crate::connection::{Connection, Route, Write};
use crate::error::{NAME, error, unexpected};
use crate::format::{self, HEADER_LEN, Stored};
use crate::lane::Lane;
use crate::script;
use crate::tracking::Tracking;

/// The most keys of a batch that are in flight at a time.
const BATCH: usize = 512;

/// A store in Redis: one server, a Cluster, or a master behind Sentinels.
///
/// Clones share the connections. [`close`](Backend::close), or dropping the last clone, closes them.
///
/// # Cancellation
/// You may drop a future at any time. Its command may have been carried out or not. Its answer is read and discarded;
/// no other call sees it.
#[derive(Debug, Clone)]
pub struct RedisBackend {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    versions: VersionSource,
    clock: Arc<dyn Clock>,
    max_value_bytes: usize,
    /// Whether the server is too old for `SET` with `NX` and `GET`.
    sets_or_gets_by_script: AtomicBool,
}

impl RedisBackend {
    pub(crate) fn new(connection: Connection, clock: Arc<dyn Clock>, max_value_bytes: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                connection,
                versions: VersionSource::new(),
                clock,
                max_value_bytes,
                sets_or_gets_by_script: AtomicBool::new(false),
            }),
        }
    }
}

impl RedisBackend {
    /// Fails unless the server answers on each connection.
    pub(crate) async fn verify(&self) -> Result<(), Error> {
        self.shared.connection.verify().await
    }
}

impl Shared {
    async fn get(&self, lane: &Arc<Lane>, key: &Key) -> Result<Option<Record>, Error> {
        // In a Cluster, fred would follow a foreign string that reads like a redirection.
        if !self.connection.is_clustered() {
            match self.connection.read(lane, key.as_str()).await {
                Ok(None) => return Ok(None),
                Ok(Some(string)) => {
                    if let Some(stored) = format::decode(&string) {
                        return Ok(Some(self.own(stored)));
                    }
                }
                Err(error) if error.message().starts_with("WRONGTYPE") => {}
                Err(error) => return Err(error),
            }
            // A foreign record. Only the server knows its remaining lifetime.
        }
        // Boxed, since a call moves its whole future.
        let answer = Box::pin(self.connection.run(lane, &script::GET, key.as_str(), &[])).await?;
        self.record(answer)
    }

    /// Converts the answer of the script `GET`.
    fn record(&self, answer: Resp3Frame) -> Result<Option<Record>, Error> {
        let mut data = match answer {
            Resp3Frame::Null => return Ok(None),
            Resp3Frame::Array { data, .. } => data,
            _ => return Err(unexpected("a read")),
        };
        match (data.pop(), data.pop()) {
            (Some(Resp3Frame::BlobString { data: string, .. }), Some(Resp3Frame::Number { data: millis, .. })) => {
                Ok(Some(match format::decode(&string) {
                    Some(stored) => self.own(stored),
                    None => foreign(string, millis),
                }))
            }
            _ => Err(unexpected("a read")),
        }
    }

    async fn version(&self, lane: &Arc<Lane>, key: &Key) -> Result<Option<Version>, Error> {
        // As in `get`: in a Cluster, fred might follow a foreign string.
        if !self.connection.is_clustered() {
            match self.connection.read_start(lane, key.as_str(), HEADER_LEN).await {
                Ok(header) => {
                    if let Some(stored) = format::decode(&header) {
                        return Ok(Some(stored.version));
                    }
                }
                Err(error) if error.message().starts_with("WRONGTYPE") => {}
                Err(error) => return Err(error),
            }
        }
        // There is no record, or a foreign one.
        match Box::pin(self.connection.run(lane, &script::VERSION, key.as_str(), &[])).await? {
            Resp3Frame::Null => Ok(None),
            Resp3Frame::BlobString { data, .. } => match data[..].try_into() {
                Ok(version) => Ok(Some(Version::from_u128(u128::from_be_bytes(version)))),
                Err(_) => Err(unexpected("a read of a version")),
            },
            _ => Err(unexpected("a read of a version")),
        }
    }

    /// Converts a record that this crate wrote.
    fn own(&self, stored: Stored) -> Record {
        let remaining = stored
            .deadline
            .map(|deadline| deadline.saturating_since(self.clock.now()));
        Record::new(Value::Bytes(stored.value), stored.version, remaining)
    }

    async fn set(&self, lane: &Arc<Lane>, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let (version, stored) = self.encode(lane, key, value, options).await?;
        let lifetime = options.ttl.as_millis();
        let expected = match options.mode {
            SetMode::Always => {
                return self
                    .connection
                    .write(lane, key.as_str(), stored, lifetime, Write::Always)
                    .await
                    .map(|_| SetOutcome::Stored(version));
            }
            // In a Cluster the client may repeat the write, and `NX` alone would then refuse it because of our own
            // first write.
            SetMode::IfAbsent if !self.connection.is_clustered() => {
                let set = self
                    .connection
                    .write(lane, key.as_str(), stored, lifetime, Write::IfAbsent)
                    .await?;
                return Ok(match set {
                    Some(_) => SetOutcome::Stored(version),
                    None => SetOutcome::Refused,
                });
            }
            SetMode::IfAbsent => Bytes::new(),
            SetMode::IfVersion(expected) => format::version_argument(expected),
        };
        let swap = self.connection.swap(lane, key.as_str(), stored, lifetime, expected);
        Ok(match swap.await? {
            true => SetOutcome::Stored(version),
            false => SetOutcome::Refused,
        })
    }

    /// Returns a new version, and the string to store for `value`.
    async fn encode(
        &self,
        lane: &Arc<Lane>,
        key: &Key,
        value: Value,
        options: SetOptions,
    ) -> Result<(Version, Bytes), Error> {
        let Value::Bytes(value) = value else {
            return Err(error(
                ErrorKind::Rejected,
                "Redis stores bytes, not objects of this process",
            ));
        };
        if value.len() > self.max_value_bytes {
            return Err(Box::pin(self.too_large(lane, key, value.len(), options.mode)).await);
        }
        let version = self.versions.next();
        let deadline = options.ttl.as_duration().map(|ttl| self.clock.now() + ttl);
        Ok((version, format::encode(version, deadline, &value)))
    }

    async fn get_or_add(
        &self,
        lane: &Arc<Lane>,
        key: &Key,
        value: Value,
        options: SetOptions,
    ) -> Result<GetOrAdd, Error> {
        let (version, stored) = self.encode(lane, key, value, options.if_absent()).await?;
        let lifetime = options.ttl.as_millis();
        // In a Cluster, fred would follow a foreign string, as in `get`, and may repeat the write, as in `set`.
        if !self.connection.is_clustered() && !self.sets_or_gets_by_script.load(Ordering::Relaxed) {
            let set = self
                .connection
                .write(lane, key.as_str(), stored.clone(), lifetime, Write::OrGet)
                .await;
            match set {
                Ok(None) => return Ok(GetOrAdd::Added(version)),
                Ok(Some(string)) => {
                    if let Some(stored) = format::decode(&string) {
                        return Ok(GetOrAdd::Found(self.own(stored)));
                    }
                    // A foreign record. Only the server knows its remaining lifetime.
                }
                // Not a string, or a server before Redis 7.
                Err(error) if error.kind() == ErrorKind::Other => {
                    if error.message().contains("syntax error") {
                        self.sets_or_gets_by_script.store(true, Ordering::Relaxed);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let arguments = [stored, script::lifetime(lifetime)];
        let run = self.connection.run(lane, &script::GET_OR_ADD, key.as_str(), &arguments);
        let answer = Box::pin(run).await?;
        Ok(match self.record(answer)? {
            Some(record) => GetOrAdd::Found(record),
            None => GetOrAdd::Added(version),
        })
    }

    /// Returns the error for a value that is too large. Removes the record that it was to replace, so that it is not
    /// read as the new value.
    async fn too_large(&self, lane: &Arc<Lane>, key: &Key, len: usize, mode: SetMode) -> Error {
        if mode == SetMode::Always
            && let Err(error) = self.delete_many(lane, std::slice::from_ref(key)).await
        {
            return error;
        }
        let message = format!(
            "the value has {len} bytes, and at most {} are stored: see `max_value_bytes`",
            self.max_value_bytes
        );
        error(ErrorKind::TooLarge, message)
    }

    async fn delete_many(&self, lane: &Arc<Lane>, keys: &[Key]) -> Result<u64, Error> {
        let keys = keys.iter().map(|key| Argument::from(key.as_str())).collect();
        clear::unlink(&self.connection, lane, keys).await
    }
}

/// Makes a record of a foreign string, whose version is a hash of its bytes. `millis` is its remaining lifetime, or
/// negative if it has none.
fn foreign(string: Bytes, millis: i64) -> Record {
    let remaining = u64::try_from(millis).ok().map(Duration::from_millis);
    let version = format::foreign_version(&string);
    Record::new(Value::Bytes(string), version, remaining)
}

#[async_trait]
impl Backend for RedisBackend {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let read = async { self.shared.get(self.shared.connection.lane().await?, key).await }.await;
        read.map_err(|error| error.with_operation("get"))
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let written = async {
            let lane = self.shared.connection.lane().await?;
            self.shared.set(lane, key, value, options).await
        }
        .await;
        written.map_err(|error| error.with_operation("set"))
    }

    /// Takes one round trip: a `SET` with `NX` and `GET`. If there is a foreign record, in a Cluster, and before Redis 7,
    /// it is a script.
    async fn get_or_add(&self, key: &Key, value: Value, options: SetOptions) -> Result<GetOrAdd, Error> {
        let found = async {
            let lane = self.shared.connection.lane().await?;
            self.shared.get_or_add(lane, key, value, options).await
        }
        .await;
        found.map_err(|error| error.with_operation("get_or_add"))
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let delete = async {
            let lane = self.shared.connection.lane().await?;
            self.shared.delete_many(lane, std::slice::from_ref(key)).await
        };
        let removed = delete.await.map_err(|error| error.with_operation("delete"))?;
        Ok(removed > 0)
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        let delete = async {
            let lane = self.shared.connection.lane().await?;
            let arguments = [format::version_argument(version)];
            let answer = self
                .shared
                .connection
                .run(lane, &script::DELETE, key.as_str(), &arguments);
            integer(&answer.await?)
        };
        let removed = delete.await.map_err(|error| error.with_operation("delete_if"))?;
        Ok(removed > 0)
    }

    /// Takes one round trip that reads 26 bytes; two if there is no record or a foreign one. In a Cluster it takes one
    /// in any case.
    async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        let read = async { self.shared.version(self.shared.connection.lane().await?, key).await };
        read.await.map_err(|error| error.with_operation("version"))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        let read = async {
            let lane = self.shared.connection.lane().await?;
            let mut records = Vec::with_capacity(keys.len());
            for keys in keys.chunks(BATCH) {
                records.extend(try_join_all(keys.iter().map(|key| self.shared.get(lane, key))).await?);
            }
            Ok::<_, Error>(records)
        };
        read.await.map_err(|error| error.with_operation("get_many"))
    }

    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        let write = async {
            let lane = self.shared.connection.lane().await?;
            let mut outcomes = Vec::with_capacity(entries.len());
            for entries in entries.chunks(BATCH) {
                let writes = entries
                    .iter()
                    .map(|(key, value, options)| self.shared.set(lane, key, value.clone(), *options));
                outcomes.extend(try_join_all(writes).await?);
            }
            Ok::<_, Error>(outcomes)
        };
        write.await.map_err(|error| error.with_operation("set_many"))
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        let delete = async {
            let lane = self.shared.connection.lane().await?;
            let mut removed = 0;
            for keys in keys.chunks(BATCH) {
                removed += self.shared.delete_many(lane, keys).await?;
            }
            Ok::<_, Error>(removed)
        };
        delete.await.map_err(|error| error.with_operation("delete_many"))
    }

    /// Takes time in proportion to the number of keys on the server or Cluster, in short steps that do not block other
    /// clients. It may miss keys that move from one master of a Cluster to another meanwhile.
    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        let cleared = clear::clear(&self.shared.connection, scope).await;
        cleared.map_err(|error| error.with_operation("clear"))
    }

    async fn ping(&self) -> Result<(), Error> {
        let ping = async {
            let lane = self.shared.connection.lane().await?;
            self.shared.connection.call(lane, "PING", Route::Any, Vec::new()).await
        };
        ping.await.map(drop).map_err(|error| error.with_operation("ping"))
    }

    async fn close(&self) -> Result<(), Error> {
        let closed = self.shared.connection.close().await;
        closed.map_err(|error| error.with_operation("close"))
    }

    /// Uses Redis's client tracking, on connections of the subscription's own: one to each master. See the [crate's front
    /// page](crate#change-subscriptions) for what it costs and when it is lost.
    async fn subscribe(&self, scope: &Scope, heartbeat: Duration) -> Result<Box<dyn Subscription>, Error> {
        let connection = &self.shared.connection;
        let start = async {
            let tracking = Tracking {
                lane: connection.lane().await?.clone(),
                scope: scope.clone(),
                heartbeat,
                operation_timeout: connection.timeout(),
            };
            tracking.start(connection.ended()).await
        };
        start.await.map_err(|error| error.with_operation("subscribe"))
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_clear(true)
            .with_get_or_add(true)
            .with_subscribe(true)
    }

    fn limits(&self) -> Limits {
        Limits::default()
            .with_value_bytes(self.shared.max_value_bytes)
            .with_batch(BATCH)
    }
}
