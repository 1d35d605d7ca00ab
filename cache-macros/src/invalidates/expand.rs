//! Generates the write, and the invalidation after it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, Expr, ItemFn, Path, ReturnType};

use super::options::Options;
use crate::expression::cache::{bind_cache, bind_default_cache};
use crate::expression::entry::entry_ident;
use crate::expression::key::{key_name, namespace};
use crate::expression::tags::tag_list;
use crate::expression::text::formatted;
use crate::function::parse::parse_function;
use crate::function::types::impl_trait;

/// Expands `#[invalidates]`.
pub(crate) fn expand(options: TokenStream, item: TokenStream, root: Path) -> syn::Result<TokenStream> {
    let function = parse_function(item, "invalidates", "removing entries from a store takes time")?;
    let options = Options::parse(options)?;
    let root = options.root.as_ref().map_or(root, |root| root.value.clone());
    let private = quote!(#root::__private);
    let ItemFn {
        attrs, vis, sig, block, ..
    } = &function;
    let targets = targets(&options, &sig.ident, &root)?;
    let [written, output, completion] =
        ["invalidations", "output", "completion"].map(|name| Ident::new(name, Span::mixed_site()));
    let body = match &sig.output {
        ReturnType::Type(_, ty) if impl_trait(ty).is_some() => quote!(async move #block),
        ReturnType::Type(_, ty) => quote!(#private::Returns::<#ty>::new().is(async move #block)),
        ReturnType::Default => quote!(#private::Returns::<()>::new().is(async move #block)),
    };
    let unless_err = options.unless_err.as_ref().filter(|given| given.value).map(|given| {
        // Reported at the option if the function returns no `Result`.
        let method = Ident::new("unless_err", given.name.span());
        quote_spanned!(given.name.span()=> .#method(&#completion))
    });
    Ok(quote! {
        #(#attrs)*
        #vis #sig {
            let #written = { #targets };
            let #output = #body.await;
            let #completion = {
                #[allow(unused_imports)]
                use #private::{CompletionOfFitting as _, CompletionOfOthers as _, CompletionOfUnfitting as _};
                (&&&#private::Returns::of(&#output)).completion()
            };
            #written #unless_err.complete(#completion, #output).await
        }
    })
}

/// Returns an expression for the invalidation.
fn targets(options: &Options, function: &Ident, root: &Path) -> syn::Result<TokenStream> {
    let private = quote!(#root::__private);
    let cache = Ident::new("cache", Span::mixed_site());
    let soft = options.soft.as_ref().is_some_and(|soft| soft.value);
    let mut targets = quote!(#private::Invalidations::new(#soft));
    for call in &options.calls {
        let entry = entry_of(call)?;
        targets = quote_spanned!(call.span()=> #targets.entry(#entry));
    }
    let keys: Vec<_> = options
        .key
        .iter()
        .map(|key| &key.value)
        .chain(options.keys.iter().flat_map(|keys| &keys.value.elems))
        .collect();
    let within = options.namespace.as_ref().map(|namespace| &namespace.value);
    if let (Some(namespace), true) = (within, keys.is_empty()) {
        let name = formatted(namespace, root);
        targets = quote_spanned!(namespace.span()=> #targets.namespace(#cache, #private::namespace(#name)));
    }
    for key in keys {
        let name = key_name(key, root);
        let namespace = namespace(within, root);
        targets = quote_spanned!(key.span()=> #targets.key(#cache, #namespace, #name));
    }
    if let Some(tags) = &options.tags {
        let list = tag_list(&tags.value, root);
        targets = quote!(#targets.tags(#cache, #list));
    }
    let uses_cache =
        options.key.is_some() || options.keys.is_some() || options.tags.is_some() || options.namespace.is_some();
    let bind = match &options.cache {
        Some(given) if !uses_cache => {
            let message = "`cache` has no effect here, since each function names its own cache: remove it";
            return Err(Error::new(given.name.span(), message));
        }
        Some(given) => bind_cache(&given.value, &cache, root),
        None if uses_cache => bind_default_cache(&function.unraw().to_string(), &cache, root),
        None => TokenStream::new(),
    };
    Ok(quote!(#bind #targets.armed()))
}

/// Returns the call of the entry function that returns the entry of `call`.
fn entry_of(call: &Expr) -> syn::Result<TokenStream> {
    match call {
        Expr::MethodCall(call) => {
            let mut call = call.clone();
            call.method = entry_ident(&call.method);
            Ok(call.to_token_stream())
        }
        Expr::Call(call) => {
            let mut call = call.clone();
            if let Expr::Path(path) = &mut *call.func
                && let Some(function) = path.path.segments.last_mut()
            {
                function.ident = entry_ident(&function.ident);
            }
            Ok(call.to_token_stream())
        }
        other => Err(Error::new(other.span(), "expected a call")),
    }
}
