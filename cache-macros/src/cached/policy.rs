//! The policy of a function: the cache's policy, changed by the options.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Error;
use syn::spanned::Spanned;

use super::site::Site;
use crate::attribute::errors::Errors;
use crate::expression::time::time;

/// Returns an expression for the policy.
pub(super) fn policy(site: &Site<'_>) -> Result<TokenStream, Error> {
    let (options, root, private) = (site.options, site.root, site.private());
    let cache = site.cache_ident();
    let mut policy = quote!((*#cache.policy()));
    let mut errors = Errors::default();
    let times = [
        (&options.ttl, true),
        (&options.stale_while_revalidate, false),
        (&options.stale_if_error, false),
        (&options.negative_ttl, true),
        (&options.error_ttl, true),
        (&options.soft_timeout, true),
        (&options.load_timeout, true),
    ];
    for (option, may_be_none) in times {
        let Some(option) = option else { continue };
        let method = format_ident!("with_{}", option.name);
        match time(&option.value, root, &option.name) {
            Ok(length) if may_be_none => {
                policy = quote_spanned! {option.value.span()=>
                    #policy.#method(#private::time(#length))
                };
            }
            Ok(length) => policy = quote_spanned!(option.value.span()=> #policy.#method(#length)),
            Err(error) => errors.add(error),
        }
    }
    let others = [
        &options.jitter,
        &options.early_refresh_after,
        &options.early_refresh_beta,
        &options.verify,
        &options.coalesce_across_processes,
        &options.contributes,
    ];
    for option in others.into_iter().flatten() {
        let method = format_ident!("with_{}", option.name);
        let value = &option.value;
        policy = quote_spanned!(value.span()=> #policy.#method(#value));
    }
    errors.finish(policy)
}
