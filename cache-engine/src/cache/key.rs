//! The types that the methods of a cache take as a key.

use std::borrow::Borrow;

use cache_core::{Key, KeyName, Namespace};

/// A type that the methods of a [`Cache`](crate::Cache) take as a key: a name, which is looked up in the handle's
/// namespace, or a full [`Key`].
pub trait IntoKey {
    /// The key, owned or borrowed.
    type Key: Borrow<Key> + Send;

    /// Returns the key in `namespace`.
    fn into_key(self, namespace: &Namespace) -> Self::Key;
}

impl IntoKey for Key {
    type Key = Self;

    fn into_key(self, _: &Namespace) -> Self {
        self
    }
}

impl<'a> IntoKey for &'a Key {
    type Key = Self;

    fn into_key(self, _: &Namespace) -> &'a Key {
        self
    }
}

impl IntoKey for KeyName {
    type Key = Key;

    fn into_key(self, namespace: &Namespace) -> Key {
        namespace.key(self)
    }
}

macro_rules! texts {
    ($($text:ty),*) => {$(
        impl IntoKey for $text {
            type Key = Key;

            #[inline]
            fn into_key(self, namespace: &Namespace) -> Key {
                let mut key = namespace.write_key(self.len());
                key.push_str(self.as_ref());
                key.finish()
            }
        }
    )*};
}

texts!(&str, String, &String);
