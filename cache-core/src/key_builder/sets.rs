//! Recognises sets, which serde serialises as sequences.

/// The crates in which a type named like a set is one.
const CRATES: [&str; 9] = [
    "std::",
    "alloc::",
    "hashbrown::",
    "indexmap::",
    "ahash::",
    "dashmap::",
    "im::",
    "im_rc::",
    "rpds::",
];

/// Types that serialise as their content does.
const POINTERS: [&str; 4] = [
    "alloc::boxed::Box<",
    "alloc::rc::Rc<",
    "alloc::sync::Arc<",
    "alloc::borrow::Cow<",
];

/// Returns whether `T` is a set of the standard library or of a well-known crate, or points to one.
///
/// serde's data model has no sets: a `HashSet` is a sequence in its random iteration order. Only the name of its type
/// distinguishes it from a list. A set that is not recognised counts as a list, so equal sets may have different keys.
/// A list is never taken for a set.
pub(super) fn is_set<T: ?Sized>() -> bool {
    is_name_of_set(std::any::type_name::<T>())
}

#[inline]
fn is_name_of_set(name: &str) -> bool {
    // Most types have no parameters.
    name.ends_with('>') && is_name_of_generic_set(name)
}

fn is_name_of_generic_set(mut name: &str) -> bool {
    loop {
        let content = name
            .strip_prefix("&mut ")
            .or_else(|| name.strip_prefix('&'))
            .or_else(|| POINTERS.iter().find_map(|pointer| name.strip_prefix(pointer)));
        match content {
            // The first parameter of a `Cow` is its lifetime.
            Some(content) => name = content.strip_prefix("'_, ").unwrap_or(content),
            None => break,
        }
    }
    let path = name.split_once('<').map_or(name, |(path, _)| path);
    path.ends_with("Set") && CRATES.iter().any(|name| path.starts_with(name))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::{BTreeSet, HashMap, HashSet};
    use std::sync::Arc;

    use super::*;

    #[test]
    fn sets_and_pointers_to_them_are_recognised() {
        assert!(is_set::<HashSet<u8>>());
        assert!(is_set::<BTreeSet<u8>>());
        assert!(is_set::<&&mut HashSet<String>>());
        assert!(is_set::<Arc<Box<HashSet<u8>>>>());
        assert!(is_set::<Cow<'_, HashSet<u8>>>());
        assert!(is_name_of_set("indexmap::set::IndexSet<u8>"));
    }

    #[test]
    fn nothing_else_is() {
        assert!(!is_set::<Vec<HashSet<u8>>>());
        assert!(!is_set::<Vec<u8>>());
        assert!(!is_set::<HashMap<u8, HashSet<u8>>>());
        assert!(!is_set::<str>());
        assert!(!is_set::<Arc<[u8]>>());
        assert!(!is_name_of_set("shop::ResultSet<u8>"));
        assert!(!is_name_of_set("std::collections::hash::set::Iter<HashSet>"));
    }
}
