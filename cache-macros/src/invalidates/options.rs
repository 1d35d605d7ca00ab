//! The options of `#[invalidates]`.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, ExprArray, Path, Token};

use crate::attribute::errors::Errors;
use crate::attribute::syntax::{Given, comma, give, name, skip_to_comma, switch, value};
use crate::expression::tags::tags;

const KNOWN: &str = "`key`, `keys`, `tags`, `namespace`, `soft`, `unless_err`, `cache`, `crate`, and calls of \
                     functions that are cached, such as `get_user(id)`";

/// The options of an `#[invalidates]` attribute.
#[derive(Default)]
pub(super) struct Options {
    pub(super) cache: Option<Given<Expr>>,
    pub(super) key: Option<Given<Expr>>,
    pub(super) keys: Option<Given<ExprArray>>,
    pub(super) tags: Option<Given<Expr>>,
    pub(super) namespace: Option<Given<Expr>>,
    pub(super) soft: Option<Given<bool>>,
    pub(super) unless_err: Option<Given<bool>>,
    pub(super) calls: Vec<Expr>,
    pub(super) root: Option<Given<Path>>,
}

impl Options {
    /// Parses the options, and reports all errors in them.
    pub(super) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let parser = |input: ParseStream<'_>| {
            let mut options = Self::default();
            let mut errors = Errors::default();
            while !input.is_empty() {
                options.option(input, &mut errors)?;
            }
            if options.calls.is_empty()
                && options.key.is_none()
                && options.keys.is_none()
                && options.tags.is_none()
                && options.namespace.is_none()
                && errors.is_empty()
            {
                errors.at(
                    Span::call_site(),
                    format!("`#[invalidates(…)]` needs to know what is invalidated: it takes {KNOWN}"),
                );
            }
            errors.finish(options)
        };
        parser.parse2(tokens)
    }

    fn option(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<()> {
        let ahead = input.fork();
        let is_option = match name(&ahead) {
            Ok(_) if ahead.peek(Token![=]) => !ahead.peek(Token![==]),
            Ok(name) => (name == "soft" || name == "unless_err") && (ahead.is_empty() || ahead.peek(Token![,])),
            Err(_) => false,
        };
        if !is_option {
            return self.call(input, errors);
        }
        let name = name(input)?;
        match &*name.to_string() {
            "cache" => give(&mut self.cache, name.clone(), value(input, &name, "")?, errors),
            "key" => give(&mut self.key, name.clone(), value(input, &name, "")?, errors),
            "namespace" => give(&mut self.namespace, name.clone(), value(input, &name, "")?, errors),
            "tags" => give(&mut self.tags, name.clone(), tags(input, &name, errors)?, errors),
            "soft" => give(&mut self.soft, name.clone(), switch(input, &name)?, errors),
            "unless_err" => give(&mut self.unless_err, name.clone(), switch(input, &name)?, errors),
            "keys" => match value(input, &name, "")? {
                Expr::Array(keys) => give(&mut self.keys, name.clone(), keys, errors),
                other => errors.on(&other, "`keys` takes a list: `keys = [\"all\", \"user:{id}\"]`"),
            },
            "crate" => {
                input.parse::<Token![=]>()?;
                let path = input.call(Path::parse_mod_style)?;
                give(&mut self.root, name.clone(), path, errors);
            }
            _ => {
                errors.at(
                    name.span(),
                    format!("unknown option `{name}`: `#[invalidates]` takes {KNOWN}"),
                );
                skip_to_comma(input)?;
            }
        }
        comma(input, &name)
    }

    fn call(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<()> {
        let expr: Expr = input.parse()?;
        match &expr {
            Expr::MethodCall(_) => self.calls.push(expr),
            Expr::Call(call) if matches!(*call.func, Expr::Path(_)) => self.calls.push(expr),
            Expr::Path(_) => errors.on(
                &expr,
                format!(
                    "write the call whose entry is invalidated, with its arguments: `{}(…)`",
                    expr.to_token_stream()
                ),
            ),
            _ => errors.on(&expr, format!("`#[invalidates]` takes {KNOWN}")),
        }
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
        Ok(())
    }
}
