//! The contract between the toolkit and a store.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Error, ErrorKind, Key, Record, Scope, Subscription, Ttl, Value, Version};

/// A store.
///
/// Three methods make a backend, and [`ping`](Self::ping) and [`close`](Self::close) beside them one that passes the
/// conformance kit; the rest is provided, to be overridden where the store can or does better. What the toolkit builds
/// on them (one load per key in the cluster, fills that an invalidation fences off) needs nothing but the
/// [modes](SetMode) of [`set`](Self::set), so a backend must carry out each `set` and `delete` atomically.
///
/// # What every method keeps to
///
/// - **Absent is not an error.** A record past its lifetime is absent, whatever the store still holds.
/// - **Errors are errors.** A store that cannot be reached is never reported as an absent record.
/// - **Cancellation.** A future may be dropped at any await point. The operation may then have happened or not, but no
///   later call may see its answer or find a connection out of step.
/// - **Clones of a handle** share the store; two backends that were built separately in one process share nothing but
///   what the store itself shares.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The record under `key`, or `None` if there is none.
    ///
    /// # Errors
    /// The store did not answer or answered with an error.
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error>;

    /// Writes `value` under `key`, if [`options.mode`](SetOptions::mode) allows it.
    ///
    /// # Errors
    /// The store did not answer, refused, or the value is [too large](ErrorKind::TooLarge); after "too large",
    /// a record that [`SetMode::Always`] was to replace is gone, so that it is not read as if it were the new one. A mode
    /// that does not hold is not an error but [`SetOutcome::Refused`].
    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error>;

    /// Removes the record under `key`, and tells whether there was one.
    ///
    /// # Errors
    /// The store did not answer or answered with an error.
    async fn delete(&self, key: &Key) -> Result<bool, Error>;

    /// Removes the record under `key` if it still has `version`, and tells whether it did.
    ///
    /// As provided, it writes an empty value with the shortest lifetime in its place.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        let options = SetOptions::new(Ttl::from_millis(1)).if_version(version);
        let outcome = self.set(key, Value::Bytes(bytes::Bytes::new()), options).await?;
        Ok(matches!(outcome, SetOutcome::Stored(_)))
    }

    /// The version of the record under `key`, or `None` if there is none.
    ///
    /// As provided, it reads the whole record.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        Ok(self.get(key).await?.map(|record| record.version))
    }

    /// The records under `keys`, in their order; a key may stand in the list more than once.
    ///
    /// # Errors
    /// As [`get`](Self::get); one failure fails the batch.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.push(self.get(key).await?);
        }
        Ok(records)
    }

    /// Writes several records and tells the outcome of each, in their order. The batch is not atomic.
    ///
    /// # Errors
    /// As [`set`](Self::set); after an error, any part of the batch may have been written.
    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for (key, value, options) in entries {
            outcomes.push(self.set(&key, value, options).await?);
        }
        Ok(outcomes)
    }

    /// Removes several records and tells how many there were. The batch is not atomic.
    ///
    /// # Errors
    /// As [`delete`](Self::delete); after an error, any part of the batch may have been removed.
    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        let mut removed = 0;
        for key in keys {
            removed += u64::from(self.delete(key).await?);
        }
        Ok(removed)
    }

    /// Removes every record whose key is in `scope`, and tells how many there were.
    ///
    /// Only for stores that can enumerate their keys; [`Capabilities::clear`] says whether this one can.
    ///
    /// # Errors
    /// [`Rejected`](ErrorKind::Rejected) as provided. After another error, any part may have been removed.
    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        let message = format!(
            "this store cannot enumerate its keys, so {:?} cannot be cleared",
            scope.as_str()
        );
        Err(Error::new(ErrorKind::Rejected, message).with_operation("clear"))
    }

    /// Asks the store for a sign of life.
    ///
    /// # Errors
    /// The store did not answer or answered with an error.
    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Ends all connections and background work. Later calls, [`ping`](Self::ping) too, fail with
    /// [`Unavailable`](ErrorKind::Unavailable).
    ///
    /// As provided, it does nothing; a backend that has anything to end, or that the conformance kit is to pass, brings
    /// its own.
    ///
    /// # Errors
    /// Something could not be ended in good order; it is ended all the same.
    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The store's name in errors and events, for example `"redis"`. The name of the type, as provided.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }

    /// What the store can do. Nothing beyond the required methods, as provided.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// What the store takes. No limits, as provided.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Subscribes to the changes of the records in `scope`, whoever makes them. It is ready when the subscription
    /// stands: every change from then on is told of. While the store is in reach, the stream says at least once every
    /// `beat` up to which moment it has told everything.
    ///
    /// Only for stores that tell of changes; [`Capabilities::subscribe`] says whether this one does.
    ///
    /// # Errors
    /// [`Rejected`](ErrorKind::Rejected) as provided. Otherwise the store did not answer or answered with an error.
    async fn subscribe(&self, scope: &Scope, beat: Duration) -> Result<Box<dyn Subscription>, Error> {
        let _ = beat;
        let message = format!(
            "this store tells nobody of changes, so {:?} cannot be watched",
            scope.as_str()
        );
        Err(Error::new(ErrorKind::Rejected, message).with_operation("subscribe"))
    }

    /// Calls `listener` for each record that the store gives up to make room, from now on. Only backends that know of
    /// their evictions, which are those in this process, ever call it.
    fn on_eviction(&self, listener: EvictionListener) {
        drop(listener);
    }
}

