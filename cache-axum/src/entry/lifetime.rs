//! How long an entry is stored, and how a stale copy describes itself.

use std::sync::Arc;
use std::time::Duration;

use cache_engine::Found;
use cache_engine::cache_core::{FreshnessWindows, Timestamp};
use cache_http::{Lifetime, Policy};

use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;

/// Returns how long a store retains a response, and for which use. The time in which a response is retained only for
/// validation is part of the last window, because a store has no other window for it. Its [`Lifetime`] decides whether
/// it may be served.
pub(crate) fn windows(policy: &Policy, response: &StoredResponse) -> FreshnessWindows {
    let lifetime = &response.lifetime;
    let validated = response
        .to_validate()
        .map_or(Duration::ZERO, |_| policy.keep_for_validation);
    if lifetime.no_cache {
        return FreshnessWindows::new(Duration::ZERO).with_stale_if_error(validated);
    }
    let windows = FreshnessWindows::new(lifetime.fresh.saturating_sub(lifetime.initial_age));
    if lifetime.must_revalidate {
        return windows.with_stale_if_error(validated);
    }
    let on_error = lifetime.stale_if_error.max(policy.stale_if_disconnected);
    windows
        .with_stale_while_revalidate(lifetime.stale_while_revalidate.unwrap_or_default())
        .with_stale_if_error(on_error.unwrap_or_default().max(validated))
}

/// How long a response is fresh if an entry that it is made from is not: long enough for the requests that have waited for
/// it, which would otherwise all call the handler.
const LEAST: Duration = Duration::from_millis(1);

/// Shortens the freshness of a response to that of the entries that it is made from.
pub(crate) fn shorten(lifetime: &mut Lifetime, at_most: Option<Duration>, now: Timestamp) {
    if let Some(at_most) = at_most {
        let until = lifetime.age(now).saturating_add(at_most.max(LEAST));
        lifetime.fresh = lifetime.fresh.min(until);
    }
}

/// Returns a stale copy as it is to be served: with a lifetime that is stale too. The lifetime of a copy that was
/// softly invalidated may still be fresh.
pub(crate) fn stale_copy(policy: &Policy, found: &Found<Stored>, stored: &Arc<Stored>, now: Timestamp) -> Arc<Stored> {
    match &**stored {
        Stored::Response(response) if response.lifetime.is_fresh(now) => {
            let longest = |windows: &FreshnessWindows| windows.stale_while_revalidate.max(windows.stale_if_error);
            let fresh = found.windows.fresh.unwrap_or(Duration::MAX);
            let left = longest(&found.windows).saturating_sub(found.age(now).saturating_sub(fresh));
            // The remaining time of its windows shows when they began, in whatever way the invalidation was recorded.
            let stale_for = longest(&windows(policy, response)).saturating_sub(left);
            let mut response = response.clone();
            response.lifetime.fresh = response.lifetime.age(now).saturating_sub(stale_for);
            Arc::new(Stored::Response(response))
        }
        _ => Arc::clone(stored),
    }
}

/// Returns how long a variant index is stored: longer than the responses that it leads to, because a response cannot be
/// found without its index. An index is stale only if it was softly invalidated. It can be used then for as long as the
/// responses that it leads to.
pub(crate) fn marker_windows(response: &FreshnessWindows) -> FreshnessWindows {
    const LEAST: Duration = Duration::from_secs(24 * 60 * 60);
    let kept = response.fresh.map(|fresh| {
        let stale = response.stale_while_revalidate.max(response.stale_if_error);
        fresh.saturating_add(stale).saturating_mul(2).max(LEAST)
    });
    FreshnessWindows::new(kept)
        .with_stale_while_revalidate(response.stale_while_revalidate)
        .with_stale_if_error(response.stale_if_error)
}
