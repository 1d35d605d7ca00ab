//! The key of a call, from its name.

use std::fmt::{self, Display, Write};

use cache_core::{Error, Key, KeyName};

use crate::cache::handle::Cache;

/// Selects how the value of `key = …` becomes a name, by its type.
#[derive(Debug)]
pub struct NameOf<'a, T: ?Sized>(pub &'a T);

/// Implemented for a [`KeyName`], which is used as it is.
pub trait Named {
    fn how(&self) -> IsName {
        IsName
    }
}

impl Named for &NameOf<'_, KeyName> {}

/// Implemented for every other type, which is formatted by `Display`.
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
    /// Never fails.
    pub fn name(self, name: &KeyName) -> Result<CallName, Error> {
        Ok(CallName::Whole(name.clone()))
    }
}

#[derive(Debug)]
pub struct IsText;

impl IsText {
    /// # Errors
    /// Never fails.
    pub fn name<T: KeyText + ?Sized>(self, text: &T) -> Result<CallName, Error> {
        let mut short = ShortText::new();
        Ok(match write!(short, "{text}") {
            Ok(()) => CallName::Short(short),
            Err(_) => CallName::Whole(KeyName::new(text.to_string())),
        })
    }
}

/// The name of a call.
#[derive(Debug)]
pub enum CallName {
    /// A short text, which is written directly into the key.
    Short(ShortText),
    Whole(KeyName),
}

impl From<KeyName> for CallName {
    fn from(name: KeyName) -> Self {
        Self::Whole(name)
    }
}

impl From<CallName> for KeyName {
    fn from(name: CallName) -> Self {
        match name {
            CallName::Short(text) => Self::from(text.as_str()),
            CallName::Whole(name) => name,
        }
    }
}

/// A short text that is written without an allocation. Writing more than fits is an error.
#[derive(Debug)]
pub struct ShortText {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl ShortText {
    const MAX: usize = 128;

    pub(super) fn new() -> Self {
        Self {
            bytes: [0; Self::MAX],
            len: 0,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        // Only complete strings were written, so the bytes are valid UTF-8.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// The type of `key = …`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the name of a key",
    label = "cannot be the name of a key",
    note = "`key = …` takes what can be displayed, a `KeyName`, or a format string such as `\"user:{{id}}\"`"
)]
pub trait KeyText: Display {}

#[diagnostic::do_not_recommend]
impl<T: Display + ?Sized> KeyText for T {}

/// Returns the text of a namespace.
#[must_use]
pub fn namespace<T: AsRef<str> + ?Sized>(name: &T) -> &str {
    name.as_ref()
}

/// Returns the key of `name` in `namespace`. Default: the cache's namespace.
///
/// # Errors
/// Returns the error of `name`.
#[inline]
pub fn key_in<C, N: Into<CallName>>(
    cache: &Cache<C>,
    namespace: Option<&str>,
    name: Result<N, Error>,
) -> Result<Key, Error> {
    match name?.into() {
        CallName::Whole(name) => Ok(match namespace {
            Some(namespace) => cache.engine.shared.prefix.key(namespace, name),
            None => cache.key(name),
        }),
        CallName::Short(text) => key_of(cache, namespace, &[text.as_str()]),
    }
}

/// Returns the key in `namespace` whose name consists of `parts`. Default: the cache's namespace.
///
/// # Errors
/// Never fails.
#[inline]
pub fn key_of<C>(cache: &Cache<C>, namespace: Option<&str>, parts: &[&str]) -> Result<Key, Error> {
    let len = parts.iter().map(|part| part.len()).sum();
    let mut key = match namespace {
        Some(namespace) => cache.engine.shared.prefix.write_key(namespace, len),
        None => cache.namespace().write_key(len),
    };
    for part in parts {
        key.push_str(part);
    }
    Ok(key.finish())
}
