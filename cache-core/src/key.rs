//! Keys, and the namespaces and prefixes that contain them.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The first part of every key, which keeps one application's records apart from another's in a shared store.
///
/// Any text can be a prefix. See [`Key`] for how it is escaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Prefix {
    text: Box<str>,
}

impl Prefix {
    /// Makes the prefix `name`. The empty text is a prefix too.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut text = String::with_capacity(name.len() + 1);
        push_escaped(&mut text, name);
        text.push(':');
        Self { text: text.into() }
    }

    /// Returns the namespace `name` below this prefix.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Namespace {
        let mut text = String::with_capacity(self.text.len() + name.len() + 1);
        text.push_str(&self.text);
        push_escaped(&mut text, name);
        text.push(':');
        Namespace {
            text: text.into(),
            prefix_len: self.text.len(),
        }
    }

    /// Returns the key `name` in the namespace `namespace` below this prefix: the same as
    /// [`namespace(namespace)`](Self::namespace)[`.key(name)`](Namespace::key), without making the namespace.
    #[must_use]
    pub fn key(&self, namespace: &str, name: impl Into<KeyName>) -> Key {
        let name = name.into();
        let mut key = self.write_key(namespace, name.text.len());
        key.push_str(&name.text);
        Key {
            identity: name.identity,
            ..key.finish()
        }
    }

    /// Starts a key in the namespace `namespace` below this prefix: the same as
    /// [`namespace(namespace)`](Self::namespace)[`.write_key(room)`](Namespace::write_key), without making the namespace.
    pub fn write_key(&self, namespace: &str, room: usize) -> KeyWriter {
        let mut text = String::with_capacity(self.text.len() + namespace.len() + 1 + room);
        text.push_str(&self.text);
        push_escaped(&mut text, namespace);
        text.push(':');
        KeyWriter {
            prefix_len: self.text.len(),
            namespace_len: text.len(),
            text,
        }
    }

    /// Returns the scope of all keys below this prefix.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope {
            text: self.text.clone(),
        }
    }
}

/// A named group of keys below a [`Prefix`], which [`Backend::clear`](crate::Backend::clear) can empty.
///
/// Boundaries are exact: the namespace `user` does not contain the keys of `users`, nor those of `user:admin`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace {
    text: Box<str>,
    prefix_len: usize,
}

impl Namespace {
    /// Returns the key `name` in this namespace.
    #[must_use]
    pub fn key(&self, name: impl Into<KeyName>) -> Key {
        let name = name.into();
        let mut key = self.write_key(name.text.len());
        key.push_str(&name.text);
        Key {
            identity: name.identity,
            ..key.finish()
        }
    }

    /// Starts a key in this namespace whose name is appended piece by piece. `room` is the number of bytes that the name
    /// is expected to have. A name of just that length is written into memory that is allocated once.
    ///
    /// ```
    /// use cache_core::Prefix;
    ///
    /// let users = Prefix::new("shop").namespace("users");
    /// let mut key = users.write_key(2);
    /// key.push_str("42");
    /// assert_eq!(key.finish(), users.key("42"));
    /// ```
    pub fn write_key(&self, room: usize) -> KeyWriter {
        let mut text = String::with_capacity(self.text.len() + room);
        text.push_str(&self.text);
        KeyWriter {
            text,
            prefix_len: self.prefix_len,
            namespace_len: self.text.len(),
        }
    }

    /// Returns the namespace beside this one in which the toolkit keeps its own records of kind `kind`.
    ///
    /// No name that you choose leads there, since `!` is escaped in names.
    #[must_use]
    pub fn reserved(&self, kind: &str) -> Namespace {
        let mut text = String::with_capacity(self.text.len() + kind.len() + 1);
        text.push_str(self.text.strip_suffix(':').unwrap_or(&self.text));
        text.push('!');
        push_escaped(&mut text, kind);
        text.push(':');
        Namespace {
            text: text.into(),
            prefix_len: self.prefix_len,
        }
    }

    /// Returns the name of this namespace as it is written in keys: with `:`, `!` and `%` escaped.
    #[must_use]
    pub fn name(&self) -> &str {
        // It ends with the colon that separates it from the key's name.
        self.text.get(self.prefix_len..self.text.len() - 1).unwrap_or_default()
    }

    /// Returns the prefix of this namespace.
    #[must_use]
    pub fn prefix(&self) -> Prefix {
        Prefix {
            text: self.text[..self.prefix_len].into(),
        }
    }

    /// Returns the scope of all keys in this namespace.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope {
            text: self.text.clone(),
        }
    }
}

