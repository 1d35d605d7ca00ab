//! A backend behind an `Arc` is a backend.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::backend::capabilities::{Capabilities, Limits};
use crate::backend::contract::{Backend, EvictionListener};
use crate::backend::set::{GetOrAdd, SetOptions, SetOutcome};
use crate::backend::subscription::Subscription;
use crate::backend::usage::Usage;
use crate::backend::view::View;
use crate::error::Error;
use crate::key::{Key, Scope};
use crate::record::{Record, Value, Version};

/// Every method goes to the backend behind the `Arc`; so `Arc<dyn Backend>` can be used wherever a backend is taken.
#[async_trait]
impl<B: Backend + ?Sized> Backend for Arc<B> {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        (**self).get(key).await
    }

    fn get_now(&self, key: &Key) -> Option<Result<Option<Record>, Error>> {
        (**self).get_now(key)
    }

    fn view(&self, key: &Key, see: &mut dyn FnMut(View<'_>) -> bool) {
        (**self).view(key, see);
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        (**self).set(key, value, options).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        (**self).delete(key).await
    }

    async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        (**self).delete_if(key, version).await
    }

    async fn version(&self, key: &Key) -> Result<Option<Version>, Error> {
        (**self).version(key).await
    }

    async fn get_or_add(&self, key: &Key, value: Value, options: SetOptions) -> Result<GetOrAdd, Error> {
        (**self).get_or_add(key, value, options).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        (**self).get_many(keys).await
    }

    async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        (**self).set_many(entries).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        (**self).delete_many(keys).await
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        (**self).clear(scope).await
    }

    async fn ping(&self) -> Result<(), Error> {
        (**self).ping().await
    }

    async fn close(&self) -> Result<(), Error> {
        (**self).close().await
    }

    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn system_name(&self) -> &'static str {
        (**self).system_name()
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn limits(&self) -> Limits {
        (**self).limits()
    }

    fn usage(&self) -> Option<Usage> {
        (**self).usage()
    }

    async fn subscribe(&self, scope: &Scope, heartbeat: Duration) -> Result<Box<dyn Subscription>, Error> {
        (**self).subscribe(scope, heartbeat).await
    }

    fn on_eviction(&self, listener: EvictionListener) {
        (**self).on_eviction(listener);
    }
}
