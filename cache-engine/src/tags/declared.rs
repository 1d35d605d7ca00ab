//! The tags of a handle, and how entries carry them.

use std::sync::Arc;

use crate::tags::name::carried;

/// The tags of the entries of a handle, as they were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    /// The names as entries carry them.
    names: Option<Arc<[Box<str>]>>,
    /// Whether loads may add late tags, which are known only after the load.
    pub(crate) late: bool,
}

impl Declared {
    /// Returns these tags and `names`.
    pub(crate) fn with<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Self {
        let mut all: Vec<Box<str>> = self.names().to_vec();
        for name in names {
            let name = carried(name.as_ref());
            if !all.iter().any(|known| **known == *name) {
                all.push(name.into());
            }
        }
        Self {
            names: (!all.is_empty()).then(|| all.into()),
            late: self.late,
        }
    }

    /// Returns the names as entries carry them.
    pub(crate) fn names(&self) -> &[Box<str>] {
        self.names.as_deref().unwrap_or_default()
    }
}
