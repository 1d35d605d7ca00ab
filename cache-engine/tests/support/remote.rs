use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    Backend, Capabilities, Change, EntryKind, Envelope, Error, ErrorKind, GetOrAdd, Key, Record, Scope, SetMode,
    SetOptions, SetOutcome, Subscription, Value, Version, async_trait,
};
use cache_memory::MemoryBackend;

use super::{Gate, Teller, TokioClock, memory};

/// A store that is not in this process as far as the engine can tell: it takes bytes only, and each of its calls can
/// be held up, fail, or never be answered.
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

type Plan = Box<dyn FnMut(&Call) -> Fate + Send>;

struct Inner {
    store: MemoryBackend,
    plan: Mutex<Plan>,
    calls: Mutex<Vec<Call>>,
    keys: Mutex<BTreeMap<String, Key>>,
    enumerates: bool,
    ignores_modes: bool,
    gets_or_adds: AtomicBool,
    teller: Option<Teller>,
    finds_nothing: AtomicBool,
}

/// A call of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `get`, `set`, `get_or_add`, `delete`, `delete_if`, `get_many`, `clear` or `ping`.
    pub operation: &'static str,
    pub key: String,
    /// What is written.
    pub writes: Option<EntryKind>,
}

impl Call {
    pub fn is(&self, operation: &str) -> bool {
        self.operation == operation
    }

    pub fn writes(&self, kind: EntryKind) -> bool {
        self.writes == Some(kind)
    }
}

/// What becomes of a call.
#[derive(Debug, Clone)]
pub enum Fate {
    Pass,
    /// Nothing is done.
    Fail(ErrorKind),
    /// It is carried out, and then reported as failed.
    FailAfter(ErrorKind),
    /// It is carried out once the gate is open.
    Hold(Gate),
    /// Nothing is done, and it is reported as failed once the gate is open.
    HoldAndFail(Gate, ErrorKind),
    /// It is carried out, and answered once the gate is open.
    HoldAnswer(Gate),
    /// It is never carried out nor answered.
    Freeze,
    /// Nothing is done, since too many calls are under way.
    Busy,
    /// Nothing is done, and the backend panics.
    Panic,
    /// A record is not found, though it is there.
    FindNothing,
    /// It is carried out after a time, and answered after another.
    Take(Duration, Duration),
}

impl Remote {
    pub fn new() -> Self {
        Self::over(memory(TokioClock::new()))
    }

    pub fn over(store: MemoryBackend) -> Self {
        Self::build(store, true, false, None)
    }

    /// A store that cannot enumerate its records, and so has no way to remove those of a namespace.
    pub fn without_clear() -> Self {
        Self::build(memory(TokioClock::new()), false, false, None)
    }

    /// A store that writes always, whatever the mode: what caches without fences do.
    pub fn ignoring_modes() -> Self {
        Self::build(memory(TokioClock::new()), true, true, None)
    }

    /// A store that tells of changes.
    pub fn telling() -> Self {
        Self::build(memory(TokioClock::new()), true, false, Some(Teller::default()))
    }

    /// The same store, which reads a record or adds one in a single call.
    pub fn getting_or_adding(self) -> Self {
        self.0.gets_or_adds.store(true, Ordering::SeqCst);
        self
    }

    /// How it tells of changes.
    pub fn teller(&self) -> &Teller {
        self.0.teller.as_ref().expect("it tells of changes")
    }

    fn tell(&self, key: &Key) {
        if let Some(teller) = &self.0.teller {
            teller.tell(Change::Record(key.clone()));
        }
    }

    fn build(store: MemoryBackend, enumerates: bool, ignores_modes: bool, teller: Option<Teller>) -> Self {
        Self(Arc::new(Inner {
            store,
            plan: Mutex::new(Box::new(|_| Fate::Pass)),
            calls: Mutex::default(),
            keys: Mutex::default(),
            enumerates,
            ignores_modes,
            gets_or_adds: AtomicBool::new(false),
            teller,
            finds_nothing: AtomicBool::new(false),
        }))
    }

    /// Lets `plan` decide what becomes of each call from now on.
    pub fn plan(&self, plan: impl FnMut(&Call) -> Fate + Send + 'static) {
        *self.0.plan.lock().unwrap() = Box::new(plan);
    }

    /// Every call has this fate from now on.
    pub fn always(&self, fate: Fate) {
        self.plan(move |_| fate.clone());
    }

    /// The first call from now on that `which` holds for has this fate, all others pass.
    pub fn once(&self, fate: Fate, which: impl Fn(&Call) -> bool + Send + 'static) {
        let mut fate = Some(fate);
        self.plan(move |call| {
            if which(call) {
                fate.take().unwrap_or(Fate::Pass)
            } else {
                Fate::Pass
            }
        });
    }

