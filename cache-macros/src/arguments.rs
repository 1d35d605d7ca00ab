//! What a function takes and returns.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::visit::Visit;
use syn::{Error, FnArg, ItemFn, Pat, ReturnType, Signature, Type};

/// Reads a function, which must be async.
pub(crate) fn parse_function(item: TokenStream, attribute: &str, why: &str) -> syn::Result<ItemFn> {
    let whole = item.clone();
    let function: ItemFn = syn::parse2(item).map_err(|error| {
        if syn::parse2::<syn::TraitItemFn>(whole.clone()).is_ok() {
            Error::new_spanned(
                &whole,
                format!("`#[{attribute}]` goes on a function with a body: put it on the implementation"),
            )
        } else if syn::parse2::<syn::Item>(whole).is_ok() {
            Error::new(
                error.span(),
                format!("`#[{attribute}]` goes on an async function or method"),
            )
        } else {
            error
        }
    })?;
    if function.sig.asyncness.is_none() {
        return Err(Error::new_spanned(
            function.sig.fn_token,
            format!("`#[{attribute}]` goes on an `async fn`: {why}"),
        ));
    }
    Ok(function)
}

/// An argument that has a name.
pub(crate) struct Argument<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) ty: &'a Type,
}

/// The arguments that have names, and the patterns of those that do not.
pub(crate) fn arguments(signature: &Signature) -> (Vec<Argument<'_>>, Vec<&Pat>) {
    let mut named = Vec::new();
    let mut others = Vec::new();
    for argument in &signature.inputs {
        let FnArg::Typed(argument) = argument else { continue };
        match &*argument.pat {
            Pat::Ident(pattern) if pattern.subpat.is_none() => named.push(Argument {
                name: &pattern.ident,
                ty: &argument.ty,
            }),
            other => others.push(other),
        }
    }
    (named, others)
}

/// The names that a function's arguments bind and own.
pub(crate) fn owned_names(signature: &Signature) -> Vec<Ident> {
    struct Names(Vec<Ident>);

    impl Visit<'_> for Names {
        fn visit_pat_ident(&mut self, pattern: &syn::PatIdent) {
            self.0.push(pattern.ident.clone());
            syn::visit::visit_pat_ident(self, pattern);
        }
    }

    let mut names = Names(Vec::new());
    for argument in &signature.inputs {
        match argument {
            FnArg::Typed(argument) if !is_shared_reference(&argument.ty) => names.visit_pat(&argument.pat),
            FnArg::Receiver(receiver) if receiver.reference.is_none() || receiver.mutability.is_some() => {
                names.0.push(Ident::new("self", receiver.self_token.span));
            }
            _ => {}
        }
    }
    names.0
}

fn is_shared_reference(ty: &Type) -> bool {
    matches!(ty, Type::Reference(reference) if reference.mutability.is_none())
}

/// What a function returns, as a type.
pub(crate) fn output(signature: &Signature) -> TokenStream {
    match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    }
}

/// The first `impl Trait` in a type.
pub(crate) fn impl_trait(ty: &Type) -> Option<&syn::TypeImplTrait> {
    struct Find<'a>(Option<&'a syn::TypeImplTrait>);

    impl<'a> Visit<'a> for Find<'a> {
        fn visit_type_impl_trait(&mut self, ty: &'a syn::TypeImplTrait) {
            self.0.get_or_insert(ty);
        }
    }

    let mut find = Find(None);
    find.visit_type(ty);
    find.0
}

/// Whether a type says that it borrows.
pub(crate) fn borrows(ty: &Type) -> bool {
    struct Find(bool);

    impl Visit<'_> for Find {
        fn visit_type_reference(&mut self, reference: &syn::TypeReference) {
            if reference
                .lifetime
                .as_ref()
                .is_none_or(|lifetime| lifetime.ident != "static")
            {
                self.0 = true;
            } else {
                syn::visit::visit_type_reference(self, reference);
            }
        }

        fn visit_lifetime(&mut self, lifetime: &syn::Lifetime) {
            self.0 |= lifetime.ident != "static";
        }

        // What a function's type or a trait object's bound takes is nothing that is held.
        fn visit_type_bare_fn(&mut self, _: &syn::TypeBareFn) {}

        fn visit_parenthesized_generic_arguments(&mut self, _: &syn::ParenthesizedGenericArguments) {}
    }

    let mut find = Find(false);
    find.visit_type(ty);
    find.0
}
