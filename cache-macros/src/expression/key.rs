//! Names of keys and namespaces.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, Path};

use super::text::{displayed, formatted};

/// Returns an expression for the name that the option `key` gives a call.
pub(crate) fn key_name(key: &Expr, root: &Path) -> TokenStream {
    let private = quote!(#root::__private);
    let displayed = displayed(key, root);
    quote_spanned! {key.span()=>
        {
            #[allow(unused_imports)]
            use #private::{Displayed as _, Named as _};
            match #displayed {
                name => (&&#private::NameOf(name)).how().name(name),
            }
        }
    }
}

/// Returns an expression for the namespace. It is `None` without the option `namespace`.
pub(crate) fn namespace(namespace: Option<&Expr>, root: &Path) -> TokenStream {
    let private = quote!(#root::__private);
    match namespace {
        Some(namespace) => {
            let formatted = formatted(namespace, root);
            quote_spanned!(namespace.span()=> #private::Some(#private::namespace(#formatted)))
        }
        None => quote!(#private::None),
    }
}
