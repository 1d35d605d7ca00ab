//! The attributes of `cache-engine`: [`#[cached]`](macro@cached) caches the results of async functions, and
//! [`#[invalidates]`](macro@invalidates) removes them after a write.
//!
//! Do not depend on this crate: `cache_engine`, `cache_axum` and `larder` export both attributes, and everything that they
//! need. The tests are in `cache_engine` for that reason, those of the documentation too.
//!
//! | room | what it holds |
//! |---|---|
//! | `attribute` | parsing what is in the parentheses of an attribute: options, durations, errors |
//! | `function` | the function that has the attribute: arguments, types, body |
//! | `expression` | code for the expressions in options: keys, tags, caches, times |
//! | `cached`, `invalidates` | the two attributes: `options.rs` parses their options, `expand.rs` generates the code |

mod attribute;
mod cached;
mod expression;
mod function;
mod invalidates;

use proc_macro::TokenStream;
use quote::quote;
use syn::{Path, parse_quote};

#[cfg_attr(not(doctest), doc = include_str!("../docs/cached.md"))]
#[proc_macro_attribute]
pub fn cached(options: TokenStream, item: TokenStream) -> TokenStream {
    run(cached::expand, options, item, parse_quote!(::cache_engine))
}

#[cfg_attr(not(doctest), doc = include_str!("../docs/invalidates.md"))]
#[proc_macro_attribute]
pub fn invalidates(options: TokenStream, item: TokenStream) -> TokenStream {
    run(invalidates::expand, options, item, parse_quote!(::cache_engine))
}

// What `cache-axum` exports as `cached`, for crates that depend on it alone. It has the same documentation there.
#[cfg_attr(not(doctest), doc = include_str!("../docs/cached.md"))]
#[doc(hidden)]
#[proc_macro_attribute]
pub fn cached_of_axum(options: TokenStream, item: TokenStream) -> TokenStream {
    run(cached::expand, options, item, parse_quote!(::cache_axum::cache_engine))
}

// What `cache-axum` exports as `invalidates`, for crates that depend on it alone. It has the same documentation there.
#[cfg_attr(not(doctest), doc = include_str!("../docs/invalidates.md"))]
#[doc(hidden)]
#[proc_macro_attribute]
pub fn invalidates_of_axum(options: TokenStream, item: TokenStream) -> TokenStream {
    run(
        invalidates::expand,
        options,
        item,
        parse_quote!(::cache_axum::cache_engine),
    )
}

// What `larder` exports as `cached`, for crates that depend on it alone. It has the same documentation there.
#[cfg_attr(not(doctest), doc = include_str!("../docs/cached.md"))]
#[doc(hidden)]
#[proc_macro_attribute]
pub fn cached_of_larder(options: TokenStream, item: TokenStream) -> TokenStream {
    run(cached::expand, options, item, parse_quote!(::larder::cache_engine))
}

// What `larder` exports as `invalidates`, for crates that depend on it alone. It has the same documentation there.
#[cfg_attr(not(doctest), doc = include_str!("../docs/invalidates.md"))]
#[doc(hidden)]
#[proc_macro_attribute]
pub fn invalidates_of_larder(options: TokenStream, item: TokenStream) -> TokenStream {
    run(invalidates::expand, options, item, parse_quote!(::larder::cache_engine))
}

type Expand = fn(proc_macro2::TokenStream, proc_macro2::TokenStream, Path) -> syn::Result<proc_macro2::TokenStream>;

/// Expands an attribute. If there are errors, the original function stays in the output, so that the compiler does not
/// report it as missing too.
fn run(expand: Expand, options: TokenStream, item: TokenStream, root: Path) -> TokenStream {
    let item = proc_macro2::TokenStream::from(item);
    match expand(options.into(), item.clone(), root) {
        Ok(expanded) => expanded.into(),
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#item #error).into()
        }
    }
}
