//! An object that a store in this process shows where it lies.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::record::SharedValue;

/// A borrowed object in a store of this process. See [`Backend::view`](crate::Backend::view).
#[derive(Clone, Copy)]
pub struct View<'a> {
    value: &'a SharedValue,
    outlives: &'a dyn Fn(Duration) -> Option<bool>,
}

impl<'a> View<'a> {
    /// Makes the view of `value`. `outlives` answers [`outlives`](Self::outlives).
    #[must_use]
    pub fn new(value: &'a SharedValue, outlives: &'a dyn Fn(Duration) -> Option<bool>) -> Self {
        Self { value, outlives }
    }

    /// Returns the object.
    #[must_use]
    pub fn object(&self) -> &'a Arc<dyn Any + Send + Sync> {
        self.value.object()
    }

    /// Returns whether the store still keeps the record for more than `time`, to the millisecond, or `None` if the record
    /// does not expire.
    ///
    /// This is a question and not a number, because a store can often answer it without a look at the exact time.
    #[must_use]
    pub fn outlives(&self, time: Duration) -> Option<bool> {
        (self.outlives)(time)
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("value", self.value)
            .finish_non_exhaustive()
    }
}
