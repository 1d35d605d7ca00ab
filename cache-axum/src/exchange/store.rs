//! Decides where a response is stored, and stores it.

use std::sync::Arc;

use cache_engine::cache_core::{ErrorKind, FreshnessWindows};
use cache_engine::{Fill, Lookup, Policy, StoreOutcome};
use cache_http::Reason;
use http::HeaderMap;

use crate::config::tags::tags_of_groups;
use crate::entry::lifetime::{marker_windows, windows};
use crate::entry::stored::Stored;
use crate::entry::variants::{VariantIndex, variant_name};
use crate::exchange::listing::Listing;
use crate::exchange::lookup::Slot;
use crate::exchange::storability::StorePlan;
use crate::request::context::RequestContext;
use crate::request::shared::Shared;
use crate::response::detail::Detail;

/// Adds the tags and groups that the response names to its load, if that has not been done yet.
pub(crate) async fn add_late_tags(slot: &Slot, fill: &mut Fill<Stored>, plan: &mut StorePlan, headers: &HeaderMap) {
    let Some(mut tags) = plan.tags.take() else { return };
    if let Some(origin) = &slot.groups_of {
        tags.extend(tags_of_groups(origin, headers));
    }
    if !tags.is_empty() {
        fill.add_late_tags(tags).await;
    }
}

/// Stores a response under its key. Returns the reason if it could not be stored.
pub(crate) async fn store(
    shared: &Shared,
    context: &RequestContext,
    slot: &Slot,
    mut fill: Fill<Stored>,
    stored: &Arc<Stored>,
    mut plan: StorePlan,
) -> Result<(), Detail> {
    let Stored::Response(response) = &**stored else {
        return Err(Detail::StoreFailed);
    };
    let kept = windows(&shared.config.policy, response);
    let coder = shared.cache.adapter().coder();
    add_late_tags(slot, &mut fill, &mut plan, &response.headers).await;
    match slot.variants() {
        None if plan.fields.is_empty() && plan.namespace.is_none() && context.query.is_none() => {
            said(fill.store(Arc::clone(stored), coder, kept).await)
        }
        None if plan.namespace.is_some() => {
            // No index led to that namespace while the response was made, so nothing would show that the namespace was
            // cleared in the meantime. Only the index that leads there is stored; the next load has its lease in the
            // namespace.
            let marker = Arc::new(Stored::Index(VariantIndex::new(
                plan.fields,
                plan.namespace,
                plan.query_rules,
            )));
            said(fill.store(marker, coder, marker_windows(&kept)).await).and(Err(Detail::NamespaceLearned))
        }
        None => {
            let variants = VariantIndex::new(plan.fields, None, plan.query_rules);
            store_first_variant(shared, context, slot, fill, stored, variants, kept).await
        }
        Some(variants) if variants.covers(&plan.fields, plan.namespace.as_deref(), &plan.query_rules) => {
            let key = fill.key().clone();
            let name = variant_name(&slot.primary, &key);
            let listing = Listing {
                shared,
                primary: &slot.primary,
                known: variants,
                name,
                kept: &kept,
            };
            if variants.varies()
                && let Err(detail) = fill.renewing(listing.list()).await
            {
                fill.uncoalesced();
                return Err(detail);
            }
            shared.variant_uses.touch(variants.generation, name);
            said(fill.store(Arc::clone(stored), coder, kept).await)
        }
        Some(variants) => {
            // The response varies by more than was known. No request has selected by the new fields yet, and this load
            // may be older than an invalidation by now, so only the index is replaced.
            let widened = variants.widened(&plan.fields, plan.namespace, &plan.query_rules);
            fill.uncoalesced();
            if let Lookup::Miss(mut fill) = shared.cache.adapter().lookup_anew::<Stored>(&slot.primary).await {
                fill.depend_as_stale();
                let marker = Arc::new(Stored::Index(widened));
                let _ = fill.store(marker, coder, marker_windows(&kept)).await;
            }
            Err(Detail::VaryChanged)
        }
    }
}

/// Stores the first variant of a URL, and then the index that leads to it. Nothing leads to the variant before that, so
/// the fence and the tags of the index are sufficient for it.
async fn store_first_variant(
    shared: &Shared,
    context: &RequestContext,
    slot: &Slot,
    fill: Fill<Stored>,
    stored: &Arc<Stored>,
    variants: VariantIndex,
    kept: FreshnessWindows,
) -> Result<(), Detail> {
    if variants.varies() && shared.config.max_variants == 0 {
        fill.uncoalesced();
        return Err(Detail::Rule(Reason::TooManyVariants));
    }
    let key = shared.variant(&variants, &slot.primary, context.selecting());
    let variants = if variants.varies() {
        variants
            .with_listed(variant_name(&slot.primary, &key), 1, |_| None::<()>)
            .0
    } else {
        variants
    };
    if fill.is_storable() {
        let policy = Policy::default()
            .with_ttl(kept.fresh)
            .with_stale_while_revalidate(kept.stale_while_revalidate)
            .with_stale_if_error(kept.stale_if_error);
        let cache = shared.cache.with_policy(policy);
        if let Err(error) = cache.set_shared(key, Arc::clone(stored)).await {
            fill.uncoalesced();
            return said(StoreOutcome::Failed(error));
        }
    }
    let marker = Arc::new(Stored::Index(variants));
    said(
        fill.store(marker, shared.cache.adapter().coder(), marker_windows(&kept))
            .await,
    )
}

pub(crate) fn said(outcome: StoreOutcome) -> Result<(), Detail> {
    match outcome {
        StoreOutcome::Stored => Ok(()),
        StoreOutcome::Fenced => Err(Detail::Invalidated),
        StoreOutcome::Unavailable => Err(Detail::Outage),
        StoreOutcome::Failed(error) if error.kind() == ErrorKind::TooLarge => Err(Detail::Rule(Reason::TooLarge)),
        _ => Err(Detail::StoreFailed),
    }
}
