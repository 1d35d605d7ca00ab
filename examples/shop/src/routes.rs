//! The routes, and what is cached how.

use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use larder::axum::{AdminRouter, PurgeRouter};
use larder::prelude::*;
use subtle::ConstantTimeEq;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::services::ServeDir;

use crate::state::App;
use crate::{accounts, admin, catalogue, live};

/// The routes of the shop.
///
/// # Errors
/// The token of the shop's own people is empty, or no token.
pub fn router(app: App) -> Result<Router, Error> {
    let layer = CacheLayer::new(app.cache.clone())
        .ttl(Duration::from_secs(60))
        .stale_while_revalidate(Duration::from_secs(10))
        .stale_if_error(Duration::from_secs(3600));

    // Everybody gets the same, also those who send the cookie of a session, which no handler here reads.
    let public = layer.clone().allow_cookies(true);
    let pages = Router::new()
        .route("/", get(async || "Welcome!\n"))
        .route("/items/{id}", get(catalogue::item))
        // Inside of the cache: each coding is made once.
        .layer(CompressionLayer::new())
        .layer(public.clone());
    // Not compressed: a file has one strong ETag, and ranges of it.
    let files = ServeDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("files"));
    let files = Router::new().nest_service("/files", files).layer(public.clone());
    let lists = Router::new()
        .route("/items", get(catalogue::list))
        .layer(CompressionLayer::new())
        .layer(public.tags(["items"]));

    // Each user's own. Who that is, is found out outside of the cache.
    let account = Router::new()
        .route("/account/orders", get(accounts::orders))
        .route("/account/orders/{id}", post(accounts::order))
        .layer(layer.clone().per_user(accounts::user_of))
        .layer(from_fn_with_state(app.clone(), accounts::identify));

    // For the shop's own people.
    let admin = Router::new()
        .route("/admin/items/{id}", put(admin::put))
        .layer(from_fn_with_state(app.clone(), authorize));

    Ok(Router::new()
        .merge(pages)
        .merge(files)
        .merge(lists)
        .merge(account)
        .merge(admin)
        .nest("/purge", PurgeRouter::with_token(&layer, &app.admin_token)?)
        // A page for the shop's own people. It is beside their other route, not in front of it.
        .nest("/admin", AdminRouter::with_token(&layer, &app.admin_token)?)
        .route("/login", post(accounts::login))
        .route("/changes", get(live::changes))
        .route("/stats", get(stats))
        // Outside: the answer depends on who asks, and a preflight request is answered here.
        .layer(CorsLayer::new().allow_origin(Any))
        .with_state(app))
}

/// Lets the shop's own people through.
async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    let expected = format!("Bearer {}", app.admin_token);
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .map_or(&[][..], |value| value.as_bytes());
    // In constant time, so that the time tells nothing about the token.
    if expected.as_bytes().ct_eq(given).into() {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

/// What the cache did, and what was left for the database to do.
async fn stats(State(app): State<App>) -> Json<serde_json::Value> {
    let events = app.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Json(serde_json::json!({ "queries": app.database.queries(), "events": events }))
}
