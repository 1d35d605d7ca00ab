//! Invalidations reach the copies of a real Varnish in front of the application, by the keys that its responses carry.
//! `scripts/varnish` installs one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use cache_axum::cache_engine::{Cache, CacheBuilder};
use cache_axum::{CacheLayer, HttpPurger, SurrogateKeys};
use cache_memory::MemoryBackend;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const HOUR: Duration = Duration::from_secs(3600);
const TOKEN: &str = "the-purge-token";

fn keys() -> SurrogateKeys {
    SurrogateKeys::surrogate_key().prefix("shop/")
}

/// A Varnish in front of an application.
struct Varnish {
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Varnish {
    /// Starts one on a free port.
    fn start(application: SocketAddr) -> Self {
        let program = std::env::var("CACHE_TEST_VARNISHD").unwrap_or_else(|_| "varnishd".to_owned());
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let folder = std::env::temp_dir().join(format!("cache-test-varnish-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&folder).unwrap();
        let configuration = folder.join("default.vcl");
        std::fs::write(&configuration, vcl(application)).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let process = Command::new(&program)
            .arg("-F")
            .arg("-n")
            .arg(folder.join("work"))
            .arg("-f")
            .arg(&configuration)
            .args(["-a", &address.to_string(), "-s", "malloc,64m", "-j", "none"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start ({error}): run scripts/varnish"));
        let mut varnish = Self {
            process,
            address,
            folder,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            let has_ended = varnish.process.try_wait().unwrap().is_some();
            let log = || std::fs::read_to_string(varnish.folder.join("log")).unwrap_or_default();
            assert!(
                !has_ended && Instant::now() < deadline,
                "Varnish does not listen: {}",
                log()
            );
            thread::sleep(Duration::from_millis(20));
        }
        varnish
    }

    async fn ask(&self, method: Method, path: &str) -> Answer {
        let stream = TokioIo::new(tokio::net::TcpStream::connect(self.address).await.unwrap());
        let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "shop.test");
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let (head, body) = client.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let field = |name: &str| {
            let value = head.headers.get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        Answer {
            text: String::from_utf8(body.to_vec()).unwrap(),
            is_copy: field("x-hits").is_some_and(|hits| hits != "0"),
            keys: field("surrogate-key"),
        }
    }

    /// Returns the page, which Varnish then has a copy of.
    async fn warm(&self, path: &str) -> String {
        let first = self.ask(Method::GET, path).await;
        let again = self.ask(Method::GET, path).await;
        assert!(again.is_copy, "Varnish has a copy of {path}");
        assert_eq!(again.text, first.text);
        assert_eq!(again.keys, None, "browsers do not see the keys");
        again.text
    }
}

impl Drop for Varnish {
    fn drop(&mut self) {
        // Its child ends with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[derive(Debug)]
struct Answer {
    text: String,
    is_copy: bool,
    keys: Option<String>,
}

/// The configuration that the documentation of `HttpPurger` has.
fn vcl(application: SocketAddr) -> String {
    let (host, port) = (application.ip(), application.port());
    format!(
        r#"
vcl 4.1;
import xkey;
backend default {{ .host = "{host}"; .port = "{port}"; }}
sub vcl_recv {{
    if (req.method == "PURGE") {{
        if (req.http.Authorization != "Bearer {TOKEN}") {{ return (synth(403)); }}
        if (req.http.Surrogate-Soft) {{ set req.http.n = xkey.softpurge(req.http.Surrogate-Key); }}
        else {{ set req.http.n = xkey.purge(req.http.Surrogate-Key); }}
        return (synth(200));
    }}
}}
sub vcl_backend_response {{
    set beresp.http.xkey = beresp.http.Surrogate-Key;
    # A copy that was softly purged is not used at all, so that the test sees it.
    set beresp.grace = 0s;
    set beresp.keep = 0s;
}}
sub vcl_deliver {{
    set resp.http.X-Hits = obj.hits;
    unset resp.http.xkey;
    unset resp.http.Surrogate-Key;
}}
"#
    )
}

/// A shop behind a Varnish. Its pages are numbered, and are made from a value with the tag `prices`.
struct Shop {
    cache: Cache,
    varnish: Varnish,
    /// A permit for each answer that leaves the application.
    leaving: Arc<Semaphore>,
    /// How many answers are about to leave.
    waiting: Arc<AtomicUsize>,
}

impl Shop {
    /// Starts it with a purger that is made by `purger` once the address of the Varnish is known.
    async fn start(keys: SurrogateKeys, purger: impl Fn(HttpPurger) -> Option<HttpPurger>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let application = listener.local_addr().unwrap();
        let varnish = tokio::task::spawn_blocking(move || Varnish::start(application))
            .await
            .unwrap();
        let purger = purger(
            HttpPurger::new(keys.clone(), [format!("http://{}", varnish.address)])
                .unwrap()
                .bearer_token(TOKEN)
                .unwrap()
                .soft_field(HeaderName::from_static("surrogate-soft"), HeaderValue::from_static("1")),
        );
        let builder: CacheBuilder = Cache::builder(MemoryBackend::default()).ttl(HOUR).tag_namespaces(true);
        let cache = match purger {
            Some(purger) => builder.purger(purger).build(),
            None => builder.build(),
        };
        let layer = CacheLayer::new(cache.clone())
            .namespace("pages")
            .tags_by(|request| vec![format!("page:{}", request.uri.path())])
            .surrogate_keys(keys);
        let (calls, prices) = (
            Arc::new(AtomicUsize::new(0)),
            cache.with_namespace("prices").with_tags(["prices"]),
        );
        let handler = move |request: Request| {
            let (call, prices) = (calls.fetch_add(1, Ordering::SeqCst), prices.clone());
            async move {
                if request.uri().path().starts_with("/priced") {
                    let load = move || async move { Ok::<_, Infallible>(call) };
                    prices.get_or_load("all", load).await.unwrap();
                }
                format!("call {call}")
            }
        };
        let (leaving, waiting) = (
            Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (gate, arrived) = (Arc::clone(&leaving), Arc::clone(&waiting));
        let leave = move |request: Request, next: Next| {
            let (gate, arrived) = (Arc::clone(&gate), Arc::clone(&arrived));
            async move {
                let answer = next.run(request).await;
                arrived.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                answer
            }
        };
        let router = Router::new().fallback(handler).layer(layer).layer(from_fn(leave));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            cache,
            varnish,
            leaving,
            waiting,
        }
    }

    async fn invalidate(&self, what: What) {
        let done = match what {
            What::Tag => self.cache.invalidate_tag("page:/priced/a").await,
            What::PartsTag => self.cache.invalidate_tag("prices").await,
            What::Softly => self.cache.soft().invalidate_tag("page:/priced/a").await,
            What::Namespace => self.cache.clear("pages").await.map(drop),
            What::Everything => self.cache.clear_all().await.map(drop),
            What::Write => {
                self.varnish.ask(Method::POST, "/priced/a").await;
                Ok(())
            }
        };
        done.unwrap();
        self.cache.settled().await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Tag,
    /// The tag of a value that the page is made from.
    PartsTag,
    Softly,
    Namespace,
    Everything,
    /// A POST to the URL.
    Write,
}

const ALL: [What; 6] = [
    What::Tag,
    What::PartsTag,
    What::Softly,
    What::Namespace,
    What::Everything,
    What::Write,
];

#[tokio::test(flavor = "multi_thread")]
async fn each_invalidation_reaches_the_copy_and_no_other() {
    let shop = Shop::start(keys(), Some).await;
    let mut other = shop.varnish.warm("/other").await;
    for what in ALL {
        let old = shop.varnish.warm("/priced/a").await;
        shop.invalidate(what).await;
        assert_eq!(shop.cache.pending_purges(), 0, "{what:?}");
        let new = shop.varnish.ask(Method::GET, "/priced/a").await;
        assert_ne!(new.text, old, "{what:?}");
        let untouched = shop.varnish.ask(Method::GET, "/other").await;
        if matches!(what, What::Namespace | What::Everything) {
            assert_ne!(untouched.text, other, "{what:?}");
            other = shop.varnish.warm("/other").await;
        } else {
            assert_eq!((untouched.is_copy, &untouched.text), (true, &other), "{what:?}");
        }
    }
}

/// The negative control: what the purger is for.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_purger_or_with_one_that_is_refused_the_old_page_stays() {
    let without = Shop::start(keys(), |_| None).await;
    let refused = Shop::start(keys(), |purger| Some(purger.bearer_token("wrong").unwrap())).await;
    for (shop, pending) in [(without, 0), (refused, 1)] {
        let old = shop.varnish.warm("/priced/a").await;
        shop.invalidate(What::Tag).await;
        assert_eq!(shop.cache.pending_purges(), pending);
        let stays = shop.varnish.ask(Method::GET, "/priced/a").await;
        assert_eq!((stays.is_copy, stays.text), (true, old));
    }
}

/// Keys that do not fit are replaced by one that each purge names.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_reaches_a_copy_with_more_tags_than_fit() {
    let shop = Shop::start(keys().max_len(60), Some).await;
    for what in ALL {
        let old = shop.varnish.warm("/priced/a").await;
        shop.invalidate(what).await;
        assert_ne!(shop.varnish.ask(Method::GET, "/priced/a").await.text, old, "{what:?}");
    }
}

/// An answer that was made before an invalidation may reach Varnish after the purge.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_under_way_is_purged_too() {
    for repeats in [true, false] {
        let shop = Shop::start(keys(), |purger| {
            let after = repeats.then(|| Duration::from_secs(2));
            Some(purger.repeats_after(after))
        })
        .await;
        let permits = shop.leaving.available_permits();
        shop.leaving.forget_permits(permits);
        let varnish = Arc::new(shop.varnish);
        let asking = Arc::clone(&varnish);
        let old = tokio::spawn(async move { asking.ask(Method::GET, "/priced/a").await });
        while shop.waiting.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shop.cache.invalidate_tag("page:/priced/a").await.unwrap();
        shop.cache.settled().await;
        shop.leaving.add_permits(permits);
        let old = old.await.unwrap().text;
        let deadline = Instant::now() + Duration::from_secs(if repeats { 60 } else { 5 });
        let now = loop {
            let now = varnish.ask(Method::GET, "/priced/a").await.text;
            if now != old || Instant::now() > deadline {
                break now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        // Without the repetition, Varnish has the old page for an hour.
        assert_eq!(now != old, repeats);
    }
}
