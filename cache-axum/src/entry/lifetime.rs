//! How long an entry is kept, and what a stale copy says of itself.

use std::sync::Arc;
use std::time::Duration;

use cache_engine::Found;
use cache_engine::cache_core::{FreshnessWindows, Timestamp};
use cache_http::Policy;

use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;

/// How long a store keeps a response, and what for. What is kept for nothing but validation is in the last window,
/// since a store knows no other; whether it may be answered is for its [`Lifetime`] to say.
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

/// A stale copy as it is to be answered: stale by its own account too. One that was softly invalidated does not know it.
pub(crate) fn stale_copy(policy: &Policy, found: &Found<Stored>, stored: &Arc<Stored>, now: Timestamp) -> Arc<Stored> {
    match &**stored {
        Stored::Response(response) if response.lifetime.is_fresh(now) => {
            let longest = |windows: &FreshnessWindows| windows.stale_while_revalidate.max(windows.stale_if_error);
            let fresh = found.windows.fresh.unwrap_or(Duration::MAX);
            let left = longest(&found.windows).saturating_sub(found.age(now).saturating_sub(fresh));
            // What is left of its windows tells when they began, however that is written down.
            let stale_for = longest(&windows(policy, response)).saturating_sub(left);
            let mut response = response.clone();
            response.lifetime.fresh = response.lifetime.age(now).saturating_sub(stale_for);
            Arc::new(Stored::Response(response))
        }
        _ => Arc::clone(stored),
    }
}

/// How long a marker is kept: longer than what it leads to, since a response is out of reach once its marker is gone.
/// It is of use when it is stale, which it is only if it was softly invalidated, for as long as what it leads to.
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
