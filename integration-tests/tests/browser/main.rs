//! A real browser in front of the layer: its own cache, the layer's 304s and `Age` agree. The browser itself reports
//! what it fetched, revalidated or took from its cache.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod admin;
mod chromium;
mod shop;

use std::time::Duration;

use chromium::{Chromium, Source};
use http::Method;
use shop::{Compressed, Shop};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns the source of each resource of a visit.
fn sources(visit: &[chromium::Fetched]) -> Vec<(&str, Source)> {
    let mut sources: Vec<_> = visit.iter().map(|fetched| (&*fetched.path, fetched.source())).collect();
    sources.sort_by_key(|(path, _)| *path);
    sources
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_loaded_twice_and_after_a_change() {
    let shop = Shop::open().await;
    let mut browser = Chromium::start().await;

    let first = browser.visit(&shop.url("/page")).await;
    assert_eq!(
        sources(&first),
        [("/page", Source::Fetched), ("/script.js", Source::Fetched)]
    );
    assert_eq!(shop.log(), ["GET /page 200 MISS", "GET /script.js 200 MISS"]);
    assert_eq!(browser.evaluate("document.body.innerText").await, "lamp, and a script");

    // The page says `no-cache`, so it is revalidated, and has not changed. The script is fresh for a minute.
    let second = browser.visit(&shop.url("/page")).await;
    assert_eq!(
        sources(&second),
        [("/page", Source::Revalidated), ("/script.js", Source::OwnCache)]
    );
    assert_eq!(shop.log(), ["GET /page if-none-match 304 HIT"]);
    assert_eq!(browser.evaluate("document.body.innerText").await, "lamp, and a script");
    assert_eq!(shop.calls("/page"), 1);

    // By another client, since a browser drops copies of what it changes itself.
    assert_eq!(shop.ask(Method::PUT, "/page", "chair").await, "BYPASS");
    assert_eq!(shop.log(), ["PUT /page 200 BYPASS"]);

    let third = browser.visit(&shop.url("/page")).await;
    assert_eq!(
        sources(&third),
        [("/page", Source::Fetched), ("/script.js", Source::OwnCache)]
    );
    assert_eq!(shop.log(), ["GET /page if-none-match 200 MISS"]);
    assert_eq!(browser.evaluate("document.body.innerText").await, "chair, and a script");
    assert_ne!(first[0].headers["etag"], third[0].headers["etag"]);

    let fourth = browser.visit(&shop.url("/page")).await;
    assert_eq!(
        sources(&fourth),
        [("/page", Source::Revalidated), ("/script.js", Source::OwnCache)]
    );
    assert_eq!(shop.log(), ["GET /page if-none-match 304 HIT"]);
    assert_eq!(shop.calls("/page"), 2);
}

/// `Age` is the used part of the lifetime of the layer's copy. The browser subtracts it from the lifetime of its own
/// copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_browser_takes_age_into_account() {
    let shop = Shop::open().await;
    let mut browser = Chromium::start().await;
    // Another client has requested both before.
    for path in ["/minute/young", "/minute/old"] {
        shop.ask(Method::GET, path, "").await;
    }
    shop.clock.advance(seconds(20));
    let young = browser.visit(&shop.url("/minute/young")).await;
    assert_eq!((young[0].source(), &*young[0].headers["age"]), (Source::Fetched, "20"));
    assert_eq!(young[0].headers["x-cache"], "HIT");
    let again = browser.visit(&shop.url("/minute/young")).await;
    assert_eq!(again[0].source(), Source::OwnCache, "good for forty seconds more");

    // The minute is over, although the browser has had the copy for less than a second.
    shop.clock.advance(seconds(41));
    let old = browser.visit(&shop.url("/minute/old")).await;
    assert_eq!((old[0].source(), &*old[0].headers["age"]), (Source::Fetched, "61"));
    assert_eq!(old[0].headers["x-cache"], "STALE");
    shop.refreshed("/minute/old").await;
    let again = browser.visit(&shop.url("/minute/old")).await;
    assert_eq!(
        (again[0].source(), &*again[0].headers["age"]),
        (Source::Revalidated, "0")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_gets_what_the_handler_says_now() {
    let shop = Shop::open().await;
    let mut browser = Chromium::start().await;
    browser.visit(&shop.url("/minute/page")).await;
    shop.log();

    // A reload reaches the handler although both copies are fresh. Nothing has changed, so no content is sent again.
    let reload = browser.reload(false).await;
    assert_eq!(reload[0].source(), Source::Revalidated);
    assert_eq!(shop.log(), ["GET /minute/page max-age=0 if-none-match 304 MISS"]);

    let anew = browser.reload(true).await;
    assert_eq!(anew[0].source(), Source::Fetched);
    assert_eq!(shop.log(), ["GET /minute/page no-cache 200 MISS"]);
    assert_eq!(shop.calls("/minute/page"), 3);
    // The reloaded response is stored for other clients.
    assert_eq!(shop.ask(Method::GET, "/minute/page", "").await, "HIT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_private_is_kept_by_the_browser_alone() {
    let shop = Shop::open().await;
    let mut browser = Chromium::start().await;
    let first = browser.visit(&shop.url("/private")).await;
    assert_eq!(first[0].source(), Source::Fetched);
    assert_eq!(first[0].headers["cache-status"], "cache; fwd=uri-miss; detail=private");
    assert_eq!(browser.visit(&shop.url("/private")).await[0].source(), Source::OwnCache);
    let mut other = Chromium::start().await;
    let first = other.visit(&shop.url("/private")).await;
    assert_eq!(
        (first[0].source(), &*first[0].headers["x-cache"]),
        (Source::Fetched, "MISS")
    );
    assert_eq!(shop.calls("/private"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_compressed_is_read_and_revalidated() {
    let mut browser = Chromium::start().await;
    for compressed in [Compressed::Inside, Compressed::Outside] {
        let shop = Shop::open_with(compressed).await;
        let first = browser.visit(&shop.url("/page")).await;
        assert_eq!(
            (first[0].source(), &*first[0].headers["content-encoding"]),
            (Source::Fetched, "gzip")
        );
        assert_eq!(browser.evaluate("document.body.innerText").await, "lamp, and a script");
        let second = browser.visit(&shop.url("/page")).await;
        assert_eq!(second[0].source(), Source::Revalidated);
        assert_eq!(browser.evaluate("document.body.innerText").await, "lamp, and a script");
        assert_eq!(shop.calls("/page"), 1);
    }
}

/// `Age` is sent with the layer's own `max-age`, so no copy outlives the layer's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_kept_no_longer_than_by_the_layer() {
    let shop = Shop::open().await;
    let mut browser = Chromium::start().await;
    shop.ask(Method::GET, "/script.js", "").await;
    shop.clock.advance(seconds(20));
    let visit = browser.visit(&shop.url("/script.js")).await;
    assert_eq!(
        (&*visit[0].headers["cache-control"], &*visit[0].headers["age"]),
        ("max-age=60", "20")
    );
    assert_eq!(
        browser.visit(&shop.url("/script.js")).await[0].source(),
        Source::OwnCache
    );
}
