//! The metrics of a Larder cache, through the facade [`metrics`].
//!
//! Whatever exporter your service has installed gets them: Prometheus, OpenTelemetry, StatsD and others.
//!
//! ```
//! use cache_engine::Cache;
//! use cache_memory::MemoryBackend;
//! use cache_metrics::{CacheMetrics, LOAD_BUCKETS, LOAD_DURATION, STORE_BUCKETS, STORE_DURATION};
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let prometheus = PrometheusBuilder::new()
//!     .with_recommended_naming(true)
//!     .set_buckets_for_metric(Matcher::Full(LOAD_DURATION.to_owned()), &LOAD_BUCKETS)?
//!     .set_buckets_for_metric(Matcher::Full(STORE_DURATION.to_owned()), &STORE_BUCKETS)?
//!     .install_recorder()?;
//!
//! let cache_metrics = CacheMetrics::new();
//! let cache = Cache::builder(MemoryBackend::default())
//!     .name("shop")
//!     .observer(cache_metrics.clone())
//!     .build();
//! cache.get::<String>("missing").await?;
//!
//! // In the handler of `/metrics`:
//! cache_metrics.publish();
//! let page = prometheus.render();
//! assert!(page.contains(r#"cache_requests_total{cache_name="shop",cache_request_type="miss"} 1"#), "{page}");
//! # Ok(()) }
//! ```
//!
//! # What costs what
//!
//! The cache counts by itself, so a hit with metrics costs a few nanoseconds more than one without.
//! [`CacheMetrics::publish`] passes on what was counted since it was called last. Call it before your exporter is
//! asked, or let [`CacheMetrics::publish_every`] do it for exporters that push. Durations are recorded as they happen.
//!
//! # The metrics
//!
//! Every metric has the label `cache.name`, the [name](cache_engine::CacheBuilder::name) of the cache. No label contains
//! anything of a key, a tag or a request, and all have few values. Exporters for Prometheus write names with underscores.
//!
//! | counter | counts | further labels |
//! |---|---|---|
//! | `cache.requests` | requests; each has one type | `cache.request.type`: `hit`, `stale`, `negative`, `miss`, `bypass`, `outage`; `cache.tier` of the first three: `near`, `store`, where only hits are ever `near`; `reason` of a bypass |
//! | `cache.coalesced` | misses and outages that waited for the load of another caller | |
//! | `cache.stale_if_error` | misses and outages that were answered with a stale value, because the load failed or took too long | |
//! | `cache.loads` | loads that began, including refreshes in the background | |
//! | `cache.stored` | values that were stored | |
//! | `cache.fenced` | loaded values that were not stored, because of an invalidation or a write | |
//! | `cache.diverged` | hits that were verified, and differed from their source | |
//! | `cache.refused` | responses that were not stored | `reason` |
//! | `cache.revalidated` | stale responses that the handler confirmed | |
//! | `cache.not_modified` | requests that were answered with status 304 | |
//! | `cache.invalidations` | invalidations | `cache.invalidation.type`: `key` (and namespaces), `tag`, `everything` |
//! | `cache.evictions` | records that were evicted to make room | `cache.tier` |
//! | `cache.store.failures` | calls of the store that failed | |
//! | `cache.codec.failures` | records that could not be decoded, values that could not be encoded | `cache.codec.operation`: `decode`, `encode` |
//!
//! | histogram, in seconds | of | further labels |
//! |---|---|---|
//! | `cache.load.duration` | loads | `cache.load.outcome`: `ok`, `error`, `panic`, `timeout`, `cancelled` |
//! | `db.client.operation.duration` | calls of a store outside of this process | OpenTelemetry's `db.system.name`, `db.operation.name`; `error.type` if the call failed |
//!
//! | gauge | is | further labels |
//! |---|---|---|
//! | `cache.entry.count` | the number of entries, in tiers in this process | `cache.tier` |
//! | `cache.size` | their size in bytes | `cache.tier` |
//! | `cache.breaker.open` | 1 if the circuit breaker prevents such calls of the store, else 0 | `cache.operation`: `read`, `write` |
//! | `cache.subscription.active` | 1 if the store reports changes now, else 0; only for stores that can, once the cache needs it: with a near tier, or when a call waits for a load in another process | |
//! | `cache.feeds.lost` | [change feeds](cache_engine::Cache::follow) that have no connection; only for caches that follow one | |
//! | `cache.invalidations.pending` | invalidations that the store has not carried out yet | |
//! | `cache.purges.pending` | invalidations that the purger, if there is one, was not told of yet | |
//! | `cache.loads.in_flight` | loads that are under way | |
//!
//! Beside the crate, `dashboards/grafana.json` is a dashboard for Grafana and `alerts/prometheus.yml` has rules for
//! Prometheus. Both expect the names that `with_recommended_naming(true)` gives.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod names;
mod observer;
mod publish;
mod samples;

pub use self::names::{LOAD_BUCKETS, LOAD_DURATION, STORE_BUCKETS, STORE_DURATION};
pub use self::publish::CacheMetrics;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
