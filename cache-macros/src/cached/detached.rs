//! The body of a detached load. It may outlive the call, so it clones what the function borrows.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, ItemFn, Pat, Path, Receiver, ReceiverKind, Type};

use super::options::Options;
use crate::attribute::errors::Errors;
use crate::function::arguments::conditions;
use crate::function::rename_self::rename_self;
use crate::function::types::borrows;

/// Returns statements that clone the borrowed arguments, and a body that uses the clones.
pub(super) fn body(function: &ItemFn, options: &Options, root: &Path) -> syn::Result<(TokenStream, TokenStream)> {
    let why = match options.refreshes_by() {
        Some(option) => format!("with `{option}`, a value is refreshed after the call has returned"),
        None => "a `detached` load goes on when the call has ended".to_owned(),
    };
    let mut errors = Errors::default();
    let mut clones = TokenStream::new();
    let mut borrowed = TokenStream::new();
    let mut block = (*function.block).clone();
    for argument in &function.sig.inputs {
        match argument {
            FnArg::Receiver(receiver) if matches!(receiver.kind, ReceiverKind::Reference(_, _, None)) => {
                let this = Ident::new("this", Span::mixed_site());
                clones.extend(quote_spanned! {receiver.span()=>
                    let #this = #root::__private::own(self);
                });
                borrowed.extend(quote! { let #this: &Self = #root::__private::borrow(&#this); });
                rename_self(&mut block, &this);
            }
            FnArg::Receiver(Receiver {
                kind: ReceiverKind::Typed(_, ty),
                ..
            }) if !borrows(ty) => {}
            FnArg::Receiver(receiver) => errors.on(
                receiver,
                format!("{why}, so the method takes `&self`, which is cloned for it; or write `detached = false`"),
            ),
            FnArg::Typed(argument) => match (&*argument.ty, &*argument.pat) {
                (ty, _) if !borrows(ty) => {}
                (Type::Reference(reference), Pat::Ident(pattern))
                    if reference.mutability.is_none() && !borrows(&reference.elem) =>
                {
                    let (name, ty, mutability) = (&pattern.ident, &reference.elem, &pattern.mutability);
                    let clone = format_ident!("own_{}", syn::ext::IdentExt::unraw(name), span = Span::mixed_site());
                    let conditions: Vec<_> = conditions(&argument.attrs).collect();
                    clones.extend(quote_spanned! {argument.ty.span()=>
                        #(#conditions)*
                        let #clone = #root::__private::own(#name);
                    });
                    borrowed.extend(quote! {
                        #(#conditions)*
                        #[allow(unused_variables, unused_mut)]
                        let #mutability #name: &#ty = #root::__private::borrow(&#clone);
                    });
                }
                (ty, _) => errors.on(
                    ty,
                    format!(
                        "{why}, so it cannot borrow this: take an owned value, or a plain `&T`, which is cloned for it; \
                         or write `detached = false`"
                    ),
                ),
            },
        }
    }
    let statements = &block.stmts;
    // Without the braces of the body, which the compiler would call unnecessary.
    errors.finish((clones, quote!(async move { #borrowed #(#statements)* })))
}
