//! The function beside a cached one.

use proc_macro2::Ident;
use quote::format_ident;
use syn::ext::IdentExt;

/// Returns the name of the function beside `function` that returns the entry of a call.
pub(crate) fn entry_ident(function: &Ident) -> Ident {
    format_ident!("{}_entry", function.unraw(), span = function.span())
}
