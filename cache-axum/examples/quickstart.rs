//! A small shop, cached in memory. Run it and try what the README shows:
//!
//! ```text
//! cargo run -p cache-axum --example quickstart
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use cache_axum::cache_engine::{Cache, Event};
use cache_axum::{CacheHandle, CacheLayer, StoreFor, cached};
use cache_memory::MemoryBackend;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize)]
struct Item {
    id: u64,
    name: String,
    tag: &'static str,
}

#[derive(Clone)]
struct App {
    items: Arc<Mutex<BTreeMap<u64, Item>>>,
    events: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    memory: MemoryBackend,
    cache: Cache,
}

/// Cached for 60 seconds, since that is what the layer says.
async fn home() -> &'static str {
    "Welcome!\n"
}

#[derive(Deserialize)]
struct Filter {
    tag: Option<String>,
}

/// Cached by query, in a namespace that can be cleared.
async fn list(State(app): State<App>, Query(filter): Query<Filter>) -> impl IntoResponse {
    let mut items: Vec<Item> = app.items.lock().unwrap().values().cloned().collect();
    items.retain(|item| filter.tag.as_ref().is_none_or(|tag| item.tag == tag));
    (StoreFor::as_usual().namespace("lists"), Json(items))
}

async fn item(State(app): State<App>, Path(id): Path<u64>) -> Result<Json<Item>, StatusCode> {
    let items = app.items.lock().unwrap();
    items.get(&id).cloned().map(Json).ok_or(StatusCode::NOT_FOUND)
}

#[derive(Deserialize)]
struct NewName {
    name: String,
}

/// A write that succeeds invalidates its own URL; the lists that show the item are for us to clear.
async fn rename(
    State(app): State<App>,
    cache: CacheHandle,
    Path(id): Path<u64>,
    Json(new): Json<NewName>,
) -> Result<Json<Item>, StatusCode> {
    let item = {
        let mut items = app.items.lock().unwrap();
        let item = items.get_mut(&id).ok_or(StatusCode::NOT_FOUND)?;
        item.name = new.name;
        item.clone()
    };
    cache
        .clear("lists")
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(item))
}

/// However many ask at once, this runs once.
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(300)).await;
    "That took 300 ms.\n"
}

/// Answers to requests with credentials are never stored and never shared.
async fn me(headers: HeaderMap) -> String {
    let credentials = headers.get("authorization").and_then(|value| value.to_str().ok());
    format!("You are {}.\n", credentials.unwrap_or("nobody"))
}

/// Functions are cached by their arguments. This one is told who did the work: whoever was first.
#[cached(cache = cache, ttl = "60s", namespace = "functions", skip(cache, caller))]
async fn square(cache: &Cache, id: u64, caller: &str) -> String {
    tokio::time::sleep(Duration::from_millis(300)).await;
    format!("{id} squared is {}, computed for {caller}.\n", id * id)
}

async fn function(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> String {
    let caller = headers.get("user-agent").and_then(|value| value.to_str().ok());
    square(&app.cache, id, caller.unwrap_or("somebody")).await
}

async fn stats(State(app): State<App>) -> Json<serde_json::Value> {
    let memory = app.memory.stats();
    let events = app.events.lock().unwrap().clone();
    Json(serde_json::json!({ "entries": memory.entries, "bytes": memory.bytes, "events": events }))
}

#[tokio::main]
async fn main() {
    let memory = MemoryBackend::default();
    let events = Arc::new(Mutex::new(BTreeMap::new()));
    let counter = Arc::clone(&events);
    let cache = Cache::builder(memory.clone())
        .prefix("quickstart")
        .observer(move |event: &Event<'_>| *counter.lock().unwrap().entry(event.name()).or_default() += 1)
        .build();

    let names = [
        (1, "Apple", "fruit"),
        (2, "Banana", "fruit"),
        (3, "Carrot", "vegetable"),
    ];
    let items = names.map(|(id, name, tag)| {
        (
            id,
            Item {
                id,
                name: name.to_owned(),
                tag,
            },
        )
    });
    let app = App {
        items: Arc::new(Mutex::new(items.into())),
        events,
        memory,
        cache: cache.clone(),
    };

    let router = Router::new()
        .route("/", get(home))
        .route("/items", get(list))
        .route("/items/{id}", get(item).put(rename))
        .route("/slow", get(slow))
        .route("/me", get(me))
        .layer(CacheLayer::new(cache).ttl(Duration::from_secs(60)))
        // Added after the layer, so their responses are not cached.
        .route("/fn/{id}", get(function))
        .route("/stats", get(stats))
        .with_state(app);

    let port: u16 = std::env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    println!("listening on http://{}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}
