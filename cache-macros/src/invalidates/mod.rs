//! Expands `#[invalidates]`, the attribute of a write.

mod expand;
mod options;

pub(crate) use self::expand::expand;
