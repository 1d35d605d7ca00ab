//! The contract of a store.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::backend::capabilities::{Capabilities, Limits};
#[cfg(doc)]
use crate::backend::set::SetMode;
use crate::backend::set::{GetOrAdd, SetOptions, SetOutcome};
use crate::backend::subscription::Subscription;
use crate::backend::usage::Usage;
use crate::backend::view::View;
use crate::error::{Error, ErrorKind};
use crate::key::{Key, Scope};
use crate::record::{Record, Value, Version};
use crate::ttl::Ttl;

/// A store of records.
///
/// For authors of backends. Three methods are required: [`get`](Self::get), [`set`](Self::set) and
/// [`delete`](Self::delete). To pass the test kit, a backend also needs [`ping`](Self::ping) and [`close`](Self::close).
/// The other methods are provided; override them where the store can do better.
///
/// The toolkit's two main guarantees rest on the [modes](SetMode) of [`set`](Self::set) alone: a key is loaded once in
/// the cluster, and a load that began before an invalidation stores nothing. So each `set` and each `delete` must be
/// atomic.
///
/// # What every method guarantees
///
/// - **Absent is not an error.** A record past its lifetime is absent, even if the store still holds it.
/// - **An error is not absence.** A store that cannot be reached returns an error, never `None`.
/// - **Cancel safety.** The caller may drop a future at any await point. Its operation may or may not have been carried
///   out, but no later call reads its answer.
/// - **No order after a failure.** A write whose future was dropped, or that failed without an answer, may still be
///   carried out later, even after calls that began later: a request may be under way on another connection. An
///   unconditional `set` can so undo a later `delete`. The engine's loads write with [`SetMode::IfVersion`], which is then
///   refused. A backend whose store is in this process or on this machine should keep the order: it carries out a dropped
///   write before later ones, or never.
/// - **Clones share the store.** Two backends that were built separately in one process share only what the store itself
///   shares.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Returns the record under `key`, or `None` if there is none.
    ///
    /// # Errors
    /// Fails if the store does not answer, or answers with an error.
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error>;

    /// Returns what [`get`](Self::get) returns, if the store can tell without waiting.
    ///
    /// The provided method returns `None`, and [`get`](Self::get) is called instead. Override it where the records are in
    /// this process: a read then costs no future.
    fn get_now(&self, key: &Key) -> Option<Result<Option<Record>, Error>> {
        let _ = key;
        None
    }

    /// Shows the [object](Value::Shared) under `key` to `see`, if the store holds one and can do so without waiting.
    /// Otherwise returns without calling `see`, which says nothing about the record: [`get_now`](Self::get_now) or
    /// [`get`](Self::get) tell.
    ///
    /// The provided method never calls `see`. Override it where the objects are in this process: a hit then needs no
    /// [`Record`] and no exact time. Call `see` at most once. Never show a record past its lifetime, and nothing once the
    /// backend is closed. `see` returns whether the object is used; if it is not, the read does not count for the eviction,
    /// since another one follows. `see` is short and does not call the store, so it may be called under a lock.
    fn view(&self, key: &Key, see: &mut dyn FnMut(View<'_>) -> bool) {
        let _ = (key, see);
    }

    /// Writes `value` under `key` if the condition of [`options.mode`](SetOptions::mode) holds. If it does not hold,
    /// returns [`SetOutcome::Refused`], which is not an error.
    ///
    /// # Errors
    /// Fails if the store does not answer, answers with an error, or the value is [too large](ErrorKind::TooLarge). When
    /// a value is too large, a record that [`SetMode::Always`] would have replaced is removed, so that it is not read as
    /// if it were the new one. With the other modes, a record may stay: their callers know that it is not theirs.
    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error>;

    /// Removes the record under `key`. Returns whether there was one.
    ///
    /// # Errors
    /// Fails if the store does not answer, or answers with an error.
    async fn delete(&self, key: &Key) -> Result<bool, Error>;

    /// Removes the record under `key` if it still has `version`. Returns whether it did.
    ///
    /// The provided method replaces the record with an empty one that expires after a millisecond.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        let options = SetOptions::new(Ttl::from_millis(1)).if_version(version);
        let outcome = self.set(key, Value::Bytes(Bytes::new()), options).await?;
        Ok(matches!(outcome, SetOutcome::Stored(_)))
    }

    /// Returns the version of the record under `key`, or `None` if there is none.
    ///
    /// The provided method reads the whole record.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        Ok(self.get(key).await?.map(|record| record.version))
    }

    /// Returns the record under `key`. If there is none, writes `value` as [`SetMode::IfAbsent`] does, whatever the mode of
    /// `options` is, and returns its version.
    ///
    /// The engine takes a lease so: of several concurrent callers, exactly one is told that its value was added, and the
    /// others get its record.
    ///
    /// The provided method calls [`get`](Self::get), then [`set`](Self::set). Override it and declare
    /// [`Capabilities::get_or_add`] if the store can do both in one round trip.
    ///
    /// # Errors
    /// As [`set`](Self::set). A store that takes no writes, because it is full for example, may fail even if there is a
    /// record.
    async fn get_or_add(&self, key: &Key, value: Value, options: SetOptions) -> Result<GetOrAdd, Error> {
        loop {
            if let Some(record) = self.get(key).await? {
                return Ok(GetOrAdd::Found(record));
            }
            if let SetOutcome::Stored(version) = self.set(key, value.clone(), options.if_absent()).await? {
                return Ok(GetOrAdd::Added(version));
            }
            // Another writer was faster. Its record may be gone already, so this can repeat.
        }
    }

    /// Returns the records under `keys`, in the same order. A key may occur more than once.
    ///
    /// The provided method calls [`get`](Self::get) for each key.
    ///
    /// # Errors
    /// As [`get`](Self::get). One failure fails the batch.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.push(self.get(key).await?);
        }
        Ok(records)
    }

    /// Writes several records. Returns their outcomes in the same order. The batch is not atomic.
    ///
    /// The provided method calls [`set`](Self::set) for each record.
    ///
    /// # Errors
    /// As [`set`](Self::set). After an error, any part of the batch may have been written.
    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for (key, value, options) in entries {
            outcomes.push(self.set(&key, value, options).await?);
        }
        Ok(outcomes)
    }

    /// Removes several records. Returns how many there were. The batch is not atomic.
    ///
    /// The provided method calls [`delete`](Self::delete) for each key.
    ///
    /// # Errors
    /// As [`delete`](Self::delete). After an error, any part of the batch may have been removed.
    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        let mut removed = 0;
        for key in keys {
            removed += u64::from(self.delete(key).await?);
        }
        Ok(removed)
    }

    /// Removes every record whose key is in `scope`. Returns how many there were.
    ///
    /// Only stores that can enumerate their keys support this; they declare [`Capabilities::clear`].
    ///
    /// # Errors
    /// The provided method fails with [`Rejected`](ErrorKind::Rejected). After another error, any part of the scope may
    /// have been removed.
    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        let message = format!(
            "the store cannot enumerate its keys, so {:?} cannot be cleared: clear the namespace through the engine, \
             which needs no enumeration",
            scope.as_str()
        );
        Err(Error::new(ErrorKind::Rejected, message).with_operation("clear"))
    }

    /// Checks that the store answers.
    ///
    /// The provided method always succeeds.
    ///
    /// # Errors
    /// Fails if the store does not answer, or answers with an error.
    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Closes all connections and ends background work. Later calls, including [`ping`](Self::ping), fail with
    /// [`Unavailable`](ErrorKind::Unavailable).
    ///
    /// The provided method does nothing. Override it if there is something to close, or to pass the test kit.
    ///
    /// # Errors
    /// Fails if something could not be closed cleanly. It is closed nevertheless.
    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the store's name in errors and events, for example `"redis"`.
    ///
    /// The provided method returns the name of the type.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }

    /// Returns the store's name in metrics and traces: what OpenTelemetry's conventions have for `db.system.name`, for
    /// example `"aws.dynamodb"`.
    ///
    /// The provided method returns the [`name`](Self::name). Override it if the conventions have another one, and in a
    /// backend that wraps another one.
    fn system_name(&self) -> &'static str {
        self.name()
    }

    /// Returns what the store can do beyond the required methods.
    ///
    /// The provided method returns the default: nothing.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Returns the limits of the store.
    ///
    /// The provided method returns the default: no limits.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Returns how much is stored, if the store knows it without asking elsewhere. Must be quick and must not block.
    /// Expired records count for as long as they take space.
    ///
    /// The provided method returns `None`. Stores in this process override it.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Subscribes to changes of the records in `scope`, made by any process.
    ///
    /// When the future completes, the subscription is active: every later change is reported. While the store is
    /// reachable, the subscription reports a [`Change::Heartbeat`](crate::Change::Heartbeat) at least once every
    /// `heartbeat`.
    ///
    /// Only some stores support this; they declare [`Capabilities::subscribe`].
    ///
    /// # Errors
    /// The provided method fails with [`Rejected`](ErrorKind::Rejected). Otherwise fails if the store does not answer, or
    /// answers with an error.
    async fn subscribe(&self, scope: &Scope, heartbeat: Duration) -> Result<Box<dyn Subscription>, Error> {
        let _ = heartbeat;
        let message = format!(
            "the store does not report changes, so there is no subscription to {:?}",
            scope.as_str()
        );
        Err(Error::new(ErrorKind::Rejected, message).with_operation("subscribe"))
    }

    /// Calls `listener` for each record that the store evicts from now on.
    ///
    /// The provided method drops the listener. Only stores that know of their evictions, which are those in this process,
    /// call it.
    fn on_eviction(&self, listener: EvictionListener) {
        drop(listener);
    }
}

/// A callback for evicted records. The store calls it while it works, so it must return quickly and must not call the
/// store.
pub type EvictionListener = Box<dyn Fn(&Key) + Send + Sync>;
