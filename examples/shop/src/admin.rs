//! What only the shop's own people may do.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;

use crate::catalogue::change;
use crate::database::Item;
use crate::error::ShopError;
use crate::state::App;

#[derive(Deserialize)]
pub(crate) struct Change {
    name: String,
    cents: i64,
}

/// Changes an item, and tells those who watch.
pub(crate) async fn put(
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(new): Json<Change>,
) -> Result<Json<Item>, ShopError> {
    let item = change(&app, id, &new.name, new.cents)
        .await?
        .ok_or(ShopError::NotFound)?;
    // Nobody may be watching.
    let _ = app.changes.send(item.clone());
    Ok(Json(item))
}
