//! The default key builder for functions.

use super::builder::KeyBuilder;
use super::function_call::FunctionCall;
use crate::error::Error;
use crate::key::KeyName;
use crate::md5_hex::md5_hex;

/// Names a call by the MD5 of what is [named](FunctionCall::named) of it, in lower-case hexadecimal: 32 characters,
/// however long the arguments are. The default for functions.
///
/// An attacker can find two calls with the same MD5. That does no harm: the [identity](FunctionCall::identity) is
/// stored with the value and compared when it is read, so such calls replace each other's entries and never read them.
/// The identity contains long arguments by their SHA-256.
///
/// ```
/// use cache_core::{FunctionCall, HashedCall, KeyBuilder};
///
/// let call = FunctionCall::new("shop::users", "find").argument("id", &42_u64)?;
/// let name = HashedCall.build(&call)?;
/// assert_eq!(name.as_str().len(), 32);
/// assert_eq!(name.identity(), call.identity());
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashedCall;

impl KeyBuilder<FunctionCall<'_>> for HashedCall {
    fn build(&self, call: &FunctionCall<'_>) -> Result<KeyName, Error> {
        Ok(KeyName::with_identity(md5_hex(call.named()), call.identity()))
    }
}
