//! The reference backend with one fault each, of kinds that real backends have.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cache_core::{
    Backend, Capabilities, Change, Clock, Error, ErrorKind, GetOrAdd, Key, Limits, Prefix, Record, Scope, SetMode,
    SetOptions, SetOutcome, SharedValue, Subscription, Ttl, Value, Version, View,
};

use crate::reference::{Reference, Stored, VALUE_BYTES};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    EmptyIsAbsent,
    LossyUtf8,
    ValuesCut,
    OldTail,
    TooLargeDropped,
    TooLargeKeepsOld,
    TooLargeCut,
    ControlStripped,
    CaseFolded,
    KeysTrimmed,
    KeysInjected,
    KeysCut,
    LongKeysRefused,
    PrefixLeftOut,
    TtlIgnored,
    TtlTruncated,
    TtlEarly,
    TtlAbsolute,
    TtlOverflows,
    DeadlineUnchecked,
    ForeverIsADay,
    RemainingStands,
    OverwriteKeepsTtl,
    RefusedTouches,
    ExpiredBlocks,
    VersionStays,
    VersionIsHash,
    VersionBeginsAgain,
    VersionIsTime,
    IfAbsentIgnores,
    CasAlwaysWins,
    CasCreates,
    CheckThenWrite,
    CheckThenWriteAtOnce,
    GetOrAddOverwrites,
    GetOrAddLooksThenWrites,
    DeleteAlwaysTrue,
    LookThenDelete,
    DeleteIfIgnores,
    LookThenDeleteIf,
    EmptyBatchFails,
    BatchSorted,
    BatchLeavesOut,
    BatchLosesDuplicates,
    BatchCut,
    BatchBackwards,
    BatchCheckThenWrite,
    BatchCountsKeys,
    ClearForgotten,
    SharedForgotten,
    SubscriptionForgotten,
    LimitForgotten,
    ClearUndeclared,
    ClearUnbounded,
    ClearGlob,
    ClearAll,
    ClearPage,
    ClearSnapshot,
    LeftOver,
    PingFails,
    Silent,
    Panics,
    CloseIgnored,
    SharedAnew,
    SometimesStale,
    VersionOfThePast,
    VersionOfTheDead,
    NowOfThePast,
    ViewOfThePast,
    ViewOfTheDead,
    ViewWithoutEnd,
    SubscriptionUndeclared,
    SubscriptionSilent,
    SubscriptionFolds,
    SubscriptionOmitsDeletes,
    SubscriptionOmitsClears,
    SubscriptionUnbounded,
    SubscriptionOnce,
    SubscriptionBackwards,
    SubscriptionEarly,
    SubscriptionLoses,
    SubscriptionOutlives,
}

#[derive(Debug)]
pub struct Broken {
    inner: Reference,
    fault: Fault,
    count: AtomicU64,
    /// The answer of a dropped call that is still on the connection.
    left_over: Mutex<Option<Option<Record>>>,
    /// The version that this backend reports for a record.
    versions: Mutex<HashMap<String, Version>>,
    previous: Mutex<HashMap<String, Record>>,
}

