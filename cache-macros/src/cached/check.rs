//! Checks the function that is to be cached.

use syn::{FnArg, ItemFn, Pat, ReceiverKind, ReturnType, Type};

use super::options::Options;
use crate::attribute::errors::Errors;
use crate::function::arguments::arguments;
use crate::function::types::{borrows, impl_trait, static_reference};

/// Reports the errors in the function itself.
pub(super) fn check(function: &ItemFn, options: &Options) -> syn::Result<()> {
    let mut errors = Errors::default();
    receiver(function, &mut errors);
    key(function, options, &mut errors);
    result(function, options, &mut errors);
    errors.finish(())
}

fn receiver(function: &ItemFn, errors: &mut Errors) {
    if let Some(receiver) = function.sig.receiver()
        && matches!(receiver.kind, ReceiverKind::Value)
    {
        let message = "a method that is cached takes `&self`: most calls never run it, and would consume the value for \
                       nothing";
        errors.on(receiver, message);
    }
}

fn key(function: &ItemFn, options: &Options, errors: &mut Errors) {
    let signature = &function.sig;
    let (named, patterns) = arguments(signature);
    if options.key.is_none() {
        for pattern in patterns {
            let message = if matches!(pattern, Pat::Wild(_)) {
                "an argument that is part of the key needs a name: name it, and leave it out of the key with `skip(…)` if \
                 the result does not depend on it"
            } else {
                "an argument that is taken apart cannot be part of the key: name it and take it apart in the body, or \
                 say what the key is with `key = …`. To cache the response of a handler, use `CacheLayer`"
            };
            errors.on(pattern, message);
        }
    }
    for skipped in options.skip.iter().flat_map(|skip| &skip.value) {
        let is_there = if skipped == "self" {
            matches!(signature.inputs.first(), Some(FnArg::Receiver(_)))
        } else {
            named.iter().any(|argument| argument.name == skipped)
        };
        if !is_there {
            errors.at(
                skipped.span(),
                format!("`{}` has no argument `{skipped}`", signature.ident),
            );
        }
    }
}

fn result(function: &ItemFn, options: &Options, errors: &mut Errors) {
    let ReturnType::Type(_, ty) = &function.sig.output else {
        return;
    };
    if let Some(hidden) = impl_trait(ty) {
        let message = "what a function that is cached returns must have a name, since it is stored: write the type \
                       instead of `impl …`";
        errors.on(hidden, message);
    }
    if matches!(**ty, Type::Reference(_)) && borrows(ty) {
        let message = "a function that is cached cannot return a reference, since its result outlives the call: \
                       return an owned value, or an `Arc`";
        errors.on(ty, message);
    } else if let (Some(reference), None) = (static_reference(ty), &options.coder) {
        let message = "a function that is cached cannot return a `&'static` reference, since a store cannot give it back: \
                       return an owned value such as a `String`, or an `Arc<str>`, or name a `coder` that takes it";
        errors.on(reference, message);
    }
}
