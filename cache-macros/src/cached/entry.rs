//! The entry function of a cached function, which returns the entry of a call.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, Pat, parse_quote};

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
    quote! {
        #(#conditions)*
        #[doc = #doc]
        #[allow(dead_code, unused, unreachable_pub, clippy::all, clippy::pedantic, clippy::nursery)]
        #vis #signature {
            #bind_cache
            #root::CachedEntry::new(#cache, #key)
        }
    }
}
