//! The cache of a function.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, Path};

/// Returns statements that bind the cache of the expression `cache` to `ident`.
pub(crate) fn bind_cache(cache: &Expr, ident: &Ident, root: &Path) -> TokenStream {
    let here = Ident::new(&ident.to_string(), ident.span().located_at(cache.span()));
    let mut code = quote! { let #ident = &#cache; };
    code.extend(quote_spanned! {cache.span()=>
        let #ident = #root::__private::as_cache(#here);
    });
    code
}

/// Returns a statement that binds the default cache to `ident`.
pub(crate) fn bind_default_cache(function: &str, ident: &Ident, root: &Path) -> TokenStream {
    quote! { let #ident = #root::__private::default_cache(::core::module_path!(), #function); }
}
