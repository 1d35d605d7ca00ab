//! What users of the shop see, and how rarely its database is asked.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Write};
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use futures_util::FutureExt;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use larder::Settings;
use serde_json::{Value, json};
use shop::{App, Database, router};
use tower::ServiceExt;

const TOKEN: &str = "Bearer admin-token";

struct Shop {
    router: Router,
    database: Database,
    app: App,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn x_cache(&self) -> &str {
        self.headers["x-cache"].to_str().unwrap()
    }

    fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", self.status))
    }
}

impl Shop {
    async fn open() -> Self {
        Self::on(Database::open("sqlite::memory:").await.unwrap()).await
    }

    async fn on(database: Database) -> Self {
        let app = App::new(database.clone(), &Settings::default(), "admin-token")
            .await
            .unwrap();
        Self {
            router: router(app.clone()).unwrap(),
            database,
            app,
        }
    }

    async fn ask(&self, method: Method, path: &str, fields: &[(&str, &str)], content: Option<Value>) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "shop.example");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let body = match content {
            Some(content) => {
                request = request.header("content-type", "application/json");
                Body::from(content.to_string())
            }
            None => Body::empty(),
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Reply {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes().into(),
        }
    }

    async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.ask(Method::GET, path, fields, None).await
    }

    /// The cookie of a new session.
    async fn login(&self, name: &str) -> String {
        let reply = self
            .ask(Method::POST, "/login", &[], Some(json!({ "name": name })))
            .await;
        let cookie = reply.headers["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn change(&self, id: u64, content: Value) -> StatusCode {
        let path = format!("/admin/items/{id}");
        self.ask(Method::PUT, &path, &[("authorization", TOKEN)], Some(content))
            .await
            .status
    }
}

#[tokio::test]
async fn a_list_is_read_from_the_database_once() {
    let shop = Shop::open().await;
    let lists = join_all((0..20).map(|_| shop.get("/items?category=fruit", &[]))).await;
    assert!(lists.iter().all(|list| list.json().as_array().unwrap().len() == 2));
    assert_eq!(shop.database.queries(), 1);
    // The cookie of a session makes no difference: no handler here reads it.
    let session = shop.login("ada").await;
    assert_eq!(
        shop.get("/items?category=fruit", &[("cookie", &session)])
            .await
            .x_cache(),
        "HIT"
    );
    assert_eq!(shop.get("/items?category=vegetable", &[]).await.x_cache(), "MISS");
}

#[tokio::test]
async fn a_change_is_seen_at_once_wherever_the_item_is_shown() {
    let shop = Shop::open().await;
    let session = shop.login("ada").await;
    let cookie = [("cookie", &*session)];
    shop.ask(Method::POST, "/account/orders/1", &cookie, None).await;
    for path in ["/items", "/items/1", "/items/2", "/account/orders"] {
        shop.get(path, &cookie).await;
        assert_eq!(shop.get(path, &cookie).await.x_cache(), "HIT", "{path}");
    }
    assert_eq!(
        shop.change(1, json!({ "name": "Pear", "cents": 50 })).await,
        StatusCode::OK
    );
    assert_eq!(shop.get("/items", &[]).await.json()[0]["name"], "Pear");
    assert_eq!(shop.get("/items/1", &[]).await.json()["name"], "Pear");
    assert_eq!(shop.get("/account/orders", &cookie).await.json()[0]["name"], "Pear");
    // What does not show it stays.
    assert_eq!(shop.get("/items/2", &[]).await.x_cache(), "HIT");
}

#[tokio::test]
async fn only_the_shops_own_people_change_anything() {
    let shop = Shop::open().await;
    let content = json!({ "name": "Pear", "cents": 50 });
    for token in [
        "",
        "Bearer",
        "Bearer admin-toke",
        "Bearer admin-tokem",
        "Bearer admin-token2",
    ] {
        let fields = [("authorization", token)];
        let reply = shop
            .ask(Method::PUT, "/admin/items/1", &fields, Some(content.clone()))
            .await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{token}");
    }
    assert_eq!(shop.change(9, content).await, StatusCode::NOT_FOUND);
    assert_eq!(shop.get("/items/1", &[]).await.json()["name"], "Apple");
}

