//! The lookup: from a request's key to the response that the request selects.

use std::sync::Arc;

use cache_engine::cache_core::{Error, Key, Timestamp};
use cache_engine::{Cache, CacheTier, Fill, Found, Lookup, Refresh, Reporting};
use cache_http::{Forward, RequestDirectives, Reuse};
use http::HeaderMap;
use http::request::Parts;

use crate::entry::coder::ResponseCoder;
use crate::entry::lifetime::stale_copy;
use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::entry::variant_index::{Audience, Selecting, VariantIndex};
use crate::exchange::read_along::Arriving;
use crate::key::routing::Routing;
use crate::request::shared::Shared;
use crate::response::detail::Detail;
use crate::response::report::Report;

/// Where a response is looked up, and what its load depends on.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The handle with the tags of the request.
    pub(crate) cache: Cache<ResponseCoder>,
    /// The origin whose groups the response may name, if groups are tags.
    pub(crate) groups_of: Option<Box<str>>,
    /// The key of the request.
    pub(crate) primary: Key,
    /// Its query, if that selects among variants.
    query: Option<Box<str>>,
    /// The variant index, if there is one under the primary key, and the key of the variant that the request selects in
    /// it.
    pub(crate) variant: Option<(Arc<Stored>, Key)>,
    /// The route that serves the request. What is stored notes it.
    pub(crate) routing: Routing,
    /// Whether to wait for a load of another request.
    waits: bool,
}

impl Slot {
    pub(crate) fn new(shared: &Shared, request: &Parts, primary: Key, routing: Routing, waits: bool) -> Self {
        Self {
            routing,
            waits,
            cache: shared.config.handle(&shared.cache, request),
            groups_of: shared.config.tags.groups_of(request),
            primary,
            query: shared.selecting_query(request),
            variant: None,
        }
    }

    /// Returns what a request with these headers selects a variant by.
    pub(crate) fn selecting<'a>(&'a self, headers: &'a HeaderMap) -> Selecting<'a> {
        Selecting {
            headers,
            query: self.query.as_deref(),
            routing: self.routing,
        }
    }

    /// Returns the key under which the response is stored, as far as it is known.
    pub(crate) fn key(&self) -> &Key {
        self.variant.as_ref().map_or(&self.primary, |(_, key)| key)
    }

    pub(crate) async fn look_up(&self, anew: bool) -> Lookup<Stored> {
        self.look_up_as(anew, Reporting::Loads).await
    }

    pub(crate) async fn look_up_as(&self, anew: bool, reporting: Reporting) -> Lookup<Stored> {
        let adapter = self.cache.adapter().accept_previews(true).reporting(reporting);
        let adapter = adapter.refresh_early_if(Stored::is_response);
        match (self.waits, anew) {
            (true, false) => adapter.lookup(self.key()).await,
            (true, true) => adapter.lookup_anew(self.key()).await,
            (false, anew) => adapter.lookup_uncoalesced(self.key(), anew).await,
        }
    }

    /// Finds the response that a request selects, fresh or stale, without loading it, and records where it is stored.
    pub(crate) async fn find(&mut self, shared: &Shared, request: &HeaderMap) -> Option<Found<Stored>> {
        let adapter = shared.adapter();
        let may_have = |found: &Found<Stored>| self.routing.agrees_with(found.value.routing());
        let found = adapter.read::<Stored>(&self.primary).await.ok().flatten();
        let found = found.filter(may_have)?;
        let Stored::Index(variants) = &*found.value else {
            return Some(found);
        };
        let key = shared.variant(variants, &self.primary, self.selecting(request));
        let variant = adapter.read::<Stored>(&key).await.ok().flatten();
        let variant = variant.filter(may_have)?;
        self.variant = Some((found.value, key));
        Some(variant)
    }

    /// Returns whether a lookup has found what another route has made for another spelling of the path. If the route of the
    /// request has made it, takes over how that request was spelled.
    fn is_led_astray(&mut self, lookup: &Lookup<Stored>) -> bool {
        let found = match lookup {
            Lookup::Hit { found, .. } | Lookup::Stale { found, .. } => Some(found),
            Lookup::Miss(fill) => fill.stale(),
            _ => None,
        };
        let Some(routing) = found.map(|found| found.value.routing()) else {
            return false;
        };
        if !self.routing.agrees_with(routing) {
            return true;
        }
        // The route of the normal spelling is known now.
        self.routing.is_respelled &= routing.is_respelled;
        false
    }

    /// Removes what another route has made for another spelling of the path, because the entry belongs to the normal one.
    /// Returns whether to look up again.
    async fn take_back(&self, shared: &Shared, request: &HeaderMap) -> bool {
        let selecting = self.selecting(request);
        shared
            .hit_for_miss
            .insert_other_route(&self.primary, selecting, shared.now());
        !self.routing.is_respelled && shared.cache.invalidate(self.key()).await.is_ok()
    }

