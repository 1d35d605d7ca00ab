//! The handle that users hold, and each operation as commands of memcached.

use std::collections::{HashMap, HashSet};
use std::iter::repeat_with;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cache_core::{
    Backend, Capabilities, Clock, Error, ErrorKind, GetOrAdd, Key, Limits, Record, SetMode, SetOptions, SetOutcome,
    SystemClock, Timestamp, Value, Version, VersionSource, async_trait,
};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt};

use crate::discovery::Discovery;
use crate::error::{Fault, NAME, closed, error, has_moved};
use crate::fleet::{Fleet, Target};
use crate::key::StoreKey;
use crate::lifetime;
use crate::protocol::Item;
use crate::record::{self, Stored};
use crate::session::{CasValue, Session};
use crate::tokens::Tokens;

/// The most keys in one `get`. The answer is held in memory as a whole.
const BATCH: usize = 128;

/// How many keys of a batch are compared with each other one by one. That takes less than to hash them.
const FEW: usize = 8;

/// The most writes of a batch that run at a time.
const CONCURRENCY: usize = 16;

/// How often a compare-and-swap that loses to another writer is tried.
const ATTEMPTS: usize = 32;

/// How often a call is tried while the list of servers changes.
const MOVES: usize = 3;

/// A store in one or several memcached servers.
///
/// Clones share the connections, which are opened on demand. [`close`](Backend::close), or dropping the last clone,
/// closes them.
///
/// # Cancellation
/// You may drop a future at any time. Its operation may have been carried out or not. Its answer is read and discarded;
/// no other call sees it.
#[derive(Debug, Clone)]
pub struct MemcachedBackend {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    servers: Servers,
    versions: VersionSource,
    /// The tokens of the leases that this process holds.
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    max_value_bytes: usize,
    closed: AtomicBool,
}

/// Makes a call on the fleet of now, and again if its servers change under the call.
macro_rules! on_fleet {
    ($shared:expr, $fleet:ident => $call:expr) => {{
        let mut attempt = 1;
        loop {
            let $fleet = $shared.open().await?;
            match $call.await {
                Err(error) if attempt < MOVES && has_moved(&error) => attempt += 1,
                outcome => break outcome,
            }
        }
    }};
}

/// A key of a batch.
#[derive(Debug)]
struct Wanted<'a> {
    /// Its place in the batch.
    place: usize,
    key: StoreKey<'a>,
    target: Target<'a>,
}

/// Where the servers come from.
#[derive(Debug)]
pub(crate) enum Servers {
    /// They were named once and for all.
    Fixed(Fleet),
    /// A provider names them.
    Discovered(Arc<Discovery>),
}

/// The fleet that a call uses.
enum Current<'a> {
    Fixed(&'a Fleet),
    Discovered(Arc<Fleet>),
}

impl Deref for Current<'_> {
    type Target = Fleet;

    fn deref(&self) -> &Fleet {
        match self {
            Self::Fixed(fleet) => fleet,
            Self::Discovered(fleet) => fleet,
        }
    }
}

impl MemcachedBackend {
    /// Returns the number of connections that are open or being opened, over all servers.
    #[must_use]
    pub fn connections(&self) -> usize {
        let count = |fleet: &Fleet| fleet.servers().iter().map(|server| server.connections()).sum();
        match &self.shared.servers {
            Servers::Fixed(fleet) => count(fleet),
            Servers::Discovered(discovery) => discovery.known().map_or(0, |fleet| count(&fleet)),
        }
    }

    pub(crate) fn new(servers: Servers, clock: Arc<dyn Clock>, max_value_bytes: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                servers,
                versions: VersionSource::new(),
                tokens: Tokens::default(),
                clock,
                max_value_bytes,
                closed: AtomicBool::new(false),
            }),
        }
    }

    /// Waits until the servers are known, however long their provider takes.
    pub(crate) async fn discovered(&self) -> Result<(), Error> {
        match &self.shared.servers {
            Servers::Fixed(_) => Ok(()),
            Servers::Discovered(discovery) => discovery.first().await.map(drop),
        }
    }
}