/// A generator whose numbers follow from a seed would give the same tokens again.
#[tokio::test]
async fn the_token_of_a_session_cannot_be_guessed() {
    let shop = Shop::open().await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        fastrand::seed(7);
        let reply = shop
            .ask(Method::POST, "/login", &[], Some(json!({ "name": "ada" })))
            .await;
        let cookie = reply.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.contains("; Secure") && cookie.contains("; HttpOnly"), "{cookie}");
        tokens.push(cookie.split(';').next().unwrap().to_owned());
    }
    assert_ne!(tokens[0], tokens[1]);
    assert!(tokens[0].len() >= "session=".len() + 64, "{tokens:?}");
}

/// The program itself, until the value is dropped.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    /// Starts the program, and returns what it says of its address and of the password for operators.
    fn start(admin_token: Option<&str>) -> (Self, String, String) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shop"));
        command.env_remove("ADMIN_TOKEN").env("LISTEN", "127.0.0.1:0");
        command.env_remove("STORE").env_remove("DATABASE");
        command.envs(admin_token.map(|token| ("ADMIN_TOKEN", token)));
        let mut process = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let program = Self(process);
        let mut after = |what: &str| {
            let line = lines.next().unwrap().unwrap();
            let (_, rest) = line.split_once(what).unwrap_or_else(|| panic!("{line}"));
            rest.split([',', ')']).next().unwrap().to_owned()
        };
        let address = after("listening on http://");
        let password = after("the password is ");
        (program, address, password)
    }
}

/// Returns the first line of the answer to an operator with this token.
fn operator(address: &str, token: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /admin/stats HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    BufReader::new(stream).lines().next().unwrap().unwrap()
}

