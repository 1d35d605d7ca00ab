//! The function around a write.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprArray, ItemFn, LitBool, Path, ReturnType, Token};

use crate::arguments::{impl_trait, parse_function};
use crate::cached::{bind_cache, entry_ident, key_name, namespace};
use crate::options::{Errors, Given, comma, formatted, give, name, skip_to_comma, tag_list, tags, value};

const KNOWN: &str = "`key`, `keys`, `tags`, `namespace`, `soft`, `cache`, `crate`, and calls of functions that are \
                     cached, such as `get_user(id)`";

#[derive(Default)]
struct Options {
    cache: Option<Given<Expr>>,
    key: Option<Given<Expr>>,
    keys: Option<Given<ExprArray>>,
    tags: Option<Given<Expr>>,
    namespace: Option<Given<Expr>>,
    soft: Option<Given<bool>>,
    calls: Vec<Expr>,
    root: Option<Given<Path>>,
}

pub(crate) fn expand(options: TokenStream, item: TokenStream, root: Path) -> syn::Result<TokenStream> {
    let function = parse_function(item, "invalidates", "removing entries from a store takes time")?;
    let options = Options::parse(options)?;
    let root = options.root.as_ref().map_or(root, |root| root.value.clone());
    let private = quote!(#root::__private);
    let ItemFn { attrs, vis, sig, block } = &function;
    let targets = options.targets(&sig.ident, &root)?;
    let [written, output] = ["invalidations", "output"].map(|name| Ident::new(name, Span::mixed_site()));
    let body = match &sig.output {
        ReturnType::Type(_, ty) if impl_trait(ty).is_some() => quote!(async move #block),
        ReturnType::Type(_, ty) => quote!(#private::Returns::<#ty>::new().is(async move #block)),
        ReturnType::Default => quote!(#private::Returns::<()>::new().is(async move #block)),
    };
    Ok(quote! {
        #(#attrs)*
        #vis #sig {
            let #written = { #targets };
            let #output = #body.await;
            let completion = {
                #[allow(unused_imports)]
                use #private::{CompletionOfFitting as _, CompletionOfOthers as _, CompletionOfUnfitting as _};
                (&&&#private::Returns::of(&#output)).completion()
            };
            #written.complete(completion, #output).await
        }
    })
}

impl Options {
    fn parse(tokens: TokenStream) -> syn::Result<Self> {
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
            Ok(name) => name == "soft" && (ahead.is_empty() || ahead.peek(Token![,])),
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
            "soft" => {
                let soft = !input.peek(Token![=]) || value::<LitBool>(input, &name, "soft = true")?.value;
                give(&mut self.soft, name.clone(), soft, errors);
            }
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

    /// An expression that gives what is invalidated.
    fn targets(&self, function: &Ident, root: &Path) -> syn::Result<TokenStream> {
        let private = quote!(#root::__private);
        let cache = Ident::new("cache", Span::mixed_site());
        let mut targets = quote!(#private::Invalidations::new());
        for call in &self.calls {
            let entry = entry_of(call)?;
            targets = quote_spanned!(call.span()=> #targets.entry(#entry));
        }
        let keys: Vec<_> = self
            .key
            .iter()
            .map(|key| &key.value)
            .chain(self.keys.iter().flat_map(|keys| &keys.value.elems))
            .collect();
        let within = self.namespace.as_ref().map(|namespace| &namespace.value);
        if let (Some(namespace), true) = (within, keys.is_empty()) {
            let name = formatted(namespace, root);
            targets = quote_spanned!(namespace.span()=> #targets.namespace(#cache, #private::namespace(#name)));
        }
        for key in keys {
            let name = key_name(key, root);
            let namespace = namespace(within, root);
            targets = quote_spanned!(key.span()=> #targets.key(#cache, #namespace, #name));
        }
        if let Some(tags) = &self.tags {
            let list = tag_list(&tags.value, root);
            targets = quote!(#targets.tags(#cache, #list));
        }
        if self.soft.as_ref().is_some_and(|soft| soft.value) {
            targets = quote!(#targets.soft());
        }
        let uses_cache = self.key.is_some() || self.keys.is_some() || self.tags.is_some() || self.namespace.is_some();
        let bind = match &self.cache {
            Some(given) if !uses_cache => {
                let message = "`cache` is of no use here: the functions know their own caches";
                return Err(Error::new(given.name.span(), message));
            }
            Some(given) => bind_cache(&given.value, &cache, root),
            None if uses_cache => {
                let name = syn::ext::IdentExt::unraw(function).to_string();
                quote! { let #cache = #private::default_cache(::core::module_path!(), #name); }
            }
            None => TokenStream::new(),
        };
        Ok(quote!(#bind #targets.armed()))
    }
}

/// The call of the function that gives the entry of `call`.
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
