//! A small shop, cached in memory or in another store. Run it and try what the README shows:
//!
//! ```text
//! cargo run -p cache-axum --example quickstart
//! cargo run -p cache-axum --example quickstart -- --store redis://127.0.0.1:6379
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod store;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use cache_axum::cache_engine::{Cache, Event};
use cache_axum::{CacheHandle, CacheLayer, Error, cached};
use serde::{Deserialize, Serialize};

use crate::store::Store;

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
    store: Store,
    cache: Cache,
}

/// Cached for 60 seconds, as the layer says.
async fn home() -> &'static str {
    "Welcome!\n"
}

#[derive(Deserialize)]
struct Filter {
    tag: Option<String>,
}

/// Cached by query.
async fn list(State(app): State<App>, Query(filter): Query<Filter>) -> Json<Vec<Item>> {
    let mut items: Vec<Item> = app.items.lock().unwrap().values().cloned().collect();
    items.retain(|item| filter.tag.as_ref().is_none_or(|tag| item.tag == tag));
    Json(items)
}

async fn item(State(app): State<App>, Path(id): Path<u64>) -> Result<Json<Item>, StatusCode> {
    let items = app.items.lock().unwrap();
    items.get(&id).cloned().map(Json).ok_or(StatusCode::NOT_FOUND)
}

#[derive(Deserialize)]
struct NewName {
    name: String,
}

/// Makes or renames an item. A write that succeeds invalidates its own URL. The handler itself clears the lists that show
/// the item.
async fn put(
    State(app): State<App>,
    cache: CacheHandle,
    Path(id): Path<u64>,
    body: Bytes,
) -> axum::response::Result<(StatusCode, Json<Item>)> {
    // Whatever the `Content-Type` says, so that `curl -d` needs none.
    let new: NewName = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("The body must be JSON like {{\"name\": \"Pear\"}}: {error}.\n");
        (StatusCode::BAD_REQUEST, message)
    })?;
    let (status, item) = {
        let mut items = app.items.lock().unwrap();
        let old = items.get(&id);
        let status = old.map_or(StatusCode::CREATED, |_| StatusCode::OK);
        let item = Item {
            id,
            name: new.name,
            tag: old.map_or("misc", |old| old.tag),
        };
        items.insert(id, item.clone());
        (status, item)
    };
    // If this fails, old lists may still be served, so the client gets a 503 and tries again.
    cache.clear("lists").await.map_err(Error::from)?;
    Ok((status, Json(item)))
}

/// Runs once for any number of concurrent requests.
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(300)).await;
    "That took 300 ms.\n"
}

/// A response to a request with credentials is neither stored nor shared.
async fn me(headers: HeaderMap) -> String {
    let credentials = headers.get("authorization").and_then(|value| value.to_str().ok());
    format!("You are {}.\n", credentials.unwrap_or("nobody"))
}

/// Cached by `id`. The text shows which caller's call ran the function.
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
    let mut stats = serde_json::json!({ "events": *app.events.lock().unwrap() });
    if let Some(memory) = &app.store.memory {
        let held = memory.stats();
        stats["entries"] = held.entries.into();
        stats["bytes"] = held.bytes.into();
    }
    Json(stats)
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut name = "memory".to_owned();
    let store = match store::read_options(std::env::args().skip(1), [("--store", &mut name)]) {
        Ok(()) => store::open(&name).await,
        Err(message) => Err(message),
    };
    let store = match store {
        Ok(store) => store,
        Err(message) => {
            eprintln!("{message}\nusage: quickstart [--store STORE], {}", store::STORES);
            return ExitCode::from(2);
        }
    };
    if let Err(error) = store::ping(&store).await {
        eprintln!("warning: the store does not answer, so nothing is cached until it does: {error}");
    }

    let events = Arc::new(Mutex::new(BTreeMap::new()));
    let counter = Arc::clone(&events);
    let cache = Cache::builder_shared(Arc::clone(&store.backend))
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
        store,
        cache: cache.clone(),
    };

    let minute = CacheLayer::new(cache).ttl(Duration::from_secs(60));
    let router = Router::new()
        .route("/", get(home))
        .route("/items/{id}", get(item).put(put))
        .route("/slow", get(slow))
        .route("/me", get(me))
        .layer(minute.clone())
        // In a namespace of their own, which `put` clears.
        .route("/items", get(list).layer(minute.namespace("lists")))
        // Behind no layer, so their responses are not cached.
        .route("/fn/{id}", get(function))
        .route("/stats", get(stats))
        .with_state(app);

    let port: u16 = std::env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    println!("listening on http://{}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
    ExitCode::SUCCESS
}
