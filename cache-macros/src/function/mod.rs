//! The function that has the attribute: its arguments, its types and its body.

pub(crate) mod arguments;
pub(crate) mod fingerprint;
pub(crate) mod mentions;
pub(crate) mod parse;
pub(crate) mod rename_self;
pub(crate) mod types;
