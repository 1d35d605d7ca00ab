//! The entry function of a cached function, which returns the entry of a call.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{FnArg, GenericParam, Item, ItemFn, Pat, Signature, Stmt, Visibility, parse_quote};

use super::key;
use super::site::Site;
use crate::function::arguments::conditions;
use crate::function::types::output;

/// Generates the function that returns the entry of a call. `body` is what the cached function consists of.
pub(super) fn entry(site: &Site<'_>, body: &TokenStream) -> TokenStream {
    let (function, root) = (site.function, site.root);
    let vis = &function.vis;
    let conditions = conditions(&function.attrs);
    let mut signature = function.sig.clone();
    let returned = output(&signature);
    signature.asyncness = None;
    signature.ident = site.entry_ident();
    signature.output = parse_quote! {
        -> #root::CachedEntry<impl ::core::future::Future<Output = #returned>>
    };
    let call = call(function);
    if call.is_some() {
        for argument in &mut signature.inputs {
            if let FnArg::Typed(argument) = argument
                && let Pat::Ident(pattern) = &mut *argument.pat
            {
                pattern.mutability = None;
            }
        }
    }
    let call = call.unwrap_or_else(|| {
        let private = site.private();
        // The block has the type that the function returns, also where it is inferred.
        quote!(#private::Returns::<#returned>::new().is(async move { #body }))
    });
    let (cache, bind_cache) = (site.cache_ident(), site.bind_cache(false));
    let key = key::key(site);
    // An argument may have the same name.
    let entry = Ident::new("entry", Span::mixed_site());
    let name = site.name();
    let of_type = if function.sig.receiver().is_some() {
        format!("(Self::{name})")
    } else {
        String::new()
    };
    let doc = format!("Returns the cache entry of a call of [`{name}`]{of_type} with these arguments.");
    let remedy = remedy_in_a_trait(site);
    quote! {
        #remedy
        #(#conditions)*
        #[doc = #doc]
        #[allow(dead_code, unused, unreachable_pub, clippy::all, clippy::pedantic, clippy::nursery)]
        #vis #signature {
            let #entry = {
                #bind_cache
                #root::CachedEntry::new(#cache, #key)
            };
            #entry.of_call(#call)
        }
    }
}

/// Returns the call of the function with the arguments of its entry function. `None` if it cannot be written, and the
/// entry repeats the body instead: an attribute cannot see whether a function without `self` is in an implementation, and a
/// pattern is not always an expression.
fn call(function: &ItemFn) -> Option<TokenStream> {
    let signature = &function.sig;
    let arguments = signature
        .inputs
        .iter()
        .map(|argument| match argument {
            FnArg::Receiver(receiver) => receiver.attrs.is_empty().then(|| receiver.self_token.to_token_stream()),
            FnArg::Typed(argument) => match &*argument.pat {
                Pat::Ident(pattern) if argument.attrs.is_empty() && is_plain(pattern) => {
                    Some(pattern.ident.to_token_stream())
                }
                _ => None,
            },
        })
        .collect::<Option<Vec<_>>>()?;
    let path = path(function)?;
    let generics = generics(signature)?;
    Some(quote!(#path #generics (#(#arguments),*)))
}

fn is_plain(pattern: &syn::PatIdent) -> bool {
    pattern.by_ref.is_none() && pattern.subpat.is_none()
}

/// Returns the path of the function from its entry function.
fn path(function: &ItemFn) -> Option<TokenStream> {
    let ident = &function.sig.ident;
    if function.sig.receiver().is_some() {
        return Some(quote!(Self::#ident));
    }
    // A body with items of its own must not be repeated: its statics would be others, and so would the keys of cached
    // functions in it. Such functions are hardly ever associated functions.
    let has_items = function.block.stmts.iter().any(|statement| match statement {
        Stmt::Item(Item::Use(_)) => false,
        Stmt::Item(_) => true,
        Stmt::Macro(statement) => statement.mac.path.is_ident("thread_local"),
        _ => false,
    });
    has_items.then(|| ident.to_token_stream())
}

/// Returns the function's own generic arguments. `None` if one of them depends on a condition.
fn generics(signature: &Signature) -> Option<TokenStream> {
    let mut names: Vec<&Ident> = Vec::new();
    for parameter in &signature.generics.params {
        let (ident, attributes) = match parameter {
            GenericParam::Type(parameter) => (&parameter.ident, &parameter.attrs),
            GenericParam::Const(parameter) => (&parameter.ident, &parameter.attrs),
            GenericParam::Lifetime(_) => continue,
        };
        if !attributes.is_empty() {
            return None;
        }
        names.push(ident);
    }
    Some(if names.is_empty() {
        TokenStream::new()
    } else {
        quote!(::<#(#names),*>)
    })
}

/// Generates a function whose name is the remedy, for a method that may be in the implementation of a trait. There, the
/// compiler says of each function that is not in the trait that it is not, by its name. The attribute cannot see where it
/// stands.
fn remedy_in_a_trait(site: &Site<'_>) -> Option<TokenStream> {
    let function = site.function;
    let may_be = matches!(function.vis, Visibility::Inherited) && function.sig.receiver().is_some();
    let name = format_ident!(
        "a_trait_has_no_entry_functions_so_write_entry_false_for_{}",
        site.name()
    );
    may_be.then(|| {
        quote! {
            #[doc(hidden)]
            #[allow(dead_code)]
            fn #name() {}
        }
    })
}