    /// The calls since this was called last.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.calls.lock().unwrap())
    }

    /// Puts `bytes` under `key`, past all plans.
    pub async fn plant(&self, key: &Key, bytes: impl Into<Bytes>, options: SetOptions) {
        self.remember(key);
        let outcome = self
            .0
            .store
            .set(key, Value::Bytes(bytes.into()), options)
            .await
            .unwrap();
        assert!(matches!(outcome, SetOutcome::Stored(_)));
    }

    /// What is under `key`, past all plans.
    pub async fn peek(&self, key: &Key) -> Option<Envelope> {
        let record = self.0.store.get(key).await.unwrap()?;
        Envelope::decode(record.value.as_bytes().unwrap(), key).ok()
    }

    /// Removes what is under `key`, past all plans and caches: as another process on the store would.
    pub async fn remove(&self, key: &Key) -> bool {
        let removed = self.0.store.delete(key).await.unwrap();
        self.tell(key);
        removed
    }

    /// Removes everything, as an operator would.
    pub async fn flush(&self) {
        let keys: Vec<Key> = self.0.keys.lock().unwrap().values().cloned().collect();
        for key in keys {
            self.0.store.delete(&key).await.unwrap();
        }
        self.teller().tell(Change::Everything);
    }

    /// All leases that the store holds now.
    pub async fn leases(&self) -> Vec<String> {
        let keys: Vec<Key> = self.0.keys.lock().unwrap().values().cloned().collect();
        let mut leases = Vec::new();
        for key in keys {
            if self
                .peek(&key)
                .await
                .is_some_and(|envelope| envelope.kind == EntryKind::Lease)
            {
                leases.push(key.as_str().to_owned());
            }
        }
        leases
    }

    fn remember(&self, key: &Key) {
        self.0.keys.lock().unwrap().insert(key.as_str().to_owned(), key.clone());
    }

    async fn call<R>(
        &self,
        operation: &'static str,
        key: &Key,
        value: Option<&Value>,
        work: impl Future<Output = Result<R, Error>>,
    ) -> Result<R, Error> {
        let writes = value
            .map(|value| value.as_bytes().expect("objects are never handed to such a store"))
            .and_then(|bytes| Envelope::decode(bytes, key).ok())
            .map(|envelope| envelope.kind);
        self.remember(key);
        self.perform(operation, key.as_str(), writes, work).await
    }

    async fn perform<R>(
        &self,
        operation: &'static str,
        key: &str,
        writes: Option<EntryKind>,
        work: impl Future<Output = Result<R, Error>>,
    ) -> Result<R, Error> {
        let call = Call {
            operation,
            key: key.to_owned(),
            writes,
        };
        let fate = (self.0.plan.lock().unwrap())(&call);
        self.0.calls.lock().unwrap().push(call);
        let failed = |kind| Err(Error::new(kind, "as planned").with_operation(operation));
        match fate {
            Fate::Pass => work.await,
            Fate::Fail(kind) => failed(kind),
            Fate::FailAfter(kind) => {
                let _ = work.await;
                failed(kind)
            }
            Fate::Hold(gate) => {
                gate.pass().await;
                work.await
            }
            Fate::HoldAndFail(gate, kind) => {
                gate.pass().await;
                failed(kind)
            }
            Fate::HoldAnswer(gate) => {
                let answer = work.await;
                gate.pass().await;
                answer
            }
            Fate::Freeze => std::future::pending().await,
            Fate::Busy => Err(Error::new(ErrorKind::Rejected, "busy").with_retryable(true)),
            Fate::Panic => panic!("as planned"),
            // Only `get` can answer so.
            Fate::FindNothing => {
                self.0.finds_nothing.store(true, Ordering::SeqCst);
                work.await
            }
            Fate::Take(before, after) => {
                tokio::time::sleep(before).await;
                let answer = work.await;
                tokio::time::sleep(after).await;
                answer
            }
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.0.store).finish()
    }
}

#[async_trait]
impl Backend for Remote {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let work = async {
            let record = self.0.store.get(key).await?;
            Ok(record.filter(|_| !self.0.finds_nothing.swap(false, Ordering::SeqCst)))
        };
        self.call("get", key, None, work).await
    }

    async fn set(&self, key: &Key, value: Value, mut options: SetOptions) -> Result<SetOutcome, Error> {
        if self.0.ignores_modes {
            options.mode = SetMode::Always;
        }
        let work = async {
            let outcome = self.0.store.set(key, value.clone(), options).await;
            if let Ok(SetOutcome::Stored(_)) = outcome {
                self.tell(key);
            }
            outcome
        };
        self.call("set", key, Some(&value), work).await
    }

    async fn get_or_add(&self, key: &Key, value: Value, options: SetOptions) -> Result<GetOrAdd, Error> {
        let work = async {
            let outcome = self.0.store.get_or_add(key, value.clone(), options).await;
            if let Ok(GetOrAdd::Added(_)) = outcome {
                self.tell(key);
            }
            outcome
        };
        self.call("get_or_add", key, Some(&value), work).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        let work = async {
            let removed = self.0.store.delete(key).await;
            self.tell(key);
            removed
        };
        self.call("delete", key, None, work).await
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        let work = async {
            let removed = self.0.store.delete_if(key, version).await;
            self.tell(key);
            removed
        };
        self.call("delete_if", key, None, work).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        self.perform("get_many", "", None, self.0.store.get_many(keys)).await
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        let work = async {
            let removed = self.0.store.clear(scope).await;
            if let Some(teller) = &self.0.teller {
                teller.tell(Change::Everything);
            }
            removed
        };
        self.perform("clear", scope.as_str(), None, work).await
    }

    fn name(&self) -> &'static str {
        "remote"
    }

    fn system_name(&self) -> &'static str {
        "test.remote"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
            .with_clear(self.0.enumerates)
            .with_get_or_add(self.0.gets_or_adds.load(Ordering::SeqCst))
            .with_subscribe(self.0.teller.is_some())
    }

    async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        let work = async { Ok(self.0.store.get(key).await?.map(|record| record.version)) };
        self.call("version", key, None, work).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.perform("ping", "", None, async { Ok(()) }).await
    }

    async fn subscribe(&self, _: &Scope, beat: Duration) -> Result<Box<dyn Subscription>, Error> {
        self.perform("subscribe", "", None, async { Ok(self.teller().listen(beat)) })
            .await
    }
}
