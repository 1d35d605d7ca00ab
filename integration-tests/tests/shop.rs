//! A new user's shop: what belongs together works together, over HTTP, on a real Redis and a real database.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, request::Parts};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use integration_tests::Redis;
use larder::prelude::*;
use larder::redis::RedisBackend;
use larder::{CacheBuilder, CommitError, Loaded, LoadedMany};
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq)]
enum ShopError {
    NotFound,
    Database(String),
}

impl std::fmt::Display for ShopError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ShopError {}

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
        };
        (status, self.to_string()).into_response()
    }
}

#[derive(Debug, Clone)]
struct Shop {
    cache: Cache,
    pool: SqlitePool,
    queries: Arc<AtomicUsize>,
    /// Whether the database is down.
    is_down: Arc<AtomicBool>,
}

impl Shop {
    /// Opens a shop on a store that is waited for, however busy the machine is.
    async fn open(redis: &Redis) -> Self {
        let backend = RedisBackend::builder()
            .url(redis.url())
            .connect_timeout(PATIENCE)
            .operation_timeout(PATIENCE)
            .unresponsive_timeout(PATIENCE);
        Self::over(Cache::builder(backend.connect().await.unwrap()).backend_timeout(PATIENCE)).await
    }

    /// Opens a shop with the time limits that are usual.
    async fn open_impatient(redis: &Redis) -> Self {
        Self::over(Cache::builder(RedisBackend::connect(redis.url()).await.unwrap())).await
    }

    async fn over(cache: CacheBuilder) -> Self {
        // One connection, which stays: a database in memory belongs to its connection.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect("sqlite::memory:")
            .await
            .unwrap();
        let mut schema = "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL); \
                          CREATE TABLE orders (user TEXT NOT NULL, item INTEGER NOT NULL);"
            .to_owned();
        for id in 1..=100 {
            let category = if id % 2 == 0 { "even" } else { "odd" };
            schema += &format!("INSERT INTO items VALUES ({id}, 'item {id}', '{category}');");
        }
        sqlx::raw_sql(&schema).execute(&pool).await.unwrap();
        Self {
            cache: cache
                .prefix(&format!("shop-{:016x}", fastrand::u64(..)))
                .ttl(Duration::from_secs(600))
                .build(),
            pool,
            queries: Arc::default(),
            is_down: Arc::default(),
        }
    }

    /// The database, as a query finds it.
    fn database(&self) -> Result<&SqlitePool, ShopError> {
        self.queries.fetch_add(1, Ordering::SeqCst);
        match self.is_down.load(Ordering::SeqCst) {
            false => Ok(&self.pool),
            true => Err(ShopError::Database("the database is down".to_owned())),
        }
    }

    fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }

    fn router(&self) -> Router {
        let layer = CacheLayer::new(self.cache.clone())
            .ttl(Duration::from_secs(600))
            .stale_if_error(Duration::from_secs(3600));
        let pages = Router::new()
            .route("/items/{id}", get(item))
            .route("/lists/{category}", get(list))
            .layer(layer.clone());
        let account = Router::new()
            .route("/account", get(account).post(order))
            .layer(layer.per_user(|request: &Parts| Some(request.extensions.get::<User>()?.0.clone())))
            .layer(axum::middleware::from_fn(identify));
        pages.merge(account).with_state(self.clone())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.send(Request::get(path)).await
    }

    async fn send(&self, request: axum::http::request::Builder) -> (StatusCode, String) {
        let response = self
            .router()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn as_user(&self, user: &str) -> String {
        self.send(Request::get("/account").header("authorization", user))
            .await
            .1
    }
}

#[derive(Debug, Clone)]
struct User(String);

