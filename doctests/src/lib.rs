//! Compiles and runs the code in `README.md` and in the book in `docs/`, with one module for each file.
//!
//! `docs/write-a-backend.md` shows the code of `examples/third-party-backend`, whose tests compare the two.

#[cfg(doctest)]
mod book {
    macro_rules! chapters {
        ($($name:ident: $path:literal;)*) => {
            $(#[doc = include_str!($path)] pub mod $name {})*
        };
    }

    chapters! {
        readme: "../../README.md";
        caching_endpoints: "../../docs/caching-endpoints.md";
        caching_functions: "../../docs/caching-functions.md";
        from_fastapi_cache: "../../docs/from-fastapi-cache.md";
        getting_started: "../../docs/getting-started.md";
        invalidation: "../../docs/invalidation.md";
        observability: "../../docs/observability.md";
        production: "../../docs/production.md";
        recipes: "../../docs/recipes.md";
        security: "../../docs/security.md";
        serverless: "../../docs/serverless.md";
        stacking: "../../docs/stacking.md";
        stores: "../../docs/stores.md";
        testing: "../../docs/testing.md";
    }
}
