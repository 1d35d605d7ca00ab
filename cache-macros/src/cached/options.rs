//! The options of `#[cached]`.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, LitBool, Path, Token, parenthesized};

use crate::options::{Errors, Given, comma, give, name, skip_to_comma, tags, value};

const KNOWN: &str = "`cache`, `ttl`, `stale`, `stale_if_error`, `negative`, `namespace`, `key`, `skip`, `tags`, `coder`, \
                     `when`, `unless`, `store_if`, `detached`, `entry` and `crate`";

/// The options of `#[cached]`, as they were given.
#[derive(Default)]
pub(super) struct Options {
    pub(super) cache: Option<Given<Expr>>,
    pub(super) ttl: Option<Given<Expr>>,
    pub(super) stale: Option<Given<Expr>>,
    pub(super) stale_if_error: Option<Given<Expr>>,
    pub(super) negative: Option<Given<Expr>>,
    pub(super) namespace: Option<Given<Expr>>,
    pub(super) key: Option<Given<Expr>>,
    pub(super) skip: Option<Given<Vec<Ident>>>,
    pub(super) tags: Option<Given<Expr>>,
    pub(super) coder: Option<Given<Expr>>,
    pub(super) when: Option<Given<Expr>>,
    pub(super) unless: Option<Given<Expr>>,
    pub(super) store_if: Option<Given<Expr>>,
    detached: Option<Given<bool>>,
    entry: Option<Given<bool>>,
    pub(super) root: Option<Given<Path>>,
}

impl Options {
    /// Whether loads run in tasks of their own.
    pub(super) fn is_detached(&self) -> bool {
        match &self.detached {
            Some(detached) => detached.value,
            None => self.stale.is_some(),
        }
    }

    /// Whether the function is to have one beside it for its entries.
    pub(super) fn has_entry(&self) -> bool {
        self.entry.as_ref().is_none_or(|entry| entry.value)
    }

    pub(super) fn parse(tokens: proc_macro2::TokenStream) -> syn::Result<Self> {
        let parser = |input: ParseStream<'_>| {
            let mut options = Self::default();
            let mut errors = Errors::default();
            while !input.is_empty() {
                let name = name(input)?;
                options.option(input, name.clone(), &mut errors)?;
                comma(input, &name)?;
            }
            options.contradictions(&mut errors);
            errors.finish(options)
        };
        parser.parse2(tokens)
    }

    fn option(&mut self, input: ParseStream<'_>, name: Ident, errors: &mut Errors) -> syn::Result<()> {
        let text = name.to_string();
        let (slot, example) = match &*text {
            "cache" => (&mut self.cache, "cache = self.cache"),
            "ttl" => (&mut self.ttl, "ttl = \"60s\""),
            "stale" => (&mut self.stale, "stale = \"10s\""),
            "stale_if_error" => (&mut self.stale_if_error, "stale_if_error = \"1h\""),
            "negative" => (&mut self.negative, "negative = \"30s\""),
            "namespace" => (&mut self.namespace, "namespace = \"users\""),
            "key" => (&mut self.key, "key = \"user:{id}\""),
            "coder" => (&mut self.coder, "coder = Cbor"),
            "when" => (&mut self.when, "when = page < 10"),
            "unless" => (&mut self.unless, "unless = preview"),
            "store_if" => (&mut self.store_if, "store_if = |user| user.is_complete()"),
            "tags" => {
                let tags = tags(input, &name, errors)?;
                give(&mut self.tags, name, tags, errors);
                return Ok(());
            }
            "skip" => {
                let names = names(input, &name)?;
                give(&mut self.skip, name, names, errors);
                return Ok(());
            }
            "detached" | "entry" => {
                let flag = if input.peek(Token![=]) {
                    value::<LitBool>(input, &name, "true")?.value
                } else {
                    true
                };
                let slot = if text == "entry" {
                    &mut self.entry
                } else {
                    &mut self.detached
                };
                give(slot, name, flag, errors);
                return Ok(());
            }
            "crate" => {
                input.parse::<Token![=]>()?;
                let path = input.call(Path::parse_mod_style)?;
                give(&mut self.root, name, path, errors);
                return Ok(());
            }
            _ => {
                errors.at(
                    name.span(),
                    format!("unknown option `{name}`: `#[cached]` takes {KNOWN}"),
                );
                return skip_to_comma(input);
            }
        };
        let value = value(input, &name, example)?;
        give(slot, name, value, errors);
        Ok(())
    }

    fn contradictions(&self, errors: &mut Errors) {
        if let (Some(_), Some(unless)) = (&self.when, &self.unless) {
            let message = "`when` and `unless` say the same thing in two ways: write one condition";
            errors.at(unless.name.span(), message);
        }
        if let (Some(_), Some(skip)) = (&self.key, &self.skip) {
            let message = "`skip` leaves arguments out of the key, and with `key` none are in it but those that it names: \
                           remove `skip`";
            errors.at(skip.name.span(), message);
        }
    }
}

fn names(input: ParseStream<'_>, name: &Ident) -> syn::Result<Vec<Ident>> {
    if !input.peek(syn::token::Paren) {
        return Err(Error::new(
            name.span(),
            "`skip` takes the names of arguments in parentheses: `skip(db, span)`",
        ));
    }
    let content;
    parenthesized!(content in input);
    let names = Punctuated::<Ident, Token![,]>::parse_terminated_with(&content, Ident::parse_any)?;
    Ok(names.into_iter().collect())
}
