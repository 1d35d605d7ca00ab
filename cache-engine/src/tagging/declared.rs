//! The tags of a handle, and how entries carry them.

use std::borrow::Cow;
use std::sync::Arc;

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

/// The name under which an entry carries a tag: itself, unless it could be taken for an epoch.
pub(super) fn carried(name: &str) -> Cow<'_, str> {
    if name.starts_with('\0') {
        Cow::Owned(format!("\0{name}"))
    } else {
        Cow::Borrowed(name)
    }
}
