//! Invalidation by either of two processes: an invalidated response is never returned again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use cache_axum::{CacheHandle, StoreFor};
use http::{Method, StatusCode};

use crate::server::{App, Gate, layer, until};
use crate::store::Store;

/// A value, and the responses that show it. All processes share it, like a database.
#[derive(Clone)]
struct Shop {
    value: Arc<AtomicUsize>,
    gate: Gate,
}

impl Shop {
    fn new() -> Self {
        Self {
            value: Arc::new(AtomicUsize::new(1)),
            gate: Gate::new(),
        }
    }

    async fn show(self) -> String {
        let value = self.value.load(Ordering::SeqCst);
        self.gate.pass().await;
        value.to_string()
    }

    fn change(&self) {
        self.value.fetch_add(1, Ordering::SeqCst);
    }

    /// Starts two processes of the application.
    async fn start(&self, store: &Store) -> [Arc<App>; 2] {
        [
            App::start(self.router(store).await).await,
            App::start(self.router(store).await).await,
        ]
    }

    async fn router(&self, store: &Store) -> Router {
        let (shows, puts, lists, writes) = (self.clone(), self.clone(), self.clone(), self.clone());
        let show = move |_: Path<String>| shows.show();
        let shows = self.clone();
        let fixed = move || shows.show();
        let put = move |_: Path<String>| async move {
            puts.change();
            StatusCode::NO_CONTENT
        };
        let list = move |Path(namespace): Path<String>| async move {
            (StoreFor::as_usual().namespace(namespace), lists.show().await)
        };
        let invalidate = move |Path(name): Path<String>, cache: CacheHandle| async move {
            writes.change();
            cache.invalidate_url(&format!("/items/{name}")).await.unwrap();
        };
        let writes = self.clone();
        let clear = move |Path(namespace): Path<String>, cache: CacheHandle| async move {
            writes.change();
            cache.clear(&namespace).await.unwrap();
        };
        let layer = layer(store).await;
        let fixed = Router::new().route("/fixed", get(fixed));
        Router::new()
            .route("/items/{name}", get(show).put(put))
            .route("/lists/{namespace}", get(list))
            .route("/invalidate/{name}", post(invalidate))
            .route("/clear/{namespace}", post(clear))
            .layer(layer.clone())
            .merge(fixed.layer(layer.namespace("fixed")))
    }
}

async fn stored(app: &App, url: &str) {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|x_cache| x_cache != "HIT") && seen.len() < 3 {
        seen.push(app.get(url).await.x_cache().to_owned());
    }
    // The first response with a namespace only makes the namespace known.
    let learns = url.starts_with("/lists/") && seen == ["MISS", "MISS", "HIT"];
    assert!(learns || seen == ["MISS", "HIT"], "{url}: {seen:?}");
}

async fn succeeds(app: &App, method: Method, url: &str) {
    let reply = app.send(method, url, &[], "").await;
    assert!(reply.status.is_success(), "{}", reply.status);
}

/// Checks that both processes lose the response at `gone` by `write`, and keep those at `stays`.
async fn invalidates(store: &Store, gone: &str, write: (Method, &str), stays: &[&str]) {
    for writer in [0, 1] {
        let store = store.elsewhere();
        let apps = Shop::new().start(&store).await;
        for url in [gone].iter().chain(stays) {
            stored(&apps[0], url).await;
            assert_eq!(apps[1].get(url).await.x_cache(), "HIT");
        }
        succeeds(&apps[writer], write.0.clone(), write.1).await;
        for (app, x_cache) in apps.iter().zip(["MISS", "HIT"]) {
            let reply = app.get(gone).await;
            assert_eq!((reply.text(), reply.x_cache()), ("2", x_cache), "written by {writer}");
            for url in stays {
                assert_eq!(app.get(url).await.x_cache(), "HIT", "{url}");
            }
        }
    }
}

pub async fn a_write_invalidates_its_url(store: Store) {
    invalidates(
        &store,
        "/items/lamp",
        (Method::PUT, "/items/lamp"),
        &["/items/lamps", "/items/lam"],
    )
    .await;
}

