//! Acquires a lease ahead: with the read that would otherwise find that there is nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use cache_core::{Error, GetOrAdd, Key, Record, SetOptions, Tags};

use crate::lease::fence::Fence;
use crate::lease::protocol::Leases;
use crate::tier::precondition::Lease;
use crate::tier::read::Boxed;
use crate::trace::load::current;
use crate::trace::task::background;

/// What was read, or the lease that was acquired because there was nothing to read.
#[derive(Debug)]
pub(crate) enum ReadOrLease {
    Record(Record),
    Lease(Lease),
}

impl Leases {
    /// Reads the record under `key`, and acquires a lease that carries `tags` if there is none, in one call of the store.
    ///
    /// If the future is dropped, the call ends in the background, and a lease that it acquired is released.
    pub(crate) async fn read_or_acquire(&self, key: &Key, tags: &Tags) -> Result<ReadOrLease, Error> {
        let tier = self.tier();
        let value = tier.writer(tags).lease(key, self.time(), None)?;
        let options = SetOptions::new(self.time()).lease();
        let (store, own) = (Arc::clone(&tier.store), key.clone());
        let call = Call {
            leases: self,
            key,
            call: Some(Box::pin(async move { store.get_or_add(&own, value, options).await })),
        };
        let outcome = call.await.inspect_err(|error| self.doubts().note_write(key, error));
        Ok(match outcome? {
            GetOrAdd::Found(record) => ReadOrLease::Record(record),
            GetOrAdd::Added(version) => ReadOrLease::Lease(Lease::new(version)),
        })
    }
}

/// A call of the store that ends in the background if it is dropped before its end.
struct Call<'a> {
    leases: &'a Leases,
    key: &'a Key,
    call: Option<Boxed<'static, Result<GetOrAdd, Error>>>,
}

impl Future for Call<'_> {
    type Output = Result<GetOrAdd, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = &mut self.call else {
            return Poll::Pending;
        };
        let outcome = ready!(call.as_mut().poll(context));
        self.call = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        // Outside of a runtime, the lease expires by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (leases, key) = (self.leases.clone(), self.key.clone());
            let releasing = async move {
                match call.await {
                    Ok(GetOrAdd::Added(version)) => {
                        leases.release(&key, Fence::Lease(Lease::new(version))).await;
                    }
                    Ok(GetOrAdd::Found(_)) => {}
                    Err(error) => leases.doubts().note_write(&key, &error),
                }
            };
            self.leases.tasks().spawn_on(background(current(), releasing), &runtime);
        }
    }
}
