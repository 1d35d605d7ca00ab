//! Where a function is defined, and which types can be distinguished by their names.

use std::hash::{Hash, Hasher};

/// Where a function is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Definition {
    /// In a module. The compiler allows only one function of a name there.
    Module,
    /// In an inherent implementation, in a module. The compiler allows only one function of a name in a type. Without
    /// `self`, it may also be in a block of a function or a constant whose name begins with a capital letter.
    Type,
    /// In the implementation of a trait, or in the trait itself. The type may be any.
    Unclear,
    /// In a block of code, or for a type that may be defined in one. There may be several functions with the same path.
    Block,
}

impl Definition {
    /// Returns where a function is defined, and the path of that place, derived from the path of a closure in the
    /// function.
    pub(super) fn of<'a>(path: &'a str, module: &str, function: &str, beside: &str) -> (Self, &'a str) {
        let owner = owner(path, function, beside);
        let Some(within) = owner.strip_prefix(module) else {
            // `<shop::A as shop::Find>`
            let is_local = names_something_in_a_block(owner, module);
            return (if is_local { Self::Block } else { Self::Unclear }, owner);
        };
        if within.is_empty() {
            return (Self::Module, owner);
        }
        let Some(within) = within.strip_prefix("::") else {
            return (Self::Unclear, owner);
        };
        let name = without_generics(within);
        let definition = if name.starts_with("<impl ") || name.is_empty() {
            // `shop::<impl other::Users>`
            if names_something_in_a_block(within, module) {
                Self::Block
            } else {
                Self::Type
            }
        } else if name.contains("::") || name.contains('{') || !name.starts_with(|c: char| c.is_uppercase()) {
            // `shop::list` is a function, because types begin with a capital letter. Components of user interfaces do too.
            Self::Block
        } else {
            Self::Type
        };
        (definition, owner)
    }
}

/// Returns whether a path contains something below `module` that may be defined in a block, such as `shop::list::Row`,
/// where `list` may be a module or a function.
fn names_something_in_a_block(path: &str, module: &str) -> bool {
    path.match_indices(module).any(|(at, _)| {
        let begins = path[..at].chars().next_back().is_none_or(|c| !is_of_path(c));
        let within = &path[at + module.len()..];
        let within = within.find(|c| !is_of_path(c)).map_or(within, |end| &within[..end]);
        begins && within.matches("::").count() >= 2
    })
}

fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

/// Returns the path of the place where a function is defined, derived from the path of a closure in it:
/// `shop::Users<u32>` from `shop::Users<u32>::find<u8>::{{closure}}`.
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
            // The arrow `->` of a function type.
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

/// Returns whether a type's name consists only of types of the language and its standard library, so that it is unique.
pub(super) fn is_only_of_std(name: &str) -> bool {
    let names = name.split(|c: char| !is_of_path(c)).filter(|name| !name.is_empty());
    names.into_iter().all(|name| {
        matches!(
            name,
            "bool"
                | "char"
                | "str"
                | "u8"
                | "u16"
                | "u32"
                | "u64"
                | "u128"
                | "usize"
                | "i8"
                | "i16"
                | "i32"
                | "i64"
                | "i128"
                | "isize"
                | "f32"
                | "f64"
                | "mut"
                | "const"
                | "dyn"
                | "fn"
        ) || name.starts_with("core::")
            || name.starts_with("alloc::")
            || name.starts_with("std::")
            || name.starts_with(|c: char| c.is_ascii_digit())
    }) && !name.contains('{')
}

/// Returns the compiler's identity of a type, without regard to lifetimes: the same in every process of one build.
pub(super) fn type_id<T: ?Sized>() -> u64 {
    /// A hasher that returns what a `TypeId` writes, which is already a hash.
    #[derive(Default)]
    struct Plain(u64);

    impl Hasher for Plain {
        fn finish(&self) -> u64 {
            self.0
        }

        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
            }
        }

        fn write_u64(&mut self, number: u64) {
            self.0 = self.0.rotate_left(8) ^ number;
        }
    }

    let mut hasher = Plain::default();
    typeid::of::<T>().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_function_is_defined_in_a_module_a_type_or_a_block() {
        let definition = |path: &str| Definition::of(path, "shop::users", "find", "find_entry").0;
        for (path, is) in [
            ("shop::users::find", Definition::Module),
            ("shop::users::find<u8>", Definition::Module),
            ("shop::users::Users::find", Definition::Type),
            ("shop::users::Users<shop::a::b::C>::find", Definition::Type),
            ("shop::users::<impl shop::Orders>::find", Definition::Type),
            ("<shop::users::Users as shop::Find>::find", Definition::Unclear),
            ("shop::users::Find::find", Definition::Type),
            ("shop::users::list::find", Definition::Block),
            ("shop::users::_::find", Definition::Block),
            ("shop::users::{{closure}}::find", Definition::Block),
            ("shop::users::list::Row::find", Definition::Block),
            ("shop::users::Users::list::find", Definition::Block),
            ("<shop::users::list::Row as shop::Find>::find", Definition::Block),
            (
                "<alloc::vec::Vec<shop::users::_::Row> as shop::Find>::find",
                Definition::Block,
            ),
            ("shop::users::list::<impl shop::Orders>::find", Definition::Block),
        ] {
            assert_eq!(definition(&format!("{path}::{{{{closure}}}}")), is, "{path}");
        }
    }

    #[test]
    fn names_of_the_language_and_its_library_are_clear() {
        for name in [
            "u32",
            "&str",
            "alloc::vec::Vec<(u8, [alloc::string::String; 3])>",
            "fn(&u8) -> bool",
            "dyn core::fmt::Display",
            "()",
        ] {
            assert!(is_only_of_std(name), "{name}");
        }
        for name in [
            "shop::User",
            "alloc::vec::Vec<shop::User>",
            "shop::list::{{closure}}",
            "stdx::Vec",
        ] {
            assert!(!is_only_of_std(name), "{name}");
        }
    }

    #[test]
    fn types_of_one_name_have_identities_of_their_own() {
        fn first() -> (&'static str, u64) {
            struct Local;
            (std::any::type_name::<Local>(), type_id::<Local>())
        }
        let (name, id) = {
            fn first() -> (&'static str, u64) {
                struct Local;
                (std::any::type_name::<Local>(), type_id::<Local>())
            }
            first()
        };
        assert_eq!(name, first().0, "the control: the names are the same");
        assert_ne!(id, first().1);
        assert_eq!(type_id::<&str>(), type_id::<&'static str>());
    }
}
