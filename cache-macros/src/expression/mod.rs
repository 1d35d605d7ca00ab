//! Code for the expressions in options.

pub(crate) mod cache;
pub(crate) mod condition;
pub(crate) mod entry;
pub(crate) mod key;
pub(crate) mod tags;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod time;
