//! The options of `#[cached]`.

use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Path, Token, parenthesized};

use crate::attribute::errors::Errors;
use crate::attribute::syntax::{Given, comma, give, name, skip_to_comma, switch, value};
use crate::expression::tags::tags;

const KNOWN: &str = "`cache`, `ttl`, `stale_while_revalidate`, `stale_if_error`, `negative_ttl`, `error_ttl`, `ttl_of`, `jitter`, \
                     `early_refresh_after`, `early_refresh_beta`, `verify`, `soft_timeout`, `load_timeout`, `coalesce_across_processes`, `contributes`, `namespace`, `key`, `skip`, \
                     `version`, `tags`, `coder`, `when`, `unless`, `store_if`, `detached`, `entry` and `crate`";

/// Wrong names of options, and the options that they suggest.
const MEANT: [(&str, &str); 12] = [
    ("stale", "stale_while_revalidate"),
    ("swr", "stale_while_revalidate"),
    ("negative", "negative_ttl"),
    ("time", "ttl"),
    ("expire", "ttl"),
    ("timeout", "load_timeout"),
    ("key_builder", "key"),
    ("condition", "when"),
    ("tag", "tags"),
    ("ttl_by", "ttl_of"),
    ("refresh_ahead", "early_refresh_after"),
    ("beta", "early_refresh_beta"),
];

/// The options of a `#[cached]` attribute.
#[derive(Default)]
pub(super) struct Options {
    pub(super) cache: Option<Given<Expr>>,
    pub(super) ttl: Option<Given<Expr>>,
    pub(super) stale_while_revalidate: Option<Given<Expr>>,
    pub(super) stale_if_error: Option<Given<Expr>>,
    pub(super) negative_ttl: Option<Given<Expr>>,
    pub(super) error_ttl: Option<Given<Expr>>,
    pub(super) jitter: Option<Given<Expr>>,
    pub(super) early_refresh_after: Option<Given<Expr>>,
    pub(super) early_refresh_beta: Option<Given<Expr>>,
    pub(super) verify: Option<Given<Expr>>,
    pub(super) soft_timeout: Option<Given<Expr>>,
    pub(super) load_timeout: Option<Given<Expr>>,
    pub(super) coalesce_across_processes: Option<Given<Expr>>,
    pub(super) contributes: Option<Given<Expr>>,
    pub(super) namespace: Option<Given<Expr>>,
    pub(super) key: Option<Given<Expr>>,
    pub(super) skip: Option<Given<Vec<Ident>>>,
    pub(super) version: Option<Given<Expr>>,
    pub(super) tags: Option<Given<Expr>>,
    pub(super) coder: Option<Given<Expr>>,
    pub(super) when: Option<Given<Expr>>,
    pub(super) unless: Option<Given<Expr>>,
    pub(super) store_if: Option<Given<Expr>>,
    pub(super) ttl_of: Option<Given<Expr>>,
    detached: Option<Given<bool>>,
    entry: Option<Given<bool>>,
    pub(super) root: Option<Given<Path>>,
}

impl Options {
    /// Returns whether loads run in tasks of their own.
    pub(super) fn is_detached(&self) -> bool {
        match &self.detached {
            Some(detached) => detached.value,
            None => self.refreshes_by().is_some(),
        }
    }

    /// Returns the option by which results are refreshed in the background, if there is one.
    pub(super) fn refreshes_by(&self) -> Option<&Ident> {
        let options = [
            &self.stale_while_revalidate,
            &self.early_refresh_after,
            &self.early_refresh_beta,
        ];
        options.into_iter().flatten().map(|option| &option.name).next()
    }

    /// Returns whether an option says what a hit leads to besides its result.
    pub(super) fn says_what_hits_do(&self) -> bool {
        [&self.early_refresh_after, &self.early_refresh_beta, &self.verify]
            .into_iter()
            .any(Option::is_some)
    }

    /// Returns whether an entry function is generated.
    pub(super) fn has_entry(&self) -> bool {
        self.entry.as_ref().is_none_or(|entry| entry.value)
    }

    /// Parses the options, and reports all errors in them.
    pub(super) fn parse(tokens: TokenStream) -> syn::Result<Self> {
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
            "stale_while_revalidate" => (&mut self.stale_while_revalidate, "stale_while_revalidate = \"10s\""),
            "stale_if_error" => (&mut self.stale_if_error, "stale_if_error = \"1h\""),
            "negative_ttl" => (&mut self.negative_ttl, "negative_ttl = \"30s\""),
            "error_ttl" => (&mut self.error_ttl, "error_ttl = \"1s\""),
            "ttl_of" => (&mut self.ttl_of, "ttl_of = |token| token.lifetime()"),
            "jitter" => (&mut self.jitter, "jitter = 0.1"),
            "early_refresh_after" => (&mut self.early_refresh_after, "early_refresh_after = 0.8"),
            "early_refresh_beta" => (&mut self.early_refresh_beta, "early_refresh_beta = 1.0"),
            "verify" => (&mut self.verify, "verify = 0.01"),
            "soft_timeout" => (&mut self.soft_timeout, "soft_timeout = \"200ms\""),
            "load_timeout" => (&mut self.load_timeout, "load_timeout = \"5s\""),
            "coalesce_across_processes" => (&mut self.coalesce_across_processes, "coalesce_across_processes = false"),
            "contributes" => (&mut self.contributes, "contributes = false"),
            "namespace" => (&mut self.namespace, "namespace = \"users\""),
            "key" => (&mut self.key, "key = \"user:{id}\""),
            "version" => (&mut self.version, "version = 2"),
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
            "detached" => {
                give(&mut self.detached, name.clone(), switch(input, &name)?, errors);
                return Ok(());
            }
            "entry" => {
                give(&mut self.entry, name.clone(), switch(input, &name)?, errors);
                return Ok(());
            }
            "crate" => {
                input.parse::<Token![=]>()?;
                let path = input.call(Path::parse_mod_style)?;
                give(&mut self.root, name, path, errors);
                return Ok(());
            }
            _ => {
                let message = match MEANT.iter().find(|(tried, _)| *tried == text) {
                    Some((_, meant)) => format!("unknown option `{name}`: write `{meant}`"),
                    None => format!("unknown option `{name}`: `#[cached]` takes {KNOWN}"),
                };
                errors.at(name.span(), message);
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
        if let (Some(ttl), Some(_)) = (&self.ttl, &self.ttl_of) {
            let message =
                "`ttl` has no effect beside `ttl_of`, which gives every value its lifetime: remove one of them";
            errors.at(ttl.name.span(), message);
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
