//! Parses the function that has the attribute.

use proc_macro2::TokenStream;
use syn::{Error, ItemFn};

/// Parses an async function. `why` is the reason why it must be async, for the error message.
pub(crate) fn parse_function(item: TokenStream, attribute: &str, why: &str) -> syn::Result<ItemFn> {
    let whole = item.clone();
    let function: ItemFn = syn::parse2(item).map_err(|error| {
        if syn::parse2::<syn::TraitItemFn>(whole.clone()).is_ok() {
            Error::new_spanned(
                &whole,
                format!("`#[{attribute}]` goes on a function with a body: put it on the implementation"),
            )
        } else if syn::parse2::<syn::Item>(whole).is_ok() {
            Error::new(
                error.span(),
                format!("`#[{attribute}]` goes on an async function or method"),
            )
        } else {
            error
        }
    })?;
    if function.sig.asyncness.is_none() {
        return Err(Error::new_spanned(
            function.sig.fn_token,
            format!("`#[{attribute}]` goes on an `async fn`: {why}"),
        ));
    }
    Ok(function)
}
