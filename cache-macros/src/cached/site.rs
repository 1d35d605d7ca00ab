//! A function that is cached, with its options.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{ItemFn, Path};

use super::options::Options;
use crate::expression::cache::{bind_cache, bind_default_cache};
use crate::expression::entry::entry_ident;
use crate::function::arguments::owned_names;
use crate::function::mentions::mentions;

/// A function that is cached, with its options.
pub(super) struct Site<'a> {
    pub(super) function: &'a ItemFn,
    pub(super) options: &'a Options,
    pub(super) root: &'a Path,
    /// The function's [`fingerprint`](crate::function::fingerprint).
    pub(super) fingerprint: String,
}

impl Site<'_> {
    pub(super) fn name(&self) -> String {
        self.function.sig.ident.unraw().to_string()
    }

    pub(super) fn entry_ident(&self) -> Ident {
        entry_ident(&self.function.sig.ident)
    }

    /// Returns the variable that the cache is bound to.
    pub(super) fn cache_ident(&self) -> Ident {
        Ident::new("cache", Span::mixed_site())
    }

    /// Returns the path of the module that generated code uses.
    pub(super) fn private(&self) -> TokenStream {
        let root = self.root;
        quote!(#root::__private)
    }

    /// Returns statements that bind the cache.
    pub(super) fn bind_cache(&self, outlives_arguments: bool) -> TokenStream {
        let ident = self.cache_ident();
        let Some(cache) = &self.options.cache else {
            return bind_default_cache(&self.name(), &ident, self.root);
        };
        let cache = &cache.value;
        let tokens = cache.to_token_stream();
        let mut code = bind_cache(cache, &ident, self.root);
        // The body consumes its arguments while the cache is still in use, so the cache is cloned.
        let of_an_argument = owned_names(&self.function.sig)
            .iter()
            .any(|name| mentions(tokens.clone(), name));
        if outlives_arguments && of_an_argument {
            code.extend(quote! { let #ident = &::core::clone::Clone::clone(#ident); });
        }
        code
    }
}
