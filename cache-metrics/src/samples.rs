//! The counters and gauges of a snapshot.

use cache_engine::{BreakerState, ByTier, CacheStats, CacheTier, NamespaceStats, SubscriptionState};

use crate::names;

/// The labels of a metric, without the name of the cache.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// Returns the counters of `stats`: name, labels and value. If `by_namespace`, those of each namespace.
pub(crate) fn counters(stats: &CacheStats, by_namespace: bool) -> Vec<(&'static str, Labels, u64)> {
    let mut samples = Vec::new();
    if by_namespace {
        for namespace in &stats.namespaces {
            let label = (names::NAMESPACE, namespace.namespace.clone());
            of_namespace(namespace, &[label], &mut samples);
        }
    } else {
        of_namespace(&stats.total(), &[], &mut samples);
    }
    let of_type = |kind: &str| vec![(names::INVALIDATION_TYPE, kind.to_owned())];
    samples.push((names::INVALIDATIONS, of_type("tag"), stats.tag_invalidations));
    samples.push((names::INVALIDATIONS, of_type("everything"), stats.clears));
    samples.push((names::STORE_FAILURES, Vec::new(), stats.store_failures));
    let of_codec = |operation: &str| vec![(names::CODEC_OPERATION, operation.to_owned())];
    samples.push((names::CODEC_FAILURES, of_codec("decode"), stats.decode_failures));
    samples.push((names::CODEC_FAILURES, of_codec("encode"), stats.encode_failures));
    samples
}

fn of_namespace(
    stats: &NamespaceStats,
    common: &[(&'static str, String)],
    samples: &mut Vec<(&'static str, Labels, u64)>,
) {
    let mut add = |name, labels: &[(&'static str, &str)], value| {
        let labels = labels.iter().map(|(label, value)| (*label, (*value).to_owned()));
        samples.push((name, common.iter().cloned().chain(labels).collect(), value));
    };
    let requests = |kind| (names::REQUEST_TYPE, kind);
    let tier = |tier: CacheTier| (names::TIER, tier.as_str());
    let ByTier { near, store, .. } = stats.hits;
    add(names::REQUESTS, &[requests("hit"), tier(CacheTier::Near)], near);
    add(names::REQUESTS, &[requests("hit"), tier(CacheTier::Store)], store);
    add(
        names::REQUESTS,
        &[requests("stale"), tier(CacheTier::Store)],
        stats.stale,
    );
    let negative = [requests("negative"), tier(CacheTier::Store)];
    add(names::REQUESTS, &negative, stats.negative_hits);
    add(names::REQUESTS, &[requests("miss")], stats.misses);
    add(names::REQUESTS, &[requests("outage")], stats.outages);
    for (reason, count) in &stats.bypasses {
        add(names::REQUESTS, &[requests("bypass"), (names::REASON, reason)], *count);
    }
    add(names::COALESCED, &[], stats.coalesced);
    add(names::STALE_IF_ERROR, &[], stats.stale_if_error);
    add(names::LOADS, &[], stats.loads_started);
    add(names::STORED, &[], stats.stored);
    add(names::FENCED, &[], stats.fenced);
    add(names::DIVERGED, &[], stats.diverged);
    for (reason, count) in &stats.refused {
        add(names::REFUSED, &[(names::REASON, reason)], *count);
    }
    add(names::REVALIDATED, &[], stats.revalidated);
    add(names::NOT_MODIFIED, &[], stats.not_modified);
    let by_key = [(names::INVALIDATION_TYPE, "key")];
    add(names::INVALIDATIONS, &by_key, stats.invalidations);
    let ByTier { near, store, .. } = stats.evictions;
    add(names::EVICTIONS, &[tier(CacheTier::Near)], near);
    add(names::EVICTIONS, &[tier(CacheTier::Store)], store);
}

/// The value of a gauge, and what several caches of one name have together.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gauge {
    /// A number of something: the sum.
    Count(f64),
    /// 1 if something is wrong: the worst.
    Fault(f64),
    /// 1 if all is well: the worst.
    Health(f64),
}

impl Gauge {
    pub(crate) fn value(self) -> f64 {
        match self {
            Self::Count(value) | Self::Fault(value) | Self::Health(value) => value,
        }
    }

    /// Returns the value of no cache.
    pub(crate) fn of_none(self) -> f64 {
        match self {
            Self::Count(_) | Self::Fault(_) => 0.0,
            Self::Health(_) => 1.0,
        }
    }

    /// Returns the value of the cache and an `other` one.
    pub(crate) fn and(self, other: Self) -> Self {
        match self {
            Self::Count(value) => Self::Count(value + other.value()),
            Self::Fault(value) => Self::Fault(value.max(other.value())),
            Self::Health(value) => Self::Health(value.min(other.value())),
        }
    }
}

/// Returns the gauges of `stats`: name, labels and value.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
pub(crate) fn gauges(stats: &CacheStats) -> Vec<(&'static str, Labels, Gauge)> {
    let count = |number: u64| Gauge::Count(number as f64);
    let count_of = |number: usize| Gauge::Count(number as f64);
    let mut samples = Vec::new();
    let usages = [
        (CacheTier::Near, stats.near_usage),
        (CacheTier::Store, stats.store_usage),
    ];
    for (tier, usage) in usages {
        let Some(usage) = usage else { continue };
        let labels = vec![(names::TIER, tier.as_str().to_owned())];
        samples.push((names::ENTRY_COUNT, labels.clone(), count(usage.entries)));
        samples.push((names::SIZE, labels, count(usage.bytes)));
    }
    let is_open = |open: bool| if open { 1.0 } else { 0.0 };
    let of = |operation: &str| vec![(names::OPERATION, operation.to_owned())];
    let reads = is_open(stats.breaker == BreakerState::Open);
    let writes = is_open(stats.breaker != BreakerState::Closed);
    samples.push((names::BREAKER_OPEN, of("read"), Gauge::Fault(reads)));
    samples.push((names::BREAKER_OPEN, of("write"), Gauge::Fault(writes)));
    // One that nobody needs is not lost.
    if !matches!(
        stats.subscription,
        SubscriptionState::Unsupported | SubscriptionState::NotBegun
    ) {
        let is_active = is_open(stats.subscription == SubscriptionState::Active);
        samples.push((names::SUBSCRIPTION_ACTIVE, Vec::new(), Gauge::Health(is_active)));
    }
    if stats.feeds > 0 {
        samples.push((names::FEEDS_LOST, Vec::new(), count_of(stats.lost_feeds)));
    }
    samples.push((names::PENDING, Vec::new(), count_of(stats.pending_invalidations)));
    samples.push((names::PURGES_PENDING, Vec::new(), count_of(stats.pending_purges)));
    samples.push((names::IN_FLIGHT, Vec::new(), count_of(stats.in_flight)));
    samples
}
