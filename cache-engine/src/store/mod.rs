//! The backend as the engine uses it, with a time limit, a breaker and events; its records, and their changes.

pub(crate) mod breaker;
pub(crate) mod changes;
pub(crate) mod record;

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use cache_core::{
    Backend, Error, ErrorKind, GetOrAdd, Key, Record, Scope, SetOptions, SetOutcome, Value, Version, View,
};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{Instrument, Span};

use crate::event::{Event, Events};
use crate::stats::snapshot::BreakerState;
use crate::store::breaker::{Breaker, Permit, Transition};
use crate::trace::call;

/// A backend behind a time limit and a breaker. Every failure emits an event.
pub(crate) struct Store {
    /// Called as `(*backend)`: the `Arc` is a backend too, and its methods would box each future a second time.
    backend: Arc<dyn Backend>,
    timeout: Duration,
    clear_timeout: Duration,
    breaker: Breaker,
    /// Opens when the store answers but accepts no writes. A full store still reads and removes.
    writes: Breaker,
    /// Whether the store is in this process. Such a store answers without waiting, so it needs no time limit and no
    /// breaker.
    local: bool,
    /// Whether [`get_or_add`](Self::get_or_add) takes one round trip.
    gets_or_adds: bool,
    events: Events,
}

/// The message of a call that the breaker prevents.
const LEFT_ALONE: &str = "left alone after repeated failures";

/// Returns whether the call that failed with `error` was not made, because the breaker is open.
pub(crate) fn is_left_alone(error: &Error) -> bool {
    error.message() == LEFT_ALONE
}

/// The operations that only read.
const READS: [&str; 4] = ["get", "get_many", "version", "ping"];

type Call<'a, R> = Pin<Box<dyn Future<Output = Result<R, Error>> + Send + 'a>>;