impl Shared {
    async fn open(&self) -> Result<Current<'_>, Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        match &self.servers {
            Servers::Fixed(fleet) => Ok(Current::Fixed(fleet)),
            Servers::Discovered(discovery) => discovery.current().await.map(Current::Discovered),
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let key = StoreKey::new(key);
        on_fleet!(self, fleet => self.get_from(&fleet, &key))
    }

    async fn get_from(&self, fleet: &Fleet, key: &StoreKey<'_>) -> Result<Option<Record>, Error> {
        let target = fleet.target(key.as_str()).await?;
        let found = fleet
            .call(target, pin!(fleet.get(target, [key.as_str()].into_iter())))
            .await?
            .pop();
        Ok(found
            .and_then(|item| fleet.decode(target, key, item.value))
            .and_then(|stored| stored.into_record(self.clock.now())))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        if !has_doubles(keys) {
            return on_fleet!(self, fleet => self.get_many_from(&fleet, keys.iter()));
        }
        // The server answers once for a key that is requested twice.
        let (distinct, places) = distinct(keys);
        let records = on_fleet!(self, fleet => self.get_many_from(&fleet, distinct.iter().copied()))?;
        Ok(places.into_iter().map(|place| records[place].clone()).collect())
    }

    /// Reads keys of which none is there twice.
    async fn get_many_from(
        &self,
        fleet: &Fleet,
        keys: impl ExactSizeIterator<Item = &Key>,
    ) -> Result<Vec<Option<Record>>, Error> {
        let mut records: Vec<Option<Record>> = repeat_with(|| None).take(keys.len()).collect();
        let mut wanted = Vec::with_capacity(keys.len());
        for (place, key) in keys.enumerate() {
            let key = StoreKey::new(key);
            let target = fleet.target(key.as_str()).await?;
            wanted.push(Wanted { place, key, target });
        }
        let is_one_server = wanted.iter().all(|other| other.target.index == wanted[0].target.index);
        if is_one_server {
            for (place, record) in self.read_share(fleet, &wanted).await? {
                records[place] = Some(record);
            }
            return Ok(records);
        }
        wanted.sort_by_key(|wanted| wanted.target.index);
        let shares = wanted.chunk_by(|a, b| a.target.index == b.target.index);
        let answers = try_join_all(shares.map(|share| self.read_share(fleet, share))).await?;
        for (place, record) in answers.into_iter().flatten() {
            records[place] = Some(record);
        }
        Ok(records)
    }

    /// Reads the keys of a batch that belong to one server. Returns the records with the places of their keys.
    async fn read_share(&self, fleet: &Fleet, share: &[Wanted<'_>]) -> Result<Vec<(usize, Record)>, Error> {
        let mut records = Vec::with_capacity(share.len());
        for part in share.chunks(BATCH) {
            let requested = part.iter().map(|wanted| wanted.key.as_str());
            let server = part[0].target;
            let found = fleet.call(server, pin!(fleet.get(server, requested))).await?;
            let now = self.clock.now();
            for Item { place, value, .. } in found {
                let Some(wanted) = part.get(place) else {
                    continue;
                };
                let stored = fleet.decode(wanted.target, &wanted.key, value);
                if let Some(record) = stored.and_then(|stored| stored.into_record(now)) {
                    records.push((wanted.place, record));
                }
            }
        }
        Ok(records)
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let value = bytes_of(value)?;
        let key = StoreKey::new(key);
        on_fleet!(self, fleet => self.set_on(&fleet, &key, &value, options))
    }

    async fn set_on(
        &self,
        fleet: &Fleet,
        key: &StoreKey<'_>,
        value: &[u8],
        options: SetOptions,
    ) -> Result<SetOutcome, Error> {
        let (place, written) = self.place(fleet, key, value, options).await?;
        let (
            text,
            Written {
                version,
                bytes,
                expiration,
                ..
            },
        ) = (key.as_str(), &written);
        let write = async {
            if let SetMode::IfVersion(expected) = options.mode
                && let Some((mut session, token)) = self.known(place.target, expected)
                && session.swap_if_open(text, bytes, token, *expiration).await?
            {
                return Ok(true);
            }
            // A refusal by a token is not the last word: the server gives a record another one when it moves it in its
            // memory.
            let mut session = fleet.session(place.target).await?;
            match options.mode {
                SetMode::Always => session.put(text, bytes, *expiration).await.map(|()| true),
                SetMode::IfAbsent if options.lease && fleet.epoch().is_none() => {
                    Ok(self.find_or_lease(&place, &mut session, &written).await?.is_none())
                }
                SetMode::IfAbsent => place.add(&mut session, bytes, *expiration).await,
                SetMode::IfVersion(expected) => match place.token(&mut session, expected).await? {
                    Some(token) => session.swap(text, bytes, token, *expiration).await,
                    None => Ok(false),
                },
            }
        };
        Ok(outcome(*version, fleet.call(place.target, pin!(write)).await?))
    }

    /// Returns the place of a key, and the record to write there.
    async fn place<'a>(
        &'a self,
        fleet: &'a Fleet,
        key: &'a StoreKey<'a>,
        value: &[u8],
        options: SetOptions,
    ) -> Result<(Place<'a>, Written), Error> {
        let target = fleet.target(key.as_str()).await?;
        if value.len() > self.max_value_bytes {
            return Err(Box::pin(self.too_large(fleet, target, key, value.len(), options.mode)).await);
        }
        let ttl = target.limit(options.ttl);
        let version = self.versions.next();
        let deadline = ttl.as_duration().map(|ttl| self.clock.now() + ttl);
        let written = Written {
            version,
            deadline,
            bytes: record::encode(key, version, deadline, fleet.epoch(), value),
            expiration: lifetime::expiration(ttl, SystemClock.now()),
        };
        let place = Place {
            fleet,
            target,
            key,
            clock: &*self.clock,
        };
        Ok((place, written))
    }

    /// Returns the token of a lease that this process wrote, with a session on the connection that told it. The lease is
    /// before its deadline.
    fn known<'a>(&self, target: Target<'a>, version: Version) -> Option<(Session<'a>, u64)> {
        let known = self.tokens.take(version)?;
        let is_live = known.deadline.is_none_or(|deadline| self.clock.now() < deadline);
        let session = target.server.session_on(&known.line).filter(|_| is_live)?;
        Some((session, known.token))
    }

    async fn get_or_add(&self, key: &Key, value: Value, options: SetOptions) -> Result<GetOrAdd, Error> {
        let value = bytes_of(value)?;
        let key = StoreKey::new(key);
        on_fleet!(self, fleet => self.get_or_add_on(&fleet, &key, &value, options.if_absent()))
    }

    async fn get_or_add_on(
        &self,
        fleet: &Fleet,
        key: &StoreKey<'_>,
        value: &[u8],
        options: SetOptions,
    ) -> Result<GetOrAdd, Error> {
        let (place, written) = self.place(fleet, key, value, options).await?;
        let call = async {
            let mut session = fleet.session(place.target).await?;
            self.find_or_lease(&place, &mut session, &written).await
        };
        let found = fleet.call(place.target, pin!(call)).await?;
        Ok(found.map_or(GetOrAdd::Added(written.version), GetOrAdd::Found))
    }

    /// Returns the live record of a place, or writes one and remembers its token.
    async fn find_or_lease(
        &self,
        place: &Place<'_>,
        session: &mut Session<'_>,
        written: &Written,
    ) -> Result<Option<Record>, Fault> {
        let (key, Written { bytes, expiration, .. }) = (place.key.as_str(), written);
        for _ in 0..ATTEMPTS {
            let (is_added, found) = session.add_and_get(key, bytes, *expiration).await?;
            if is_added {
                if let Some(CasValue { bytes: found, token }) = found
                    && token > 0
                    && place.fleet.epoch().is_none()
                    && found[..] == bytes[..]
                {
                    let Written { version, deadline, .. } = *written;
                    self.tokens.note(version, session.line(), token, deadline);
                }
                return Ok(None);
            }
            let Some(CasValue { bytes: found, token }) = found else {
                continue;
            };
            let stored = place.fleet.decode(place.target, place.key, found);
            if let Some(record) = stored.and_then(|stored| stored.into_record(self.clock.now())) {
                return Ok(Some(record));
            }
            if token == 0 {
                return Err(Fault::NoCas);
            }
            if session.swap(key, bytes, token, *expiration).await? {
                return Ok(None);
            }
        }
        Err(Fault::Contended)
    }

    /// Returns the error for a value that is too large. Removes the record that it was to replace, so that it is not
    /// read as the new value.
    async fn too_large(
        &self,
        fleet: &Fleet,
        target: Target<'_>,
        key: &StoreKey<'_>,
        size: usize,
        mode: SetMode,
    ) -> Error {
        if mode == SetMode::Always {
            let remove = async { fleet.session(target).await?.remove(key.as_str()).await };
            if let Err(error) = fleet.call(target, pin!(remove)).await {
                return error;
            }
        }
        error(
            ErrorKind::TooLarge,
            format!(
                "the value has {size} bytes, and at most {} are stored: raise `max_value_bytes` here and -I of memcached",
                self.max_value_bytes
            ),
        )
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let key = StoreKey::new(key);
        on_fleet!(self, fleet => self.delete_on(&fleet, &key))
    }

    async fn delete_on(&self, fleet: &Fleet, key: &StoreKey<'_>) -> Result<bool, Error> {
        let target = fleet.target(key.as_str()).await?;
        let remove = async {
            let (found, is_removed) = fleet.session(target).await?.take(key.as_str()).await?;
            // A record past its deadline, or that another application wrote, counts as absent.
            let was_there = found.is_none_or(|bytes| {
                let stored = fleet.decode(target, key, bytes);
                stored.is_some_and(|stored| stored.is_live(self.clock.now()))
            });
            Ok(is_removed && was_there)
        };
        fleet.call(target, pin!(remove)).await
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        let key = StoreKey::new(key);
        on_fleet!(self, fleet => self.delete_if_on(&fleet, &key, version))
    }

    async fn delete_if_on(&self, fleet: &Fleet, key: &StoreKey<'_>, version: Version) -> Result<bool, Error> {
        let target = fleet.target(key.as_str()).await?;
        let place = Place {
            fleet,
            target,
            key,
            clock: &*self.clock,
        };
        let remove = async {
            if let Some((mut session, token)) = self.known(target, version)
                && session.swap_if_open(key.as_str(), b"", token, lifetime::GONE).await?
            {
                return Ok(true);
            }
            let mut session = fleet.session(target).await?;
            match place.token(&mut session, version).await? {
                Some(token) => session.swap_away(key.as_str(), token).await,
                None => Ok(false),
            }
        };
        fleet.call(target, pin!(remove)).await
    }
}

