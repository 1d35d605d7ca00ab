//! The arguments of a function.

use proc_macro2::Ident;
use syn::visit::Visit;
use syn::{Attribute, FnArg, Pat, ReceiverKind, Signature, Type};

/// An argument that has a name.
pub(crate) struct Argument<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) ty: &'a Type,
    attributes: &'a [Attribute],
}

impl Argument<'_> {
    /// Returns the conditions under which the argument exists: its `#[cfg(…)]` attributes.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Attribute> {
        conditions(self.attributes)
    }
}

/// Returns the `#[cfg(…)]` attributes among `attributes`.
pub(crate) fn conditions(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"))
}

/// Returns the arguments that have names, and the patterns of the other arguments.
pub(crate) fn arguments(signature: &Signature) -> (Vec<Argument<'_>>, Vec<&Pat>) {
    let mut named = Vec::new();
    let mut others = Vec::new();
    for argument in &signature.inputs {
        let FnArg::Typed(argument) = argument else { continue };
        match &*argument.pat {
            Pat::Ident(pattern) if pattern.subpat.is_none() => named.push(Argument {
                name: &pattern.ident,
                ty: &argument.ty,
                attributes: &argument.attrs,
            }),
            other => others.push(other),
        }
    }
    (named, others)
}

/// Returns the names that a function's arguments bind, except those of shared references.
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
            FnArg::Receiver(receiver) if !matches!(receiver.kind, ReceiverKind::Reference(_, _, None)) => {
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