/// A [`Key`] whose name is appended piece by piece. Made by [`Namespace::write_key`].
///
/// The key stands for its text alone. One that stands for something else is made of a
/// [`KeyName::with_identity`].
#[derive(Debug)]
#[must_use = "finish it to get the key"]
pub struct KeyWriter {
    text: String,
    prefix_len: usize,
    namespace_len: usize,
}

impl KeyWriter {
    /// Appends `text` to the name.
    #[inline]
    pub fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Appends `c` to the name.
    #[inline]
    pub fn push(&mut self, c: char) {
        self.text.push(c);
    }

    /// Returns the key.
    #[must_use]
    pub fn finish(self) -> Key {
        Key {
            text: self.text.into_boxed_str(),
            prefix_len: self.prefix_len,
            namespace_len: self.namespace_len,
            identity: None,
        }
    }
}

impl fmt::Write for KeyWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

/// A set of keys: those of a namespace, or all below a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    text: Box<str>,
}

impl Scope {
    /// Returns the text that every key of the scope starts with, and no other key does. It is literal, not a pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether `key` is in the scope.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        key.text.starts_with(&*self.text)
    }
}

/// A key's name inside its namespace, as a [`KeyBuilder`](crate::KeyBuilder) makes it.
///
/// A builder that shortens its input, for example by hashing it, adds the input as the
/// [identity](Self::with_identity), so that two inputs with the same name are told apart when the record is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    text: Box<str>,
    identity: Option<Box<[u8]>>,
}

impl KeyName {
    /// Makes a name that is its own identity.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self {
            text: text.into(),
            identity: None,
        }
    }

    /// Makes a name that stands for `identity`.
    #[must_use]
    pub fn with_identity(text: impl Into<Box<str>>, identity: impl Into<Box<[u8]>>) -> Self {
        Self {
            text: text.into(),
            identity: Some(identity.into()),
        }
    }

    /// Returns the name as it appears in the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns what the name stands for. Default: the name itself.
    #[must_use]
    pub fn identity(&self) -> &[u8] {
        self.identity.as_deref().unwrap_or(self.text.as_bytes())
    }
}

impl From<&str> for KeyName {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for KeyName {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&String> for KeyName {
    fn from(text: &String) -> Self {
        Self::new(text.as_str())
    }
}

/// The key of a record: `prefix:namespace:name`.
///
/// Each part may be any text. In the prefix and the namespace, `:`, `!` and `%` are written as `%3A`, `%21` and `%25`, so
/// that different keys have different texts. The name is written as it is. Keys are equal if their texts are equal.
///
/// ```
/// use cache_core::Prefix;
///
/// let users = Prefix::new("shop").namespace("users");
/// assert_eq!(users.key("42").as_str(), "shop:users:42");
/// assert_eq!(Prefix::new("a:b").namespace("").key("c:d").as_str(), "a%3Ab::c:d");
/// ```
#[derive(Clone)]
pub struct Key {
    text: Box<str>,
    prefix_len: usize,
    namespace_len: usize,
    identity: Option<Box<[u8]>>,
}

impl Key {
    /// Returns the whole key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the key with this text, or `None` if no key has it. For stores that return keys. The identity of a
    /// [`KeyName`] is not part of the text.
    ///
    /// ```
    /// use cache_core::{Key, Prefix};
    ///
    /// let key = Prefix::new("shop").namespace("users").key("a:b");
    /// assert_eq!(Key::parse(key.as_str()), Some(key));
    /// assert_eq!(Key::parse("somebody else's"), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let prefix_len = text.find(':')? + 1;
        let namespace_len = prefix_len + text[prefix_len..].find(':')? + 1;
        Some(Self {
            text: text.into(),
            prefix_len,
            namespace_len,
            identity: None,
        })
    }

    /// Returns the name inside the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[self.namespace_len..]
    }

    /// Returns the name of the key's namespace, as [`Namespace::name`] does.
    ///
    /// ```
    /// use cache_core::Prefix;
    ///
    /// let users = Prefix::new("shop").namespace("users");
    /// assert_eq!((users.name(), users.key("42").namespace_name()), ("users", "users"));
    /// ```
    #[must_use]
    pub fn namespace_name(&self) -> &str {
        self.text
            .get(self.prefix_len..self.namespace_len - 1)
            .unwrap_or_default()
    }

    /// Returns what the key stands for: the identity of its [`KeyName`], or the text of the key. It is stored with the value
    /// and compared when the value is read.
    #[must_use]
    pub fn identity(&self) -> &[u8] {
        self.identity.as_deref().unwrap_or(self.text.as_bytes())
    }