/// A callback for evicted records. It is called while the store works, so it must be quick and must not call the store.
pub type EvictionListener = Box<dyn Fn(&Key) + Send + Sync>;

/// When a [`set`](Backend::set) is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetMode {
    /// Always.
    Always,
    /// Only if there is no record under the key.
    IfAbsent,
    /// Only if the record under the key still has this version.
    IfVersion(Version),
}

/// How a value is written.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct SetOptions {
    /// How long the store keeps the record.
    pub ttl: Ttl,
    /// When the write is carried out.
    pub mode: SetMode,
}

impl SetOptions {
    /// Always write, keep for `ttl`.
    pub fn new(ttl: impl Into<Ttl>) -> Self {
        Self {
            ttl: ttl.into(),
            mode: SetMode::Always,
        }
    }

    /// Only if there is no record under the key.
    pub fn if_absent(mut self) -> Self {
        self.mode = SetMode::IfAbsent;
        self
    }

    /// Only if the record under the key still has `version`.
    pub fn if_version(mut self, version: Version) -> Self {
        self.mode = SetMode::IfVersion(version);
        self
    }
}

/// What became of a [`set`](Backend::set).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum SetOutcome {
    /// The value was written; this is its version.
    Stored(Version),
    /// The mode did not hold, and nothing was changed.
    Refused,
}

impl SetOutcome {
    /// The version, if the value was written.
    #[must_use]
    pub fn version(self) -> Option<Version> {
        match self {
            Self::Stored(version) => Some(version),
            Self::Refused => None,
        }
    }
}

/// What a store can do beyond the required methods, as plain data.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// [`Backend::clear`] removes a scope's records.
    pub clear: bool,
    /// [`Value::Shared`] is taken and handed back as it is. Such a store is in this process and answers without
    /// waiting.
    pub shared_objects: bool,
    /// [`Backend::get_many`] is one round trip, or one for each batch of [`Limits::batch`].
    pub batch: bool,
    /// [`Backend::subscribe`] tells of changes.
    pub subscribe: bool,
}

impl Capabilities {
    /// With [`clear`](Self::clear) set.
    #[must_use]
    pub const fn with_clear(mut self, clear: bool) -> Self {
        self.clear = clear;
        self
    }

    /// With [`shared_objects`](Self::shared_objects) set.
    #[must_use]
    pub const fn with_shared_objects(mut self, shared_objects: bool) -> Self {
        self.shared_objects = shared_objects;
        self
    }

    /// With [`batch`](Self::batch) set.
    #[must_use]
    pub const fn with_batch(mut self, batch: bool) -> Self {
        self.batch = batch;
        self
    }

    /// With [`subscribe`](Self::subscribe) set.
    #[must_use]
    pub const fn with_subscribe(mut self, subscribe: bool) -> Self {
        self.subscribe = subscribe;
        self
    }
}

/// What a store takes; `None` where it sets no limit.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The largest value in bytes.
    pub value_bytes: Option<usize>,
    /// The most keys of one round trip in a batch call. Larger batches are split by the backend.
    pub batch: Option<usize>,
    /// The finest lifetime that the store itself keeps to. A backend over a coarser store checks the exact deadline
    /// when it reads.
    pub ttl_step: Option<Duration>,
}

impl Limits {
    /// With [`value_bytes`](Self::value_bytes) set.
    #[must_use]
    pub const fn with_value_bytes(mut self, bytes: usize) -> Self {
        self.value_bytes = Some(bytes);
        self
    }

    /// With [`batch`](Self::batch) set.
    #[must_use]
    pub const fn with_batch(mut self, keys: usize) -> Self {
        self.batch = Some(keys);
        self
    }

    /// With [`ttl_step`](Self::ttl_step) set.
    #[must_use]
    pub const fn with_ttl_step(mut self, step: Duration) -> Self {
        self.ttl_step = Some(step);
        self
    }
}
