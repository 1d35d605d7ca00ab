//! A shop as a new user writes it: pages over functions over Redis and a database. Each test is what its customers see.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use cache_axum::{CacheLayer, cached};
use cache_engine::{Cache, CommitError, Loaded, LoadedMany};
use cache_redis::RedisBackend;
use futures_util::future::join_all;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use integration_tests::Redis;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
const ITEMS: u32 = 100;

/// Is `Clone`, so everybody who waited for a load gets its error.
#[derive(Debug, Clone, PartialEq)]
enum ShopError {
    NotFound,
    Database(String),
    /// The change is made, but others may see the old state for a while.
    NotInvalidated,
}

impl From<sqlx::Error> for ShopError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.to_string())
    }
}

impl IntoResponse for ShopError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotInvalidated => StatusCode::ACCEPTED,
        };
        status.into_response()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
struct Item {
    id: u32,
    price: u32,
}

#[derive(Clone)]
struct Shop {
    cache: Cache,
    pool: SqlitePool,
    seen: Arc<Seen>,
    _folder: Arc<tempfile::TempDir>,
}

/// What the tests see of the database, and do to it.
#[derive(Default)]
struct Seen {
    down: AtomicBool,
    /// The ids of each batch that was read.
    batches: Mutex<Vec<Vec<u32>>>,
    supplier_asked: AtomicUsize,
    supplier_answers: Notify,
}

impl Shop {
    async fn open(redis: &Redis) -> Self {
        let backend = RedisBackend::builder().url(redis.url()).connect().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("shop.db"))
            .create_if_missing(true)
            .busy_timeout(PATIENCE);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        sqlx::raw_sql("CREATE TABLE items (id INTEGER PRIMARY KEY, price INTEGER NOT NULL CHECK (price > 0))")
            .execute(&pool)
            .await
            .unwrap();
        for id in 1..=ITEMS {
            let insert = sqlx::query("INSERT INTO items VALUES (?, 10)").bind(id);
            insert.execute(&pool).await.unwrap();
        }
        Self {
            cache: Cache::builder(backend)
                .prefix(&format!("shop-{:016x}", fastrand::u64(..)))
                .ttl(Duration::from_secs(600))
                .build(),
            pool,
            seen: Arc::default(),
            _folder: Arc::new(folder),
        }
    }

    fn router(&self) -> Router {
        let layer = CacheLayer::new(self.cache.clone()).ttl(Duration::from_secs(600));
        let user = |parts: &http::request::Parts| Some(parts.headers.get("x-user")?.to_str().ok()?.to_owned());
        Router::new()
            .route("/items/{id}", get(item_page))
            .route("/items", get(list_page))
            .route_layer(layer.clone())
            .route("/basket", get(basket).layer(layer.per_user(user)))
            .route("/suppliers/{id}", get(supplier_page))
            .route("/sales/{id}", put(change_price))
            .with_state(self.clone())
    }

    async fn ask(&self, method: Method, path: &str, user: Option<&str>) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "shop.example");
        if let Some(user) = user {
            request = request.header("x-user", user);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = async {
            let (head, body) = self.router().oneshot(request).await.unwrap().into_parts();
            (head, body.collect().await.unwrap().to_bytes())
        };
        let (head, body) = timeout(PATIENCE, answer).await.expect("every request is answered");
        Reply {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, None).await
    }

    async fn price(&self, id: u32) -> u32 {
        let reply = self.get(&format!("/items/{id}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        serde_json::from_str::<Item>(&reply.body).unwrap().price
    }

    /// A whole write as the shop makes it: in a transaction, with what it invalidates.
    async fn sell_at(&self, id: u32, price: u32) -> Result<(), ShopError> {
        let deferred = self.cache.deferred();
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO items VALUES (?, ?) ON CONFLICT DO UPDATE SET price = excluded.price")
            .bind(id)
            .bind(price)
            .execute(&mut *transaction)
            .await?;
        deferred.add_tag(format!("item:{id}")).add_tag("items");
        match deferred.commit(async move { transaction.commit().await }).await {
            Ok(()) => Ok(()),
            Err(CommitError::Commit(error)) => Err(error.into()),
            Err(_) => Err(ShopError::NotInvalidated),
        }
    }

    fn read(&self) -> Result<(), ShopError> {
        match self.seen.down.load(Ordering::SeqCst) {
            true => Err(ShopError::Database("down".to_owned())),
            false => Ok(()),
        }
    }
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn x_cache(&self) -> &str {
        self.field("x-cache")
    }
}

/// Tries until `done`.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !done().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[cached(
    cache = shop.cache,
    ttl = "10m",
    negative_ttl = "10m",
    stale_if_error = "1h",
    namespace = "items",
    key = "{id}",
    tags = ["item:{id}"]
)]
async fn item(shop: &Shop, id: u32) -> Result<Option<Item>, ShopError> {
    shop.read()?;
    let query = sqlx::query_as("SELECT * FROM items WHERE id = ?").bind(id);
    Ok(query.fetch_optional(&shop.pool).await?)
}

