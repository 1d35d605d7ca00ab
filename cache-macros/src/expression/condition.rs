//! Conditions.

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::Expr;
use syn::spanned::Spanned;

/// Returns an expression of type `bool`, without parentheses that the compiler would warn of.
pub(crate) fn condition(expr: &Expr) -> TokenStream {
    quote_spanned! {expr.span()=> { let condition: bool = #expr; condition } }
}
