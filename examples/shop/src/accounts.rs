//! The pages of one user.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use larder::prelude::*;
use serde::Deserialize;

use crate::catalogue::find;
use crate::database::Item;
use crate::error::ShopError;
use crate::state::App;

/// The user of a request, as [`identify`] found it.
#[derive(Debug, Clone)]
pub(crate) struct User(pub(crate) String);

/// Finds out whose session it is. It must be outside of the cache, since a hit runs nothing that is inside.
pub(crate) async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match app.sessions.user(request.headers()) {
        Some(user) => {
            request.extensions_mut().insert(User(user));
            next.run(request).await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// For [`CacheLayer::per_user`]: each user's responses are stored apart.
pub(crate) fn user_of(request: &Parts) -> Option<String> {
    Some(request.extensions.get::<User>()?.0.clone())
}

#[derive(Deserialize)]
pub(crate) struct Login {
    name: String,
}

/// Begins a session for whoever says a name: a real shop asks for more than that.
pub(crate) async fn login(
    State(app): State<App>,
    Json(login): Json<Login>,
) -> Result<impl IntoResponse, ShopError> {
    let token = app.sessions.begin(&login.name)?;
    // Browsers and curl send a `Secure` cookie to localhost without TLS, too.
    let cookie = format!("session={token}; HttpOnly; Secure; SameSite=Strict; Path=/");
    Ok(([(SET_COOKIE, cookie)], format!("Welcome, {}!\n", login.name)))
}

/// What the user has bought. Cached for this user, until the next order.
pub(crate) async fn orders(
    State(app): State<App>,
    axum::Extension(User(user)): axum::Extension<User>,
    cache: CacheHandle,
) -> Result<Json<Vec<Item>>, ShopError> {
    let read = || app.database.orders(&user);
    let orders = cache
        .tagged([format!("orders:{user}"), "items".to_owned()], read)
        .await?;
    Ok(Json(orders))
}

/// Buys an item.
pub(crate) async fn order(
    State(app): State<App>,
    axum::Extension(User(user)): axum::Extension<User>,
    Path(id): Path<i64>,
) -> Result<(StatusCode, String), ShopError> {
    // A cached value, beside the cached pages.
    let item = find(&app, id).await?.ok_or(ShopError::NotFound)?;
    if !buy(&app, &user, id).await? {
        return Err(ShopError::NotFound);
    }
    Ok((StatusCode::CREATED, format!("You have bought: {}.\n", item.name)))
}

/// Writes an order down. The user's orders are invalidated, also if the client leaves before it is answered: nobody would
/// come back to an invalidation that is a line of its own after the write.
#[invalidates(cache = app.cache, tags = ["orders:{user}"])]
async fn buy(app: &App, user: &str, id: i64) -> Result<bool, ShopError> {
    Ok(app.database.order(user, id).await?)
}
