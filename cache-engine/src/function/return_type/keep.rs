//! How a value is stored in the cache and returned to callers.

use std::sync::Arc;

use super::markers::markers;
use super::shape::Item;

markers! {
    SharedItem<V>;
    ClonedItem<V>;
}

/// How a value is stored: in an `Arc`, which it may be already.
pub trait Keep<T>: Copy + Send + 'static {
    type Value: Send + Sync + 'static;

    fn keep(item: T) -> Arc<Self::Value>;

    fn give(value: Arc<Self::Value>) -> T;
}

impl<V: Send + Sync + 'static> Keep<Arc<V>> for SharedItem<V> {
    type Value = V;

    fn keep(item: Arc<V>) -> Arc<V> {
        item
    }

    fn give(value: Arc<V>) -> Arc<V> {
        value
    }
}

/// The values that a cached function can return.
#[diagnostic::on_unimplemented(
    message = "a function that is cached cannot return `{Self}`",
    label = "returned by a function that is cached",
    note = "a value is stored, and cloned for each caller: it must be `Clone + Send + Sync + 'static`",
    note = "return an `Arc` of a value that cannot be cloned, or is expensive to clone"
)]
pub trait Cacheable: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> Cacheable for T {}

impl<T: Cacheable> Keep<T> for ClonedItem<T> {
    type Value = T;

    fn keep(item: T) -> Arc<T> {
        Arc::new(item)
    }

    fn give(value: Arc<T>) -> T {
        Arc::unwrap_or_clone(value)
    }
}

pub trait KeepOfArcs {
    type Keep;

    fn keep(&self) -> Self::Keep;
}

impl<V> KeepOfArcs for &Item<Arc<V>> {
    type Keep = SharedItem<V>;

    fn keep(&self) -> Self::Keep {
        SharedItem::new()
    }
}

pub trait KeepOfOthers {
    type Keep;

    fn keep(&self) -> Self::Keep;
}

impl<T> KeepOfOthers for Item<T> {
    type Keep = ClonedItem<T>;

    fn keep(&self) -> Self::Keep {
        ClonedItem::new()
    }
}
