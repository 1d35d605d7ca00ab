//! The name of a call, built from the function and its arguments.

use std::any::{type_name, type_name_of_val};

use cache_core::{Error, FunctionCall, KeyName};
use serde_core::Serialize;

use super::identity::{Definition, is_only_of_std, type_id};
use crate::cache::handle::Cache;

/// Builds the name of a call.
#[derive(Debug)]
pub struct CallKey {
    call: Result<FunctionCall<'static>, Error>,
    definition: Definition,
    /// What distinguishes the function, unless the type that it is called on does.
    fingerprint: Option<&'static str>,
}

impl CallKey {
    /// Starts with the function. `here` is a closure in the function, or in `beside`, its entry function. The name of
    /// the closure's type shows which type, trait or block the function is defined in, which an attribute cannot see.
    /// `fingerprint` distinguishes functions with the same path.
    pub fn new<F>(
        module: &'static str,
        function: &'static str,
        beside: &str,
        fingerprint: &'static str,
        here: &F,
    ) -> Self {
        let call = FunctionCall::new(module, function);
        let path = type_name_of_val(here);
        let (definition, owner) = Definition::of(path, module, function, beside);
        let call = match definition {
            Definition::Module => call,
            Definition::Type | Definition::Unclear => call.instance(owner),
            // Two functions in two blocks may have the same path.
            Definition::Block => call.instance(owner).instance(fingerprint),
        };
        Self {
            call: Ok(call),
            definition,
            // What looks like a type may be a function or a constant with such a name, and contain several blocks.
            fingerprint: (definition == Definition::Type).then_some(fingerprint),
        }
    }

    /// Adds the type that a method is called on.
    #[must_use]
    pub fn receiver<T: ?Sized>(mut self) -> Self {
        self.fingerprint = None;
        let name = type_name::<T>();
        let is_clear = match self.definition {
            // The type is unique in its module, but its generic arguments may have any names.
            Definition::Module | Definition::Type | Definition::Block => name
                .split_once('<')
                .is_none_or(|(_, arguments)| is_only_of_std(arguments)),
            Definition::Unclear => false,
        };
        self.named(name, || type_id::<T>(), is_clear)
    }

    /// Adds a generic argument of the function.
    #[must_use]
    pub fn instance<T: ?Sized>(self) -> Self {
        self.named(type_name::<T>(), || type_id::<T>(), false)
    }

    /// Adds the type of an argument `impl Trait`.
    #[must_use]
    pub fn instance_of<T: ?Sized>(self, _: &T) -> Self {
        self.instance::<T>()
    }

    /// Adds the name of a type. Two types may have the same name, such as two that are local to two blocks. Unless the
    /// name is clearly unique, entries are also compared by the compiler's identity of the type. Closures often have
    /// the same name, so for them that identity is part of the key.
    fn named(mut self, name: &str, id: impl FnOnce() -> u64, is_clear: bool) -> Self {
        self.call = self.call.map(|call| {
            let call = call.instance(name);
            if is_clear || is_only_of_std(name) {
                return call;
            }
            let id = id();
            if name.contains("{{") {
                call.instance(&format!("{id:016x}"))
            } else {
                call.compared_by(&id.to_be_bytes())
            }
        });
        self
    }

    /// Returns the name, as the cache's key builder makes it.
    ///
    /// # Errors
    /// Returns an error if an argument has no serial form, or if the key builder has no name for the call.
    pub fn build<C>(self, cache: &Cache<C>) -> Result<KeyName, Error> {
        let call = self.call?;
        match self.fingerprint {
            Some(fingerprint) => cache.adapter().call_name(&call.compared_by(fingerprint.as_bytes())),
            None => cache.adapter().call_name(&call),
        }
    }
}

/// Builds a name in a separate call. A function that calls itself is on the stack many times, and its frames then do
/// not contain the parts of the name.
///
/// # Errors
/// Returns the error of the name.
#[inline(never)]
pub fn out_of_line(name: impl FnOnce() -> Result<KeyName, Error>) -> Result<KeyName, Error> {
    name()
}

/// The types of arguments in a key.
#[diagnostic::on_unimplemented(
    message = "an argument of type `{Self}` cannot be part of the cache key",
    label = "cannot be part of the cache key",
    note = "the arguments of a `#[cached]` function are its key, so they must implement `serde::Serialize`",
    note = "leave out what the result does not depend on, such as a connection, with `skip(…)`, or name the key with `key = …`"
)]
pub trait KeyArgument: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> KeyArgument for T {}

/// Adds an argument.
#[must_use]
pub fn argument<T: KeyArgument + ?Sized>(mut key: CallKey, name: &str, value: &T) -> CallKey {
    key.call = key.call.and_then(|call| call.argument(name, value));
    key
}

/// The types of `self` in a key.
#[diagnostic::on_unimplemented(
    message = "`self` of type `{Self}` cannot be part of the cache key",
    label = "the result may depend on `self`, which does not implement `serde::Serialize`",
    note = "if the result does not depend on `self`, leave it out of the key with `skip(self)`",
    note = "if it depends on some fields, name them in the key: `key = format!(\"{{}}/{{id}}\", self.tenant)`"
)]
pub trait KeyReceiver: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> KeyReceiver for T {}

/// Adds `self`.
#[must_use]
pub fn receiver<T: KeyReceiver + ?Sized>(mut key: CallKey, value: &T) -> CallKey {
    key.call = key.call.and_then(|call| call.argument("self", value));
    key
}
