//! `#[invalidates]`: the function around a write.

mod expand;
mod options;

pub(crate) use self::expand::expand;