#[test]
fn no_token_for_operators_is_known_to_everybody() {
    for unset in [None, Some("")] {
        let (_program, address, password) = Program::start(unset);
        for known in ["for-tests-only", "ADMIN_TOKEN", ""] {
            assert_eq!(operator(&address, known), "HTTP/1.1 401 Unauthorized", "{known}");
        }
        assert_eq!(operator(&address, &password), "HTTP/1.1 200 OK");
        assert_eq!(password.len(), 64);
    }
    let (_program, address, password) = Program::start(Some("mine"));
    assert_eq!(password, "ADMIN_TOKEN");
    assert_eq!(operator(&address, "mine"), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn each_user_has_orders_of_their_own() {
    let shop = Shop::open().await;
    let (ada, ben) = (shop.login("ada").await, shop.login("ben").await);
    let bought = shop
        .ask(Method::POST, "/account/orders/3", &[("cookie", &ada)], None)
        .await;
    assert_eq!(bought.status, StatusCode::CREATED);
    for _ in 0..2 {
        let reply = shop.get("/account/orders", &[("cookie", &ada)]).await;
        assert_eq!(reply.json()[0]["name"], "Carrot");
        assert_eq!(reply.headers["cache-control"], "private, no-cache");
        assert_eq!(shop.get("/account/orders", &[("cookie", &ben)]).await.json(), json!([]));
    }
    // An order of hers is seen by her at once, and is none of his.
    shop.ask(Method::POST, "/account/orders/1", &[("cookie", &ada)], None)
        .await;
    assert_eq!(
        shop.get("/account/orders", &[("cookie", &ada)])
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(shop.get("/account/orders", &[("cookie", &ben)]).await.x_cache(), "HIT");
    assert_eq!(shop.get("/account/orders", &[]).await.status, StatusCode::UNAUTHORIZED);
}

/// At whatever moment a client leaves: what is shown afterwards is what the database has.
#[tokio::test]
async fn an_order_is_seen_by_whoever_has_left_before_the_answer() {
    for polls in 1_u32.. {
        let shop = Shop::open().await;
        let session = shop.login("ada").await;
        let cookie = [("cookie", &*session)];
        shop.get("/account/orders", &cookie).await;
        let mut left = polls;
        let mut order = Box::pin(shop.ask(Method::POST, "/account/orders/1", &cookie, None));
        let answer = poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            order.as_mut().poll(context).map(Some)
        });
        let answer = answer.await;
        drop(order);
        // What goes on in the background is done then.
        shop.app.settled().await;
        let shown = shop.get("/account/orders", &cookie).await.json();
        // A shop whose cache is empty.
        let other = Shop::on(shop.database.clone()).await;
        let session = other.login("ada").await;
        let bought = other.get("/account/orders", &[("cookie", &session)]).await.json();
        assert_eq!(shown, bought, "left at poll {polls}");
        if answer.is_some() {
            return;
        }
    }
}

#[tokio::test]
async fn an_item_that_does_not_exist_is_not_asked_for_twice() {
    let shop = Shop::open().await;
    for _ in 0..3 {
        assert_eq!(shop.get("/items/77", &[]).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(shop.database.queries(), 1);
}

#[tokio::test]
async fn files_are_served_by_range() {
    let shop = Shop::open().await;
    let whole = shop.get("/files/storage.txt", &[]).await;
    let part = shop.get("/files/storage.txt", &[("range", "bytes=0-5")]).await;
    assert_eq!(
        (part.status, &*part.body),
        (StatusCode::PARTIAL_CONTENT, &b"Apples"[..])
    );
    assert_eq!((part.x_cache(), &part.headers["etag"]), ("HIT", &whole.headers["etag"]));
}

#[tokio::test]
async fn each_coding_of_a_list_has_an_etag_of_its_own() {
    let shop = Shop::open().await;
    let plain = shop.get("/items", &[]).await;
    let coded = shop.get("/items", &[("accept-encoding", "gzip")]).await;
    assert_eq!(coded.headers["content-encoding"], "gzip");
    assert_ne!(coded.headers["etag"], plain.headers["etag"]);
    assert_eq!(
        shop.get("/items", &[("accept-encoding", "gzip")]).await.x_cache(),
        "HIT"
    );
}

#[tokio::test]
async fn those_who_watch_are_told_of_a_change() {
    let shop = Shop::open().await;
    let request = Request::get("/changes").body(Body::empty()).unwrap();
    let mut events = shop.router.clone().oneshot(request).await.unwrap().into_body();
    shop.change(2, json!({ "name": "Plantain", "cents": 60 })).await;
    let event = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(event, "event: item\ndata: 2\n\n");
}

#[tokio::test]
async fn those_who_watch_do_not_hold_up_a_shutdown() {
    let shop = Shop::open().await;
    let request = Request::get("/changes").body(Body::empty()).unwrap();
    let mut events = shop.router.clone().oneshot(request).await.unwrap().into_body();
    assert!(events.frame().now_or_never().is_none(), "the stream goes on");
    shop.app.stop();
    assert!(events.frame().await.is_none());
}

#[tokio::test]
async fn an_operator_purges_by_tag() {
    let shop = Shop::open().await;
    shop.get("/items", &[]).await;
    let purge = json!({ "tag": "items" });
    let reply = shop
        .ask(Method::POST, "/purge", &[("authorization", TOKEN)], Some(purge))
        .await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(shop.get("/items", &[]).await.x_cache(), "MISS");
    let stats = shop.get("/stats", &[]).await.json();
    assert_eq!(stats["queries"], 2, "{stats}");
}

#[tokio::test]
async fn other_sites_may_read_the_public_pages() {
    let shop = Shop::open().await;
    for _ in 0..2 {
        let reply = shop.get("/items", &[("origin", "https://elsewhere.example")]).await;
        assert_eq!(reply.headers["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn the_page_about_the_cache_is_for_the_shops_own_people() {
    let shop = Shop::open().await;
    shop.get("/items/1", &[]).await;
    for path in ["/admin", "/admin/stats"] {
        assert_eq!(shop.get(path, &[]).await.status, StatusCode::UNAUTHORIZED, "{path}");
        let reply = shop.get(path, &[("authorization", TOKEN)]).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert_eq!(reply.headers["cache-control"], "no-store");
    }
    let figures = shop.get("/admin/stats", &[("authorization", TOKEN)]).await.json();
    assert_eq!(
        figures["since_start"]["outcomes"]["miss"], 2,
        "the response and the value: {figures}"
    );
    // It does not stand in the way of what is below its path.
    assert_eq!(
        shop.change(1, json!({ "name": "Pear", "cents": 50 })).await,
        StatusCode::OK
    );
}

#[tokio::test]
async fn under_load_most_answers_are_hits() {
    let database = Database::open("sqlite::memory:").await.unwrap();
    let app = App::new(database, &Settings::default(), "admin-token").await.unwrap();
    let routes = router(app.clone()).unwrap().merge(shop::metrics(&app).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shop = Shop {
        router: routes.clone(),
        database: Database::open("sqlite::memory:").await.unwrap(),
        app,
    };
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let clients = tokio::spawn(async move { shop::load::load(address, "admin-token").await });
    let figures = loop {
        let figures = shop.get("/admin/stats", &[("authorization", TOKEN)]).await.json();
        if figures["since_start"]["requests"].as_u64().unwrap() > 500 {
            break figures;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    clients.abort();
    assert!(figures["since_start"]["hit_ratio"].as_f64().unwrap() > 0.3, "{figures}");
    let metrics = shop.get("/metrics", &[]).await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("cache_requests_total"), "{metrics}");
}