/// Returns the bytes of a value.
fn bytes_of(value: Value) -> Result<Bytes, Error> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(error(
            ErrorKind::Rejected,
            "memcached stores bytes, not objects of this process",
        )),
    }
}

fn outcome(version: Version, is_written: bool) -> SetOutcome {
    if is_written {
        SetOutcome::Stored(version)
    } else {
        SetOutcome::Refused
    }
}

/// A record that is to be written.
struct Written {
    version: Version,
    deadline: Option<Timestamp>,
    bytes: Vec<u8>,
    expiration: u32,
}

/// A key on the server that it belongs to, to decide by the record that is there.
struct Place<'a> {
    fleet: &'a Fleet,
    target: Target<'a>,
    key: &'a StoreKey<'a>,
    clock: &'a dyn Clock,
}

impl Place<'_> {
    /// Decodes a value that was found, if it is a record before its deadline.
    fn live(&self, bytes: Bytes) -> Option<Stored> {
        let stored = self.fleet.decode(self.target, self.key, bytes);
        stored.filter(|stored| stored.is_live(self.clock.now()))
    }

    /// Writes if there is no live record: the key has no value, the record is past its deadline or was left behind when
    /// the key moved, or another application wrote the value.
    async fn add(&self, session: &mut Session<'_>, bytes: &[u8], expiration: u32) -> Result<bool, Fault> {
        let key = self.key.as_str();
        for _ in 0..ATTEMPTS {
            if session.add(key, bytes, expiration).await? {
                return Ok(true);
            }
            let Some(found) = session.gets(key).await? else {
                continue;
            };
            if self.live(found.bytes).is_some() {
                return Ok(false);
            }
            if session.swap(key, bytes, found.token, expiration).await? {
                return Ok(true);
            }
        }
        Err(Fault::Contended)
    }

    /// Returns the token to replace the record with, if the record has this version.
    async fn token(&self, session: &mut Session<'_>, version: Version) -> Result<Option<u64>, Fault> {
        let Some(found) = session.gets(self.key.as_str()).await? else {
            return Ok(None);
        };
        let is_it = self.live(found.bytes).is_some_and(|stored| stored.version == version);
        Ok(is_it.then_some(found.token))
    }
}

