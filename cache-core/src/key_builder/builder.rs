//! The contract of a key builder.

use crate::error::Error;
use crate::key::KeyName;

/// Makes the name of a key from an `In`: a [`FunctionCall`](crate::FunctionCall), a request, or anything else.
///
/// A builder decides which inputs share an entry. Put everything that the result depends on into the name or into its
/// [identity](KeyName::with_identity): inputs that differ in nothing else share one entry.
///
/// Closures are builders too:
///
/// ```
/// use cache_core::{Error, FunctionCall, KeyBuilder, KeyName};
///
/// fn name_of(builder: &impl for<'a> KeyBuilder<FunctionCall<'a>>) -> Result<KeyName, Error> {
///     builder.build(&FunctionCall::new("shop::prices", "all").argument("currency", &"EUR")?)
/// }
///
/// // The function's name alone: all its calls share one entry.
/// let name = name_of(&|call: &FunctionCall<'_>| Ok(KeyName::from(call.function())))?;
/// assert_eq!(name.as_str(), "all");
/// # Ok::<(), Error>(())
/// ```
pub trait KeyBuilder<In: ?Sized>: Send + Sync + 'static {
    /// Returns the name of the key for `input`.
    ///
    /// # Errors
    /// Returns an error if `input` has no name. The caller is then served without the cache.
    fn build(&self, input: &In) -> Result<KeyName, Error>;
}

impl<In: ?Sized, F> KeyBuilder<In> for F
where
    F: Fn(&In) -> Result<KeyName, Error> + Send + Sync + 'static,
{
    fn build(&self, input: &In) -> Result<KeyName, Error> {
        self(input)
    }
}
