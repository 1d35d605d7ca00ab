//! What a real exporter for Prometheus makes of the metrics.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use cache_core::testing::FaultyBackend;
use cache_core::{
    Backend, Capabilities, Error, ErrorKind, Key, ManualClock, Record, Scope, SetOptions, SetOutcome, Value,
    async_trait,
};
use cache_engine::{AdapterEvent, Cache};
use cache_memory::MemoryBackend;
use cache_metrics::{CacheMetrics, LOAD_BUCKETS, LOAD_DURATION};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

fn exporter() -> (PrometheusRecorder, PrometheusHandle) {
    let builder = PrometheusBuilder::new().with_recommended_naming(true);
    let matcher = Matcher::Full(LOAD_DURATION.to_owned());
    let recorder = builder
        .set_buckets_for_metric(matcher, &LOAD_BUCKETS)
        .unwrap()
        .build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
}

/// The value of a series, by its whole name with labels.
fn value(page: &str, series: &str) -> Option<f64> {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// Runs `test` with the recorder installed for this thread.
fn with(recorder: &PrometheusRecorder, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(recorder, || runtime.block_on(test));
}

async fn use_it(cache: &Cache) {
    let users = cache.with_namespace("users");
    for _ in 0..3 {
        users
            .get_or_load("secret key", || async { Ok::<_, Infallible>(1) })
            .await
            .unwrap();
    }
    users
        .get_or_load("fails", || async { Err::<i32, _>("as planned") })
        .await
        .unwrap_err();
    cache.invalidate_tag("secret tag").await.unwrap();
    let adapter = cache.adapter();
    adapter.report_bypass("method");
    adapter.report(&users.key("secret key"), AdapterEvent::Refused("private"));
}

#[test]
fn counters_histograms_and_gauges() {
    let (recorder, exporter) = exporter();
    with(&recorder, async {
        let metrics = CacheMetrics::new();
        let cache = Cache::builder(MemoryBackend::default())
            .name("shop")
            .observer(metrics.clone())
            .build();
        let page = || {
            metrics.publish();
            exporter.render()
        };
        // All counters are there from the start, so that their first increase is seen.
        let miss = "cache_requests_total{cache_name=\"shop\",cache_request_type=\"miss\"}";
        assert_eq!(value(&page(), miss), Some(0.0));

        for round in [1.0, 2.0] {
            use_it(&cache).await;
            let page = page();
            let hits = "cache_requests_total{cache_name=\"shop\",cache_request_type=\"hit\",cache_tier=\"store\"}";
            // In the second round, what the first has stored is a hit.
            assert_eq!(value(&page, hits), Some(if round < 2.0 { 2.0 } else { 5.0 }), "{page}");
            assert_eq!(value(&page, miss), Some(if round < 2.0 { 2.0 } else { 3.0 }));
            for (series, each) in [
                (
                    "cache_requests_total{cache_name=\"shop\",cache_request_type=\"bypass\",reason=\"method\"}",
                    1.0,
                ),
                ("cache_refused_total{cache_name=\"shop\",reason=\"private\"}", 1.0),
                (
                    "cache_invalidations_total{cache_name=\"shop\",cache_invalidation_type=\"tag\"}",
                    1.0,
                ),
                (
                    "cache_load_duration_seconds_count{cache_name=\"shop\",cache_load_outcome=\"error\"}",
                    1.0,
                ),
            ] {
                assert_eq!(value(&page, series), Some(each * round), "{series}\n{page}");
            }
            assert!(value(&page, "cache_entry_count{cache_name=\"shop\",cache_tier=\"store\"}").unwrap() >= 1.0);
            assert!(value(&page, "cache_size_bytes{cache_name=\"shop\",cache_tier=\"store\"}").unwrap() > 0.0);
            assert_eq!(
                value(
                    &page,
                    "cache_breaker_open{cache_name=\"shop\",cache_operation=\"read\"}"
                ),
                Some(0.0)
            );
            // With the buckets that were set.
            let bucket =
                "cache_load_duration_seconds_bucket{cache_name=\"shop\",cache_load_outcome=\"ok\",le=\"0.001\"}";
            assert!(value(&page, bucket).is_some(), "{page}");
            assert!(!page.contains("secret"), "no key and no tag");
        }
    });
}

#[test]
fn several_caches_and_a_cache_that_is_gone() {
    let (recorder, exporter) = exporter();
    with(&recorder, async {
        let metrics = CacheMetrics::new();
        let build = |name: &str| {
            let builder = Cache::builder(MemoryBackend::default()).name(name);
            builder.observer(metrics.clone()).build()
        };
        let caches = [build("a"), build("b"), build("b")];
        for cache in &caches {
            use_it(cache).await;
        }
        metrics.publish();
        drop(caches);
        metrics.publish();
        let page = exporter.render();
        let misses = |name| {
            let series = format!("cache_requests_total{{cache_name=\"{name}\",cache_request_type=\"miss\"}}");
            value(&page, &series)
        };
        // Two of one name are one in the metrics.
        assert_eq!((misses("a"), misses("b")), (Some(2.0), Some(4.0)), "{page}");
        assert!(format!("{metrics:?}").contains("caches: 0"), "{metrics:?}");
    });
}

#[test]
fn gauges_of_caches_with_one_name() {
    let (recorder, exporter) = exporter();
    with(&recorder, async {
        let metrics = CacheMetrics::new();
        let build = |store: FaultyBackend<MemoryBackend>| {
            let builder = Cache::builder(store).clock(ManualClock::new());
            let builder = builder.breaker(1, Duration::from_secs(60));
            builder.observer(metrics.clone()).build()
        };
        let store = || FaultyBackend::new(MemoryBackend::builder().clock(ManualClock::new()).build());
        let (broken, healthy) = (store(), store());
        let caches = [build(broken.clone()), build(healthy.clone())];
        for cache in &caches {
            cache.get::<i32>("key").await.unwrap();
        }
        broken.fail(ErrorKind::Unavailable);
        caches[0].invalidate("key").await.unwrap_err();
        let value = |series: &str| {
            metrics.publish();
            value(&exporter.render(), &format!("{series}{{cache_name=\"cache\"}}"))
        };
        let is_open = |operation: &str| {
            metrics.publish();
            let series = format!("cache_breaker_open{{cache_name=\"cache\",cache_operation=\"{operation}\"}}");
            self::value(&exporter.render(), &series)
        };
        // Published last, the healthy one would hide the other.
        assert_eq!(
            (is_open("write"), value("cache_invalidations_pending")),
            (Some(1.0), Some(1.0))
        );
        healthy.fail(ErrorKind::Unavailable);
        caches[1].invalidate("key").await.unwrap_err();
        assert_eq!(value("cache_invalidations_pending"), Some(2.0));
        // A cache that is gone lacks nothing.
        drop(caches);
        while is_open("write") != Some(0.0) {
            tokio::task::yield_now().await;
        }
        assert_eq!(value("cache_invalidations_pending"), Some(0.0));
    });
}

/// A store that has another name in metrics than in errors.
#[derive(Debug)]
struct Renamed(FaultyBackend<MemoryBackend>);

#[async_trait]
impl Backend for Renamed {
    async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        self.0.get(key).await
    }

    async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        self.0.set(key, value, options).await
    }

    async fn delete(&self, key: &Key) -> Result<bool, Error> {
        self.0.delete(key).await
    }

    async fn clear(&self, scope: &Scope) -> Result<u64, Error> {
        self.0.clear(scope).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn name(&self) -> &'static str {
        "renamed"
    }

    fn system_name(&self) -> &'static str {
        "test.renamed"
    }
}

