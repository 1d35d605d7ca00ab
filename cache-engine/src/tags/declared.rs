//! The tags of a handle, and how entries carry them.

use std::sync::Arc;

use crate::tags::name::carried;

/// The tags of the entries of a handle, as they were declared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    /// As entries carry them.
    names: Option<Arc<[Box<str>]>>,
    /// Loads may add tags afterwards.
    pub(crate) late: bool,
}

impl Declared {
    /// These and `names`.
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

    pub(super) fn names(&self) -> &[Box<str>] {
        self.names.as_deref().unwrap_or_default()
    }
}