/// Returns whether a key is there twice.
fn has_doubles(keys: &[Key]) -> bool {
    if keys.len() > FEW {
        let distinct: HashSet<&Key> = keys.iter().collect();
        return distinct.len() < keys.len();
    }
    let mut rest = keys.iter();
    while let Some(key) = rest.next() {
        if rest.as_slice().contains(key) {
            return true;
        }
    }
    false
}

/// Returns each key once, and the places of all keys among those.
fn distinct(keys: &[Key]) -> (Vec<&Key>, Vec<usize>) {
    let (mut distinct, mut places) = (Vec::new(), HashMap::new());
    let of_all = keys.iter().map(|key| {
        *places.entry(key).or_insert_with(|| {
            distinct.push(key);
            distinct.len() - 1
        })
    });
    let of_all = of_all.collect();
    (distinct, of_all)
}

/// Returns how many writes of a batch may run at a time: one if a key occurs twice, so that the last write wins.
fn concurrency<'a>(keys: impl ExactSizeIterator<Item = &'a Key>) -> usize {
    let count = keys.len();
    let distinct: HashSet<&Key> = keys.collect();
    if distinct.len() == count { CONCURRENCY } else { 1 }
}

#[async_trait]
impl Backend for MemcachedBackend {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.shared.get(key).await.map_err(|error| error.with_operation("get"))
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        self.shared
            .set(key, value, options)
            .await
            .map_err(|error| error.with_operation("set"))
    }

    /// Takes one round trip: an `add`, and a `gets` after it.
    async fn get_or_add(&self, key: &Key, value: Value, options: SetOptions) -> Result<GetOrAdd, Error> {
        self.shared
            .get_or_add(key, value, options)
            .await
            .map_err(|error| error.with_operation("get_or_add"))
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.shared
            .delete(key)
            .await
            .map_err(|error| error.with_operation("delete"))
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.shared
            .delete_if(key, version)
            .await
            .map_err(|error| error.with_operation("delete_if"))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        self.shared
            .get_many(keys)
            .await
            .map_err(|error| error.with_operation("get_many"))
    }

    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        let concurrency = concurrency(entries.iter().map(|(key, ..)| key));
        let writes = entries.into_iter().map(|(key, value, options)| {
            let shared = Arc::clone(&self.shared);
            async move { shared.set(&key, value, options).await }
        });
        // After an error the other writes still finish.
        let outcomes: Vec<Result<SetOutcome, Error>> = stream::iter(writes).buffered(concurrency).collect().await;
        let outcomes: Result<Vec<SetOutcome>, Error> = outcomes.into_iter().collect();
        outcomes.map_err(|error| error.with_operation("set_many"))
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        let distinct: HashSet<Key> = keys.iter().cloned().collect();
        let removals = distinct.into_iter().map(|key| {
            let shared = Arc::clone(&self.shared);
            async move { shared.delete(&key).await }
        });
        let removed: Vec<Result<bool, Error>> = stream::iter(removals).buffered(CONCURRENCY).collect().await;
        let mut count = 0;
        for removed in removed {
            count += u64::from(removed.map_err(|error| error.with_operation("delete_many"))?);
        }
        Ok(count)
    }

    async fn ping(&self) -> Result<(), Error> {
        let ping = async { self.shared.open().await?.ping().await };
        ping.await.map_err(|error: Error| error.with_operation("ping"))
    }

    async fn close(&self) -> Result<(), Error> {
        self.shared.closed.store(true, Ordering::Release);
        match &self.shared.servers {
            Servers::Fixed(fleet) => fleet.close(),
            Servers::Discovered(discovery) => discovery.close(),
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        // Where the list of servers may change, a write takes one round trip more.
        let is_fixed = matches!(self.shared.servers, Servers::Fixed(_));
        Capabilities::default().with_get_or_add(is_fixed)
    }

    fn limits(&self) -> Limits {
        Limits::default()
            .with_value_bytes(self.shared.max_value_bytes)
            .with_batch(BATCH)
    }
}
