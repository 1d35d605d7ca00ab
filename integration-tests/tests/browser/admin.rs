//! The page for operators in a real browser, while the application is under load.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cache_axum::cache_engine::Cache;
use cache_axum::{AdminRouter, CacheLayer};
use cache_memory::MemoryBackend;
use http::header::{CACHE_CONTROL, HOST};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::chromium::Chromium;

const TOKEN: &str = "a-long-random-text";

/// A key, a tag or a namespace that would run a script if it became markup.
const HOSTILE: &str = "</script></style><img src=x onerror='window.hacked=true'><svg onload='window.hacked=true'>";

/// A running application with a page for operators, and clients that do not stop to ask it.
struct App {
    address: SocketAddr,
    cache: Cache,
    clients: Vec<JoinHandle<()>>,
}

impl App {
    async fn start() -> Self {
        let cache = Cache::builder(MemoryBackend::default()).prefix("shop").build();
        let layer = CacheLayer::new(cache.clone())
            .ttl(Duration::from_secs(600))
            .tags(["pages"]);
        let admin: Router = AdminRouter::with_token(&layer, TOKEN).unwrap();
        let pages = Router::new().fallback(answer).layer(layer);
        let app = Router::new().nest("/admin", admin).fallback_service(pages);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let clients = (0..4).map(|number| tokio::spawn(client(address, number))).collect();
        Self {
            address,
            cache,
            clients,
        }
    }

    /// The address of the page, for a browser that has the token.
    fn page(&self) -> String {
        format!("http://operator:{TOKEN}@{}/admin", self.address)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        for client in &self.clients {
            client.abort();
        }
    }
}

async fn answer(uri: http::Uri) -> Response {
    match uri.path() {
        "/private" => ([(CACHE_CONTROL, "private")], "yours").into_response(),
        _ => "lamp".into_response(),
    }
}

