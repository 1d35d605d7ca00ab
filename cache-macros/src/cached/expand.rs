//! Generates the function that reads the cache, and loads by the original body.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemFn, Path, ReturnType};

use super::check::check;
use super::detached;
use super::entry;
use super::key;
use super::options::Options;
use super::policy;
use super::site::Site;
use crate::expression::condition::condition;
use crate::expression::tags::tag_list;
use crate::function::fingerprint::fingerprint;
use crate::function::parse::parse_function;
use crate::function::types::output;

/// Expands `#[cached]`.
pub(crate) fn expand(options: TokenStream, item: TokenStream, root: Path) -> syn::Result<TokenStream> {
    let function = parse_function(
        item,
        "cached",
        "looking into a store takes time. To cache sync code, call it in one, by `spawn_blocking` if it takes long. Under `#[async_trait]`, cache a method of the type itself and call that one",
    )?;
    let options = Options::parse(options)?;
    let root = options.root.as_ref().map_or(root, |root| root.value.clone());
    check(&function, &options)?;
    let (signature, block) = (&function.sig, &function.block);
    let site = Site {
        function: &function,
        options: &options,
        root: &root,
        fingerprint: fingerprint(quote!(#signature #block)),
    };
    let body = body(&site)?;
    let ItemFn { attrs, vis, sig, .. } = &function;
    let entry = options.has_entry().then(|| entry::entry(&site, &body));
    Ok(quote! {
        #(#attrs)*
        #vis #sig { #body }
        #entry
    })
}

/// Generates the body of the function.
fn body(site: &Site<'_>) -> syn::Result<TokenStream> {
    let Site {
        function,
        options,
        root,
        ..
    } = site;
    let private = site.private();
    let sig = &function.sig;
    let returns = output(sig);
    let cache = site.cache_ident();
    let bind_cache = site.bind_cache(true);
    let policy = policy::policy(site)?;
    let coding = match &options.coder {
        Some(coder) => {
            let coder = &coder.value;
            quote!(#private::GivenCoder(#coder))
        }
        None => quote!(#private::OwnCoder),
    };
    let coding = match &options.version {
        Some(version) => {
            let version = &version.value;
            quote_spanned!(version.span()=> #private::versioned(#coding, #cache, #version))
        }
        None => coding,
    };
    // Arguments, which the options use, may have any of these names.
    let [plan, coder, key, looked, missed, body, keep, shape] =
        ["plan", "coder", "key", "looked", "missed", "body", "keep", "shape"].map(local);
    let [output, capture, slots] = ["output", "capture", "slots"].map(local);
    let [flight, ran, landing, own_error, ended, hit] = ["flight", "ran", "landing", "own", "ended", "hit"].map(local);
    // Type errors about the values are reported at the return type.
    let returned = match &sig.output {
        ReturnType::Type(_, ty) => ty.span(),
        ReturnType::Default => sig.ident.span(),
    };
    let kept = match &options.store_if {
        Some(keep) => keep.value.to_token_stream(),
        None => quote!(|_| true),
    };
    // The tags are computed before the body, which consumes the arguments that they use.
    let tags = options.tags.as_ref().map(|tags| {
        let tags = tag_list(&tags.value, root);
        quote!(let #cache = &#private::with_tags(#cache, #tags);)
    });
    let (own, block) = if options.is_detached() {
        detached::body(function, options, root)?
    } else {
        let block = &function.block;
        (TokenStream::new(), quote!(async move #block))
    };
    let convert = quote_spanned!(returned=> (&&#shape.failure()).convert());
    let convert = match &options.load_timeout {
        Some(timeout) => quote_spanned!(timeout.value.span()=> #private::must_report_timeouts(#convert)),
        None => convert,
    };
    let plan_of = quote_spanned! {returned=>
        #private::Plan::of(
            #shape,
            (&&#shape.item()).keep(),
            (&&&&#shape.failure()).share((&&&&#shape.failure()).describe()),
            #convert,
        )
    };
    let key_if = key_if(site);
    // With tags, the lookup does not know what a load would depend on.
    let result = match &options.tags {
        Some(_) => quote!(#private::None),
        None => quote_spanned!(returned=> #private::Some(#private::Handling::result(#plan))),
    };
    let contributes = match &options.contributes {
        Some(contributes) => contributes.value.to_token_stream(),
        None => quote!(#cache.policy().contributes),
    };
    let on_hit = if options.says_what_hits_do() {
        quote!(#private::Some(#private::OnHit::of(&#policy)))
    } else {
        quote!(#private::None)
    };
    let look = quote_spanned! {returned=>
        #private::look(#private::asked(#plan, #cache, #on_hit), #cache, &#coder, &#key, #result, #contributes)
    };
    let load = if options.is_detached() {
        let load = quote_spanned! {returned=>
            #private::load_detached(#plan, #cache, #coder, #missed, &#slots, #keep)
        };
        quote! {
            let #slots = #private::slots(#plan, #body);
            match #private::finish_detached(#plan, #load.await, &#slots) {
                ::core::result::Result::Ok(#output) => #output,
                ::core::result::Result::Err(#body) => #body.await,
            }
        }
    } else {
        let acquire = quote_spanned! {returned=>
            #private::acquire(#plan, #cache, #coder, #missed, &#keep)
        };
        quote! {
            match #acquire.await {
                #private::Acquired::Lead(mut #flight) => {
                    let #ran = #flight.run(#body).await;
                    let (#landing, #own_error) = #private::brought(#plan, #flight, #ran, #keep);
                    #private::finish(#plan, #landing.await, #own_error)
                }
                #private::Acquired::Answered(#ended) => match #private::answer(#plan, #ended) {
                    #private::Some(#output) => #output,
                    #private::None => #body.await,
                },
                #private::Acquired::Uncoalesced => #body.await,
                #private::Acquired::Verify(#hit) => {
                    let #ran = #hit.run(#body).await;
                    #private::finish(#plan, #private::compared(#plan, #hit, #ran).await, #private::None)
                }
            }
        }
    };
    let kept = match &options.ttl_of {
        Some(ttl) => {
            let ttl = &ttl.value;
            quote_spanned!(returned=> #private::keep_for(#plan, #kept, #ttl))
        }
        None => quote_spanned!(returned=> #private::keep_if(#plan, #kept)),
    };
    // A call that is not cached has its tags all the same, for a value that is made from its result.
    let capture = options.tags.as_ref().map(|_| {
        quote! {
            if let #private::Some(#capture) = #private::capture(#cache, #contributes) {
                #capture.await;
            }
        }
    });
    Ok(quote! {
            let #plan = {
                #[allow(unused_imports)]
                use #private::{
                    ConvertByFrom as _, ConvertNothing as _, DescribeErrors as _, DescribeOthers as _,
                    DescribeReports as _, DescribeTexts as _, KeepOfArcs as _, KeepOfOthers as _, Shape as _,
                    ShapeOfOptions as _, ShapeOfOthers as _, ShapeOfResults as _, ShareByClone as _,
                    ShareByText as _, ShareNothing as _, ShareWhole as _,
                };
                let #shape = (&&&#private::Returns::<#returns>::new()).shape();
                #plan_of
            };
            #bind_cache
            let #coder = #coding;
            let #key = #key_if;
            let #looked = #look.await;
            match #private::hit(#plan, #looked, #key) {
                #private::Answered::Now(#output) => #output,
                #private::Answered::NotYet(#missed) => {
                    #tags
                    // Before the body, which consumes the arguments that they use, like the tags.
                    let #missed = match #missed {
                        #private::Some(#missed) => #private::Some((#missed.with(#policy), #kept)),
                        #private::None => #private::None,
                    };
                    #own
                    // Boxed, so that a cached function that calls another does not contain the other's future.
                    let #body = #private::boxed(#private::Returns::<#returns>::new().is(#block));
                    match #missed {
                        #private::Some((#missed, #keep)) => { #load }
                        #private::None => {
                            #capture
                            #body.await
                        }
                    }
                }
            }
    })
}

/// Returns a local variable of the generated code, which no name in the user's code refers to.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// Returns an expression for the key. It is `None` if the call is not to be cached.
fn key_if(site: &Site<'_>) -> TokenStream {
    let private = site.private();
    let key = key::key(site);
    let (condition, cached) = match (&site.options.when, &site.options.unless) {
        (Some(when), _) => (condition(&when.value), true),
        (None, Some(unless)) => (condition(&unless.value), false),
        (None, None) => return quote!(#private::Some(#key)),
    };
    quote!(if #condition == #cached { #private::Some(#key) } else { #private::None })
}
