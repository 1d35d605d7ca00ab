//! The name of the entry function that is generated beside a cached function.

use proc_macro2::Ident;
use quote::format_ident;
use syn::ext::IdentExt;

/// Returns the name of the entry function of `function`: the one that returns the entry of a call.
pub(crate) fn entry_ident(function: &Ident) -> Ident {
    format_ident!("{}_entry", function.unraw(), span = function.span())
}
