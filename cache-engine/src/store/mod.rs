//! The backend as the engine uses it: with a time limit, a breaker and events; the records in it, and their changes.

pub(crate) mod breaker;
pub(crate) mod changes;
pub(crate) mod record;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use cache_core::{Backend, Error, ErrorKind, Key, Record, Scope, SetOptions, SetOutcome, Value, Version};

use crate::event::{Event, Events};
use crate::store::breaker::{Breaker, Transition};

/// A backend behind a time limit and a breaker. Every failure is an event.
pub(crate) struct Store {
    backend: Arc<dyn Backend>,
    timeout: Duration,
    clear_timeout: Duration,
    breaker: Breaker,
    /// The store is in this process: it answers without waiting, so there is nothing to guard against.
    local: bool,
    events: Events,
}

type Call<'a, R> = Pin<Box<dyn Future<Output = Result<R, Error>> + Send + 'a>>;

impl Store {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        timeout: Duration,
        clear_timeout: Duration,
        breaker: Breaker,
        events: Events,
    ) -> Self {
        let local = backend.capabilities().shared_objects;
        Self {
            backend,
            timeout,
            clear_timeout,
            breaker,
            local,
            events,
        }
    }

    pub(crate) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Whether objects are kept as they are.
    pub(crate) fn is_local(&self) -> bool {
        self.local
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.call("get", Some(key), self.backend.get(key)).await
    }

    /// As [`get`](Self::get), for a store in this process.
    #[inline]
    pub(crate) async fn get_local(&self, key: &Key) -> Result<Option<Record>, Error> {
        let result = self.backend.get(key).await;
        if result.is_ok() {
            result
        } else {
            self.observe("get", Some(key), result)
        }
    }

    pub(crate) async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        let records = self.call("get_many", None, self.backend.get_many(keys)).await?;
        if records.len() == keys.len() {
            return Ok(records);
        }
        let message = format!("{} answers to {} keys", records.len(), keys.len());
        Err(Error::new(ErrorKind::Other, message)
            .with_backend(self.backend.name())
            .with_operation("get_many"))
    }

    pub(crate) async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        self.call("set", Some(key), self.backend.set(key, value, options)).await
    }

    pub(crate) async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        self.call("set_many", None, self.backend.set_many(entries)).await
    }

    pub(crate) async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        self.call("version", Some(key), self.backend.version(key)).await
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.call("delete", Some(key), self.backend.delete(key)).await
    }

    pub(crate) async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        self.call("delete_if", Some(key), self.backend.delete_if(key, version))
            .await
    }

    pub(crate) async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        // Clearing walks through the whole store, so it has a time limit of its own.
        let clear = self.backend.clear(scope);
        let result = if self.local {
            clear.await
        } else {
            let limit = self.clear_timeout;
            tokio::time::timeout(limit, clear)
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, format!("not done within {limit:?}"))))
        };
        self.observe("clear", None, result)
    }

    #[inline]
    async fn call<R>(&self, operation: &'static str, key: Option<&Key>, call: Call<'_, R>) -> Result<R, Error> {
        if self.local {
            self.observe(operation, key, call.await)
        } else {
            self.guard(operation, key, call).await
        }
    }

    async fn guard<R>(&self, operation: &'static str, key: Option<&Key>, mut call: Call<'_, R>) -> Result<R, Error> {
        let Some(permit) = self.breaker.permit() else {
            // Not an event: the opening was one, and a dead store is to cost nothing.
            return Err(Error::new(ErrorKind::Unavailable, "left alone after repeated failures")
                .with_backend(self.backend.name())
                .with_operation(operation));
        };
        // A call that is ready at once needs no timer.
        let first = std::future::poll_fn(|context| match call.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => Poll::Ready(None),
        });
        let result = match first.await {
            Some(result) => result,
            None => tokio::time::timeout(self.timeout, call).await.unwrap_or_else(|_| {
                let message = format!("no answer within {:?}", self.timeout);
                Err(Error::new(ErrorKind::Timeout, message))
            }),
        };
        let failed = result
            .as_ref()
            .is_err_and(|error| matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable));
        match if failed { permit.failed() } else { permit.succeeded() } {
            Transition::None => {}
            Transition::Opened => self.events.emit(&Event::BreakerOpened),
            Transition::Closed => self.events.emit(&Event::BreakerClosed),
        }
        self.observe(operation, key, result)
    }

    fn observe<R>(&self, operation: &'static str, key: Option<&Key>, result: Result<R, Error>) -> Result<R, Error> {
        result.map_err(|error| {
            // Not every backend says which it is.
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

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("backend", &self.backend)
            .field("timeout", &self.timeout)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
