//! The key of a call.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{FnArg, GenericParam, LitStr};

use super::site::Site;
use crate::expression::key::{key_name, namespace};
use crate::expression::template::{Part, parts};
use crate::expression::text::text;
use crate::function::arguments::{arguments, conditions};
use crate::function::types::impl_trait;

/// Returns an expression for the key of the call.
pub(super) fn key(site: &Site<'_>) -> TokenStream {
    let (options, root, private) = (site.options, site.root, site.private());
    let cache = site.cache_ident();
    let namespace = namespace(options.namespace.as_ref().map(|namespace| &namespace.value), root);
    let name = match &options.key {
        Some(key) => {
            if let Some(text) = text(&key.value)
                && let Some(parts) = parts(text)
            {
                return key_of(&quote!(#cache, #namespace), text, &parts, &private);
            }
            key_name(&key.value, root)
        }
        None => name_of_call(site),
    };
    quote!(#private::key_in(#cache, #namespace, #name))
}

/// Returns an expression for the key with the name that a format string of these parts makes. Numbers and texts, of which
/// most names consist, are written without the compiler's formatting, which would take most of the time.
fn key_of(place: &TokenStream, format: &LitStr, parts: &[Part], private: &TokenStream) -> TokenStream {
    let span = format.span();
    let texts = parts.iter().map(|part| match part {
        Part::Text(text) => quote!(#text),
        Part::Variable(name) => quote_spanned! {span=>
            (&&&#private::PartOf(&#name)).part_as_text(&mut #private::Space::new())
        },
    });
    quote_spanned! {span=>
        {
            #[allow(unused_imports)]
            use #private::{DisplayedPart as _, NumberPart as _, TextPart as _};
            #private::key_of(#place, &[#(#texts),*])
        }
    }
}

/// Returns an expression for the name that is derived from the function and its arguments.
fn name_of_call(site: &Site<'_>) -> TokenStream {
    let private = site.private();
    let cache = site.cache_ident();
    let [call, here] = ["call", "here"].map(|name| Ident::new(name, Span::mixed_site()));
    let (name, beside) = (site.name(), site.entry_ident().unraw().to_string());
    let fingerprint = &site.fingerprint;
    let signature = &site.function.sig;
    let mut parts = TokenStream::new();
    let is_skipped = |name: &Ident| {
        let skip = &site.options.skip;
        skip.iter().any(|skip| skip.value.contains(name))
    };
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        parts.extend(quote!(let #call = #call.receiver::<Self>();));
        let this = Ident::new("self", receiver.self_token.span);
        if !is_skipped(&this) {
            parts.extend(quote_spanned! {receiver.span()=>
                let #call = #private::receiver::<Self>(#call, &#this);
            });
        }
    }
    for parameter in &signature.generics.params {
        match parameter {
            GenericParam::Type(parameter) => {
                let ident = &parameter.ident;
                let conditions = conditions(&parameter.attrs);
                parts.extend(quote!(#(#conditions)* let #call = #call.instance::<#ident>();));
            }
            GenericParam::Const(parameter) => {
                let ident = &parameter.ident;
                let name = ident.to_string();
                let conditions = conditions(&parameter.attrs);
                parts.extend(quote!(#(#conditions)* let #call = #private::argument(#call, #name, &#ident);));
            }
            GenericParam::Lifetime(_) => {}
        }
    }
    for argument in arguments(signature).0 {
        let ident = argument.name;
        let name = ident.unraw().to_string();
        let conditions: Vec<_> = argument.conditions().collect();
        if impl_trait(argument.ty).is_some() {
            parts.extend(quote!(#(#conditions)* let #call = #call.instance_of(&#ident);));
        }
        if !is_skipped(ident) {
            let add = quote_spanned!(argument.ty.span()=> #private::argument(#call, #name, &#ident));
            parts.extend(quote!(#(#conditions)* let #call = #add;));
        }
    }
    quote!({
        // The name of its type shows where the function is defined.
        let #here = || ();
        #private::out_of_line(|| {
            let #call = #private::CallKey::new(::core::module_path!(), #name, #beside, #fingerprint, &#here);
            #parts
            #call.build(#cache)
        })
    })
}