    /// Returns whether the record is the toolkit's own. See [`Namespace::reserved`].
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        // In names of users it is escaped.
        self.text[self.prefix_len..self.namespace_len].contains('!')
    }

    /// Returns the namespace of the key.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        Namespace {
            text: self.text[..self.namespace_len].into(),
            prefix_len: self.prefix_len,
        }
    }

    /// Returns the key of the toolkit's own record of kind `kind` beside this one. See [`Namespace::reserved`].
    #[must_use]
    pub fn reserved(&self, kind: &str) -> Key {
        self.reserved_as(kind, self.name())
    }

    /// Returns the key of the toolkit's own record of kind `kind` for the whole namespace of this key: the same as
    /// [`namespace()`](Self::namespace)[`.reserved(kind)`](Namespace::reserved)[`.key("")`](Namespace::key).
    ///
    /// ```
    /// use cache_core::Prefix;
    ///
    /// let users = Prefix::new("shop").namespace("users");
    /// assert_eq!(users.key("42").reserved_of_namespace("epoch"), users.reserved("epoch").key(""));
    /// ```
    #[must_use]
    pub fn reserved_of_namespace(&self, kind: &str) -> Key {
        self.reserved_as(kind, "")
    }

    /// Writes the key at once, without making the namespaces.
    fn reserved_as(&self, kind: &str, name: &str) -> Key {
        let namespace = &self.text[..self.namespace_len];
        let mut text = String::with_capacity(namespace.len() + kind.len() + 1 + name.len());
        text.push_str(namespace.strip_suffix(':').unwrap_or(namespace));
        text.push('!');
        push_escaped(&mut text, kind);
        text.push(':');
        let namespace_len = text.len();
        text.push_str(name);
        Self {
            text: text.into(),
            prefix_len: self.prefix_len,
            namespace_len,
            identity: None,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.text)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn push_escaped(text: &mut String, name: &str) {
    if !name.bytes().any(|byte| matches!(byte, b':' | b'!' | b'%')) {
        text.push_str(name);
        return;
    }
    for c in name.chars() {
        match c {
            ':' => text.push_str("%3A"),
            '!' => text.push_str("%21"),
            '%' => text.push_str("%25"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn different_parts_never_make_the_same_key(
            a in ("[a:!%]{0,4}", "[a:!%]{0,4}", "[a:!%]{0,4}"),
            b in ("[a:!%]{0,4}", "[a:!%]{0,4}", "[a:!%]{0,4}"),
        ) {
            let key = |(prefix, namespace, name): &(String, String, String)| {
                Prefix::new(prefix).namespace(namespace).key(name)
            };
            prop_assert_eq!(key(&a) == key(&b), a == b);
            let whole = Prefix::new(&a.0).key(&a.1, &a.2);
            prop_assert_eq!(whole.namespace(), key(&a).namespace());
            prop_assert_eq!(&whole, &key(&a));
            let parsed = Key::parse(whole.as_str());
            prop_assert_eq!(parsed.as_ref().map(Key::namespace), Some(whole.namespace()));
            prop_assert_eq!(parsed.as_ref().map(Key::name), Some(whole.name()));
            prop_assert_ne!(key(&a).reserved("lease"), key(&b));
            prop_assert!(key(&a).reserved("lease").is_reserved() && !key(&a).is_reserved());
        }

        #[test]
        fn a_scope_contains_its_own_keys_only(
            a in ("[a:!%]{0,3}", "[a:!%]{0,3}"),
            b in ("[a:!%]{0,3}", "[a:!%]{0,3}"),
            name in "[a:!%]{0,3}",
        ) {
            let key = Prefix::new(&a.0).namespace(&a.1).key(&name);
            prop_assert_eq!(Prefix::new(&b.0).namespace(&b.1).scope().contains(&key), a == b);
            prop_assert_eq!(Prefix::new(&b.0).scope().contains(&key), a.0 == b.0);
            prop_assert_eq!(key.namespace().scope().contains(&key), true);
        }
    }

    #[test]
    fn an_identity_is_not_part_of_the_text() {
        let namespace = Prefix::new("p").namespace("n");
        let key = namespace.key(KeyName::with_identity("5f3c", *b"module:function:args"));
        assert_eq!(key.as_str(), "p:n:5f3c");
        assert_eq!(key.identity(), b"module:function:args");
        assert_eq!(key.name(), "5f3c");
    }
}
