//! A call of a function, as a key builder sees it.

use serde::Serialize;

use super::canonical::{self, write_text};
use crate::{Error, ErrorKind};

pub(super) const INSTANCE: u8 = 1;
pub(super) const ARGUMENT: u8 = 2;

/// Most calls fit without growing.
const USUAL_LEN: usize = 128;

/// A call of a function: where the function is defined, what it is called, for which types, and its arguments.
///
/// Arguments are serialised when they are added, into one buffer that is the call's [identity](Self::identity). Calls
/// that differ in anything have different identities, with these reservations:
///
/// - An argument is what its `Serialize` says. Fields that it skips are not in the key.
/// - A map is its entries in any order, so hash maps that are equal are one argument. A set is a sequence to serde, in
///   the order in which it is walked: pass a `BTreeSet` or a sorted list instead of a `HashSet`.
/// - A float is its bits: `0.0` and `-0.0` are two arguments, since a function can tell them apart.
/// - Numbers of different types are different arguments: `1_u32` is not `1_u64`. So are structs, enums and fields of
///   different names. A reference is what it refers to.
///
/// ```
/// use cache_core::FunctionCall;
///
/// let call = |id: u64| FunctionCall::new("shop::users", "find").argument("id", &id);
/// assert_eq!(call(42)?.identity(), call(42)?.identity());
/// assert_ne!(call(42)?.identity(), call(43)?.identity());
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct FunctionCall<'a> {
    module: &'a str,
    function: &'a str,
    identity: Vec<u8>,
    parts_start: usize,
}

impl<'a> FunctionCall<'a> {
    /// A call of `function` in `module`, which is usually `module_path!()`, without arguments so far.
    pub fn new(module: &'a str, function: &'a str) -> Self {
        let mut identity = Vec::with_capacity(USUAL_LEN);
        write_text(&mut identity, module);
        write_text(&mut identity, function);
        Self {
            module,
            function,
            parts_start: identity.len(),
            identity,
        }
    }

    /// Tells the call from those of other instances of the same function: `type_name` is the type that a method is
    /// called on, or a generic argument.
    pub fn instance(mut self, type_name: &str) -> Self {
        self.identity.push(INSTANCE);
        write_text(&mut self.identity, type_name);
        self
    }

    /// Adds the argument `name`.
    ///
    /// # Errors
    /// [`InvalidKey`](ErrorKind::InvalidKey) if the value's `Serialize` fails; the message names the argument.
    pub fn argument<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Result<Self, Error> {
        self.identity.push(ARGUMENT);
        write_text(&mut self.identity, name);
        match canonical::write(&mut self.identity, value) {
            Ok(()) => Ok(self),
            Err(error) => {
                let message = format!(
                    "the argument {name:?} of {}::{} cannot be part of a key: {error}",
                    self.module, self.function
                );
                Err(Error::new(ErrorKind::InvalidKey, message).with_source(error))
            }
        }
    }

    /// The path of the module that the function is defined in.
    #[must_use]
    pub fn module(&self) -> &'a str {
        self.module
    }

    /// The function's name.
    #[must_use]
    pub fn function(&self) -> &'a str {
        self.function
    }

    /// Module, function, instances and arguments as bytes. Two calls with the same bytes are the same call. The bytes
    /// are the same in every process and on every machine.
    #[must_use]
    pub fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// The instances and arguments in the identity.
    pub(super) fn parts(&self) -> &[u8] {
        &self.identity[self.parts_start..]
    }
}
