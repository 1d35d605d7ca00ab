//! Fingerprints of functions. They distinguish functions that have the same path, such as two `inner` in two blocks.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// How often each fingerprint has been seen in this crate.
static SEEN: Mutex<Option<HashMap<u128, u32>>> = Mutex::new(None);

/// Returns a text that is unique in the crate and the same in every build of the same source. It is a hash of `tokens`.
/// If the same tokens occur more than once, as from a macro that repeats a function, a count follows.
pub(crate) fn fingerprint(tokens: TokenStream) -> String {
    let mut hash = Fnv::new();
    hash.stream(tokens);
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let count = seen.get_or_insert_default().entry(hash.0).or_insert(0);
    *count += 1;
    if *count == 1 {
        format!("{:032x}", hash.0)
    } else {
        format!("{:032x}.{count}", hash.0)
    }
}

/// The hash FNV-1a. It is the same in every build of this macro.
struct Fnv(u128);

impl Fnv {
    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // A separator, so that `a b` is not `ab`.
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
        }
    }

    fn stream(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => {
                    let (open, close) = match group.delimiter() {
                        Delimiter::Parenthesis => ("(", ")"),
                        Delimiter::Brace => ("{", "}"),
                        Delimiter::Bracket => ("[", "]"),
                        // Whether a macro variable's tokens are in such a group depends on the version of the compiler.
                        Delimiter::None => {
                            self.stream(group.stream());
                            continue;
                        }
                    };
                    self.bytes(open.as_bytes());
                    self.stream(group.stream());
                    self.bytes(close.as_bytes());
                }
                token => self.bytes(token.to_string().as_bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::fingerprint;

    #[test]
    fn equal_functions_are_numbered() {
        let first = fingerprint(quote!(
            fn numbered() -> u32 {
                1
            }
        ));
        let second = fingerprint(quote!(
            fn numbered() -> u32 {
                1
            }
        ));
        assert_eq!(second, format!("{first}.2"));
        assert_ne!(
            fingerprint(quote!(
                fn numbered() -> u32 {
                    2
                }
            )),
            first
        );
    }

    #[test]
    fn a_hash_stays_as_it_is() {
        assert_eq!(fingerprint(quote!(a "b" { 1 })), "918ef556857eb1c675dae2f570f869b8");
    }

    #[test]
    fn names_do_not_run_into_each_other() {
        assert_ne!(fingerprint(quote!(run on)), fingerprint(quote!(runon)));
        assert_ne!(fingerprint(quote!(nest(ed))), fingerprint(quote!(nest ed)));
    }
}