async fn item_page(State(shop): State<Shop>, Path(id): Path<u32>) -> Result<Json<Item>, ShopError> {
    item(&shop, id).await?.map(Json).ok_or(ShopError::NotFound)
}

/// Every item has an entry and a tag of its own; the page has them all.
async fn list_page(State(shop): State<Shop>) -> Result<Json<Vec<Item>>, ShopError> {
    let prices = shop.cache.with_namespace("prices");
    let reader = shop.clone();
    let found = prices
        .many(1..=ITEMS)
        .tags_by(|id| [format!("item:{id}")])
        .get_or_load(move |missing| read_batch(reader.clone(), missing))
        .await;
    let mut list = Vec::new();
    for id in 1..=ITEMS {
        match &found[&id] {
            Ok(item) => list.extend(item.as_deref().cloned()),
            Err(error) => return Err(ShopError::Database(format!("{error:?}"))),
        }
    }
    Ok(Json(list))
}

async fn read_batch(shop: Shop, ids: Vec<u32>) -> Result<LoadedMany<u32, Item, ShopError>, ShopError> {
    shop.seen.batches.lock().unwrap().push(ids.clone());
    let mut found = Vec::new();
    for id in ids {
        let query = sqlx::query_as("SELECT * FROM items WHERE id = ?").bind(id);
        if let Some(item) = query.fetch_optional(&shop.pool).await? {
            found.push((id, Ok(Loaded::new(item))));
        }
    }
    Ok(found.into_iter().collect())
}

async fn basket(request: Request) -> String {
    format!("basket of {}", request.headers()["x-user"].to_str().unwrap())
}

async fn change_price(State(shop): State<Shop>, Path(id): Path<u32>) -> Result<(), ShopError> {
    shop.sell_at(id, 20).await
}

#[cached(cache = shop.cache, ttl = "10m", namespace = "suppliers", key = "{id}")]
async fn supplier(shop: &Shop, id: u32) -> Result<String, ShopError> {
    shop.seen.supplier_asked.fetch_add(1, Ordering::SeqCst);
    shop.seen.supplier_answers.notified().await;
    Err(ShopError::NotFound)
}

