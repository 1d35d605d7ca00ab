//! A cache backend on [redb], an embedded key-value store: records outlive the process, and no server is needed.
//!
//! It is also the example in the chapter "Write a backend", which walks through this file.

use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
use std::sync::{Arc, PoisonError, RwLock};

use cache_core::{Backend, Capabilities, Clock, Error, ErrorKind, Key, Record, Scope, SetMode, SetOptions, SetOutcome};
use cache_core::{Timestamp, Value, Version, VersionSource, async_trait};
use redb::{AccessGuard, Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError};
use tokio::sync::Mutex;

/// A version, a deadline in milliseconds since the Unix epoch, and the value.
type Row = (u128, Option<u64>, &'static [u8]);
type Res<T> = Result<T, redb::Error>;

const RECORDS: TableDefinition<'_, &[u8], Row> = TableDefinition::new("records");

/// Deadlines and keys, by which expired records are found. A record that is overwritten leaves its old line here.
const DEADLINES: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("deadlines");

/// The tables in a transaction.
struct Tables<'a> {
    records: Table<'a, &'static [u8], Row>,
    deadlines: Table<'a, (u64, &'static [u8]), ()>,
}

/// A backend on a redb database.
#[derive(Debug)]
pub struct RedbBackend {
    database: RwLock<Option<Arc<Database>>>,
    turn: Arc<Mutex<()>>,
    versions: VersionSource,
    clock: Arc<dyn Clock>,
}

impl RedbBackend {
    /// Makes a backend on an open database. Only one backend may write to it.
    pub fn new(database: impl Into<Arc<Database>>, clock: impl Clock) -> Self {
        Self {
            database: RwLock::new(Some(database.into())),
            turn: Arc::default(),
            versions: VersionSource::new(),
            clock: Arc::new(clock),
        }
    }

    /// Runs `job` on a thread that may block. The job finishes even if the caller drops the future.
    async fn run<T, J>(&self, job: J) -> Result<T, Error>
    where
        T: Send + 'static,
        J: FnOnce(&Database, Timestamp) -> Res<T> + Send + 'static,
    {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner).clone();
        let database = database.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the backend was closed"))?;
        let clock = Arc::clone(&self.clock);
        let done = tokio::task::spawn_blocking(move || job(&database, clock.now())).await;
        done.map_err(|error| Error::new(ErrorKind::Other, "the job panicked").with_source(error))?
            .map_err(failed)
    }

    /// Runs `job` in one transaction, which makes it atomic, after the writes that began earlier.
    async fn write<T, J>(&self, job: J) -> Result<T, Error>
    where
        T: Send + 'static,
        J: FnOnce(&mut Tables<'_>, Timestamp) -> Res<T> + Send + 'static,
    {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let write = move |database: &Database, now| {
            let transaction = database.begin_write()?;
            let (records, deadlines) = (transaction.open_table(RECORDS)?, transaction.open_table(DEADLINES)?);
            let mut tables = Tables { records, deadlines };
            sweep(&mut tables, now)?;
            let answer = job(&mut tables, now)?;
            drop(tables);
            transaction.commit()?;
            drop(turn);
            Ok(answer)
        };
        self.run(write).await
    }
}

/// Removes some expired records. A write adds at most one, so they do not pile up.
fn sweep(tables: &mut Tables<'_>, now: Timestamp) -> Res<()> {
    let expired = ..(now.as_millis(), &[][..]);
    for line in tables.deadlines.extract_from_if(expired, |_, _| true)?.take(16) {
        let line = line?.0;
        let (_, key) = line.value();
        let row = tables.records.get(key)?;
        if row.is_some_and(|row| !is_live(row.value().1, now)) {
            tables.records.remove(key)?;
        }
    }
    Ok(())
}

fn is_live(deadline: Option<u64>, now: Timestamp) -> bool {
    deadline.is_none_or(|deadline| now.as_millis() < deadline)
}

/// Returns the record in a row, unless it has expired.
fn record(row: Option<AccessGuard<'_, Row>>, now: Timestamp) -> Option<Record> {
    let row = row?;
    let (version, deadline, value) = row.value();
    let remaining = deadline.map(|deadline| Timestamp::from_millis(deadline).saturating_since(now));
    is_live(deadline, now).then(|| {
        Record::new(
            Value::Bytes(value.to_vec().into()),
            Version::from_u128(version),
            remaining,
        )
    })
}

fn failed(error: redb::Error) -> Error {
    let kind = match &error {
        redb::Error::Io(io) if matches!(io.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem) => {
            ErrorKind::Rejected
        }
        redb::Error::Io(_) | redb::Error::PreviousIo => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    };
    Error::new(kind, "redb failed").with_source(error)
}

#[async_trait]
impl Backend for RedbBackend {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let key = key.to_string();
        let get = move |database: &Database, now| match database.begin_read()?.open_table(RECORDS) {
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            rows => Ok(record(rows?.get(key.as_bytes())?, now)),
        };
        self.run(get).await
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let value = value.as_bytes().cloned();
        let value = value.ok_or_else(|| Error::new(ErrorKind::Rejected, "an object cannot go into a file"))?;
        let (key, version) = (key.to_string(), self.versions.next());
        let set = move |tables: &mut Tables<'_>, now: Timestamp| {
            let current = tables.records.get(key.as_bytes())?.and_then(|row| {
                let (version, deadline, _) = row.value();
                is_live(deadline, now).then_some(Version::from_u128(version))
            });
            match options.mode {
                SetMode::IfAbsent if current.is_some() => return Ok(SetOutcome::Refused),
                SetMode::IfVersion(expected) if current != Some(expected) => return Ok(SetOutcome::Refused),
                _ => {}
            }
            let deadline = options.ttl.as_duration().map(|ttl| (now + ttl).as_millis());
            if let Some(deadline) = deadline {
                tables.deadlines.insert((deadline, key.as_bytes()), ())?;
            }
            tables
                .records
                .insert(key.as_bytes(), (version.as_u128(), deadline, &*value))?;
            Ok(SetOutcome::Stored(version))
        };
        self.write(set).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let key = key.to_string();
        let delete = move |tables: &mut Tables<'_>, now| {
            let row = tables.records.remove(key.as_bytes())?;
            Ok(row.is_some_and(|row| is_live(row.value().1, now)))
        };
        self.write(delete).await
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        let scope = scope.as_str().as_bytes().to_vec();
        let clear = move |tables: &mut Tables<'_>, now| {
            // All keys that begin with the scope's text sort before that text followed by 0xFF, which UTF-8 never
            // contains.
            let end = [&*scope, &[u8::MAX]].concat();
            let mut count = 0;
            for row in tables.records.extract_from_if(&*scope..&*end, |_, _| true)? {
                count += u64::from(is_live(row?.1.value().1, now));
            }
            Ok(count)
        };
        self.write(clear).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.run(|database, _| Ok(database.begin_read().map(drop)?)).await
    }

    async fn close(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    fn name(&self) -> &'static str {
        "redb"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_clear(true)
    }
}