    /// Records that the variant was used, if the response is one.
    fn note_use(&self, shared: &Shared) {
        if let (Some(variants), Some((_, key))) = (self.variants(), &self.variant) {
            shared.used(variants, &self.primary, key);
        }
    }

    pub(crate) fn variants(&self) -> Option<&VariantIndex> {
        match self.variant.as_ref().map(|(marker, _)| &**marker) {
            Some(Stored::Index(variants)) => Some(variants),
            _ => None,
        }
    }
}

/// How often a lookup begins again because another load has found out that the responses of the URL vary by more.
const MAX_RESTARTS: usize = 3;

/// That the load of another request has brought a response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Collapsed {
    pub(crate) forward: Forward,
    /// Whether the response is stored. In an outage it is not.
    pub(crate) is_stored: bool,
    /// Whether the store did not answer this request.
    pub(crate) outage: bool,
}

impl Collapsed {
    fn by(forward: Forward, found: &Found<Stored>, outage: bool) -> Self {
        Self {
            forward: forward_in_outage(forward, outage),
            is_stored: found.is_stored(),
            outage,
        }
    }

    pub(crate) fn report(self) -> Report {
        Report::collapsed(self.forward).detail(self.outage.then_some(Detail::Outage))
    }
}

/// What a lookup found.
#[derive(Debug)]
pub(crate) enum LookupOutcome {
    /// A response to answer with.
    Hit {
        stored: Arc<Stored>,
        /// Where it was found.
        tier: CacheTier,
        collapsed: Option<Collapsed>,
        /// The right to refresh the response before it expires, if this caller has it.
        refresh: Option<(Refresh<Stored>, Slot)>,
    },
    /// A stale response to answer with. One caller also gets the right to refresh it.
    Stale {
        stored: Arc<Stored>,
        refresh: Option<Refresh<Stored>>,
        slot: Slot,
    },
    /// No response: this caller loads it.
    Miss {
        fill: Fill<Stored>,
        forward: Forward,
        slot: Slot,
    },
    /// A response that another request is loading, whose body can be read as it arrives.
    Arriving {
        arriving: Arc<Arriving>,
        forward: Forward,
        /// Whether the store did not answer this request.
        outage: bool,
    },
    /// No response, and no load to share. There may be a copy that the handler has to validate.
    Uncoalesced {
        forward: Forward,
        copy: Option<Arc<Stored>>,
        /// Whether the store did not answer this request.
        outage: bool,
    },
}

impl LookupOutcome {
    fn uncoalesced(forward: Forward, outage: bool) -> Self {
        Self::Uncoalesced {
            forward: forward_in_outage(forward, outage),
            copy: None,
            outage,
        }
    }
}

