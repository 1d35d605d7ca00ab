//! The key of a call.

use std::any::type_name_of_val;
use std::fmt::Display;

use cache_core::{Error, FunctionCall, Key, KeyName};
use serde::Serialize;

use super::probe::Returns;
use crate::cache::handle::Cache;

/// The key of a call that is made from its arguments, by the key builder of its cache.
#[derive(Debug)]
pub struct CallKey(Result<FunctionCall<'static>, Error>);

impl CallKey {
    /// `here` is a closure in the function, or in `beside`, the one that goes with it: its type's name tells which
    /// type or trait the function belongs to, down to the generic arguments, which an attribute cannot see.
    pub fn new<F>(module: &'static str, function: &'static str, beside: &str, here: &F) -> Self {
        let call = FunctionCall::new(module, function);
        let owner = owner(type_name_of_val(here), function, beside);
        Self(Ok(if owner == module { call } else { call.instance(owner) }))
    }

    /// A generic argument of the function, or the type that it is called on.
    #[must_use]
    pub fn instance<T: ?Sized>(self) -> Self {
        Self(self.0.map(|call| call.instance(std::any::type_name::<T>())))
    }

    /// As [`instance`](Self::instance), for a type without a name.
    #[must_use]
    pub fn instance_of<T: ?Sized>(self, value: &T) -> Self {
        Self(self.0.map(|call| call.instance(type_name_of_val(value))))
    }

    /// # Errors
    /// An argument has no serial form, or the key builder has no name for the call.
    pub fn build<C>(self, cache: &Cache<C>) -> Result<KeyName, Error> {
        cache.call_name(&self.0?)
    }
}

/// What a function is defined in, by the path of a closure in it: `shop::Users<u32>` of
/// `shop::Users<u32>::find<u8>::{{closure}}`.
fn owner<'a>(mut path: &'a str, function: &str, beside: &str) -> &'a str {
    while let Some(outer) = path.strip_suffix("::{{closure}}") {
        path = outer;
    }
    let named = without_generics(path);
    let strip = |name: &str| named.strip_suffix(name)?.strip_suffix("::");
    strip(function).or_else(|| strip(beside)).unwrap_or(path)
}

fn without_generics(path: &str) -> &str {
    if !path.ends_with('>') {
        return path;
    }
    let bytes = path.as_bytes();
    let mut depth = 0_usize;
    for at in (0..bytes.len()).rev() {
        match bytes[at] {
            // The arrow of a function's type.
            b'>' if at > 0 && bytes[at - 1] == b'-' => {}
            b'>' => depth += 1,
            b'<' => {
                depth -= 1;
                if depth == 0 {
                    return path[..at].trim_end_matches("::");
                }
            }
            _ => {}
        }
    }
    path
}

/// What can be an argument of a key.
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
pub fn argument<T: KeyArgument + ?Sized>(key: CallKey, name: &str, value: &T) -> CallKey {
    CallKey(key.0.and_then(|call| call.argument(name, value)))
}

/// Asks for the name that `key = …` gave.
#[derive(Debug)]
pub struct NameOf<'a, T: ?Sized>(pub &'a T);

/// A [`KeyName`] is a name as it is.
pub trait Named {
    fn how(&self) -> IsName {
        IsName
    }
}

impl Named for &NameOf<'_, KeyName> {}

/// Anything else is a name as it is displayed.
pub trait Displayed {
    fn how(&self) -> IsText {
        IsText
    }
}

impl<T: ?Sized> Displayed for NameOf<'_, T> {}

#[derive(Debug)]
pub struct IsName;

impl IsName {
    /// # Errors
    /// None.
    pub fn name(self, name: &KeyName) -> Result<KeyName, Error> {
        Ok(name.clone())
    }
}

#[derive(Debug)]
pub struct IsText;

impl IsText {
    /// # Errors
    /// None.
    pub fn name<T: KeyText + ?Sized>(self, text: &T) -> Result<KeyName, Error> {
        Ok(KeyName::new(text.to_string()))
    }
}

/// What `key = …` may be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the name of a key",
    label = "cannot be the name of a key",
    note = "`key = …` takes what can be displayed, a `KeyName`, or a format string such as `\"user:{{id}}\"`"
)]
pub trait KeyText: Display {}

#[diagnostic::do_not_recommend]
impl<T: Display + ?Sized> KeyText for T {}

/// The text of a namespace.
#[must_use]
pub fn namespace<T: AsRef<str> + ?Sized>(name: &T) -> &str {
    name.as_ref()
}

/// The key of `name`, in the cache's own namespace unless another one is named.
///
/// # Errors
/// There is no name.
pub fn key_in<C>(cache: &Cache<C>, namespace: Option<&str>, name: Result<KeyName, Error>) -> Result<Key, Error> {
    let name = name?;
    Ok(match namespace {
        Some(namespace) => cache.engine.shared.prefix.key(namespace, name),
        None => cache.key(name),
    })
}

impl<R> Returns<R> {
    /// Gives an expression the type of the function's result.
    #[must_use]
    pub const fn is<F: Future<Output = R>>(self, future: F) -> F {
        future
    }
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn the_owner_of_a_function_is_what_its_path_begins_with() {
        let owner = |path| owner(path, "find", "find_entry");
        assert_eq!(owner("shop::find::{{closure}}::{{closure}}"), "shop");
        assert_eq!(owner("shop::find_entry::{{closure}}"), "shop");
        assert_eq!(owner("shop::find<u32>::{{closure}}"), "shop");
        assert_eq!(owner("shop::Users<u32>::find::{{closure}}"), "shop::Users<u32>");
        assert_eq!(
            owner("shop::Users<u32>::find<fn() -> u8>::{{closure}}"),
            "shop::Users<u32>"
        );
        assert_eq!(
            owner("<shop::A as shop::Find>::find::{{closure}}"),
            "<shop::A as shop::Find>"
        );
    }
}
