//! Decides where a response is stored, and stores it.

use std::sync::Arc;

use cache_engine::cache_core::{ErrorKind, FreshnessWindows, Key};
use cache_engine::{Fill, Lookup, Reporting, StoreOutcome};
use cache_http::Reason;
use http::HeaderMap;

use crate::config::surrogate_keys::keys_of;
use crate::config::tags::tags_of_groups;
use crate::entry::lifetime::{marker_windows, windows};
use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::entry::variant_index::{VariantIndex, variant_name};
use crate::exchange::lookup::Slot;
use crate::exchange::storability::{Refusal, StorePlan, forget, remember, report_refused};
use crate::exchange::variant_limit::Listing;
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

/// Stores a response under its key. Returns it as it is stored, and the reason if it could not be stored, which is also
/// reported.
pub(crate) async fn store(
    shared: &Shared,
    context: &RequestContext,
    slot: &Slot,
    fill: Fill<Stored>,
    response: StoredResponse,
    plan: StorePlan,
) -> (Arc<Stored>, Result<(), Detail>) {
    let (stored, outcome) = store_quietly(shared, context, slot, fill, response, plan).await;
    match outcome {
        Ok(()) if shared.hit_for_miss.is_empty(shared.now()) => {}
        Ok(()) => forget(shared, &slot.primary, context),
        Err(detail) => report_refused(shared, &slot.primary, detail),
    }
    (stored, outcome)
}

/// As [`store`], without a report of the reason.
pub(crate) async fn store_quietly(
    shared: &Shared,
    context: &RequestContext,
    slot: &Slot,
    mut fill: Fill<Stored>,
    mut response: StoredResponse,
    mut plan: StorePlan,
) -> (Arc<Stored>, Result<(), Detail>) {
    let kept = windows(&shared.config.policy, &response);
    add_late_tags(slot, &mut fill, &mut plan, &response.headers).await;
    let first = match Place::of(context, slot, &plan) {
        Place::FirstVariant => Some(first_variant(shared, context, slot, &plan)),
        Place::OfFill | Place::Elsewhere => None,
    };
    if shared.config.surrogate_keys.is_some() {
        let own = first.as_ref().map_or(fill.key(), |(key, _)| key);
        let tags = fill.tags();
        response.surrogate_keys = tags.map(|tags| keys_of(&slot.primary, own, &tags));
    }
    response.routing = slot.routing;
    let stored = Arc::new(Stored::Response(response));
    let outcome = match first {
        Some(first) => put_first(shared, fill, &stored, first, kept).await,
        None => put(shared, context, slot, fill, &stored, plan, kept).await,
    };
    (stored, outcome)
}

/// Stores the first variant of a URL, and then the index that leads to it.
async fn put_first(
    shared: &Shared,
    fill: Fill<Stored>,
    stored: &Arc<Stored>,
    (key, variants): (Key, VariantIndex),
    kept: FreshnessWindows,
) -> Result<(), Detail> {
    if variants.varies() && shared.config.max_variants == 0 {
        fill.uncoalesced();
        return Err(Detail::Rule(Reason::TooManyVariants));
    }
    // Nothing leads to the variant before its index is stored, so the fence and the tags of the index are sufficient for
    // it.
    if fill.is_storable() {
        let policy = shared
            .cache
            .policy()
            .with_jitter(0.0)
            .with_ttl(kept.fresh)
            .with_stale_while_revalidate(kept.stale_while_revalidate)
            .with_stale_if_error(kept.stale_if_error);
        let cache = shared.cache.with_policy(policy);
        // The event follows when its index is stored too.
        if let Err(error) = cache
            .adapter()
            .set_unreported(&key, Arc::clone(stored), Some(fill.took()))
            .await
        {
            fill.uncoalesced();
            return said(StoreOutcome::Failed(error));
        }
    }
    let coder = shared.cache.adapter().coder();
    said(fill.store(index(variants), coder, marker_windows(&kept)).await)
}

/// Stores what a load has brought under the key of its fill, or else the index that leads to the place of the next one.
async fn put(
    shared: &Shared,
    context: &RequestContext,
    slot: &Slot,
    mut fill: Fill<Stored>,
    stored: &Arc<Stored>,
    plan: StorePlan,
    kept: FreshnessWindows,
) -> Result<(), Detail> {
    if Place::of(context, slot, &plan) != Place::OfFill {
        return Err(Box::pin(store_index(shared, slot, fill, plan, &kept)).await);
    }
    if let Some(variants) = slot.variants() {
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
    }
    let coder = shared.cache.adapter().coder();
    let said = said(fill.store(Arc::clone(stored), coder, kept).await);
    if said == Err(Detail::UncarriedTags) {
        // The next response will probably be made from the same entries.
        remember(shared, &slot.primary, context, &Refusal::lasting(Detail::UncarriedTags));
    }
    said
}

