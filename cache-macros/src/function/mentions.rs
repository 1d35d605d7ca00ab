//! Searches tokens for a name.

use proc_macro2::{Ident, TokenStream, TokenTree};

/// Returns whether `tokens` mention `name`.
pub(crate) fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => mentions(group.stream(), name),
        _ => false,
    })
}
