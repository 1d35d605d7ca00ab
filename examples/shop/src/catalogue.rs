//! The public pages: lists and items. Everybody gets the same.

use axum::Json;
use axum::extract::{Path, Query, State};
use larder::prelude::*;
use serde::Deserialize;

use crate::database::Item;
use crate::error::ShopError;
use crate::state::App;

#[derive(Debug, Deserialize)]
pub(crate) struct Filter {
    category: Option<String>,
}

/// The whole response is cached, one for each query. The route has the tag `items`.
pub(crate) async fn list(State(app): State<App>, Query(filter): Query<Filter>) -> Result<Json<Vec<Item>>, ShopError> {
    Ok(Json(app.database.items(filter.category.as_deref()).await?))
}

/// The whole response is cached. It has the tag of its item, since it is made from [`find`].
pub(crate) async fn item(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Item>, ShopError> {
    find(&app, id).await?.map(Json).ok_or(ShopError::NotFound)
}

/// The value is cached as well, for whatever else of the shop asks for an item. That there is none is remembered, too.
#[cached(
    cache = app.cache,
    ttl = "10m",
    negative_ttl = "30s",
    namespace = "items",
    key = "{id}",
    tags = ["item:{id}"]
)]
pub(crate) async fn find(app: &App, id: i64) -> Result<Option<Item>, ShopError> {
    Ok(app.database.item(id).await?)
}

/// Changes an item. Whatever shows it is invalidated once the change is committed, whoever made it: values and responses,
/// in every process on the store.
#[invalidates(cache = app.cache, tags = ["item:{id}", "items"])]
pub(crate) async fn change(app: &App, id: i64, name: &str, cents: i64) -> Result<Option<Item>, ShopError> {
    Ok(app.database.change(id, name, cents).await?)
}