/// Where a response is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Under the key of its fill.
    OfFill,
    /// As the first variant of its URL.
    FirstVariant,
    /// The next one is stored elsewhere. This one is not, because its load has no fence there that would show whether it
    /// is outdated by now.
    Elsewhere,
}

impl Place {
    pub(crate) fn of(context: &RequestContext, slot: &Slot, plan: &StorePlan) -> Self {
        match slot.variants() {
            None if plan.namespace.is_some() => Self::Elsewhere,
            None if plan.fields.is_empty() && context.query.is_none() => Self::OfFill,
            None => Self::FirstVariant,
            Some(variants) if variants.covers(&plan.fields, plan.namespace.as_deref(), &plan.query_rules) => {
                Self::OfFill
            }
            // The response varies by more than was known, so no request has selected by the new fields yet.
            Some(_) => Self::Elsewhere,
        }
    }
}

/// Stores the index that leads to the first variant of a URL, before the variant itself is complete, and continues its
/// load under the variant's key. Requests for other variants then wait no longer for this load, and share one of their
/// own. Returns the reason if the index could not be stored.
pub(crate) async fn store_index_first(
    shared: &Shared,
    context: &RequestContext,
    slot: &mut Slot,
    mut fill: Fill<Stored>,
    plan: &StorePlan,
    kept: &FreshnessWindows,
) -> Result<Fill<Stored>, Detail> {
    let (key, variants) = first_variant(shared, context, slot, plan);
    if variants.varies() && shared.config.max_variants == 0 {
        fill.uncoalesced();
        return Err(Detail::Rule(Reason::TooManyVariants));
    }
    // Acquired first, so that no request that finds the index loads this variant once more.
    let adapter = slot.cache.adapter().reporting(Reporting::Nothing);
    let Lookup::Miss(mut of_variant) = adapter.lookup_uncoalesced(&key, false).await else {
        fill.uncoalesced();
        return Err(Detail::VaryChanged);
    };
    of_variant.continue_load_of(&mut fill);
    let variants = index(variants);
    let coder = shared.cache.adapter().coder();
    let stored = fill.store(Arc::clone(&variants), coder, marker_windows(kept)).await;
    if let Err(detail) = said(stored) {
        of_variant.uncoalesced();
        return Err(detail);
    }
    slot.variant = Some((variants, key));
    Ok(of_variant)
}

/// Stores the index that leads to the place of the next response, and lets the waiting requests begin again with it.
/// Returns why the response is not stored.
pub(crate) async fn store_index(
    shared: &Shared,
    slot: &Slot,
    mut fill: Fill<Stored>,
    plan: StorePlan,
    kept: &FreshnessWindows,
) -> Detail {
    let StorePlan {
        fields,
        namespace,
        query_rules,
        ..
    } = plan;
    let coder = shared.cache.adapter().coder();
    let windows = marker_windows(kept);
    let Some(known) = slot.variants() else {
        let variants = index(VariantIndex {
            routing: slot.routing,
            ..VariantIndex::new(fields, namespace, query_rules)
        });
        // The response itself is not stored.
        fill.report_end();
        let stored = said(fill.store(variants, coder, windows).await);
        return stored.err().unwrap_or(Detail::NamespaceLearned);
    };
    let widened = index(known.widened(&fields, namespace, &query_rules));
    let replaced = fill
        .renewing(async {
            let Lookup::Miss(mut of_index) = shared.part_adapter().lookup_anew::<Stored>(&slot.primary).await else {
                return false;
            };
            of_index.depend_as_stale();
            of_index.store(Arc::clone(&widened), coder, windows).await.is_stored()
        })
        .await;
    if replaced {
        fill.share_unstored(widened).await;
    } else {
        fill.uncoalesced();
    }
    Detail::VaryChanged
}

/// Returns the key of the first variant of a URL, and the index that leads to it.
fn first_variant(shared: &Shared, context: &RequestContext, slot: &Slot, plan: &StorePlan) -> (Key, VariantIndex) {
    let variants = VariantIndex {
        routing: slot.routing,
        ..VariantIndex::new(plan.fields.clone(), None, plan.query_rules.clone())
    };
    let key = shared.variant(&variants, &slot.primary, context.selecting());
    if !variants.varies() {
        return (key, variants);
    }
    let name = variant_name(&slot.primary, &key);
    let (listed, _) = variants.with_listed(name, 1, |_| None::<()>);
    (key, listed)
}

fn index(variants: VariantIndex) -> Arc<Stored> {
    Arc::new(Stored::Index(variants))
}

pub(crate) fn said(outcome: StoreOutcome) -> Result<(), Detail> {
    match outcome {
        StoreOutcome::Stored => Ok(()),
        StoreOutcome::Fenced => Err(Detail::Invalidated),
        StoreOutcome::Unavailable => Err(Detail::Outage),
        StoreOutcome::Uncarried => Err(Detail::UncarriedTags),
        StoreOutcome::Failed(error) if error.kind() == ErrorKind::TooLarge => Err(Detail::Rule(Reason::TooLarge)),
        _ => Err(Detail::StoreFailed),
    }
}
