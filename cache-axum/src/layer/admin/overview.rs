//! The figures of the page.

use std::time::Duration;

use cache_engine::cache_core::Usage;
use cache_engine::{CacheStats, NamespaceStats, RecentEvents, RecentInvalidation, RecentRefusal, RecentTarget};
use serde::Serialize;

use crate::response::detail::Detail;

use super::history::{Faults, History, Interval};

/// The most namespaces that are shown.
const MOST_NAMESPACES: usize = 20;

/// All figures of the page. Durations are in seconds.
#[derive(Serialize)]
pub(super) struct Overview {
    cache: String,
    backend: &'static str,
    enabled: bool,
    breaker: &'static str,
    subscription: &'static str,
    feeds: usize,
    lost_feeds: usize,
    pending_invalidations: usize,
    pending_purges: usize,
    in_flight: usize,
    store_failures: u64,
    decode_failures: u64,
    encode_failures: u64,
    /// How many of these there were in the last hour.
    recent_failures: RecentFailures,
    /// The last failed call of the store.
    store_failure: Option<StoreFailure>,
    tag_invalidations: u64,
    clears: u64,
    /// What the store holds, if it is in this process.
    store: Option<Holds>,
    /// What the near tier holds, if there is one.
    near: Option<Holds>,
    since_start: Counts,
    last_hour: Counts,
    /// How far back `last_hour` reaches: an hour, or to the start of the router.
    last_hour_seconds: f64,
    history: Vec<Bar>,
    namespaces: Vec<Namespace>,
    /// How many namespaces are not shown.
    more_namespaces: usize,
    invalidations: Vec<Invalidation>,
    refusals: Vec<Refusal>,
}

#[derive(Serialize)]
struct RecentFailures {
    store: u64,
    decode: u64,
    encode: u64,
}

#[derive(Serialize)]
struct StoreFailure {
    operation: &'static str,
    error: String,
    seconds_ago: f64,
}

#[derive(Serialize)]
struct Holds {
    entries: u64,
    bytes: u64,
}

/// What happened in some time.
#[derive(Serialize)]
struct Counts {
    requests: u64,
    hit_ratio: Option<f64>,
    outcomes: Outcomes,
    coalesced: u64,
    stale_if_error: u64,
    not_modified: u64,
    revalidated: u64,
    loads: Loads,
    stored: u64,
    fenced: u64,
    diverged: u64,
    invalidations: u64,
    evictions: u64,
    refused: Vec<Reason>,
    bypassed: Vec<Reason>,
}

/// Each request is one of these.
#[derive(Serialize)]
struct Outcomes {
    hit_near: u64,
    hit_store: u64,
    stale: u64,
    negative_hit: u64,
    miss: u64,
    outage: u64,
    bypassed: u64,
}

#[derive(Serialize)]
struct Loads {
    ended: u64,
    failed: u64,
    mean: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
}

#[derive(Serialize)]
struct Reason {
    reason: &'static str,
    meaning: Option<&'static str>,
    count: u64,
}

/// What happened between two samples.
#[derive(Serialize)]
struct Bar {
    from: f64,
    to: f64,
    requests: u64,
    hit_ratio: Option<f64>,
    loads: Loads,
}

#[derive(Serialize)]
struct Namespace {
    name: String,
    requests: u64,
    hit_ratio: Option<f64>,
    loads: Loads,
    stored: u64,
    refused: u64,
    invalidations: u64,
    evictions: u64,
}

#[derive(Serialize)]
struct Invalidation {
    #[serde(flatten)]
    target: Target,
    soft: bool,
    count: u64,
    seconds_ago: f64,
}

#[derive(Serialize)]
struct Refusal {
    #[serde(flatten)]
    target: Target,
    reason: &'static str,
    meaning: Option<&'static str>,
    count: u64,
    seconds_ago: f64,
}

/// What an event was about, by the names with which it is looked up and purged.
#[derive(Serialize)]
struct Target {
    target: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Whether a name is longer than it is here.
    is_cut: bool,
}

impl Overview {
    pub(super) fn of(stats: &CacheStats, enabled: bool, recent: RecentEvents, history: &History) -> Self {
        let total = stats.total();
        let (last_hour, reach) = history.since(&total);
        let faults = history.faults_since(Faults::of(stats));
        let mut largest: Vec<&NamespaceStats> =
            stats.namespaces.iter().filter(|namespace| is_used(namespace)).collect();
        largest.sort_by_key(|namespace| std::cmp::Reverse((namespace.requests(), namespace.stored)));
        Self {
            cache: stats.cache.clone(),
            backend: stats.backend,
            enabled,
            breaker: stats.breaker.as_str(),
            subscription: stats.subscription.as_str(),
            feeds: stats.feeds,
            lost_feeds: stats.lost_feeds,
            pending_invalidations: stats.pending_invalidations,
            pending_purges: stats.pending_purges,
            in_flight: stats.in_flight,
            store_failures: stats.store_failures,
            decode_failures: stats.decode_failures,
            encode_failures: stats.encode_failures,
            recent_failures: RecentFailures {
                store: faults.store,
                decode: faults.decode,
                encode: faults.encode,
            },
            store_failure: recent.store_failure.map(|failure| StoreFailure {
                operation: failure.operation,
                error: failure.error,
                seconds_ago: failure.ago.as_secs_f64(),
            }),
            tag_invalidations: stats.tag_invalidations,
            clears: stats.clears,
            store: stats.store_usage.map(holds),
            near: stats.near_usage.map(holds),
            since_start: counts(&total),
            last_hour: counts(&last_hour),
            last_hour_seconds: reach.as_secs_f64(),
            history: history.intervals(&total).iter().map(bar).collect(),
            more_namespaces: largest.len().saturating_sub(MOST_NAMESPACES),
            namespaces: largest.into_iter().take(MOST_NAMESPACES).map(namespace).collect(),
            invalidations: recent.invalidations.into_iter().map(invalidation).collect(),
            refusals: recent.refusals.into_iter().map(refusal).collect(),
        }
    }
}

