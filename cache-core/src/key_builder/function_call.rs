//! A function call as the input of a key builder.

use serde_core::Serialize;

use super::digest;
use super::serializer::{self, SerializeError, write_text};
use crate::error::{Error, ErrorKind};

pub(super) const INSTANCE: u8 = 1;
pub(super) const ARGUMENT: u8 = 2;
const COMPARED: u8 = 3;

/// The initial capacity, which fits most calls.
const USUAL_LEN: usize = 128;

/// A call of a function: its module, its name, the types it is called for, and its arguments.
///
/// Arguments are serialised when they are added, into one buffer: the call's [identity](Self::identity). Calls that
/// differ in anything have different identities. What counts as different:
///
/// - An argument is compared by what its `Serialize` writes. Fields that it skips are not in the key: if `Login` has
///   `#[serde(skip)] password: String`, two logins with different passwords are one argument, and share an entry.
/// - Maps and sets are the same in any order: a `HashMap`, `HashSet`, `IndexMap` or `IndexSet`, in an argument or
///   anywhere in it. A set inside a type that is `#[serde(transparent)]` counts as a list.
/// - A float is its bits: `0.0` and `-0.0` are two arguments.
/// - Numbers of different types are different arguments: `1_u32` is not `1_u64`. So are structs, enums and fields of
///   different names. A reference is what it refers to.
/// - An argument longer than 256 bytes is kept as its SHA-256, so keys stay short however long the arguments are.
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
    /// The end of the part that the name is made of. The rest is only compared.
    named_end: usize,
}

impl<'a> FunctionCall<'a> {
    /// Creates a call of `function` in `module`, which is usually `module_path!()`, without arguments.
    pub fn new(module: &'a str, function: &'a str) -> Self {
        let mut identity = Vec::with_capacity(USUAL_LEN);
        write_text(&mut identity, module);
        write_text(&mut identity, function);
        Self {
            module,
            function,
            parts_start: identity.len(),
            named_end: identity.len(),
            identity,
        }
    }

    /// Adds the name of a type that the function is called for: the type that a method belongs to, or a generic argument.
    pub fn instance(mut self, type_name: &str) -> Self {
        self.insert(|identity| {
            identity.push(INSTANCE);
            write_text(identity, type_name);
        });
        self
    }

    /// Adds the argument `name`.
    ///
    /// # Errors
    /// Returns [`InvalidKey`](ErrorKind::InvalidKey) if the value's `Serialize` fails; the message names the argument.
    pub fn argument<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Result<Self, Error> {
        let written: Result<(), SerializeError> = self.insert(|identity| {
            identity.push(ARGUMENT);
            write_text(identity, name);
            let start = identity.len();
            serializer::write(identity, value)?;
            digest::shorten(identity, start);
            Ok(())
        });
        match written {
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

    /// Adds bytes by which an entry is compared when it is read, but which are not part of its name. Calls that differ
    /// only in them share one name: they replace each other's entries and never read them. Invalidating the name
    /// invalidates them all.
    pub fn compared_by(mut self, bytes: &[u8]) -> Self {
        self.identity.push(COMPARED);
        serializer::write_length(&mut self.identity, bytes.len());
        self.identity.extend_from_slice(bytes);
        self
    }

    /// Returns the path of the module that the function is defined in.
    #[must_use]
    pub fn module(&self) -> &'a str {
        self.module
    }

    /// Returns the function's name.
    #[must_use]
    pub fn function(&self) -> &'a str {
        self.function
    }

    /// Returns the call as bytes: module, function, instances, arguments, and what it is
    /// [compared by](Self::compared_by). Two calls with the same bytes are the same call. Without `compared_by`, the
    /// bytes are the same in every process, build and machine.
    #[must_use]
    pub fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// Returns the part of the identity that the name of the key is made of: all but what the call is
    /// [compared by](Self::compared_by).
    #[must_use]
    pub fn named(&self) -> &[u8] {
        &self.identity[..self.named_end]
    }

    /// Returns the instances and arguments in the identity.
    pub(super) fn parts(&self) -> &[u8] {
        &self.identity[self.parts_start..self.named_end]
    }

    /// Writes at the end of the part that the name is made of.
    fn insert<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let compared = if self.named_end == self.identity.len() {
            Vec::new()
        } else {
            self.identity.split_off(self.named_end)
        };
        let result = write(&mut self.identity);
        self.named_end = self.identity.len();
        self.identity.extend_from_slice(&compared);
        result
    }
}
