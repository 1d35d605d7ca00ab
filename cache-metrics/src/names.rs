//! The names of the metrics and their labels.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(crate) const REQUESTS: &str = "cache.requests";
pub(crate) const COALESCED: &str = "cache.coalesced";
pub(crate) const STALE_IF_ERROR: &str = "cache.stale_if_error";
pub(crate) const LOADS: &str = "cache.loads";
pub(crate) const STORED: &str = "cache.stored";
pub(crate) const FENCED: &str = "cache.fenced";
pub(crate) const DIVERGED: &str = "cache.diverged";
pub(crate) const REFUSED: &str = "cache.refused";
pub(crate) const REVALIDATED: &str = "cache.revalidated";
pub(crate) const NOT_MODIFIED: &str = "cache.not_modified";
pub(crate) const INVALIDATIONS: &str = "cache.invalidations";
pub(crate) const EVICTIONS: &str = "cache.evictions";
pub(crate) const STORE_FAILURES: &str = "cache.store.failures";
pub(crate) const CODEC_FAILURES: &str = "cache.codec.failures";

/// The histogram of how long loads take, in seconds: `cache.load.duration`.
pub const LOAD_DURATION: &str = "cache.load.duration";

/// The histogram of how long calls of a store take, in seconds: `db.client.operation.duration`, as OpenTelemetry's
/// conventions name it.
pub const STORE_DURATION: &str = "db.client.operation.duration";

pub(crate) const ENTRY_COUNT: &str = "cache.entry.count";
pub(crate) const SIZE: &str = "cache.size";
pub(crate) const BREAKER_OPEN: &str = "cache.breaker.open";
pub(crate) const SUBSCRIPTION_ACTIVE: &str = "cache.subscription.active";
pub(crate) const FEEDS_LOST: &str = "cache.feeds.lost";
pub(crate) const PENDING: &str = "cache.invalidations.pending";
pub(crate) const PURGES_PENDING: &str = "cache.purges.pending";
pub(crate) const IN_FLIGHT: &str = "cache.loads.in_flight";

/// Buckets for [`LOAD_DURATION`], in seconds.
pub const LOAD_BUCKETS: [f64; 14] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Buckets for [`STORE_DURATION`], in seconds: those of OpenTelemetry's conventions, with finer ones below.
pub const STORE_BUCKETS: [f64; 12] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
];

pub(crate) const NAME: &str = "cache.name";
pub(crate) const NAMESPACE: &str = "cache.namespace";
pub(crate) const REQUEST_TYPE: &str = "cache.request.type";
pub(crate) const TIER: &str = "cache.tier";
pub(crate) const REASON: &str = "reason";
pub(crate) const INVALIDATION_TYPE: &str = "cache.invalidation.type";
pub(crate) const CODEC_OPERATION: &str = "cache.codec.operation";
pub(crate) const OPERATION: &str = "cache.operation";
pub(crate) const LOAD_OUTCOME: &str = "cache.load.outcome";
pub(crate) const DB_SYSTEM: &str = "db.system.name";
pub(crate) const DB_OPERATION: &str = "db.operation.name";
pub(crate) const ERROR_TYPE: &str = "error.type";

/// Describes all metrics to the recorder.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "Requests, by how they were answered");
    describe_counter!(
        COALESCED,
        Unit::Count,
        "Misses that waited for the load of another caller"
    );
    describe_counter!(
        STALE_IF_ERROR,
        Unit::Count,
        "Misses that were answered with a stale value"
    );
    describe_counter!(LOADS, Unit::Count, "Loads that began");
    describe_counter!(STORED, Unit::Count, "Values that were stored");
    describe_counter!(
        FENCED,
        Unit::Count,
        "Loaded values that were not stored, because of an invalidation"
    );
    describe_counter!(
        DIVERGED,
        Unit::Count,
        "Hits that were verified and differed from their source"
    );
    describe_counter!(REFUSED, Unit::Count, "Responses that were not stored, by reason");
    describe_counter!(REVALIDATED, Unit::Count, "Stale responses that the handler confirmed");
    describe_counter!(NOT_MODIFIED, Unit::Count, "Requests that were answered with status 304");
    describe_counter!(INVALIDATIONS, Unit::Count, "Invalidations");
    describe_counter!(EVICTIONS, Unit::Count, "Records that were evicted to make room");
    describe_counter!(STORE_FAILURES, Unit::Count, "Calls of the store that failed");
    describe_counter!(
        CODEC_FAILURES,
        Unit::Count,
        "Records and values that could not be decoded or encoded"
    );
    describe_histogram!(LOAD_DURATION, Unit::Seconds, "How long loads took");
    describe_histogram!(STORE_DURATION, Unit::Seconds, "How long calls of the store took");
    describe_gauge!(ENTRY_COUNT, Unit::Count, "Entries in this process");
    describe_gauge!(SIZE, Unit::Bytes, "Bytes that entries take in this process");
    describe_gauge!(BREAKER_OPEN, "1 if the circuit breaker prevents calls of the store");
    describe_gauge!(SUBSCRIPTION_ACTIVE, "1 if the store reports changes now");
    describe_gauge!(FEEDS_LOST, Unit::Count, "Change feeds that have no connection");
    describe_gauge!(
        PENDING,
        Unit::Count,
        "Invalidations that the store has not carried out yet"
    );
    describe_gauge!(
        PURGES_PENDING,
        Unit::Count,
        "Invalidations that the purger was not told of yet"
    );
    describe_gauge!(IN_FLIGHT, Unit::Count, "Loads that are under way");
}
