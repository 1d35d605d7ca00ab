//! A cache backend on [redb], an embedded key-value store: records outlive the process, and no server is needed.
//!
//! It is also the example in the chapter "Write a backend", which walks through this file.

use std::sync::{Arc, PoisonError, RwLock};

use cache_core::{Backend, Capabilities, Clock, Error, ErrorKind, Key, Record, Scope, SetMode, SetOptions, SetOutcome};
use cache_core::{Timestamp, Value, Version, VersionSource, async_trait};
use redb::{AccessGuard, Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError};

/// A version, a deadline in milliseconds since the Unix epoch, and the value.
type Row = (u128, Option<u64>, &'static [u8]);
type Rows<'a> = Table<'a, &'static [u8], Row>;
type Res<T> = Result<T, redb::Error>;

const RECORDS: TableDefinition<'_, &[u8], Row> = TableDefinition::new("records");

/// A backend on a redb database.
#[derive(Debug)]
pub struct RedbBackend {
    database: RwLock<Option<Arc<Database>>>,
    versions: VersionSource,
    clock: Box<dyn Clock>,
}

impl RedbBackend {
    /// Makes a backend on an open database.
    pub fn new(database: Database, clock: impl Clock) -> Self {
        Self {
            database: RwLock::new(Some(Arc::new(database))),
            versions: VersionSource::new(),
            clock: Box::new(clock),
        }
    }

    /// Runs `job` on a thread that may block. The job finishes even if the caller drops the future.
    async fn run<T: Send + 'static>(&self, job: impl FnOnce(&Database) -> Res<T> + Send + 'static) -> Result<T, Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner).clone();
        let database = database.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the backend was closed"))?;
        let done = tokio::task::spawn_blocking(move || job(&database)).await;
        done.map_err(failed)?.map_err(failed)
    }
}

/// Runs `job` in one transaction, which makes it atomic.
fn write<T>(database: &Database, job: impl FnOnce(&mut Rows<'_>) -> Res<T>) -> Res<T> {
    let transaction = database.begin_write()?;
    let answer = job(&mut transaction.open_table(RECORDS)?)?;
    transaction.commit()?;
    Ok(answer)
}

/// Returns the record in a row, unless it has expired.
fn live(row: Option<AccessGuard<'_, Row>>, now: Timestamp) -> Option<Record> {
    let (version, deadline, value) = row.as_ref()?.value();
    let remaining = deadline.map(|deadline| Timestamp::from_millis(deadline).saturating_since(now));
    let value = Value::Bytes(value.to_vec().into());
    let record = Record::new(value, Version::from_u128(version), remaining);
    remaining.is_none_or(|left| !left.is_zero()).then_some(record)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Other, "redb failed").with_source(error)
}

#[async_trait]
impl Backend for RedbBackend {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let (key, now) = (key.to_string(), self.clock.now());
        let get = move |database: &Database| match database.begin_read()?.open_table(RECORDS) {
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            rows => Ok(live(rows?.get(key.as_bytes())?, now)),
        };
        self.run(get).await
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let value = value.as_bytes().cloned();
        let value = value.ok_or_else(|| Error::new(ErrorKind::Rejected, "an object cannot go into a file"))?;
        let (key, now, version) = (key.to_string(), self.clock.now(), self.versions.next());
        let deadline = options.ttl.as_duration().map(|ttl| (now + ttl).as_millis());
        let set = move |rows: &mut Rows<'_>| {
            let current = live(rows.get(key.as_bytes())?, now).map(|record| record.version);
            match options.mode {
                SetMode::IfAbsent if current.is_some() => return Ok(SetOutcome::Refused),
                SetMode::IfVersion(expected) if current != Some(expected) => return Ok(SetOutcome::Refused),
                _ => rows.insert(key.as_bytes(), (version.as_u128(), deadline, &*value))?,
            };
            Ok(SetOutcome::Stored(version))
        };
        self.run(move |database| write(database, set)).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let (key, now) = (key.to_string(), self.clock.now());
        let delete = move |rows: &mut Rows<'_>| Ok(live(rows.remove(key.as_bytes())?, now).is_some());
        self.run(move |database| write(database, delete)).await
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        let (scope, now) = (scope.as_str().as_bytes().to_vec(), self.clock.now());
        let clear = move |rows: &mut Rows<'_>| {
            // All keys that begin with the scope's text sort before that text followed by 0xFF, which UTF-8 never
            // contains.
            let end = [&*scope, &[u8::MAX]].concat();
            let mut count = 0;
            for row in rows.extract_from_if(&*scope..&*end, |_, _| true)? {
                count += u64::from(live(Some(row?.1), now).is_some());
            }
            Ok(count)
        };
        self.run(move |database| write(database, clear)).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.run(|database| Ok(database.begin_read().map(drop)?)).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_clear(true)
    }
}
