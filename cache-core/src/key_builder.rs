//! How keys are made of what a caller asks for.

mod canonical;
mod function_call;
#[cfg(feature = "md5")]
mod hashed;
mod readable;
mod tag;

pub use self::function_call::FunctionCall;
#[cfg(feature = "md5")]
pub use self::hashed::HashedCall;
pub use self::readable::ReadableCall;
use crate::{Error, KeyName};

/// Makes the name of a key from an `In`: a [`FunctionCall`], a request, or whatever else is cached.
///
/// A builder decides who shares an entry. Everything that the answer depends on must go into the name or into its
/// [identity](KeyName::with_identity); what is left out is shared by all.
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
/// // The function alone: its calls share one entry, whatever their arguments.
/// let name = name_of(&|call: &FunctionCall<'_>| Ok(KeyName::from(call.function())))?;
/// assert_eq!(name.as_str(), "all");
/// # Ok::<(), Error>(())
/// ```
pub trait KeyBuilder<In: ?Sized>: Send + Sync + 'static {
    /// The name for `input`.
    ///
    /// # Errors
    /// There is no name for this input. The caller is then served without the cache.
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