impl Broken {
    pub fn new(inner: Reference, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            count: AtomicU64::new(0),
            left_over: Mutex::default(),
            versions: Mutex::default(),
            previous: Mutex::default(),
        }
    }

    /// The key as the store sees it.
    fn stored_key(&self, key: &Key) -> Result<Key, Error> {
        let text = key.as_str();
        let text: String = match self.fault {
            Fault::ControlStripped => text.chars().filter(|c| !c.is_control()).collect(),
            Fault::CaseFolded => text.to_lowercase(),
            Fault::KeysTrimmed => text.trim().to_owned(),
            Fault::KeysCut => String::from_utf8_lossy(&text.as_bytes()[..text.len().min(250)]).into_owned(),
            Fault::PrefixLeftOut => text.split_once(':').unwrap().1.to_owned(),
            Fault::LongKeysRefused if text.len() > 250 => {
                return Err(Error::new(ErrorKind::InvalidKey, "more than 250 bytes"));
            }
            _ => return Ok(key.clone()),
        };
        Ok(Prefix::new("").namespace("").key(text))
    }

    fn stored_ttl(&self, ttl: Ttl) -> Ttl {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        match (self.fault, ttl.as_millis()) {
            (Fault::TtlIgnored, _) => Ttl::FOREVER,
            // Like a store that takes 0 for "no expiry".
            (Fault::TtlTruncated, Some(..1000)) => Ttl::FOREVER,
            (Fault::TtlTruncated, Some(millis)) => Ttl::from_millis(millis / 1000 * 1000),
            (Fault::TtlEarly, Some(millis)) => Ttl::from_millis(millis - millis / 100),
            (Fault::TtlAbsolute, Some(millis)) if millis > 30 * DAY => Ttl::from_millis(1),
            (Fault::TtlOverflows, Some(millis)) if millis / 1000 > i32::MAX as u64 => Ttl::from_millis(1),
            (Fault::ForeverIsADay, None) => Ttl::from_millis(DAY),
            _ => ttl,
        }
    }

    fn stored_value(&self, key: &Key, value: Value) -> Value {
        let Value::Bytes(bytes) = &value else { return value };
        Value::Bytes(match self.fault {
            Fault::LossyUtf8 => Bytes::from(String::from_utf8_lossy(bytes).into_owned()),
            Fault::ValuesCut => bytes.slice(..bytes.len().min(65_536)),
            Fault::TooLargeCut => bytes.slice(..bytes.len().min(VALUE_BYTES)),
            Fault::OldTail => {
                let map = self.inner.map.lock().unwrap();
                let old = map.get(key.as_str()).and_then(|stored| stored.record.value.as_bytes());
                let tail = old.map_or(&[][..], |old| old.get(bytes.len()..).unwrap_or_default());
                [&bytes[..], tail].concat().into()
            }
            _ => return value,
        })
    }

    /// A version of this backend's own making, where that is the fault.
    fn own_version(&self, key: &Key, value: &Value) -> Option<Version> {
        let token = match self.fault {
            Fault::VersionStays => return self.versions.lock().unwrap().get(key.as_str()).copied(),
            Fault::VersionIsHash => {
                let mut hasher = DefaultHasher::new();
                value.as_bytes()?.hash(&mut hasher);
                u128::from(hasher.finish())
            }
            Fault::VersionBeginsAgain => {
                let last = self.versions.lock().unwrap().get(key.as_str()).copied();
                last.map_or(1, |version| version.as_u128() + 1)
            }
            Fault::VersionIsTime => u128::from(self.inner.clock.now().as_millis()),
            _ => return None,
        };
        Some(Version::from_u128(token))
    }

    /// Checks and writes in two steps that follow at once, on a thread that may block, as an embedded store may do.
    async fn set_in_two_steps(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let (inner, key) = (self.inner.clone(), key.clone());
        let steps = tokio::task::spawn_blocking(move || {
            let current = inner.live(&inner.map.lock().unwrap(), key.as_str());
            let allowed = match options.mode {
                SetMode::Always => true,
                SetMode::IfAbsent => current.is_none(),
                SetMode::IfVersion(version) => current.is_some_and(|record| record.version == version),
            };
            if !allowed {
                return SetOutcome::Refused;
            }
            // Beginning a transaction takes longer.
            let since = Instant::now();
            while since.elapsed() < Duration::from_micros(20) {
                std::hint::spin_loop();
            }
            let version = inner.versions.next();
            let stored = Stored {
                record: Record::new(value, version, None),
                deadline: options.ttl.as_duration().map(|ttl| inner.clock.now() + ttl),
            };
            inner.map.lock().unwrap().insert(key.as_str().to_owned(), stored);
            SetOutcome::Stored(version)
        });
        Ok(steps.await.unwrap())
    }

    async fn checked_set(&self, key: &Key, value: Value, mut options: SetOptions) -> Result<SetOutcome, Error> {
        if self.fault == Fault::CheckThenWriteAtOnce {
            return self.set_in_two_steps(key, value, options).await;
        }
        let current = self.inner.get(key).await?;
        match self.fault {
            Fault::IfAbsentIgnores if options.mode == SetMode::IfAbsent => options.mode = SetMode::Always,
            Fault::CasAlwaysWins if matches!(options.mode, SetMode::IfVersion(_)) => options.mode = SetMode::Always,
            Fault::CasCreates if current.is_none() => options.mode = SetMode::Always,
            Fault::CheckThenWrite => {
                let allowed = match options.mode {
                    SetMode::Always => true,
                    SetMode::IfAbsent => current.is_none(),
                    SetMode::IfVersion(version) => current.is_some_and(|record| record.version == version),
                };
                if !allowed {
                    return Ok(SetOutcome::Refused);
                }
                options.mode = SetMode::Always;
            }
            Fault::OverwriteKeepsTtl => {
                if let Some(remaining) = current.and_then(|record| record.remaining) {
                    options.ttl = remaining.into();
                }
            }
            Fault::ExpiredBlocks
                if options.mode == SetMode::IfAbsent
                    && current.is_none()
                    && self.inner.map.lock().unwrap().contains_key(key.as_str()) =>
            {
                return Ok(SetOutcome::Refused);
            }
            _ => {}
        }
        let old = self.inner.map.lock().unwrap().get(key.as_str()).cloned();
        let outcome = self.inner.set(key, value, options).await?;
        if let (SetOutcome::Stored(_), Some(old)) = (outcome, old) {
            let mut previous = self.previous.lock().unwrap();
            previous.insert(key.as_str().to_owned(), old.record);
        }
        if outcome == SetOutcome::Refused
            && self.fault == Fault::RefusedTouches
            && let Some(stored) = self.inner.map.lock().unwrap().get_mut(key.as_str())
        {
            stored.deadline = options.ttl.as_duration().map(|ttl| self.inner.clock.now() + ttl);
        }
        Ok(outcome)
    }

    fn broken_record(&self, key: &Key, record: Option<Record>) -> Option<Record> {
        let mut record = record?;
        match (self.fault, &record.value) {
            (Fault::EmptyIsAbsent, Value::Bytes(bytes)) if bytes.is_empty() => return None,
            (Fault::SharedAnew, Value::Shared(shared)) => {
                record.value = Value::Shared(SharedValue::new(Arc::new("another"), shared.weight()));
            }
            (Fault::RemainingStands, _) if record.remaining.is_some() => {
                record.remaining = Some(Duration::from_secs(60));
            }
            (Fault::SometimesStale, _) if self.count.fetch_add(1, Ordering::Relaxed) % 7 == 6 => {
                return self
                    .previous
                    .lock()
                    .unwrap()
                    .get(key.as_str())
                    .cloned()
                    .or(Some(record));
            }
            _ => {}
        }
        Some(record)
    }
}

