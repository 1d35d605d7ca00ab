//! The metrics of caches under load, as a real Prometheus sees them: every query of the dashboard, and every alert, finds
//! what it is about. `scripts/prometheus` installs one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use cache_axum::CacheLayer;
use cache_core::{Backend, Error, ErrorKind, SetOptions, Value, async_trait};
use cache_engine::{Cache, ChangeFeed, Invalidation, Purge, Purger};
use cache_memory::MemoryBackend;
use cache_metrics::{CacheMetrics, LOAD_BUCKETS, LOAD_DURATION, STORE_BUCKETS, STORE_DURATION};
use cache_redis::RedisBackend;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use integration_tests::Redis;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::net::{TcpListener, TcpStream};

const CRATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cache-metrics");
const PATIENCE: Duration = Duration::from_secs(60);

/// What replaces the ranges of queries: the test does not take minutes.
const RANGE: &str = "10s";

/// A Prometheus that scrapes one address. It ends with the value.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Prometheus {
    fn start(scraped: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let folder = std::env::temp_dir().join(format!("cache-test-prometheus-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let configuration = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 500ms}}\n\
             rule_files: ['{CRATE}/alerts/prometheus.yml']\n\
             scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{scraped}']}}]}}]\n"
        );
        std::fs::write(folder.join("prometheus.yml"), configuration).unwrap();
        let program = std::env::var("CACHE_TEST_PROMETHEUS").unwrap_or_else(|_| "prometheus".to_owned());
        let process = Command::new(&program)
            .current_dir(&folder)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start ({error}): run scripts/prometheus"));
        Self {
            process,
            address,
            folder,
        }
    }

    /// Asks the HTTP API, and returns its `data`.
    async fn ask(&self, path: &str) -> Option<serde_json::Value> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", "test")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let body = sender
            .send_request(request)
            .await
            .ok()?
            .into_body()
            .collect()
            .await
            .ok()?;
        let answer: serde_json::Value = serde_json::from_slice(&body.to_bytes()).ok()?;
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        Some(answer["data"].clone())
    }

    /// The values that a query returns now.
    async fn query(&self, query: &str) -> Vec<f64> {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let Some(data) = self.ask(&format!("/api/v1/query?query={query}")).await else {
            return Vec::new();
        };
        let results = data["result"].as_array().unwrap();
        let value = |result: &serde_json::Value| result["value"][1].as_str().unwrap().parse().unwrap();
        results.iter().map(value).collect()
    }

    /// Waits until a query returns a value that is `right`.
    async fn until(&self, what: &str, query: &str, right: impl Fn(f64) -> bool) {
        let begun = Instant::now();
        loop {
            let values = self.query(query).await;
            if values.iter().any(|value| right(*value)) {
                return;
            }
            if begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                panic!("{what}: {query} returns {values:?}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The panels of the dashboard: title and queries.
fn panels() -> Vec<(String, Vec<String>)> {
    let dashboard = std::fs::read(Path::new(CRATE).join("dashboards/grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let panel = |panel: &serde_json::Value| {
        let targets = panel["targets"].as_array().unwrap();
        let query = |target: &serde_json::Value| {
            text(&target["expr"])
                .replace("$__rate_interval", RANGE)
                .replace("$cache", ".*")
        };
        (text(&panel["title"]), targets.iter().map(query).collect())
    };
    dashboard["panels"].as_array().unwrap().iter().map(panel).collect()
}

/// Replaces the ranges of an alert's query.
fn shortened(query: &str) -> String {
    query
        .replace("[5m]", &format!("[{RANGE}]"))
        .replace("[15m]", &format!("[{RANGE}]"))
}

fn respond(calls: &AtomicU64, request: &Request<Body>) -> Response {
    calls.fetch_add(1, Ordering::Relaxed);
    if request.headers().contains_key("if-none-match") {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    match request.uri().path() {
        "/private" => ([("cache-control", "private")], "mine").into_response(),
        "/brief" => (
            [("etag", "\"1\""), ("cache-control", "max-age=1, stale-if-error=60")],
            "brief",
        )
            .into_response(),
        _ => ([("etag", "\"1\"")], "page").into_response(),
    }
}

/// A purger whose CDN is away.
struct Away;

#[async_trait]
impl Purger for Away {
    async fn purge(&self, _: &[Purge]) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Unavailable, "as planned"))
    }
}

/// Everything that a dashboard shows, again and again.
async fn load(cache: Cache, small: Cache, pages: Router, is_slow: Arc<AtomicBool>) {
    use tower::ServiceExt;
    let fast = || async { Ok::<_, Infallible>(1_u64) };
    let values = cache.with_namespace("values");
    let brief = values.policy_with(|policy| {
        policy
            .with_ttl(Duration::from_millis(50))
            .with_stale_while_revalidate(Duration::from_secs(60))
    });
    let spare = values.policy_with(|policy| {
        policy
            .with_ttl(Duration::from_millis(1))
            .with_stale_if_error(Duration::from_secs(60))
    });
    let absent = values.policy_with(|policy| policy.with_negative_ttl(Duration::from_secs(60)));
    let broken = values.key("broken");
    let page = |path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::get(path).header("host", "shop");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        pages.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    for turn in 0_u64.. {
        let _ = values.get_or_load("constant", fast).await;
        let _ = values.get_or_load(format!("{turn}"), fast).await;
        let _ = brief.get_or_load("brief", fast).await;
        if turn == 0 {
            let _ = spare.set("spare", 1_u64).await;
        }
        let _ = spare
            .get_or_load("spare", || async { Err::<u64, _>("as planned") })
            .await;
        let _ = values
            .get_or_load("fails", || async { Err::<u64, _>("as planned") })
            .await;
        let _ = absent
            .get_or_load_optional("nobody", || async { Ok::<Option<u64>, Infallible>(None) })
            .await;
        // Two at once, so that one waits.
        let name = format!("shared {turn}");
        let waiting = || async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok::<_, Infallible>(1_u64)
        };
        let _ = tokio::join!(values.get_or_load(&name, waiting), values.get_or_load(&name, waiting));
        let garbage = Value::Bytes(Bytes::from_static(b"?"));
        let _ = cache
            .backend()
            .set(&broken, garbage, SetOptions::new(Duration::from_secs(60)))
            .await;
        let _ = values.get::<u64>("broken").await;
        let _ = cache.invalidate_tag("tag").await;
        let _ = values.invalidate(format!("{turn}")).await;
        let _ = small.get_or_load(format!("{turn}"), fast).await;
        for (path, headers) in [
            ("/", &[][..]),
            ("/", &[("if-none-match", "\"1\"")][..]),
            ("/private", &[]),
            ("/brief", &[]),
            ("/", &[("if-match", "\"1\"")]),
        ] {
            let response = page(path, headers).await.unwrap();
            let _ = response.into_body().collect().await;
        }
        if is_slow.load(Ordering::Relaxed) && turn % 10 == 0 {
            let _ = small.invalidate_tag("tag").await;
            let values = values.clone();
            tokio::spawn(async move {
                let slow = || async {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    Ok::<_, Infallible>(1_u64)
                };
                let _ = values.get_or_load(format!("slow {turn}"), slow).await;
            });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A change feed that is connected while nothing is wrong.
struct Feed(Arc<AtomicBool>);

impl ChangeFeed for Feed {
    type Error = &'static str;

    async fn connect(&mut self) -> Result<(), Self::Error> {
        self.check().await
    }

    async fn next(&mut self) -> Result<Option<Invalidation>, Self::Error> {
        std::future::pending().await
    }

    async fn check(&mut self) -> Result<(), Self::Error> {
        match self.0.load(Ordering::Relaxed) {
            true => Err("as planned"),
            false => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_and_the_alerts_see_a_store_that_works_and_one_that_is_down() {
    let redis = Redis::start().await;
    let exporter = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(Matcher::Full(LOAD_DURATION.to_owned()), &LOAD_BUCKETS)
        .unwrap()
        .set_buckets_for_metric(Matcher::Full(STORE_DURATION.to_owned()), &STORE_BUCKETS)
        .unwrap()
        .install_recorder()
        .unwrap();
    let metrics = CacheMetrics::new();
    let backend = RedisBackend::builder().url(redis.url()).connect().await.unwrap();
    let cache = Cache::builder(backend)
        .prefix("shop")
        .near(MemoryBackend::default())
        .backend_timeout(Duration::from_millis(200))
        .observer(metrics.clone())
        .build();
    // Needs no subscription, so it has lost none.
    let backend = RedisBackend::builder().url(redis.url()).connect().await.unwrap();
    let plain = Cache::builder(backend).name("plain").prefix("plain").observer(metrics.clone()).build();
    plain.get_or_load("key", || async { Ok::<_, Infallible>(1_u64) }).await.unwrap();
    let small = Cache::builder(MemoryBackend::builder().max_entries(10).build())
        .name("small")
        .purger(Away)
        .observer(metrics.clone())
        .build();
    let calls = Arc::new(AtomicU64::new(0));
    let pages = Router::new()
        .fallback(move |request: Request<Body>| {
            let response = respond(&calls, &request);
            async { response }
        })
        .layer(CacheLayer::new(cache.clone()).stale_while_revalidate(Duration::ZERO));
    let is_slow = Arc::new(AtomicBool::new(false));
    let follow = cache.follow(
        Feed(Arc::clone(&is_slow)),
        cache.invalidation().add_namespace("followed"),
    );
    let following = tokio::spawn(follow.with_check_interval(Duration::from_millis(50)).run());
    let loading = tokio::spawn(load(cache.clone(), small, pages, Arc::clone(&is_slow)));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let page = move || async move {
        metrics.publish();
        exporter.render()
    };
    let serving = tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(page))).await });
    let prometheus = Prometheus::start(address);

    // A store that works.
    for (title, queries) in panels() {
        for query in queries {
            // Where a service without faults shows zeros.
            let is_calm = ["Circuit breaker", "Pending invalidations", "Failures of the store"].contains(&&*title)
                || query.contains("in_flight")
                || query.contains("cache_fenced_total")
                || query.contains("encode");
            if title == "Failures of the store" && query.contains("error_type") {
                continue;
            }
            prometheus
                .until(&title, &query, |value| if is_calm { value >= 0.0 } else { value > 0.0 })
                .await;
        }
    }
    let rules = prometheus.ask("/api/v1/rules").await.unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), 11);
    let faults = [
        "CacheBreakerOpen",
        "CacheInvalidationsPending",
        "CachePurgesPending",
        "CacheOutages",
        "CacheStoreFailing",
        "CacheSubscriptionLost",
        "CacheFeedLost",
        "CacheLoadsSlow",
    ];
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        let name = rule["name"].as_str().unwrap();
        if faults.contains(&name) {
            let query = shortened(rule["query"].as_str().unwrap());
            assert_eq!(
                prometheus.query(&query).await,
                Vec::<f64>::new(),
                "{name} without a fault"
            );
        }
    }

    // One that is down.
    is_slow.store(true, Ordering::Relaxed);
    redis.kill().await;
    for rule in &rules {
        let name = rule["name"].as_str().unwrap();
        // Without its store, nothing of this cache is found, nor is what no longer is there unreadable.
        let query = shortened(rule["query"].as_str().unwrap());
        if name != "CacheRecordsUnreadable" {
            prometheus.until(name, &query, |_| true).await;
        }
    }
    for (title, queries) in panels() {
        if ["Circuit breaker", "Pending invalidations", "Failures of the store"].contains(&&*title) {
            for query in queries {
                prometheus.until(&title, &query, |value| value > 0.0).await;
            }
        }
    }
    let is_told = |rules: &serde_json::Value| {
        let rules = rules["groups"][0]["rules"].as_array().unwrap();
        rules
            .iter()
            .any(|rule| rule["name"] == "CacheBreakerOpen" && rule["state"] != "inactive")
    };
    assert!(is_told(&prometheus.ask("/api/v1/rules").await.unwrap()));

    loading.abort();
    following.abort();
    serving.abort();
}