impl Store {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        timeout: Duration,
        clear_timeout: Duration,
        breaker: Breaker,
        writes: Breaker,
        events: Events,
    ) -> Self {
        let capabilities = backend.capabilities();
        Self {
            backend,
            timeout,
            clear_timeout,
            breaker,
            writes,
            local: capabilities.shared_objects,
            gets_or_adds: capabilities.get_or_add,
            events,
        }
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Returns whether the store is in this process, so that objects are stored as they are.
    pub(crate) fn is_local(&self) -> bool {
        self.local
    }

    /// Returns whether the store is called.
    pub(crate) fn breaker_state(&self) -> BreakerState {
        match (self.breaker.is_closed(), self.writes.is_closed()) {
            (false, _) => BreakerState::Open,
            (true, false) => BreakerState::ClosedToWrites,
            (true, true) => BreakerState::Closed,
        }
    }

    /// Returns how long it takes at most until a store that answers again is used again.
    pub(crate) fn recovery_time(&self) -> Duration {
        self.breaker.pause().saturating_add(self.timeout)
    }

    /// Returns whether the breaker is open and no caller needs the store, so that none probes it.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.breaker.is_forgotten()
    }

    /// Probes the store. If it answers, the breaker closes.
    pub(crate) async fn probe(&self) {
        // A failure was reported to the breaker, and emitted an event.
        let _ = self.guard("ping", None, None, (*self.backend).ping()).await;
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.call("get", Some(key), (*self.backend).get(key)).await
    }

    /// Like [`get`](Self::get), if the store is in this process and answers without waiting.
    #[inline]
    pub(crate) fn get_now(&self, key: &Key) -> Option<Result<Option<Record>, Error>> {
        if !self.local {
            return None;
        }
        let result = (*self.backend).get_now(key)?;
        Some(if result.is_ok() {
            result
        } else {
            self.observe("get", Some(key), result)
        })
    }

    /// Shows the object of a key, if the store is in this process and can show it.
    #[inline]
    pub(crate) fn view(&self, key: &Key, see: &mut dyn FnMut(View<'_>) -> bool) {
        if self.local {
            (*self.backend).view(key, see);
        }
    }

    /// Returns whether [`get_or_add`](Self::get_or_add) takes one round trip, and no writes were refused lately.
    pub(crate) fn gets_or_adds(&self) -> bool {
        self.gets_or_adds && self.writes.is_closed()
    }

    pub(crate) async fn get_or_add(&self, key: &Key, value: Value, options: SetOptions) -> Result<GetOrAdd, Error> {
        let permit = self.write_permit("get_or_add")?;
        let call = (*self.backend).get_or_add(key, value, options);
        let result = self.call("get_or_add", Some(key), call).await;
        report_write(permit, &result);
        result
    }

    pub(crate) async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        let records = self
            .call_many("get_many", keys.len(), (*self.backend).get_many(keys))
            .await?;
        if records.len() == keys.len() {
            return Ok(records);
        }
        let message = format!("{} answers to {} keys", records.len(), keys.len());
        Err(Error::new(ErrorKind::Other, message)
            .with_backend(self.backend.name())
            .with_operation("get_many"))
    }

    pub(crate) async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let permit = self.write_permit("set")?;
        let set = (*self.backend).set(key, value, options);
        let result = self.call("set", Some(key), set).await;
        report_write(permit, &result);
        result
    }

    pub(crate) async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        let count = entries.len();
        let permit = self.write_permit("set_many")?;
        let set = (*self.backend).set_many(entries);
        let result = self.call_many("set_many", count, set).await;
        report_write(permit, &result);
        result
    }

    pub(crate) async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        self.call("version", Some(key), (*self.backend).version(key)).await
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.call("delete", Some(key), (*self.backend).delete(key)).await
    }

    pub(crate) async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        self.call_many("delete_many", keys.len(), (*self.backend).delete_many(keys))
            .await
    }

    pub(crate) async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.call("delete_if", Some(key), (*self.backend).delete_if(key, version))
            .await
    }

    pub(crate) async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        // Clearing may walk through the whole store, so it has a time limit of its own.
        let clear = (*self.backend).clear(scope);
        let result = if self.local {
            clear.await
        } else {
            let (limit, span) = (self.clear_timeout, self.span("clear", None, None));
            let result = tokio::time::timeout(limit, clear)
                .instrument(span.clone())
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, format!("not done within {limit:?}"))));
            call::record(&span, &result);
            result
        };
        self.observe("clear", None, result)
    }

    #[inline]
    async fn call<R>(&self, operation: &'static str, key: Option<&Key>, call: Call<'_, R>) -> Result<R, Error> {
        if self.local {
            self.observe(operation, key, call.await)
        } else {
            self.guard(operation, key, None, call).await
        }
    }

    /// As [`call`](Self::call), for so many keys.
    async fn call_many<R>(&self, operation: &'static str, keys: usize, call: Call<'_, R>) -> Result<R, Error> {
        if self.local {
            self.observe(operation, None, call.await)
        } else {
            self.guard(operation, None, Some(keys), call).await
        }
    }

    /// Returns the span of a call, which begins now.
    fn span(&self, operation: &'static str, key: Option<&Key>, batch: Option<usize>) -> Span {
        let call = call::Call {
            cache: self.events.cache(),
            system: (*self.backend).system_name(),
            operation,
            key,
            batch,
        };
        call.span()
    }

    /// Returns the permit of the breaker for writes, which a store in this process does not need. The error is that of a
    /// call that is not made, because the breaker is open.
    fn write_permit(&self, operation: &'static str) -> Result<Option<Permit<'_>>, Error> {
        if self.local {
            return Ok(None);
        }
        match self.writes.permit() {
            Some(permit) => Ok(Some(permit)),
            None => Err(self.left_alone(ErrorKind::Rejected, "no writes after repeated refusals", operation)),
        }
    }

    async fn guard<R>(
        &self,
        operation: &'static str,
        key: Option<&Key>,
        batch: Option<usize>,
        mut call: Call<'_, R>,
    ) -> Result<R, Error> {
        let Some(permit) = self.breaker.permit() else {
            return Err(self.left_alone(ErrorKind::Unavailable, LEFT_ALONE, operation));
        };
        let begun = self.events.is_observed().then(Instant::now);
        let span = self.span(operation, key, batch);
        let mut permit = Some(permit);
        let mut waited = None;
        let mut limit = pin!(None);
        let result = std::future::poll_fn(|context| {
            if let Poll::Ready(result) = span.in_scope(|| call.as_mut().poll(context)) {
                return Poll::Ready(result);
            }
            // A call that is ready at once needs no timer.
            if waited.is_none() {
                let since = Instant::now();
                waited = Some(Waited {
                    store: self,
                    operation,
                    permit: permit.take(),
                    since,
                    span: &span,
                });
                let timer = since
                    .checked_add(self.timeout)
                    .map_or_else(|| sleep(self.timeout), sleep_until);
                // It fires even if the call uses up what its task may do at a time.
                limit.set(Some(unconstrained(timer)));
            }
            let Some(limit) = limit.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            limit.poll(context).map(|()| {
                let message = format!("no answer within {:?}", self.timeout);
                Err(Error::new(ErrorKind::Timeout, message))
            })
        })
        .await;
        span.in_scope(|| drop(call));
        let waited = waited.and_then(|mut waited| waited.permit.take());
        if let Some(permit) = waited.or(permit) {
            self.report(permit, operation, result.as_ref().err());
        }
        call::record(&span, &result);
        // Observers are no part of the call.
        drop(span);
        if let Some(begun) = begun {
            self.events.emit(&Event::StoreCalled {
                backend: (*self.backend).name(),
                system: (*self.backend).system_name(),
                operation,
                key,
                took: begun.elapsed(),
                failure: result.as_ref().err().map(Error::kind),
            });
        }
        self.observe(operation, key, result)
    }

    /// Emits the event of a record that cannot be read.
    #[cold]
    pub(crate) fn report_unreadable(&self, key: &Key, error: &Error) {
        self.events.emit(&Event::DecodeFailed { key, error });
    }

    /// Reports to the breaker how a call ended.
    fn report(&self, permit: Permit<'_>, operation: &'static str, error: Option<&Error>) {
        // A refusal that soon passes, such as that of a client with too many calls under way, says nothing of the store.
        if error.is_some_and(|error| error.kind() == ErrorKind::Rejected && error.is_retryable()) {
            return;
        }
        let failed = error.is_some_and(|error| match error.kind() {
            ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Auth | ErrorKind::Configuration => true,
            // A store that refuses reads, such as a proxy that does not know the command, is as good as down. Refused
            // writes have a breaker of their own.
            ErrorKind::Rejected | ErrorKind::Other => READS.contains(&operation) && !error.is_retryable(),
            _ => false,
        });
        match if failed { permit.failed() } else { permit.succeeded() } {
            Transition::None => {}
            Transition::Opened => self.events.emit(&Event::BreakerOpened),
            Transition::Closed => self.events.emit(&Event::BreakerClosed),
        }
    }

    /// Returns the error of a call that is not made. It emits no event: the opening of the breaker emitted one, and a
    /// dead store should cost nothing.
    fn left_alone(&self, kind: ErrorKind, message: &'static str, operation: &'static str) -> Error {
        Error::new(kind, message)
            .with_backend(self.backend.name())
            .with_operation(operation)
    }

    fn observe<R>(&self, operation: &'static str, key: Option<&Key>, result: Result<R, Error>) -> Result<R, Error> {
        result.map_err(|error| {
            // Not every backend names itself and the operation in its errors.
            let error = error.with_backend(self.backend.name()).with_operation(operation);
            self.events.emit(&Event::StoreFailed {
                operation,
                key,
                error: &error,
            });
            error
        })
    }
}

/// Reports to the breaker for writes how a call ended.
fn report_write<R>(permit: Option<Permit<'_>>, result: &Result<R, Error>) {
    let Some(permit) = permit else { return };
    match result {
        Ok(_) => drop(permit.succeeded()),
        Err(error) if matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Other) => drop(permit.failed()),
        Err(_) => drop(permit),
    }
}

/// A call that is waiting for the store. If its caller cancels it, that counts as a failure, because it is one to the
/// caller.
struct Waited<'a> {
    store: &'a Store,
    operation: &'static str,
    permit: Option<Permit<'a>>,
    since: Instant,
    span: &'a Span,
}

/// Divides the time limit: a call that is cancelled after this part of the limit counts as a failure.
const PATIENCE: u32 = 10;

impl Drop for Waited<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        call::record_cancelled(self.span);
        if self.since.elapsed() >= self.store.timeout / PATIENCE {
            let given_up = Error::new(ErrorKind::Timeout, "given up by the caller");
            self.store.report(permit, self.operation, Some(&given_up));
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("backend", &self.backend)
            .field("timeout", &self.timeout)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
