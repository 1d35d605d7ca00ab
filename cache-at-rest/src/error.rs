//! The errors of this crate.

use std::borrow::Cow;

use cache_core::{Error, ErrorKind};

/// Returns why a record cannot be read.
#[cold]
pub(crate) fn unreadable(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Codec, message).with_operation("read")
}
