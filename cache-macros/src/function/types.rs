//! Types in the source.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::visit::Visit;
use syn::{ReturnType, Signature, Type};

/// Returns the type that a function returns.
pub(crate) fn output(signature: &Signature) -> TokenStream {
    match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    }
}

/// Returns the first `impl Trait` in a type.
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

/// Returns whether a type contains a lifetime shorter than `'static`.
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

        // A value of a function type does not hold its arguments.
        fn visit_type_fn_ptr(&mut self, _: &syn::TypeFnPtr) {}

        fn visit_parenthesized_generic_arguments(&mut self, _: &syn::ParenthesizedGenericArguments) {}
    }

    let mut find = Find(false);
    find.visit_type(ty);
    find.0
}

/// Returns the `&'static` reference that a type is, or that it has as an argument, such as `Option<&'static str>`.
pub(crate) fn static_reference(ty: &Type) -> Option<&syn::TypeReference> {
    match ty {
        Type::Reference(reference) if !borrows(ty) => Some(reference),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            // The error of a `Result` is not stored.
            match arguments.args.first()? {
                syn::GenericArgument::Type(ty) if last.ident == "Option" || last.ident == "Result" => {
                    static_reference(ty)
                }
                _ => None,
            }
        }
        Type::Group(group) => static_reference(&group.elem),
        Type::Paren(paren) => static_reference(&paren.elem),
        _ => None,
    }
}