pub(crate) async fn look_up(
    shared: &Shared,
    mut slot: Slot,
    request: &HeaderMap,
    directives: Option<&RequestDirectives>,
) -> LookupOutcome {
    let began = shared.now();
    let is_among = |audience: &Audience, slot: &Slot| {
        audience.includes(slot.selecting(request), &shared.config.keys.normalization)
    };
    // Why the stored response cannot be used, once that is known.
    let mut anew = None;
    let mut restarts = 0;
    // Whether the store did not answer one of the lookups.
    let mut unanswered = false;
    let mut lookup = slot.look_up(false).await;
    loop {
        if slot.is_led_astray(&lookup) {
            // A right to load passes to another request.
            drop(lookup);
            if !Box::pin(slot.take_back(shared, request)).await || restarts == MAX_RESTARTS {
                return LookupOutcome::uncoalesced(Forward::Miss, unanswered);
            }
            restarts += 1;
            lookup = slot.look_up(false).await;
            continue;
        }
        unanswered |= matches!(
            lookup,
            Lookup::Hit { outage: true, .. }
                | Lookup::Preview { outage: true, .. }
                | Lookup::Uncoalesced { outage: true, .. }
        );
        lookup = match lookup {
            Lookup::Hit {
                found,
                coalesced,
                refresh,
                ..
            } => match &*found.value {
                // It was validated for another request (RFC 9111, section 5.2.2.4). Nothing says how long that
                // validation holds.
                Stored::Response(response) if coalesced && response.lifetime.no_cache => {
                    return LookupOutcome::Uncoalesced {
                        forward: forward(anew, Some(&found.value), &slot),
                        copy: Some(found.value),
                        outage: unanswered,
                    };
                }
                // The handler failed, and its response is for the requests that have waited and would have selected it. One
                // of the others tries again.
                Stored::Response(response)
                    if coalesced
                        && response
                            .failed_for
                            .as_ref()
                            .is_some_and(|failed| !is_among(failed, &slot)) =>
                {
                    slot.look_up(anew.is_some()).await
                }
                Stored::Response(response) if coalesced && response.failed_for.is_some() => {
                    return LookupOutcome::Hit {
                        collapsed: Some(Collapsed::by(forward(anew, None, &slot), &found, unanswered)),
                        tier: found.tier(),
                        stored: found.value,
                        refresh: None,
                    };
                }
                // The load failed, and this stale copy stands in for it. Each request decides whether it accepts that.
                Stored::Response(_) if coalesced && found.created < began && is_stale(&found, shared.now()) => {
                    let copy = stale_copy(&shared.config.policy, &found, &found.value, shared.now());
                    return if may_stand_in(shared, &copy, directives) {
                        LookupOutcome::Hit {
                            stored: copy,
                            tier: found.tier(),
                            collapsed: Some(Collapsed::by(Forward::Stale, &found, unanswered)),
                            refresh: None,
                        }
                    } else {
                        LookupOutcome::uncoalesced(Forward::Stale, unanswered)
                    };
                }
                // It was never fresh, so it may be used for the request that caused it, and for other requests only
                // after validation (RFC 9111, section 4.2).
                Stored::Response(response) if coalesced && response.lifetime.fresh <= response.lifetime.initial_age => {
                    return LookupOutcome::Uncoalesced {
                        forward: forward(anew, Some(&found.value), &slot),
                        copy: Some(found.value),
                        outage: unanswered,
                    };
                }
                Stored::Response(response) => {
                    let refused = directives.is_some_and(|directives| !satisfies(shared, response, directives));
                    if !refused || coalesced || anew.is_some() {
                        slot.note_use(shared);
                        return LookupOutcome::Hit {
                            collapsed: coalesced.then(|| Collapsed::by(forward(anew, None, &slot), &found, unanswered)),
                            tier: found.tier(),
                            stored: found.value,
                            refresh: refresh.map(|refresh| (refresh, slot)),
                        };
                    }
                    drop(refresh);
                    anew = Some(Forward::Request);
                    slot.look_up(true).await
                }
                Stored::Index(variants) if slot.variant.is_none() => {
                    let key = shared.variant(variants, &slot.primary, slot.selecting(request));
                    slot.variant = Some((Arc::clone(&found.value), key));
                    slot.look_up(false).await
                }
                // The response turned out to vary by more, and this is the new index: begin again with it.
                Stored::Index(_) if coalesced && restarts < MAX_RESTARTS => {
                    restarts += 1;
                    slot.variant = None;
                    slot.look_up(false).await
                }
                // An index never leads to another index.
                Stored::Index(_) => {
                    return LookupOutcome::uncoalesced(Forward::Miss, unanswered);
                }
            },
            Lookup::Stale { found, refresh } => {
                let copy = match &*found.value {
                    Stored::Response(_) => Some(Arc::clone(&found.value)),
                    // The index was softly invalidated, together with its variants. A refresh starts a new index.
                    Stored::Index(variants) if slot.variant.is_none() => {
                        read_variant(shared, variants, &slot.primary, slot.selecting(request)).await
                    }
                    Stored::Index(_) => None,
                };
                let copy = copy.map(|copy| stale_copy(&shared.config.policy, &found, &copy, shared.now()));
                let takes = |stored: &Arc<Stored>| match &**stored {
                    Stored::Response(response) => {
                        directives.is_none_or(|directives| satisfies(shared, response, directives))
                    }
                    Stored::Index(_) => false,
                };
                anew = Some(match copy {
                    Some(stored) if takes(&stored) => {
                        slot.note_use(shared);
                        return LookupOutcome::Stale { stored, refresh, slot };
                    }
                    Some(_) => Forward::Request,
                    // The index is retained for other variants.
                    None => Forward::VaryMiss,
                });
                drop(refresh);
                slot.look_up(true).await
            }
            Lookup::Miss(fill) => {
                let forward = forward(anew, fill.stale().map(|stale| &*stale.value), &slot);
                return LookupOutcome::Miss {
                    forward: forward_in_outage(forward, !fill.store_answered()),
                    fill,
                    slot,
                };
            }
            Lookup::Preview { value, .. } => {
                let forward = forward(anew, None, &slot);
                return match value.downcast() {
                    Ok(arriving) => LookupOutcome::Arriving {
                        arriving,
                        forward: forward_in_outage(forward, unanswered),
                        outage: unanswered,
                    },
                    // Loads of this layer offer no other type of preview.
                    Err(_) => LookupOutcome::uncoalesced(forward, unanswered),
                };
            }
            Lookup::Uncoalesced { .. } => return LookupOutcome::uncoalesced(forward(anew, None, &slot), unanswered),
            // `Lookup` may gain other outcomes later.
            _ => {
                return LookupOutcome::uncoalesced(Forward::Miss, unanswered);
            }
        };
    }
}

