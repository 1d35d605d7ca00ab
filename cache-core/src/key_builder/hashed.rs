//! The default key builder for functions.

use super::{FunctionCall, KeyBuilder};
use crate::md5_hex::md5_hex;
use crate::{Error, KeyName};

/// Names a call by the MD5 of its [identity](FunctionCall::identity), in lower-case hexadecimal: 32 characters,
/// however long the arguments are. The default for functions.
///
/// MD5 keeps nobody from making two calls with the same name. It need not: the identity is stored with the value and
/// compared when it is read, so such calls displace each other's entries and never see them.
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
        Ok(KeyName::with_identity(md5_hex(call.identity()), call.identity()))
    }
}
