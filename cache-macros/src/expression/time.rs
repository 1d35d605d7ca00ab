//! Durations in options.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Expr, Path};

use super::text::text;
use crate::attribute::duration;

/// Returns an expression of type `Duration`. A string literal is parsed at compile time, and any other expression is
/// used as it is.
pub(crate) fn time(expr: &Expr, root: &Path, name: &Ident) -> Result<TokenStream, Error> {
    match text(expr) {
        Some(text) => {
            let span = text.span();
            let length = duration::parse(&text.value()).map_err(|message| Error::new(span, message))?;
            let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            Ok(quote_spanned!(span=> #root::__private::Duration::from_millis(#millis)))
        }
        None if matches!(expr, Expr::Lit(_)) => Err(Error::new(
            expr.span(),
            format!("`{name}` needs a unit: write it as \"60s\", or as an expression that gives a `Duration`"),
        )),
        None => Ok(quote!(#expr)),
    }
}
