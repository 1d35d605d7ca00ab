//! Key builders, which make the name of a key from a call or a request.

mod builder;
mod digest;
mod function_call;
#[cfg(feature = "md5")]
mod hashed;
mod readable;
mod serializer;
mod sets;
mod tag;

pub use self::builder::KeyBuilder;
pub use self::function_call::FunctionCall;
#[cfg(feature = "md5")]
pub use self::hashed::HashedCall;
pub use self::readable::ReadableCall;
