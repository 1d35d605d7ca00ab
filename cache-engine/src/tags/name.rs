//! The names of the records of tags and epochs, and the names under which entries carry them.

use std::borrow::Cow;

use cache_core::Key;

/// The names under which an entry carries its epochs.
pub(crate) const EPOCHS: [&str; 2] = ["\u{0}namespace", "\u{0}prefix"];

/// The kinds of the records that entries depend on.
pub(super) const TAG: &str = "tag";
pub(super) const EPOCH: &str = "epoch";
pub(super) const EPOCH_OF_ALL: &str = "epoch-of-all";

/// Returns whether an entry may depend on the record of `key`.
pub(super) fn is_of_tag(key: &Key) -> bool {
    let namespace = key.as_str().strip_suffix(key.name()).unwrap_or_default();
    let kind = namespace.strip_suffix(':').and_then(|space| space.rsplit_once('!'));
    key.is_reserved() && matches!(kind, Some((_, TAG | EPOCH | EPOCH_OF_ALL)))
}

/// Returns the name under which an entry carries a tag: the tag itself, unless it could be mistaken for an epoch.
pub(crate) fn carried(name: &str) -> Cow<'_, str> {
    if name.starts_with('\0') {
        Cow::Owned(format!("\0{name}"))
    } else {
        Cow::Borrowed(name)
    }
}

/// Returns the tag that an entry carries as `name`, or `None` for an epoch.
pub(crate) fn of_carried(name: &str) -> Option<&str> {
    match name.strip_prefix('\0') {
        None => Some(name),
        Some(tag) => tag.starts_with('\0').then_some(tag),
    }
}
