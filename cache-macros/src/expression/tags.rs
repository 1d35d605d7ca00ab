//! Lists of tags.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Expr, Path};

use super::text::formatted;
use crate::attribute::errors::Errors;
use crate::attribute::syntax::value;

/// Parses the value of `tags`: a list, or an expression for one.
pub(crate) fn tags(input: ParseStream<'_>, name: &Ident, errors: &mut Errors) -> syn::Result<Expr> {
    let tags: Expr = value(input, name, "tags = [\"user:{id}\"]")?;
    match &tags {
        Expr::Lit(_) => errors.on(
            &tags,
            format!("`tags` takes a list: `tags = [{}]`", tags.to_token_stream()),
        ),
        Expr::Array(list) if list.elems.is_empty() => errors.on(&tags, "a list without tags: remove `tags`"),
        _ => {}
    }
    Ok(tags)
}

/// Returns an expression for the tags. String literals in the list may be format strings.
pub(crate) fn tag_list(tags: &Expr, root: &Path) -> TokenStream {
    let private = quote!(#root::__private);
    match tags {
        Expr::Array(list) => {
            let tags = list.elems.iter().map(|tag| {
                let formatted = formatted(tag, root);
                quote_spanned!(tag.span()=> #private::tag(#formatted))
            });
            quote!([#(#tags),*])
        }
        Expr::Group(group) => tag_list(&group.expr, root),
        other => quote_spanned!(other.span()=> #private::tags(#other)),
    }
}