/// Asks for one page after the other, for ever.
async fn client(address: SocketAddr, number: u64) {
    let mut asked = number;
    loop {
        asked += 1;
        let path = match asked % 10 {
            0 => format!("/private?{asked}"),
            _ => format!("/items/{}", asked % 50),
        };
        ask(address, &path).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the layer's `X-Cache`.
async fn ask(address: SocketAddr, path: &str) -> String {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(path).header(HOST, address.to_string());
    let response = client
        .send_request(request.body(Full::<Bytes>::default()).unwrap())
        .await
        .unwrap();
    response.headers()["x-cache"].to_str().unwrap().to_owned()
}

/// Whether the text of an element contains another one, as an expression.
fn says(id: &str, text: &str) -> String {
    format!("document.getElementById('{id}').innerText.includes({})", json!(text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_what_the_cache_does_under_load() {
    let app = App::start().await;
    let mut browser = Chromium::start().await;
    let fetched = browser.visit(&app.page()).await;
    let others: Vec<_> = fetched
        .iter()
        .map(|fetched| &*fetched.path)
        .filter(|path| !path.starts_with("/admin"))
        .collect();
    assert_eq!(others, [""; 0], "no other assets");

    // Without a further step of the operator: hits arrive, with a plot, a state, and reasons.
    let hits = "[...document.querySelectorAll('#outcomes table:first-child tr')]
        .some((row) => row.cells[0].innerText === 'hit, store' && parseInt(row.cells[2].innerText.replaceAll(',', '')) > 100)";
    browser.until(hits).await;
    browser.until(&says("ratio-summary", "%")).await;
    browser.until(&says("loads-summary", "mean")).await;
    browser
        .until("document.querySelectorAll('.plot svg path').length === 3")
        .await;
    browser
        .until("document.querySelector('#ratio path').getAttribute('d').includes('H')")
        .await;
    browser.until(&says("state", "✓ closed")).await;
    browser.until(&says("refused", "the response says private")).await;
    browser.until(&says("refusals", "/private?")).await;
    assert_eq!(browser.evaluate("document.title").await, "Cache shop");
    app.cache.invalidate_tag("spring").await.unwrap();
    browser.until(&says("invalidations", "spring")).await;

    // On a phone, nothing is cut off at the side.
    browser.narrow(360).await;
    browser.until("innerWidth === 360").await;
    let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.evaluate(overflow).await, json!(0));
    // Each field has a label.
    let unlabelled = "[...document.querySelectorAll('input, select')].filter((field) => !field.labels.length).length";
    assert_eq!(browser.evaluate(unlabelled).await, json!(0));
    assert_eq!(complaints(&mut browser), [""; 0]);
}

/// Returns what the browser complains about, without statuses: it learns by a 401 that it needs the token.
fn complaints(browser: &mut Chromium) -> Vec<String> {
    let complaints = browser.complaints().into_iter();
    complaints
        .filter(|complaint| !complaint.contains("responded with a status of"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_are_shown_as_text_and_run_nothing() {
    let app = App::start().await;
    let hostile = app.cache.with_namespace(HOSTILE).with_tags([HOSTILE]);
    hostile.set(HOSTILE, 1_u32).await.unwrap();
    hostile.get::<u32>(HOSTILE).await.unwrap();
    app.cache.with_namespace(HOSTILE).invalidate("none").await.unwrap();
    app.cache.invalidate(HOSTILE).await.unwrap();
    app.cache.invalidate_tag("spring").await.unwrap();

    let mut browser = Chromium::start().await;
    browser.visit(&app.page()).await;
    browser.until(&says("namespaces", HOSTILE)).await;
    browser.until(&says("invalidations", HOSTILE)).await;
    // Look it up, too.
    browser.tab_to("look-up-kind").await;
    browser.press("ArrowDown").await;
    for text in [HOSTILE, HOSTILE] {
        browser.press("Tab").await;
        browser.write(text).await;
    }
    browser.press("Enter").await;
    browser
        .until(&says("found", &format!("shop:{HOSTILE}:{HOSTILE}")))
        .await;
    browser.until(&says("found", &format!("Tags: {HOSTILE}"))).await;
    assert_eq!(browser.evaluate("window.hacked === undefined").await, json!(true));
    assert_eq!(
        browser
            .evaluate("document.querySelectorAll('img, main script, [onerror]').length")
            .await,
        json!(0)
    );
    assert_eq!(complaints(&mut browser), [""; 0]);

    // The control: as markup, the name is refused by the policy of this page, and runs its script on a page without one.
    let insert = format!(
        "(() => {{ try {{ document.body.insertAdjacentHTML('beforeend', {}); return 'inserted' }} \
         catch (error) {{ return error.name }} }})()",
        json!(HOSTILE)
    );
    assert_eq!(browser.evaluate(&insert).await, "TypeError");
    assert_eq!(browser.evaluate("window.hacked === undefined").await, json!(true));
    assert_ne!(complaints(&mut browser), [""; 0]);
    browser.visit(&format!("http://{}/items/1", app.address)).await;
    assert_eq!(browser.evaluate(&insert).await, "inserted");
    browser.until("window.hacked === true").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_purges_by_the_keyboard_alone() {
    let app = App::start().await;
    let tagged = app.cache.with_tags(["user:42"]);
    let users = app.cache.with_namespace("users");
    let mut browser = Chromium::start().await;
    browser.visit(&app.page()).await;
    let stored = async |name: &str| users.get::<u32>(name).await.unwrap().is_some();

    // A tag, hard: choose, name, pass the box, and send.
    tagged.set("42", 1_u32).await.unwrap();
    browser.tab_to("purge-kind").await;
    browser.press("ArrowDown").await;
    browser.press("ArrowDown").await;
    browser.press("Tab").await;
    browser.write("user:42").await;
    browser.tab_to("purge-soft").await;
    browser.press("Tab").await;
    assert_eq!(browser.evaluate("document.activeElement.innerText").await, "Purge");
    browser.press("Enter").await;
    browser.until(&says("purged", "Purged for good")).await;
    assert_eq!(app.cache.get::<u32>("42").await.unwrap(), None);
    browser.until(&says("invalidations", "user:42")).await;

    // A namespace, softly, which this cache refuses with the reason. Then hard.
    users.set("43", 1_u32).await.unwrap();
    browser.visit(&app.page()).await;
    browser.tab_to("purge-kind").await;
    for _ in 0..3 {
        browser.press("ArrowDown").await;
    }
    browser.press("Tab").await;
    browser.write("users").await;
    browser.tab_to("purge-soft").await;
    browser.press(" ").await;
    browser.press("Enter").await;
    browser.until(&says("purged", "tag_namespaces")).await;
    assert!(stored("43").await);
    browser.press(" ").await;
    browser.press("Tab").await;
    browser.press("Enter").await;
    browser.until(&says("purged", "1 removed")).await;
    assert!(!stored("43").await);

    // A look-up from the list of the last invalidations.
    users.invalidate("lamp-44").await.unwrap();
    users.set("lamp-44", 1_u32).await.unwrap();
    browser.until(&says("invalidations", "lamp-44")).await;
    browser
        .evaluate("document.querySelector('#invalidations button').focus()")
        .await;
    browser.press("Enter").await;
    browser.until(&says("found", "shop:users:lamp-44")).await;
    browser.until(&says("found", "fresh")).await;
    let seen: Value = browser.evaluate("document.activeElement.id").await;
    assert_eq!(seen, "look-up-name");
    assert_eq!(complaints(&mut browser), [""; 0]);
}
