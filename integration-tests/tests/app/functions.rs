//! `#[cached]` functions behind handlers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use cache_axum::{cached, invalidates};
use cache_engine::Cache;
use http::Method;

use crate::server::{App, Calls};
use crate::store::Store;

/// A table of one name, and the cache in front of it.
#[derive(Clone)]
struct Names {
    cache: Cache,
    name: Arc<Mutex<String>>,
    reads: Calls,
}

impl Names {
    #[cached(cache = self.cache, ttl = "60s", namespace = "names", skip(self))]
    async fn name(&self, id: u64, language: &str) -> Result<String, String> {
        let read = self.reads.add();
        match id {
            0 => Err(format!("there is no 0, said {read} times")),
            _ => Ok(format!("{} {id} {language}", self.name.lock().unwrap())),
        }
    }

    #[invalidates(self.name(id, language))]
    async fn rename(&self, id: u64, language: &str, name: String) {
        *self.name.lock().unwrap() = name;
    }

    async fn start(&self) -> Arc<App> {
        let (reads, writes) = (self.clone(), self.clone());
        let read = move |Path((id, language)): Path<(u64, String)>| async move { reads.name(id, &language).await };
        let write = move |Path((id, language)): Path<(u64, String)>, name: String| async move {
            writes.rename(id, &language, name).await;
        };
        App::start(Router::new().route("/{id}/{language}", get(read).put(write))).await
    }
}

pub async fn a_function_is_cached_until_a_write_invalidates_it(store: Store) {
    let here = Names {
        cache: store.cache().await,
        name: Arc::new(Mutex::new("lamp".to_owned())),
        reads: Calls::default(),
    };
    let there = Names {
        cache: store.cache().await,
        ..here.clone()
    };
    let apps = [here.start().await, there.start().await];
    for _ in 0..2 {
        for app in &apps {
            assert_eq!(app.get("/7/en").await.text(), "lamp 7 en");
            assert_eq!(app.get("/8/en").await.text(), "lamp 8 en");
        }
    }
    assert_eq!(here.reads.count(), 2);
    apps[1].send(Method::PUT, "/7/en", &[], "chair").await;
    for _ in 0..2 {
        for app in &apps {
            assert_eq!(app.get("/7/en").await.text(), "chair 7 en");
            assert_eq!(app.get("/8/en").await.text(), "lamp 8 en", "the other was not named");
        }
    }
    assert_eq!(here.reads.count(), 3);
    for read in [4, 5] {
        let error = app_error(&apps[0]).await;
        assert_eq!(
            error,
            format!("there is no 0, said {read} times"),
            "errors are not stored"
        );
    }
}

async fn app_error(app: &App) -> String {
    app.get("/0/en").await.text().to_owned()
}
