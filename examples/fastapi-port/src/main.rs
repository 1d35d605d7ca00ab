//! The port of `app.py`, as the book shows it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Json, Router, routing::get};
use larder::axum::InvalidateLayer;
use larder::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize)]
struct Item {
    id: u64,
    name: String,
    tag: &'static str,
}

#[derive(Deserialize)]
struct NewName {
    name: String,
}

#[derive(Deserialize)]
struct Filter {
    tag: Option<String>,
}

#[derive(Clone)]
struct App {
    items: Arc<Mutex<BTreeMap<u64, Item>>>,
    cache: Cache,
}

#[cached(cache = cache, ttl = "5m", namespace = "prices", skip(cache))]
async fn price(cache: &Cache, item_id: u64) -> u64 {
    item_id * 999
}

async fn items(State(app): State<App>, Query(filter): Query<Filter>) -> Json<Vec<Item>> {
    let items = app.items.lock().unwrap();
    Json(
        items
            .values()
            .filter(|item| filter.tag.as_ref().is_none_or(|tag| item.tag == tag))
            .cloned()
            .collect(),
    )
}

async fn item(State(app): State<App>, Path(id): Path<u64>) -> Result<Json<Item>, StatusCode> {
    app.items
        .lock()
        .unwrap()
        .get(&id)
        .cloned()
        .map(Json)
        .ok_or(StatusCode::NOT_FOUND)
}

async fn item_price(State(app): State<App>, Path(id): Path<u64>) -> Json<u64> {
    Json(price(&app.cache, id).await)
}

async fn rename(
    State(app): State<App>,
    Path(id): Path<u64>,
    Json(new): Json<NewName>,
) -> Result<Json<Item>, StatusCode> {
    let mut items = app.items.lock().unwrap();
    let item = items.get_mut(&id).ok_or(StatusCode::NOT_FOUND)?;
    item.name = new.name;
    Ok(Json(item.clone()))
}

fn app(cache: Cache) -> Router {
    let items_by_id = [(1, "lamp", "light"), (2, "chair", "wood")].map(|(id, name, tag)| {
        (
            id,
            Item {
                id,
                name: name.to_owned(),
                tag,
            },
        )
    });
    let state = App {
        items: Arc::new(Mutex::new(items_by_id.into())),
        cache: cache.clone(),
    };

    let layer = CacheLayer::new(cache);
    let of_items = layer.clone().namespace("items");
    // A write invalidates its own URL and the lists, also if its client leaves.
    let writes = InvalidateLayer::new(&of_items).namespace("lists");
    Router::new()
        .route("/items/{id}", get(item).put(rename))
        .layer(writes)
        .layer(of_items)
        .route("/items", get(items).layer(layer.namespace("lists")))
        .route("/items/{id}/price", get(item_price))
        .with_state(state)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::builder(MemoryBackend::default())
        .prefix("shop")
        .ttl(Duration::from_secs(60))
        .build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app(cache)).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
