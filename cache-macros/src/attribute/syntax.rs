//! The syntax of options: `name = value`, `name(…)` and `name`, separated by commas.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, LitBool, Token};

use super::errors::Errors;

/// An option of the attribute, with its name and value.
pub(crate) struct Given<T> {
    pub(crate) name: Ident,
    pub(crate) value: T,
}

/// Sets `slot`, or reports an option that occurs twice.
pub(crate) fn give<T>(slot: &mut Option<Given<T>>, name: Ident, value: T, errors: &mut Errors) {
    if slot.is_some() {
        errors.at(name.span(), format!("`{name}` is given twice"));
    } else {
        *slot = Some(Given { name, value });
    }
}

/// Parses the name of an option, which may be a keyword.
pub(crate) fn name(input: ParseStream<'_>) -> syn::Result<Ident> {
    Ident::parse_any(input)
}

/// Parses the value after the name of an option.
pub(crate) fn value<T: Parse>(input: ParseStream<'_>, name: &Ident, example: &str) -> syn::Result<T> {
    if !input.peek(Token![=]) {
        return Err(Error::new(name.span(), format!("`{name}` needs a value: `{example}`")));
    }
    input.parse::<Token![=]>()?;
    input.parse()
}

/// Skips the rest of an unknown option.
pub(crate) fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

/// Parses the comma after an option. The last one needs none.
pub(crate) fn comma(input: ParseStream<'_>, after: &Ident) -> syn::Result<()> {
    if input.is_empty() {
        return Ok(());
    }
    if !input.peek(Token![,]) {
        return Err(input.error(format!("expected a comma after the option `{after}`")));
    }
    input.parse::<Token![,]>().map(drop)
}

/// Parses a switch: `name`, `name = true` or `name = false`.
pub(crate) fn switch(input: ParseStream<'_>, name: &Ident) -> syn::Result<bool> {
    if input.peek(Token![=]) {
        Ok(value::<LitBool>(input, name, "true")?.value)
    } else {
        Ok(true)
    }
}
