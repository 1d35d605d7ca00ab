//! String literals, which may be format strings.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, ExprReference, Lit, LitStr, Path, Token};

/// Returns the string literal that an expression consists of, if it is one.
pub(crate) fn text(expr: &Expr) -> Option<&LitStr> {
    match expr {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text), ..
        }) => Some(text),
        Expr::Group(group) => text(&group.expr),
        _ => None,
    }
}

/// Returns an expression for a reference to the value of `expr`. A string literal with braces is a format string.
pub(crate) fn formatted(expr: &Expr, root: &Path) -> TokenStream {
    with_format(
        expr,
        |text| quote_spanned!(text.span()=> #root::__private::format!(#text)),
    )
}

/// As [`formatted`], for a value that is only displayed: a format string is not formatted into a `String` first.
pub(crate) fn displayed(expr: &Expr, root: &Path) -> TokenStream {
    with_format(
        expr,
        |text| quote_spanned!(text.span()=> #root::__private::format_args!(#text)),
    )
}

fn with_format(expr: &Expr, format: impl FnOnce(&LitStr) -> TokenStream) -> TokenStream {
    match text(expr) {
        Some(text) if text.value().contains(['{', '}']) => {
            let formatted = format(text);
            quote_spanned!(text.span()=> &#formatted)
        }
        _ => ExprReference {
            attrs: Vec::new(),
            and_token: Token![&](expr.span()),
            mutability: None,
            expr: Box::new(expr.clone()),
        }
        .to_token_stream(),
    }
}