/// Returns whether anything was counted: a handle has a namespace before it is used.
fn is_used(stats: &NamespaceStats) -> bool {
    stats.requests() + stats.loads_started + stats.stored + stats.invalidations + sum(&stats.refused) > 0
}

fn holds(usage: Usage) -> Holds {
    Holds {
        entries: usage.entries,
        bytes: usage.bytes,
    }
}

fn counts(stats: &NamespaceStats) -> Counts {
    Counts {
        requests: stats.requests(),
        hit_ratio: stats.hit_ratio(),
        outcomes: Outcomes {
            hit_near: stats.hits.near,
            hit_store: stats.hits.store,
            stale: stats.stale,
            negative_hit: stats.negative_hits,
            miss: stats.misses,
            outage: stats.outages,
            bypassed: sum(&stats.bypasses),
        },
        coalesced: stats.coalesced,
        stale_if_error: stats.stale_if_error,
        not_modified: stats.not_modified,
        revalidated: stats.revalidated,
        loads: loads(stats),
        stored: stats.stored,
        fenced: stats.fenced,
        diverged: stats.diverged,
        invalidations: stats.invalidations,
        evictions: stats.evictions.total(),
        refused: reasons(&stats.refused),
        bypassed: reasons(&stats.bypasses),
    }
}

fn loads(stats: &NamespaceStats) -> Loads {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    Loads {
        ended: stats.loads.count(),
        failed: stats.load_failures,
        mean: seconds(stats.loads.mean()),
        p50: seconds(stats.loads.quantile(0.5)),
        p95: seconds(stats.loads.quantile(0.95)),
    }
}

/// Returns the counts by reason, the most frequent one first.
fn reasons(counts: &[(&'static str, u64)]) -> Vec<Reason> {
    let mut counts = counts.to_vec();
    counts.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    let reasons = counts.into_iter().map(|(reason, count)| Reason {
        reason,
        meaning: meaning(reason),
        count,
    });
    reasons.collect()
}

/// Returns what a reason means. Not all are words of the layer.
fn meaning(reason: &str) -> Option<&'static str> {
    match reason {
        "bypass" => Some("the program asked for the source itself"),
        reason => Detail::meaning_of(reason),
    }
}

fn sum(counts: &[(&'static str, u64)]) -> u64 {
    counts.iter().map(|(_, count)| count).sum()
}

fn bar(interval: &Interval) -> Bar {
    Bar {
        from: interval.from.as_secs_f64(),
        to: interval.to.as_secs_f64(),
        requests: interval.stats.requests(),
        hit_ratio: interval.stats.hit_ratio(),
        loads: loads(&interval.stats),
    }
}

fn namespace(stats: &NamespaceStats) -> Namespace {
    Namespace {
        name: unescaped(&stats.namespace),
        requests: stats.requests(),
        hit_ratio: stats.hit_ratio(),
        loads: loads(stats),
        stored: stats.stored,
        refused: sum(&stats.refused),
        invalidations: stats.invalidations,
        evictions: stats.evictions.total(),
    }
}

fn invalidation(event: RecentInvalidation) -> Invalidation {
    Invalidation {
        target: target(event.target),
        soft: event.soft,
        count: event.count,
        seconds_ago: event.ago.as_secs_f64(),
    }
}

fn refusal(event: RecentRefusal) -> Refusal {
    Refusal {
        target: target(event.target),
        reason: event.reason,
        meaning: meaning(event.reason),
        count: event.count,
        seconds_ago: event.ago.as_secs_f64(),
    }
}

fn target(target: RecentTarget) -> Target {
    let (target, namespace, name, is_cut) = match target {
        RecentTarget::Key {
            namespace,
            name,
            is_cut,
            ..
        } => ("key", Some(unescaped(&namespace)), Some(name), is_cut),
        RecentTarget::Tag { name, is_cut, .. } => ("tag", None, Some(name), is_cut),
        RecentTarget::Namespace { name, is_cut, .. } => ("namespace", None, Some(unescaped(&name)), is_cut),
        RecentTarget::Everything => ("everything", None, None, false),
        _ => ("other", None, None, false),
    };
    Target {
        target,
        namespace,
        name,
        is_cut,
    }
}

/// Returns the name of a namespace as programs write it: it is escaped in keys.
fn unescaped(name: &str) -> String {
    name.replace("%3A", ":").replace("%21", "!").replace("%25", "%")
}
