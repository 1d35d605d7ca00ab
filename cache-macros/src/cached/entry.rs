//! The entry function of a cached function, which returns the entry of a call.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{FnArg, Pat, Visibility, parse_quote};

use super::key;
use super::site::Site;
use crate::function::arguments::conditions;

/// Generates the function that returns the entry of a call.
pub(super) fn entry(site: &Site<'_>) -> TokenStream {
    let (function, root) = (site.function, site.root);
    let vis = &function.vis;
    let conditions = conditions(&function.attrs);
    let mut signature = function.sig.clone();
    signature.asyncness = None;
    signature.ident = site.entry_ident();
    signature.output = parse_quote!(-> #root::CachedEntry);
    for argument in &mut signature.inputs {
        if let FnArg::Typed(argument) = argument
            && let Pat::Ident(pattern) = &mut *argument.pat
        {
            pattern.mutability = None;
        }
    }
    let (cache, bind_cache) = (site.cache_ident(), site.bind_cache(false));
    let key = key::key(site);
    let name = site.name();
    let of_type = if function.sig.receiver().is_some() {
        format!("(Self::{name})")
    } else {
        String::new()
    };
    let doc = format!("Returns the cache entry of a call of [`{name}`]{of_type} with these arguments.");
    let remedy = remedy_in_a_trait(site);
    quote! {
        #remedy
        #(#conditions)*
        #[doc = #doc]
        #[allow(dead_code, unused, unreachable_pub, clippy::all, clippy::pedantic, clippy::nursery)]
        #vis #signature {
            #bind_cache
            #root::CachedEntry::new(#cache, #key)
        }
    }
}

/// Generates a function whose name is the remedy, for a method that may be in the implementation of a trait. There, the
/// compiler says of each function that is not in the trait that it is not, by its name. The attribute cannot see where it
/// stands.
fn remedy_in_a_trait(site: &Site<'_>) -> Option<TokenStream> {
    let function = site.function;
    let may_be = matches!(function.vis, Visibility::Inherited) && function.sig.receiver().is_some();
    let name = format_ident!(
        "a_trait_has_no_entry_functions_so_write_entry_false_for_{}",
        site.name()
    );
    may_be.then(|| {
        quote! {
            #[doc(hidden)]
            #[allow(dead_code)]
            fn #name() {}
        }
    })
}