#[cache_core::async_trait]
impl Backend for Broken {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let key = self.stored_key(key)?;
        if self.fault == Fault::LeftOver {
            if let Some(answer) = self.left_over.lock().unwrap().take() {
                return Ok(answer);
            }
            let answer = self.inner.get(&key).await?;
            *self.left_over.lock().unwrap() = Some(answer.clone());
            tokio::task::yield_now().await;
            self.left_over.lock().unwrap().take();
            return Ok(answer);
        }
        let mut record = self.inner.get(&key).await?;
        if self.fault == Fault::DeadlineUnchecked && record.is_none() {
            let map = self.inner.map.lock().unwrap();
            record = map.get(key.as_str()).map(|stored| stored.record.clone());
            record
                .iter_mut()
                .for_each(|record| record.remaining = Some(Duration::ZERO));
        }
        Ok(self.broken_record(&key, record))
    }

    fn get_now(&self, key: &Key) -> Option<Result<Option<Record>, Error>> {
        let previous = self.previous.lock().unwrap();
        (self.fault == Fault::NowOfThePast).then(|| Ok(previous.get(key.as_str()).cloned()))
    }

    fn view(&self, key: &Key, see: &mut dyn FnMut(View<'_>) -> bool) {
        let mut show = |record: Option<&Record>, outlives: &dyn Fn(Duration) -> Option<bool>| {
            if let Some(Value::Shared(object)) = record.map(|record| &record.value) {
                let _ = see(View::new(object, outlives));
            }
        };
        match self.fault {
            Fault::ViewOfThePast => show(self.previous.lock().unwrap().get(key.as_str()), &|_| Some(true)),
            Fault::ViewOfTheDead => {
                let map = self.inner.map.lock().unwrap();
                let stored = map.get(key.as_str());
                let now = self.inner.clock.now();
                let left = stored.and_then(|stored| Some(stored.deadline?.saturating_since(now)));
                show(stored.map(|stored| &stored.record), &|time| {
                    left.map(|left| left > time)
                });
            }
            Fault::ViewWithoutEnd => self.inner.view(key, &mut |view| {
                let object = SharedValue::new(Arc::clone(view.object()), 0);
                see(View::new(&object, &|_| None))
            }),
            _ => self.inner.view(key, see),
        }
    }

    async fn set(&self, key: &Key, value: Value, mut options: SetOptions) -> Result<SetOutcome, Error> {
        let key = self.stored_key(key)?;
        let value = self.stored_value(&key, value);
        options.ttl = self.stored_ttl(options.ttl);
        match self.fault {
            Fault::TooLargeDropped if value.weight() > VALUE_BYTES => {
                return Ok(SetOutcome::Stored(self.inner.versions.next()));
            }
            Fault::TooLargeKeepsOld if value.weight() > VALUE_BYTES => {
                return Err(Error::new(ErrorKind::TooLarge, "more than 1 MiB"));
            }
            Fault::KeysInjected => {
                if let Some((_, command)) = key.as_str().split_once("\r\nset ") {
                    let victim = command.split(' ').next().unwrap_or_default();
                    let mut map = self.inner.map.lock().unwrap();
                    if let Some(any) = map.values().next().cloned() {
                        map.insert(victim.to_owned(), any);
                    }
                }
            }
            _ => {}
        }
        let own = self.own_version(&key, &value);
        let outcome = self.checked_set(&key, value, options).await?;
        let SetOutcome::Stored(given) = outcome else {
            return Ok(outcome);
        };
        let version = own.unwrap_or(given);
        self.versions.lock().unwrap().insert(key.as_str().to_owned(), version);
        if let Some(stored) = self.inner.map.lock().unwrap().get_mut(key.as_str())
            && stored.record.version == given
        {
            stored.record.version = version;
        }
        Ok(SetOutcome::Stored(version))
    }

    async fn get_or_add(&self, key: &Key, value: Value, options: SetOptions) -> Result<GetOrAdd, Error> {
        loop {
            let found = self.get(key).await?;
            let options = match (self.fault, found) {
                (Fault::GetOrAddOverwrites, _) => SetOptions::new(options.ttl),
                (_, Some(found)) => return Ok(GetOrAdd::Found(found)),
                (Fault::GetOrAddLooksThenWrites, None) => SetOptions::new(options.ttl),
                (_, None) => options.if_absent(),
            };
            if let SetOutcome::Stored(version) = self.set(key, value.clone(), options).await? {
                return Ok(GetOrAdd::Added(version));
            }
        }
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let key = self.stored_key(key)?;
        self.versions.lock().unwrap().remove(key.as_str());
        match self.fault {
            Fault::DeleteAlwaysTrue => self.inner.delete(&key).await.map(|_| true),
            Fault::LookThenDelete => {
                let found = self.inner.get(&key).await?.is_some();
                self.inner.delete(&key).await?;
                Ok(found)
            }
            _ => self.inner.delete(&key).await,
        }
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        let found = self.inner.get(key).await?;
        match self.fault {
            Fault::DeleteIfIgnores => self.inner.delete(key).await,
            Fault::LookThenDeleteIf => {
                if !found.is_some_and(|record| record.version == version) {
                    return Ok(false);
                }
                self.inner.delete(key).await?;
                Ok(true)
            }
            // As the trait provides it.
            _ => {
                let options = SetOptions::new(Ttl::from_millis(1)).if_version(version);
                let outcome = self.set(key, Value::Bytes(Bytes::new()), options).await?;
                Ok(outcome.version().is_some())
            }
        }
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        if keys.is_empty() && self.fault == Fault::EmptyBatchFails {
            return Err(Error::new(ErrorKind::Rejected, "wrong number of arguments"));
        }
        let mut keys = keys.to_vec();
        if self.fault == Fault::BatchSorted {
            keys.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        }
        let (mut answers, mut seen) = (Vec::new(), HashSet::new());
        for (place, key) in keys.into_iter().enumerate() {
            let again = !seen.insert(key.clone());
            let answer = self.get(&key).await?;
            match self.fault {
                Fault::BatchLosesDuplicates if again => answers.push(None),
                Fault::BatchLeavesOut if answer.is_none() => {}
                Fault::BatchCut if place >= 100 => answers.push(None),
                _ => answers.push(answer),
            }
        }
        Ok(answers)
    }

    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        let mut outcomes = Vec::new();
        let keys: Vec<Key> = entries.iter().map(|(key, ..)| key.clone()).collect();
        let before = self.get_many(&keys).await?;
        for ((key, value, mut options), found) in entries.into_iter().zip(before) {
            if self.fault == Fault::BatchCheckThenWrite && options.mode == SetMode::IfAbsent && found.is_none() {
                options.mode = SetMode::Always;
            }
            outcomes.push(self.set(&key, value, options).await?);
        }
        if self.fault == Fault::BatchBackwards {
            outcomes.reverse();
        }
        Ok(outcomes)
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        let mut removed = 0;
        for key in keys {
            removed += u64::from(self.delete(key).await?);
        }
        if self.fault == Fault::BatchCountsKeys {
            removed = keys.len() as u64;
        }
        Ok(removed)
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        let scope = scope.as_str();
        self.inner.travel().await?;
        if self.fault == Fault::ClearSnapshot {
            let snapshot = self.inner.map.lock().unwrap().clone();
            // Until something was written meanwhile, as it soon is in a busy store.
            for _ in 0..1000 {
                if self.inner.map.lock().unwrap().len() > snapshot.len() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let kept: Vec<_> = snapshot
                .into_iter()
                .filter(|(key, _)| !key.starts_with(scope))
                .collect();
            let mut map = self.inner.map.lock().unwrap();
            let before = map.len();
            *map = kept.into_iter().collect();
            return Ok((before - map.len()) as u64);
        }
        let mut removed = 0;
        let unbounded = scope.strip_suffix(':').unwrap_or(scope);
        let pattern: Vec<char> = format!("{scope}*").chars().collect();
        self.inner.map.lock().unwrap().retain(|key, _| {
            let hit = match self.fault {
                Fault::ClearUndeclared => false,
                Fault::ClearUnbounded => key.starts_with(unbounded),
                Fault::ClearGlob => glob(&pattern, &key.chars().collect::<Vec<_>>()),
                Fault::ClearAll => true,
                Fault::ClearPage => key.starts_with(scope) && removed < 1000,
                _ => key.starts_with(scope),
            };
            if hit {
                self.inner.tell(key);
            }
            removed += u64::from(hit);
            !hit
        });
        Ok(removed)
    }

    async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        let now = self.get(key).await?.map(|record| record.version);
        match self.fault {
            Fault::VersionOfThePast => {
                let previous = self.previous.lock().unwrap();
                Ok(now.map(|now| previous.get(key.as_str()).map_or(now, |record| record.version)))
            }
            Fault::VersionOfTheDead => Ok(self.versions.lock().unwrap().get(key.as_str()).copied()),
            _ => Ok(now),
        }
    }

    async fn subscribe(&self, scope: &Scope, heartbeat: Duration) -> Result<Box<dyn Subscription>, Error> {
        let wider = Prefix::new(scope.as_str().split(':').next().unwrap()).scope();
        let watched = match self.fault {
            Fault::SubscriptionUnbounded => &wider,
            _ => scope,
        };
        Ok(Box::new(BrokenSubscription {
            inner: self.inner.subscribe(watched, heartbeat).await?,
            fault: self.fault,
            held: VecDeque::new(),
            said: None,
            seen: HashSet::new(),
        }))
    }

    async fn ping(&self) -> Result<(), Error> {
        match self.fault {
            Fault::PingFails => Err(Error::new(ErrorKind::Rejected, "unknown command")),
            Fault::Silent => std::future::pending().await,
            Fault::Panics => panic!("the backend panics"),
            _ => self.inner.ping().await,
        }
    }

    async fn close(&self) -> Result<(), Error> {
        match self.fault {
            Fault::CloseIgnored => Ok(()),
            _ => self.inner.close().await,
        }
    }

    fn capabilities(&self) -> Capabilities {
        let declared = self.inner.capabilities();
        declared
            .with_clear(!matches!(self.fault, Fault::ClearUndeclared | Fault::ClearForgotten))
            .with_shared_objects(self.fault != Fault::SharedForgotten)
            .with_subscribe(!matches!(
                self.fault,
                Fault::SubscriptionUndeclared | Fault::SubscriptionForgotten
            ))
    }

    fn limits(&self) -> Limits {
        match self.fault {
            Fault::LimitForgotten => Limits::default(),
            _ => self.inner.limits(),
        }
    }
}

