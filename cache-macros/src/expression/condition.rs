//! Conditions in options.

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::Expr;
use syn::spanned::Spanned;

/// Returns an expression of type `bool`. It has no parentheses, which the compiler could warn about.
pub(crate) fn condition(expr: &Expr) -> TokenStream {
    quote_spanned! {expr.span()=> { let condition: bool = #expr; condition } }
}