async fn supplier_page(State(shop): State<Shop>, Path(id): Path<u32>) -> Result<String, ShopError> {
    supplier(&shop, id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_customer_has_an_own_basket() {
    let shop = Shop::open(Redis::shared().await).await;
    for x_cache in ["MISS", "HIT"] {
        for user in ["ada", "bob"] {
            let reply = shop.ask(Method::GET, "/basket", Some(user)).await;
            assert_eq!(reply.body, format!("basket of {user}"));
            assert_eq!(reply.x_cache(), x_cache, "{user}");
            assert!(reply.field("cache-control").contains("private"), "{:?}", reply.headers);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_price_is_seen_wherever_the_item_is_shown() {
    let shop = Shop::open(Redis::shared().await).await;
    for x_cache in ["MISS", "HIT"] {
        assert_eq!(shop.get("/items/50").await.x_cache(), x_cache);
        assert_eq!(shop.get("/items").await.x_cache(), x_cache);
    }
    let write = shop.ask(Method::PUT, "/sales/50", None).await;
    assert_eq!(write.status, StatusCode::OK);
    assert_eq!(shop.price(50).await, 20);
    let list: Vec<Item> = serde_json::from_str(&shop.get("/items").await.body).unwrap();
    assert_eq!(list.len(), ITEMS as usize);
    assert_eq!(list[49], Item { id: 50, price: 20 });
    // A batch of a hundred is read at once, and then what was invalidated alone.
    let mut batches = shop.seen.batches.lock().unwrap().clone();
    batches.iter_mut().for_each(|ids| ids.sort_unstable());
    assert_eq!(batches, [(1..=ITEMS).collect(), vec![50]]);
    // Others are still there.
    assert_eq!(shop.get("/items").await.x_cache(), "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_remembered_until_it_is_made() {
    let shop = Shop::open(Redis::shared().await).await;
    for _ in 0..2 {
        assert_eq!(shop.get("/items/777").await.status, StatusCode::NOT_FOUND);
    }
    shop.seen.down.store(true, Ordering::SeqCst);
    assert_eq!(
        shop.get("/items/777").await.status,
        StatusCode::NOT_FOUND,
        "it asks nobody"
    );
    shop.seen.down.store(false, Ordering::SeqCst);
    shop.sell_at(777, 30).await.unwrap();
    assert_eq!(shop.price(777).await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_refused_changes_nothing() {
    let shop = Shop::open(Redis::shared().await).await;
    assert_eq!(shop.price(1).await, 10);
    let error = shop.sell_at(1, 0).await.unwrap_err();
    assert!(matches!(error, ShopError::Database(_)), "{error:?}");
    assert_eq!(shop.get("/items/1").await.x_cache(), "HIT");
    assert_eq!(shop.price(1).await, 10);
}

/// The page is made from a stale value, so it is no fresh page: it is made anew as soon as the database is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_price_is_shown_while_the_database_is_down_and_no_longer() {
    let shop = Shop::open(Redis::shared().await).await;
    assert_eq!(shop.price(7).await, 10);
    let update = sqlx::query("UPDATE items SET price = 40 WHERE id = 7");
    update.execute(&shop.pool).await.unwrap();
    shop.seen.down.store(true, Ordering::SeqCst);
    shop.cache.soft().invalidate_tag("item:7").await.unwrap();
    for _ in 0..3 {
        assert_eq!(shop.price(7).await, 10, "an old price is better than none");
    }
    shop.seen.down.store(false, Ordering::SeqCst);
    until("the new price is seen", async || shop.price(7).await == 40).await;
    assert_eq!(shop.price(7).await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_callers_of_a_load_that_fails_get_the_same_answer() {
    let shop = Shop::open(Redis::shared().await).await;
    let asked = join_all((0..20).map(|_| shop.get("/suppliers/1")));
    let release = async {
        until("the supplier is asked", async || {
            shop.seen.supplier_asked.load(Ordering::SeqCst) > 0
        })
        .await;
        // Who comes after the answer asks again.
        loop {
            shop.seen.supplier_answers.notify_one();
            sleep(Duration::from_millis(50)).await;
        }
    };
    let replies = tokio::select! {
        replies = asked => replies,
        () = release => unreachable!(),
    };
    assert!(replies.iter().all(|reply| reply.status == StatusCode::NOT_FOUND));
    let asked = shop.seen.supplier_asked.load(Ordering::SeqCst);
    assert!(asked < 20, "asked {asked} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_stops_no_customer_and_brings_no_old_price_back() {
    let redis = Redis::start().await;
    let shop = Shop::open(&redis).await;
    assert_eq!(shop.price(9).await, 10);
    until("it is stored", async || shop.get("/items/9").await.x_cache() == "HIT").await;

    redis.freeze().await;
    let update = sqlx::query("UPDATE items SET price = 15 WHERE id = 9");
    update.execute(&shop.pool).await.unwrap();
    assert_eq!(shop.price(9).await, 15, "read from the database");
    let sold = shop.sell_at(9, 50).await;
    assert!(matches!(sold, Ok(()) | Err(ShopError::NotInvalidated)), "{sold:?}");
    for _ in 0..5 {
        assert_eq!(shop.price(9).await, 50);
    }

    redis.thaw().await;
    until("it is stored again", async || {
        let reply = shop.get("/items/9").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.body.contains("50"), "{}", reply.body);
        reply.x_cache() == "HIT"
    })
    .await;
    assert_eq!(shop.price(9).await, 50);
}