/// Finds out who asks, outside of the cache.
async fn identify(mut request: Request, next: axum::middleware::Next) -> Response {
    let user = request
        .headers()
        .get("authorization")
        .and_then(|user| user.to_str().ok());
    match user.map(|user| User(user.to_owned())) {
        Some(user) => {
            request.extensions_mut().insert(user);
            next.run(request).await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// An item that may not exist. That it does not is remembered.
#[cached(
    cache = shop.cache,
    negative_ttl = "10m",
    stale_if_error = "1h",
    namespace = "items",
    key = "{id}",
    tags = ["item:{id}"]
)]
async fn find(shop: &Shop, id: i64) -> Result<Option<String>, ShopError> {
    let row = sqlx::query("SELECT name FROM items WHERE id = ?").bind(id);
    Ok(row.fetch_optional(shop.database()?).await?.map(|row| row.get(0)))
}

/// An item that must exist.
#[cached(cache = shop.cache, namespace = "stock", key = "{id}")]
async fn need(shop: &Shop, id: i64) -> Result<String, ShopError> {
    let row = sqlx::query("SELECT name FROM items WHERE id = ?").bind(id);
    let row = row.fetch_optional(shop.database()?).await?;
    // Long enough for others to join.
    sleep(Duration::from_millis(100)).await;
    row.map(|row| row.get(0)).ok_or(ShopError::NotFound)
}

async fn item(State(shop): State<Shop>, Path(id): Path<i64>) -> Result<String, ShopError> {
    find(&shop, id).await?.ok_or(ShopError::NotFound)
}

/// A list has a tag of its own, for items that are new in it, and one for each of its items.
async fn list(State(shop): State<Shop>, Path(category): Path<String>, cache: CacheHandle) -> Result<String, ShopError> {
    let read = || async {
        let rows = sqlx::query("SELECT id FROM items WHERE category = ? ORDER BY id LIMIT 3").bind(&category);
        Ok::<_, ShopError>(rows.fetch_all(shop.database()?).await?)
    };
    let rows = cache.tagged([format!("list:{category}")], read).await?;
    let mut names = Vec::new();
    for row in rows {
        names.extend(find(&shop, row.get(0)).await?);
    }
    Ok(names.join(", "))
}

async fn account(
    State(shop): State<Shop>,
    Extension(User(user)): Extension<User>,
    cache: CacheHandle,
) -> Result<String, ShopError> {
    let read = || async {
        let row = sqlx::query("SELECT COUNT(*) FROM orders WHERE user = ?").bind(&user);
        Ok::<_, ShopError>(row.fetch_one(shop.database()?).await?.get::<i64, _>(0))
    };
    let count = cache.tagged([format!("orders:{user}")], read).await?;
    Ok(format!("{user}: {count}"))
}

async fn order(State(shop): State<Shop>, Extension(User(user)): Extension<User>) -> Result<StatusCode, ShopError> {
    let insert = sqlx::query("INSERT INTO orders VALUES (?, 1)").bind(&user);
    insert.execute(shop.database()?).await?;
    let invalidated = shop.cache.invalidate_tag(format!("orders:{user}")).await;
    invalidated.map_err(|error| ShopError::Database(error.to_string()))?;
    Ok(StatusCode::CREATED)
}

/// Renames an item in a transaction.
async fn rename(shop: &Shop, id: i64, name: &str) -> Result<(), CommitError<sqlx::Error>> {
    let deferred = shop.cache.deferred();
    deferred.add_tag(format!("item:{id}"));
    let mut transaction = shop.pool.begin().await?;
    let update = sqlx::query("UPDATE items SET name = ? WHERE id = ?")
        .bind(name)
        .bind(id);
    update.execute(&mut *transaction).await?;
    deferred.commit(async move { transaction.commit().await }).await
}

fn ok(body: &str) -> (StatusCode, String) {
    (StatusCode::OK, body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_has_pages_of_their_own() {
    let shop = Shop::open(Redis::shared().await).await;
    for _ in 0..3 {
        assert_eq!(shop.as_user("ada").await, "ada: 0");
        assert_eq!(shop.as_user("bob").await, "bob: 0");
    }
    assert_eq!(shop.queries(), 2, "each is cached");
    assert_eq!(shop.get("/account").await.0, StatusCode::UNAUTHORIZED);
    let ordered = shop
        .send(Request::post("/account").header("authorization", "ada"))
        .await;
    assert_eq!(ordered.0, StatusCode::CREATED);
    assert_eq!(shop.as_user("ada").await, "ada: 1");
    let queries = shop.queries();
    assert_eq!(shop.as_user("bob").await, "bob: 0");
    assert_eq!(shop.queries(), queries, "the other one's page stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_follows_its_items_and_what_is_new_in_it() {
    let shop = Shop::open(Redis::shared().await).await;
    for _ in 0..3 {
        assert_eq!(shop.get("/lists/odd").await, ok("item 1, item 3, item 5"));
        assert_eq!(shop.get("/lists/even").await, ok("item 2, item 4, item 6"));
    }
    assert_eq!(shop.queries(), 8, "two lists of three items");
    // The list has no tag of the item but through the function that it called.
    rename(&shop, 3, "lamp").await.unwrap();
    assert_eq!(shop.get("/lists/odd").await, ok("item 1, lamp, item 5"));
    assert_eq!(shop.get("/items/3").await, ok("lamp"));
    assert_eq!(shop.queries(), 10, "the list and the item that changed");
    assert_eq!(shop.get("/lists/even").await, ok("item 2, item 4, item 6"));
    assert_eq!(shop.queries(), 10);

    sqlx::raw_sql("INSERT INTO items VALUES (0, 'chair', 'even')")
        .execute(&shop.pool)
        .await
        .unwrap();
    shop.cache.invalidate_tags(["list:even", "item:0"]).await.unwrap();
    assert_eq!(shop.get("/lists/even").await, ok("chair, item 2, item 4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_hundred_is_one_query_and_a_tag_ends_one_of_them() {
    let shop = Shop::open(Redis::shared().await).await;
    let names = shop.cache.with_namespace("names");
    let loaded = Arc::new(AtomicUsize::new(0));
    let batch = async || -> HashMap<i64, String> {
        let (pool, counted, shop) = (shop.pool.clone(), loaded.clone(), shop.clone());
        let load = move |missing: Vec<i64>| {
            let (pool, counted, shop) = (pool.clone(), counted.clone(), shop.clone());
            async move {
                shop.database()?;
                counted.fetch_add(missing.len(), Ordering::SeqCst);
                let rows = sqlx::query("SELECT id, name FROM items").fetch_all(&pool).await?;
                let found = rows
                    .into_iter()
                    .map(|row| (row.get::<i64, _>(0), row.get::<String, _>(1)));
                let found = found.filter(|(id, _)| missing.contains(id));
                Ok::<LoadedMany<i64, String, ShopError>, ShopError>(
                    found.map(|(id, name)| (id, Ok(Loaded::new(name)))).collect(),
                )
            }
        };
        let outcomes = names
            .many(1..=100)
            .tags_by(|id| [format!("item:{id}")])
            .get_or_load(load)
            .await;
        let names = outcomes.iter().map(|(id, outcome)| {
            let name = outcome.as_ref().unwrap().as_ref().unwrap();
            (*id, name.to_string())
        });
        names.collect()
    };
    for _ in 0..2 {
        let found = batch().await;
        assert_eq!((found.len(), found[&7].as_str()), (100, "item 7"));
    }
    assert_eq!((shop.queries(), loaded.load(Ordering::SeqCst)), (1, 100));
    rename(&shop, 7, "seven").await.unwrap();
    assert_eq!(batch().await[&7], "seven");
    assert_eq!((shop.queries(), loaded.load(Ordering::SeqCst)), (2, 101));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_remembered_until_it_does() {
    let shop = Shop::open(Redis::shared().await).await;
    for _ in 0..3 {
        assert_eq!(shop.get("/items/500").await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(shop.queries(), 1);
    sqlx::raw_sql("INSERT INTO items VALUES (500, 'new', 'even')")
        .execute(&shop.pool)
        .await
        .unwrap();
    shop.cache.invalidate_tag("item:500").await.unwrap();
    assert_eq!(shop.get("/items/500").await, ok("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_callers_of_a_load_that_fails_get_the_same_answer() {
    let shop = Shop::open(Redis::shared().await).await;
    let answers = join_all((0..20).map(|_| need(&shop, 700))).await;
    assert_eq!(answers, vec![Err(ShopError::NotFound); 20]);
    assert!(shop.queries() < 20, "they share loads: {}", shop.queries());
    let answers = join_all((0..20).map(|_| shop.get("/items/700"))).await;
    assert!(
        answers.iter().all(|(status, _)| *status == StatusCode::NOT_FOUND),
        "{answers:?}"
    );

    shop.is_down.store(true, Ordering::SeqCst);
    let answers = join_all((0..20).map(|_| need(&shop, 1))).await;
    assert_eq!(
        answers,
        vec![Err(ShopError::Database("the database is down".to_owned())); 20]
    );
    let answers = join_all((0..20).map(|_| shop.get("/items/1"))).await;
    assert!(
        answers
            .iter()
            .all(|(status, _)| *status == StatusCode::INTERNAL_SERVER_ERROR),
        "{answers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_value_makes_no_fresh_page() {
    let shop = Shop::open(Redis::shared().await).await;
    assert_eq!(shop.get("/items/1").await, ok("item 1"));
    assert_eq!(shop.get("/lists/odd").await, ok("item 1, item 3, item 5"));
    // The freshness of the value ends while the database is down.
    let update = sqlx::query("UPDATE items SET name = 'lamp' WHERE id = 1");
    update.execute(&shop.pool).await.unwrap();
    shop.is_down.store(true, Ordering::SeqCst);
    shop.cache.soft().invalidate_tag("item:1").await.unwrap();
    for _ in 0..3 {
        assert_eq!(shop.get("/items/1").await, ok("item 1"), "better than an error");
    }
    // What was made of it is not served for longer than that.
    shop.is_down.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    while shop.get("/items/1").await != ok("lamp") || shop.get("/lists/odd").await != ok("lamp, item 3, item 5") {
        assert!(begun.elapsed() < PATIENCE, "the page is old");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_seen_once_it_is_committed_and_costs_nothing_if_it_is_not() {
    let shop = Shop::open(Redis::shared().await).await;
    assert_eq!(shop.get("/items/1").await, ok("item 1"));
    rename(&shop, 1, "lamp").await.unwrap();
    assert_eq!(shop.get("/items/1").await, ok("lamp"));

    let deferred = shop.cache.deferred();
    deferred.add_tag("item:1");
    let mut transaction = shop.pool.begin().await.unwrap();
    let update = sqlx::query("UPDATE items SET name = 'chair'");
    update.execute(&mut *transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    deferred.rolled_back();
    let queries = shop.queries();
    assert_eq!(shop.get("/items/1").await, ok("lamp"));
    assert_eq!(shop.queries(), queries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_stops_nobody_and_no_old_page_comes_back_with_it() {
    let redis = Redis::start().await;
    let shop = Shop::open_impatient(&redis).await;
    assert_eq!(shop.get("/items/1").await, ok("item 1"));
    assert_eq!(shop.get("/items/2").await, ok("item 2"));
    redis.freeze().await;
    for path in ["/items/2", "/items/3", "/lists/odd"] {
        let begun = Instant::now();
        assert_eq!(shop.get(path).await.0, StatusCode::OK);
        assert!(begun.elapsed() < PATIENCE / 2, "{path}: {:?}", begun.elapsed());
    }
    assert_eq!(shop.as_user("ada").await, "ada: 0");
    // The write is committed, and its caller is told that the cache does not know it yet.
    let error = rename(&shop, 1, "lamp").await.unwrap_err();
    assert!(error.is_committed(), "{error}");
    assert_eq!(shop.get("/items/1").await, ok("lamp"), "this process knows it");
    redis.thaw().await;
    // Until the store is used again, and afterwards.
    let begun = Instant::now();
    loop {
        assert_eq!(shop.get("/items/1").await, ok("lamp"));
        let queries = shop.queries();
        if shop.get("/items/1").await == ok("lamp") && shop.queries() == queries {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the store is not used again");
        sleep(Duration::from_millis(20)).await;
    }
}
