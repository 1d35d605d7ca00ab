//! The server of the measurements of hits that caches with hitbox: `peer-hitbox PORT`.
//!
//! With `bincode` for the values, which is what its documentation recommends for speed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::env;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hitbox::policy::PolicyConfig;
use hitbox_backend::format::BincodeFormat;
use hitbox_http::extractors::{Method, path::PathExtractor};
use hitbox_http::predicates::{NeutralRequestPredicate, NeutralResponsePredicate};
use peers::server::{routes, serve};

const HOUR: Duration = Duration::from_secs(3_600);

fn router() -> Router {
    let backend = hitbox_moka::MokaBackend::builder()
        .max_entries(10_000)
        .value_format(BincodeFormat)
        .build();
    routes(|route| {
        let config = hitbox::Config::builder()
            .request_predicate(NeutralRequestPredicate::new())
            .response_predicate(NeutralResponsePredicate::new())
            .extractor(Method::new().path("/{size}"))
            .policy(PolicyConfig::builder().ttl(HOUR).build())
            .build();
        let layer = hitbox_tower::Cache::builder()
            .backend(backend.clone())
            .config(Arc::new(config))
            .build();
        route.layer(layer)
    })
}

#[tokio::main]
async fn main() {
    let port = env::args().nth(1).expect("peer-hitbox PORT");
    serve(router(), &port).await;
}