#[test]
fn calls_of_the_store_and_an_open_breaker() {
    let (recorder, exporter) = exporter();
    with(&recorder, async {
        let metrics = CacheMetrics::new();
        let store = FaultyBackend::new(MemoryBackend::builder().clock(ManualClock::new()).build());
        let cache = Cache::builder(Renamed(store.clone()))
            .clock(ManualClock::new())
            .breaker(1, Duration::from_secs(60))
            .observer(metrics.clone())
            .build();
        cache.get::<i32>("key").await.unwrap();
        store.fail(ErrorKind::Unavailable);
        cache
            .get_or_load("key", || async { Ok::<_, Infallible>(1) })
            .await
            .unwrap();
        metrics.publish();
        let page = exporter.render();
        let names = "cache_name=\"cache\",db_system_name=\"test.renamed\",db_operation_name=\"get\"";
        let calls = |more| {
            value(
                &page,
                &format!("db_client_operation_duration_seconds_count{{{names}{more}}}"),
            )
        };
        assert_eq!(
            (calls(""), calls(",error_type=\"unavailable\"")),
            (Some(1.0), Some(1.0)),
            "{page}"
        );
        for operation in ["read", "write"] {
            let series = format!("cache_breaker_open{{cache_name=\"cache\",cache_operation=\"{operation}\"}}");
            assert_eq!(value(&page, &series), Some(1.0));
        }
        assert_eq!(
            value(
                &page,
                "cache_requests_total{cache_name=\"cache\",cache_request_type=\"outage\"}"
            ),
            Some(1.0)
        );
    });
}

#[test]
fn namespaces_are_labels_if_asked_for_and_bounded() {
    let (recorder, exporter) = exporter();
    with(&recorder, async {
        let metrics = CacheMetrics::new().with_namespaces(true);
        let cache = Cache::builder(MemoryBackend::default())
            .observer(metrics.clone())
            .build();
        for n in 0..1_100 {
            cache
                .with_namespace(&format!("tenant {n}"))
                .get::<i32>("key")
                .await
                .unwrap();
        }
        metrics.publish();
        let page = exporter.render();
        let namespaces: BTreeSet<_> = page
            .lines()
            .filter_map(|line| line.split("cache_namespace=\"").nth(1)?.split('"').next())
            .collect();
        assert_eq!(namespaces.len(), 1_001);
        assert!(namespaces.contains("tenant 1") && namespaces.contains("!other"));
    });
}

#[test]
fn published_at_intervals() {
    let (recorder, exporter) = exporter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let metrics = CacheMetrics::new();
            let cache = Cache::builder(MemoryBackend::default())
                .observer(metrics.clone())
                .build();
            tokio::spawn(metrics.publish_every(Duration::from_secs(10)));
            tokio::task::yield_now().await;
            let miss = "cache_requests_total{cache_name=\"cache\",cache_request_type=\"miss\"}";
            assert_eq!(value(&exporter.render(), miss), Some(0.0));
            cache.get::<i32>("key").await.unwrap();
            assert_eq!(value(&exporter.render(), miss), Some(0.0));
            tokio::time::sleep(Duration::from_secs(11)).await;
            assert_eq!(value(&exporter.render(), miss), Some(1.0));
        });
    });
}
