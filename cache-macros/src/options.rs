//! `name = value`, `name(…)` and `name`, separated by commas.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprReference, Lit, LitStr, Path, Token};

use crate::duration;

/// Collects errors, so that all of them are reported at once.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            none => *none = Some(error),
        }
    }

    pub(crate) fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.add(Error::new(span, message));
    }

    pub(crate) fn on(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.add(Error::new_spanned(tokens, message));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn finish<T>(self, value: T) -> Result<T, Error> {
        match self.0 {
            Some(error) => Err(error),
            None => Ok(value),
        }
    }
}

/// An option that was given, by where it was given.
pub(crate) struct Given<T> {
    pub(crate) name: Ident,
    pub(crate) value: T,
}

/// Keeps an option, unless it is there already.
pub(crate) fn give<T>(slot: &mut Option<Given<T>>, name: Ident, value: T, errors: &mut Errors) {
    if slot.is_some() {
        errors.at(name.span(), format!("`{name}` is given twice"));
    } else {
        *slot = Some(Given { name, value });
    }
}

/// The name of an option; it may be a keyword.
pub(crate) fn name(input: ParseStream<'_>) -> syn::Result<Ident> {
    Ident::parse_any(input)
}

/// What follows the name of an option that has a value.
pub(crate) fn value<T: syn::parse::Parse>(input: ParseStream<'_>, name: &Ident, example: &str) -> syn::Result<T> {
    if !input.peek(Token![=]) {
        return Err(Error::new(name.span(), format!("`{name}` needs a value: `{example}`")));
    }
    input.parse::<Token![=]>()?;
    input.parse()
}

/// Skips to the next option after one that is not understood.
pub(crate) fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

/// The comma after an option, unless it is the last.
pub(crate) fn comma(input: ParseStream<'_>, after: &Ident) -> syn::Result<()> {
    if input.is_empty() {
        return Ok(());
    }
    if !input.peek(Token![,]) {
        return Err(input.error(format!("expected a comma after the option `{after}`")));
    }
    input.parse::<Token![,]>().map(drop)
}

/// A duration: a text, which is read now, or an expression.
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

/// The value of `tags`: a list, or an expression that gives one.
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

/// An expression that gives tags, in a list of which a text is a format string.
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

/// The text that an expression is, if it is one.
pub(crate) fn text(expr: &Expr) -> Option<&LitStr> {
    match expr {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text), ..
        }) => Some(text),
        Expr::Group(group) => text(&group.expr),
        _ => None,
    }
}

/// A reference to what an expression gives, in which a text is a format string.
pub(crate) fn formatted(expr: &Expr, root: &Path) -> TokenStream {
    match text(expr) {
        Some(text) if text.value().contains(['{', '}']) => {
            quote_spanned!(text.span()=> &#root::__private::format!(#text))
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
