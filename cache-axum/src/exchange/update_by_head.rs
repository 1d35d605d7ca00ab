//! Updates the stored response to GET by the response to HEAD (RFC 9111, section 4.3.5).

use cache_engine::{Found, Lookup, Reporting, Tagger};
use cache_http::{freshen, head_confirms};
use http::header::{CONTENT_ENCODING, ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method, Response, StatusCode, response};
use http_body::SizeHint;

use crate::config::handler::Control;
use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::exchange::lookup::Slot;
use crate::exchange::storability::storability;
use crate::exchange::store::store_quietly;
use crate::request::context::RequestContext;
use crate::request::shared::Shared;

/// Updates the stored response that a GET would have selected by the handler's response to HEAD. If the response to
/// HEAD confirms the stored response, the stored response becomes fresh again. If it contradicts the stored response,
/// the stored response becomes stale.
///
/// The standard also lets a response without any validator confirm. A length alone proves too little, so such a
/// response changes nothing here, except if it contradicts.
///
/// The handler has run in the scope of `tagger`. Returns whether the stored response is fresh again.
pub(crate) async fn update_by_head(
    shared: &Shared,
    context: &RequestContext,
    mut slot: Slot,
    head: &response::Parts,
    control: Option<Control>,
    tagger: &Tagger,
) -> bool {
    if head.status != StatusCode::OK {
        return false;
    }
    let context = &RequestContext {
        method: Method::GET,
        ..context.clone()
    };
    // A response that is not for all requests says nothing about one that is.
    let size = SizeHint::default();
    if storability(shared, context, head, &size, control.clone(), None, shared.now()).is_err() {
        return false;
    }
    let Some(found) = slot.find(shared, &context.headers).await else {
        return false;
    };
    match judge(&found, context, &head.headers) {
        Verdict::Confirmed => {}
        Verdict::Contradicted if found.fresh_for(shared.now()).is_none_or(|left| !left.is_zero()) => {
            // A failure is reported as an event, and the response expires at the end of its lifetime at the latest.
            let _ = shared.cache.soft().invalidate(slot.key()).await;
            return false;
        }
        Verdict::Contradicted | Verdict::Silent => return false,
    }
    // This waits for no load, and no request waits for it: a load that is running brings a newer response.
    let Lookup::Miss(mut fill) = slot.look_up_as(true, Reporting::Nothing).await else {
        return false;
    };
    let Some(found) = fill.stale().cloned() else {
        return false;
    };
    if !slot.routing.agrees_with(found.value.routing()) {
        return false;
    }
    let Stored::Response(stored) = &*found.value else {
        return false;
    };
    if judge(&found, context, &head.headers) != Verdict::Confirmed {
        return false;
    }
    let now = shared.now();
    let (mut updated, ()) = Response::new(()).into_parts();
    updated.status = stored.status;
    updated.headers = stored.headers.clone();
    // The response to the client already contains the fields that only the client gets.
    let _ = freshen(&shared.config.policy, &mut updated.headers, &head.headers, now);
    let size = SizeHint::with_exact(stored.body.len() as u64);
    fill.keep_tags_of_stale();
    fill.join(tagger);
    let at_most = fill.fresh_at_most();
    let Ok(plan) = storability(shared, context, &updated, &size, control, at_most, now) else {
        return false;
    };
    let response = StoredResponse {
        has_own_etag: stored.has_own_etag,
        ..StoredResponse::new(updated.status, updated.headers, stored.body.clone(), plan.lifetime)
    };
    // A failure is reported as an event.
    let (_, stored) = store_quietly(shared, context, &slot, fill, response, plan).await;
    stored.is_ok()
}

/// What a response to HEAD says about a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Confirmed,
    Contradicted,
    /// It says nothing.
    Silent,
}

fn judge(found: &Found<Stored>, context: &RequestContext, head: &HeaderMap) -> Verdict {
    let Stored::Response(stored) = &*found.value else {
        return Verdict::Silent;
    };
    // The stored response is newer than the response to HEAD, or has another coding and so another length.
    let is_another = found.created > context.forwarded_at
        || stored.status != StatusCode::OK
        || stored.headers.get(CONTENT_ENCODING) != head.get(CONTENT_ENCODING);
    if is_another {
        Verdict::Silent
    } else if !head_confirms(&stored.headers, head) {
        Verdict::Contradicted
    } else if [ETAG, LAST_MODIFIED].iter().any(|name| head.contains_key(name)) {
        Verdict::Confirmed
    } else {
        Verdict::Silent
    }
}