pub async fn a_handler_invalidates_another_url(store: Store) {
    invalidates(
        &store,
        "/items/lamp",
        (Method::POST, "/invalidate/lamp"),
        &["/items/chair"],
    )
    .await;
}

pub async fn clearing_a_namespace_leaves_its_neighbours(store: Store) {
    let stays = ["/lists/users", "/lists/use", "/lists/user:a", "/items/user"];
    invalidates(&store, "/lists/user", (Method::POST, "/clear/user"), &stays).await;
}

/// Changes the value and sends `write` while a handler has read the old value but not answered yet. Returns whether
/// later requests see the new value and not the old one.
async fn new_is_seen(apps: &[Arc<App>; 2], shop: &Shop, url: &'static str, write: (usize, Method, &str)) -> bool {
    let old = shop.value.load(Ordering::SeqCst).to_string();
    let arrived = apps.each_ref().map(|app| app.arrived());
    shop.gate.arm();
    let before = {
        let app = Arc::clone(&apps[0]);
        tokio::spawn(async move { app.get(url).await })
    };
    shop.gate.reached().await;
    let (writer, method, target) = write;
    succeeds(&apps[writer], method, target).await;
    // These requests arrive while the old load still runs.
    let asking = apps.each_ref().map(|app| {
        let app = Arc::clone(app);
        tokio::spawn(async move { app.get(url).await })
    });
    for (number, app) in apps.iter().enumerate() {
        let arrives = arrived[number] + 1 + usize::from(number == 0) + usize::from(number == writer);
        until("all have come in", async || (app.arrived() == arrives).then_some(())).await;
    }
    shop.gate.open();
    assert_eq!(before.await.unwrap().text(), old, "its own caller is answered");
    let mut seen = Vec::new();
    for asking in asking {
        seen.push(asking.await.unwrap().text().to_owned());
    }
    for _ in 0..2 {
        for app in apps {
            seen.push(app.get(url).await.text().to_owned());
        }
    }
    assert!(seen.iter().all(|text| *text == seen[0]), "{seen:?}");
    seen[0] != old
}

pub async fn what_is_invalidated_while_it_is_made_is_never_seen_again(store: Store) {
    for writer in [0, 1] {
        let (shop, store) = (Shop::new(), store.elsewhere());
        let apps = shop.start(&store).await;
        for write in [(Method::PUT, "/items/lamp"), (Method::POST, "/invalidate/lamp")] {
            assert!(new_is_seen(&apps, &shop, "/items/lamp", (writer, write.0, write.1)).await);
            succeeds(&apps[0], Method::PUT, "/items/lamp").await;
        }
    }
}

pub async fn what_is_cleared_while_it_is_made_is_never_seen_again(store: Store) {
    for writer in [0, 1] {
        let (shop, store) = (Shop::new(), store.elsewhere());
        let apps = shop.start(&store).await;
        // The namespace belongs to the route.
        let write = (writer, Method::POST, "/clear/fixed");
        assert!(new_is_seen(&apps, &shop, "/fixed", write).await);
        // The namespace belongs to the response, and is not known before.
        let write = (writer, Method::POST, "/clear/new");
        assert!(new_is_seen(&apps, &shop, "/lists/new", write).await);
        // The namespace belongs to the response, and the URL was requested before.
        stored(&apps[0], "/lists/user").await;
        succeeds(&apps[0], Method::POST, "/clear/user").await;
        let write = (writer, Method::POST, "/clear/user");
        assert!(new_is_seen(&apps, &shop, "/lists/user", write).await);
    }
}

/// The control of the two tests above: without the invalidation the old value is stored and found.
pub async fn what_nobody_invalidates_while_it_is_made_is_stored(store: Store) {
    let shop = Shop::new();
    let apps = shop.start(&store).await;
    // The first response makes its namespace known, and only later ones are stored there.
    stored(&apps[0], "/lists/user").await;
    succeeds(&apps[0], Method::POST, "/clear/user").await;
    for url in ["/items/lamp", "/lists/user", "/fixed"] {
        let unrelated = (1, Method::POST, "/clear/other");
        assert!(!new_is_seen(&apps, &shop, url, unrelated).await, "{url}");
    }
}
