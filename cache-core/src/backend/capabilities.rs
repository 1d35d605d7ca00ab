//! The capabilities and limits of a store.

/// The capabilities of a store beyond the required methods, as plain data.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Whether [`Backend::clear`](crate::Backend::clear) removes the records of a scope.
    pub clear: bool,
    /// Whether [`Backend::get_or_add`](crate::Backend::get_or_add) takes one round trip, as a [`get`](crate::Backend::get)
    /// does, and costs the store about as much where there is a record: an embedded store should then read only, and write
    /// only where there is none. The engine then reads with it, so that a miss takes one round trip fewer.
    pub get_or_add: bool,
    /// Whether [`Value::Shared`](crate::Value::Shared) is stored and returned as the same object. This is what the
    /// documentation calls a store in this process: it is in memory and answers without waiting, so it has no time limit
    /// and no circuit breaker, and can be a near tier. An embedded store that writes files is not one.
    pub shared_objects: bool,
    /// Whether [`Backend::subscribe`](crate::Backend::subscribe) reports changes.
    pub subscribe: bool,
}

impl Capabilities {
    /// Sets [`clear`](Self::clear).
    #[must_use]
    pub const fn with_clear(mut self, clear: bool) -> Self {
        self.clear = clear;
        self
    }

    /// Sets [`get_or_add`](Self::get_or_add).
    #[must_use]
    pub const fn with_get_or_add(mut self, get_or_add: bool) -> Self {
        self.get_or_add = get_or_add;
        self
    }

    /// Sets [`shared_objects`](Self::shared_objects).
    #[must_use]
    pub const fn with_shared_objects(mut self, shared_objects: bool) -> Self {
        self.shared_objects = shared_objects;
        self
    }

    /// Sets [`subscribe`](Self::subscribe).
    #[must_use]
    pub const fn with_subscribe(mut self, subscribe: bool) -> Self {
        self.subscribe = subscribe;
        self
    }
}

/// The limits of a store; `None` where it has none.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The largest value in bytes.
    pub value_bytes: Option<usize>,
    /// The most keys that a batch call sends in one round trip. The backend splits larger batches itself.
    pub batch: Option<usize>,
}

impl Limits {
    /// Sets [`value_bytes`](Self::value_bytes).
    #[must_use]
    pub const fn with_value_bytes(mut self, bytes: usize) -> Self {
        self.value_bytes = Some(bytes);
        self
    }

    /// Sets [`batch`](Self::batch).
    #[must_use]
    pub const fn with_batch(mut self, keys: usize) -> Self {
        self.batch = Some(keys);
        self
    }
}