#[derive(Debug)]
struct BrokenSubscription {
    inner: Box<dyn Subscription>,
    fault: Fault,
    held: VecDeque<Change>,
    said: Option<Instant>,
    seen: HashSet<Key>,
}

#[cache_core::async_trait]
impl Subscription for BrokenSubscription {
    async fn next(&mut self) -> Option<Change> {
        loop {
            if matches!(self.held.back(), Some(Change::Heartbeat(_)) | None)
                && let Some(held) = self.held.pop_front()
            {
                return Some(held);
            }
            let Some(change) = self.inner.next().await else {
                match self.fault {
                    Fault::SubscriptionOutlives => std::future::pending().await,
                    _ => return None,
                }
            };
            match (self.fault, &change) {
                (Fault::SubscriptionSilent, Change::Record(_)) => {}
                (Fault::SubscriptionFolds, Change::Record(key)) => {
                    let ascii: String = key
                        .as_str()
                        .chars()
                        .map(|c| if c.is_ascii() { c } else { '?' })
                        .collect();
                    return Key::parse(&ascii).map(Change::Record);
                }
                // Every other change of a key, which is its delete where it was written before.
                (Fault::SubscriptionOmitsDeletes | Fault::SubscriptionOmitsClears, Change::Record(key)) => {
                    if self.seen.insert(key.clone()) {
                        return Some(change);
                    }
                    self.seen.remove(key);
                }
                (Fault::SubscriptionOnce, Change::Heartbeat(moment)) => {
                    return Some(Change::Heartbeat(*self.said.get_or_insert(*moment)));
                }
                (Fault::SubscriptionBackwards, Change::Heartbeat(moment)) => {
                    let said = self.said.replace(*moment);
                    return Some(Change::Heartbeat(
                        said.map_or(*moment, |said| said - Duration::from_secs(1)),
                    ));
                }
                (Fault::SubscriptionEarly, Change::Record(_)) => {
                    // Changes are reported after the next heartbeat. The subscription is slow, so that the write has
                    // returned by then.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let now = Instant::now();
                    self.held.push_back(change);
                    self.held.push_back(Change::Heartbeat(now));
                    return Some(Change::Heartbeat(now));
                }
                (Fault::SubscriptionLoses, Change::Record(_)) => {
                    tokio::task::yield_now().await;
                    return Some(change);
                }
                _ => return Some(change),
            }
        }
    }
}

/// Whether `text` matches a pattern of characters, `*` and `?`.
fn glob(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        [first, rest @ ..] => match text {
            [c, others @ ..] => (*first == '?' || first == c) && glob(rest, others),
            [] => false,
        },
    }
}
