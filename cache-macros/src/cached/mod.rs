//! Expands `#[cached]`.

mod check;
mod detached;
mod entry;
mod expand;
mod key;
mod options;
mod policy;
mod site;

pub(crate) use self::expand::expand;
