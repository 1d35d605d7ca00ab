//! The function around the cached one.

mod detached;
mod options;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, Expr, FnArg, GenericParam, ItemFn, Pat, Path, ReturnType, Type};

use self::options::Options;
use crate::arguments::{arguments, borrows, impl_trait, output, owned_names, parse_function};
use crate::mentions::mentions;
use crate::options::{Errors, formatted, tag_list, time};

pub(crate) fn expand(options: TokenStream, item: TokenStream, root: Path) -> syn::Result<TokenStream> {
    let function = parse_function(
        item,
        "cached",
        "looking into a store takes time. Under `#[async_trait]`, cache a method of the type itself and call that one",
    )?;
    let options = Options::parse(options)?;
    let root = options.root.as_ref().map_or(root, |root| root.value.clone());
    check(&function, &options)?;
    let site = Site {
        function: &function,
        options: &options,
        root: &root,
    };
    let cached = site.function()?;
    let entry = options.has_entry().then(|| site.entry());
    Ok(quote!(#cached #entry))
}

/// What is wrong with the function itself.
fn check(function: &ItemFn, options: &Options) -> syn::Result<()> {
    let mut errors = Errors::default();
    let signature = &function.sig;
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first()
        && receiver.reference.is_none()
        && receiver.colon_token.is_none()
    {
        let message = "a method that is cached takes `&self`: most calls never run it, and would consume the value for \
                       nothing";
        errors.on(receiver, message);
    }
    let (named, patterns) = arguments(signature);
    if options.key.is_none() {
        for pattern in patterns {
            let message = if matches!(pattern, Pat::Wild(_)) {
                "an argument that is part of the key needs a name: name it, and leave it out of the key with `skip(…)` if \
                 the result does not depend on it"
            } else {
                "an argument that is taken apart cannot be part of the key: name it and take it apart in the body, or \
                 say what the key is with `key = …`"
            };
            errors.on(pattern, message);
        }
    }
    for skipped in options.skip.iter().flat_map(|skip| &skip.value) {
        if skipped == "self" {
            errors.at(skipped.span(), "`self` is never part of the key: remove it");
        } else if !named.iter().any(|argument| argument.name == skipped) {
            errors.at(
                skipped.span(),
                format!("`{}` has no argument `{skipped}`", signature.ident),
            );
        }
    }
    if let ReturnType::Type(_, ty) = &signature.output {
        if let Some(hidden) = impl_trait(ty) {
            let message = "what a function that is cached returns must have a name, since it is stored: write the type \
                           instead of `impl …`";
            errors.on(hidden, message);
        }
        if matches!(**ty, Type::Reference(_)) && borrows(ty) {
            let message = "a function that is cached cannot return a reference, since its result outlives the call: \
                           return an owned value, or an `Arc`";
            errors.on(ty, message);
        }
    }
    errors.finish(())
}

/// A function that is to be cached, and all that is known of it.
struct Site<'a> {
    function: &'a ItemFn,
    options: &'a Options,
    root: &'a Path,
}

impl Site<'_> {
    fn name(&self) -> String {
        self.function.sig.ident.unraw().to_string()
    }

    fn entry_ident(&self) -> Ident {
        entry_ident(&self.function.sig.ident)
    }

    /// The function itself, with another body.
    fn function(&self) -> syn::Result<TokenStream> {
        let Self {
            function,
            options,
            root,
        } = self;
        let private = quote!(#root::__private);
        let ItemFn { attrs, vis, sig, .. } = function;
        let output = output(sig);
        let (cache, cache_ident) = self.cache(true);
        let name = self.key();
        let policy = self.policy()?;
        let coding = match &options.coder {
            Some(coder) => {
                let coder = &coder.value;
                quote!(#private::GivenCoder(#coder))
            }
            None => quote!(#private::OwnCoder),
        };
        let [plan, coder, looked] = ["plan", "coding", "looked"].map(|name| Ident::new(name, Span::mixed_site()));
        // What is wrong with the values is reported at the type that is returned.
        let returned = match &sig.output {
            ReturnType::Type(_, ty) => ty.span(),
            ReturnType::Default => sig.ident.span(),
        };
        let look = quote_spanned!(returned=> #private::look(#plan, #cache_ident, &#coder, #name).await);
        let look = match (&options.when, &options.unless) {
            (Some(when), _) => {
                let condition = condition(&when.value);
                quote!(if #condition { #look } else { #private::Looked::alone() })
            }
            (None, Some(unless)) => {
                let condition = condition(&unless.value);
                quote!(if #condition { #private::Looked::alone() } else { #look })
            }
            (None, None) => look,
        };
        let keep = match &options.store_if {
            Some(keep) => keep.value.to_token_stream(),
            None => quote!(|_| true),
        };
        // Before the body, which consumes the arguments that are named in them.
        let tags = options.tags.as_ref().map(|tags| {
            let tags = tag_list(&tags.value, root);
            quote!(let #cache_ident = &#private::with_tags(#cache_ident, #tags);)
        });
        let (own, body) = if options.is_detached() {
            detached::body(function, options, root)?
        } else {
            let block = &function.block;
            (TokenStream::new(), quote!(async move #block))
        };
        let load = Ident::new(
            if options.is_detached() {
                "load_detached"
            } else {
                "load_borrowing"
            },
            Span::mixed_site(),
        );
        let [policy_ident, body_ident, shape] =
            ["policy", "body", "shape"].map(|name| Ident::new(name, Span::mixed_site()));
        let load = quote_spanned! {returned=>
            #private::#load(#plan, #cache_ident, #coder, #policy_ident, #keep, #looked, #body_ident)
        };
        let plan_of = quote_spanned! {returned=>
            #private::Plan::of(
                #shape,
                (&&#shape.item()).keep(),
                (&&&#shape.failure()).share(),
                (&&#shape.failure()).convert(),
            )
        };
        Ok(quote! {
            #(#attrs)*
            #vis #sig {
                let #plan = {
                    #[allow(unused_imports)]
                    use #private::{
                        ConvertByFrom as _, ConvertNothing as _, KeepOfArcs as _, KeepOfOthers as _, Shape as _,
                        ShapeOfOptions as _, ShapeOfOthers as _, ShapeOfResults as _, ShareByClone as _,
                        ShareByText as _, ShareNothing as _,
                    };
                    let #shape = (&&&#private::Returns::<#output>::new()).shape();
                    #plan_of
                };
                #cache
                let #coder = #coding;
                let #looked = #look;
                match #private::hit(#plan, #looked) {
                    #private::Answered::Now(output) => output,
                    #private::Answered::NotYet(#looked) => {
                        let #policy_ident = #policy;
                        #tags
                        #own
                        let #body_ident = #private::Returns::<#output>::new().is(#body);
                        #load.await
                    }
                }
            }
        })
    }

    /// The function beside it that gives the entry of a call.
    fn entry(&self) -> TokenStream {
        let Self { function, root, .. } = self;
        let vis = &function.vis;
        let attrs = function.attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
        let mut signature = function.sig.clone();
        signature.asyncness = None;
        signature.ident = self.entry_ident();
        signature.output = syn::parse_quote!(-> #root::CachedEntry);
        for argument in &mut signature.inputs {
            if let FnArg::Typed(argument) = argument
                && let Pat::Ident(pattern) = &mut *argument.pat
            {
                pattern.mutability = None;
            }
        }
        let (cache, cache_ident) = self.cache(false);
        let name = self.key();
        let doc = format!(
            "The cache entry of a call of [`{0}`](Self::{0}) with these arguments.",
            self.name()
        );
        let doc = if matches!(function.sig.inputs.first(), Some(FnArg::Receiver(_))) {
            doc
        } else {
            doc.replacen(&format!("(Self::{})", self.name()), "", 1)
        };
        quote! {
            #(#attrs)*
            #[doc = #doc]
            #[allow(dead_code, unused, unreachable_pub, clippy::all, clippy::pedantic, clippy::nursery)]
            #vis #signature {
                #cache
                #root::CachedEntry::new(#cache_ident, #name)
            }
        }
    }

    /// Code that binds the cache, and the name it is bound to.
    fn cache(&self, outlives_arguments: bool) -> (TokenStream, Ident) {
        let Self {
            function,
            options,
            root,
        } = self;
        let ident = Ident::new("cache", Span::mixed_site());
        let Some(cache) = &options.cache else {
            let name = self.name();
            let default = quote! {
                let #ident = #root::__private::default_cache(::core::module_path!(), #name);
            };
            return (default, ident);
        };
        let cache = &cache.value;
        let tokens = cache.to_token_stream();
        let mut code = bind_cache(cache, &ident, root);
        // The body consumes its arguments while the cache is in use.
        let of_an_argument = owned_names(&function.sig)
            .iter()
            .any(|name| mentions(tokens.clone(), name));
        if outlives_arguments && of_an_argument {
            code.extend(quote! { let #ident = &::core::clone::Clone::clone(#ident); });
        }
        (code, ident)
    }

    /// An expression that gives the key.
    fn key(&self) -> TokenStream {
        let Self { options, root, .. } = self;
        let cache = Ident::new("cache", Span::mixed_site());
        let name = match &options.key {
            Some(key) => key_name(&key.value, root),
            None => self.call_key(),
        };
        let namespace = namespace(options.namespace.as_ref().map(|namespace| &namespace.value), root);
        quote!(#root::__private::key_in(#cache, #namespace, #name))
    }

    fn call_key(&self) -> TokenStream {
        let Self {
            function,
            options,
            root,
        } = self;
        let private = quote!(#root::__private);
        let cache = Ident::new("cache", Span::mixed_site());
        let (name, beside) = (self.name(), self.entry_ident().unraw().to_string());
        let signature = &function.sig;
        let mut key = quote!(#private::CallKey::new(::core::module_path!(), #name, #beside, &|| ()));
        if signature.receiver().is_some() {
            key = quote!(#key.instance::<Self>());
        }
        for parameter in &signature.generics.params {
            match parameter {
                GenericParam::Type(parameter) => {
                    let ident = &parameter.ident;
                    key = quote!(#key.instance::<#ident>());
                }
                GenericParam::Const(parameter) => {
                    let ident = &parameter.ident;
                    let name = ident.to_string();
                    key = quote!(#private::argument(#key, #name, &#ident));
                }
                GenericParam::Lifetime(_) => {}
            }
        }
        for argument in arguments(signature).0 {
            let ident = argument.name;
            let name = ident.unraw().to_string();
            if impl_trait(argument.ty).is_some() {
                key = quote!(#key.instance_of(&#ident));
            }
            let skipped = options.skip.iter().any(|skip| skip.value.contains(ident));
            if !skipped {
                key = quote_spanned!(argument.ty.span()=> #private::argument(#key, #name, &#ident));
            }
        }
        quote!(#key.build(#cache))
    }

    /// The policy of the function.
    fn policy(&self) -> Result<TokenStream, Error> {
        let Self { options, root, .. } = self;
        let cache = Ident::new("cache", Span::mixed_site());
        let mut policy = quote!((*#cache.policy()));
        let mut errors = Errors::default();
        let settings = [
            (&options.ttl, "with_ttl", true),
            (&options.stale, "with_stale_while_revalidate", false),
            (&options.stale_if_error, "with_stale_if_error", false),
            (&options.negative, "with_negative_ttl", true),
        ];
        for (option, method, may_be_none) in settings {
            let Some(option) = option else { continue };
            let method = format_ident!("{method}");
            match time(&option.value, root, &option.name) {
                Ok(length) if may_be_none => {
                    policy = quote_spanned! {option.value.span()=>
                        #policy.#method(#root::__private::time(#length))
                    };
                }
                Ok(length) => policy = quote_spanned!(option.value.span()=> #policy.#method(#length)),
                Err(error) => errors.add(error),
            }
        }
        errors.finish(policy)
    }
}

/// Code that binds the cache that an expression leads to.
pub(crate) fn bind_cache(cache: &Expr, ident: &Ident, root: &Path) -> TokenStream {
    let here = Ident::new(&ident.to_string(), ident.span().located_at(cache.span()));
    let mut code = quote! { let #ident = &#cache; };
    code.extend(quote_spanned! {cache.span()=>
        let #ident = #root::__private::as_cache(#here);
    });
    code
}

/// The name of the function beside `function` that gives the entry of a call.
pub(crate) fn entry_ident(function: &Ident) -> Ident {
    format_ident!("{}_entry", function.unraw(), span = function.span())
}

/// An expression that gives the name that `key` stands for.
pub(crate) fn key_name(key: &Expr, root: &Path) -> TokenStream {
    let private = quote!(#root::__private);
    let formatted = formatted(key, root);
    quote_spanned! {key.span()=>
        {
            #[allow(unused_imports)]
            use #private::{Displayed as _, Named as _};
            match #formatted {
                name => (&&#private::NameOf(name)).how().name(name),
            }
        }
    }
}

/// An expression that gives the namespace, if there is one.
pub(crate) fn namespace(namespace: Option<&Expr>, root: &Path) -> TokenStream {
    let private = quote!(#root::__private);
    match namespace {
        Some(namespace) => {
            let formatted = formatted(namespace, root);
            quote_spanned!(namespace.span()=> #private::Some(#private::namespace(#formatted)))
        }
        None => quote!(#private::None),
    }
}

/// An expression that must be a `bool`, without a pair of parentheses that the compiler would find too many.
fn condition(expr: &Expr) -> TokenStream {
    quote_spanned! {expr.span()=> { let condition: bool = #expr; condition } }
}
