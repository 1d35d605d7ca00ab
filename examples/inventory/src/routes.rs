//! The routes.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::database::{Inventory, InventoryError, Item};

impl IntoResponse for InventoryError {
    fn into_response(self) -> Response {
        eprintln!("{self}");
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    }
}

/// The routes of the warehouse.
pub fn router(inventory: Inventory) -> Router {
    Router::new()
        .route("/items", get(items))
        .route("/items/{id}", get(item))
        .route("/items/{id}/sell", post(sell))
        .with_state(inventory)
}

async fn items(State(inventory): State<Inventory>) -> Result<Json<Vec<Item>>, InventoryError> {
    inventory.items().await.map(Json)
}

async fn item(State(inventory): State<Inventory>, Path(id): Path<i64>) -> Result<Response, InventoryError> {
    Ok(match inventory.item(id).await? {
        Some(item) => Json(item).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

async fn sell(State(inventory): State<Inventory>, Path(id): Path<i64>) -> Result<StatusCode, InventoryError> {
    Ok(match inventory.sell(id).await? {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::CONFLICT,
    })
}