/// Returns the stored response that answers the request, without loading: the caller waits for no load, and no request
/// waits for the caller. A stale response is returned if the request allows it with `max-stale`. If the request is not
/// looked up further (`is_last`), a stale response is also returned within its `stale-while-revalidate` window.
pub(crate) async fn read_usable(
    shared: &Shared,
    primary: &Key,
    request: Selecting<'_>,
    directives: Option<&RequestDirectives>,
    is_last: bool,
) -> Result<Option<Arc<Stored>>, Error> {
    let nothing = RequestDirectives::default();
    let directives = directives.unwrap_or(&nothing);
    let copy = read(shared, primary, request).await?;
    Ok(copy.filter(|copy| match &**copy {
        Stored::Response(response) => match response.lifetime.reuse(directives, shared.now()) {
            Reuse::Fresh | Reuse::Stale => true,
            Reuse::WhileRevalidate => is_last,
            _ => false,
        },
        Stored::Index(_) => false,
    }))
}

/// Returns the response that a request selects, as it is stored, fresh or stale.
pub(crate) async fn read(shared: &Shared, primary: &Key, request: Selecting<'_>) -> Result<Option<Arc<Stored>>, Error> {
    let may_have = |found: &Found<Stored>| request.routing.agrees_with(found.value.routing());
    let found = shared.adapter().read::<Stored>(primary).await?;
    let Some(found) = found.filter(may_have) else {
        return Ok(None);
    };
    let now = shared.now();
    let as_it_is = |found: &Found<Stored>, copy: &Arc<Stored>| {
        if is_stale(found, now) {
            stale_copy(&shared.config.policy, found, copy, now)
        } else {
            Arc::clone(copy)
        }
    };
    let Stored::Index(variants) = &*found.value else {
        shared.cache.adapter().contribute(&found);
        return Ok(Some(as_it_is(&found, &found.value)));
    };
    let key = shared.variant(variants, primary, request);
    let variant = shared.adapter().read::<Stored>(&key).await?.filter(may_have);
    if let Some(variant) = &variant {
        shared.adapter().contribute(variant);
        shared.used(variants, primary, &key);
    }
    // Either the index or the variant may be softly invalidated.
    Ok(variant.map(|variant| as_it_is(&found, &as_it_is(&variant, &variant.value))))
}

/// Returns whether a stale copy that stands in for the response of a failed handler may also do so for a request with
/// these directives. A request without directives always accepts it.
fn may_stand_in(shared: &Shared, copy: &Stored, directives: Option<&RequestDirectives>) -> bool {
    let nothing = RequestDirectives::default();
    let directives = directives.unwrap_or(&nothing);
    let limit = shared.config.policy.stale_if_disconnected;
    match copy {
        Stored::Response(copy) => copy.lifetime.usable_when_disconnected(directives, limit, shared.now()),
        Stored::Index(_) => false,
    }
}

/// Returns the response that a variant index leads to, as it is stored.
pub(crate) async fn read_variant(
    shared: &Shared,
    variants: &VariantIndex,
    primary: &Key,
    request: Selecting<'_>,
) -> Option<Arc<Stored>> {
    let key = shared.variant(variants, primary, request);
    let found = shared.adapter().read::<Stored>(&key).await.ok().flatten()?;
    let is_usable = matches!(&*found.value, Stored::Response(_)) && request.routing.agrees_with(found.value.routing());
    is_usable.then_some(found.value)
}

/// Returns whether a response is fresh enough for a request with these directives.
fn satisfies(shared: &Shared, response: &StoredResponse, directives: &RequestDirectives) -> bool {
    matches!(
        response.lifetime.reuse(directives, shared.now()),
        Reuse::Fresh | Reuse::Stale | Reuse::WhileRevalidate
    )
}

/// Returns whether the store considers the entry stale, regardless of what the response itself says.
fn is_stale(found: &Found<Stored>, now: Timestamp) -> bool {
    found.fresh_for(now).is_some_and(|left| left.is_zero())
}

/// Returns the reason for a request. If the store did not answer, whether there is anything for its URL is unknown, so the
/// reason does not say that there is nothing (RFC 9211, section 2.2).
pub(crate) fn forward_in_outage(forward: Forward, is_outage: bool) -> Forward {
    match forward {
        Forward::UriMiss | Forward::VaryMiss if is_outage => Forward::Miss,
        of_what_was_found => of_what_was_found,
    }
}

fn forward(anew: Option<Forward>, stale: Option<&Stored>, slot: &Slot) -> Forward {
    if let Some(forward) = anew {
        forward
    } else if matches!(stale, Some(Stored::Response(_))) {
        Forward::Stale
    } else if slot.variant.is_some() {
        Forward::VaryMiss
    } else {
        Forward::UriMiss
    }
}
