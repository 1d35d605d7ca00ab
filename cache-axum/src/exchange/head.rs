//! What the answer to HEAD says of the stored response to GET (RFC 9111, section 4.3.5).

use std::sync::Arc;

use cache_engine::{Found, Lookup};
use cache_http::{freshen, head_confirms};
use http::header::{CONTENT_ENCODING, ETAG, LAST_MODIFIED};
use http::{HeaderMap, Method, Response, StatusCode, response};
use http_body::SizeHint;

use crate::config::handler::Control;
use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::exchange::lookup::Slot;
use crate::exchange::storability::storability;
use crate::exchange::store::store;
use crate::request::context::RequestContext;
use crate::request::shared::Shared;

/// Brings the stored response that a GET would have selected up to date by the handler's answer to HEAD: a response that
/// the answer confirms is fresh again, and one that it contradicts is stale.
///
/// The standard also lets an answer without any validator confirm. A length alone proves too little, so such an answer
/// changes nothing here, unless it contradicts.
pub(crate) async fn update_by_head(
    shared: &Shared,
    context: &RequestContext,
    mut slot: Slot,
    head: &response::Parts,
    control: Option<Control>,
) {
    if head.status != StatusCode::OK {
        return;
    }
    let context = &RequestContext {
        method: Method::GET,
        ..context.clone()
    };
    // An answer that is not for all says nothing of a response that is.
    let size = SizeHint::default();
    if storability(shared, context, head, &size, control.clone(), shared.now()).is_err() {
        return;
    }
    let Some(found) = slot.find(shared, &context.headers).await else {
        return;
    };
    match judge(&found, context, &head.headers) {
        Verdict::Confirmed => {}
        Verdict::Contradicted if found.fresh_for(shared.now()).is_none_or(|left| !left.is_zero()) => {
            // A failure is an event, and the response ends with its lifetime at the latest.
            let _ = shared.cache.soft().invalidate(slot.key()).await;
            return;
        }
        Verdict::Contradicted | Verdict::Silent => return,
    }
    // Nobody waits for this, and it waits for nobody: a load that is under way brings something newer.
    let Lookup::Miss(mut fill) = slot.look_up(true).await else {
        return;
    };
    let Some(found) = fill.stale().cloned() else { return };
    let Stored::Response(stored) = &*found.value else {
        return;
    };
    if judge(&found, context, &head.headers) != Verdict::Confirmed {
        return;
    }
    let now = shared.now();
    let (mut updated, ()) = Response::new(()).into_parts();
    updated.status = stored.status;
    updated.headers = stored.headers.clone();
    // What is for the client alone is in its answer already.
    let _ = freshen(&shared.config.policy, &mut updated.headers, &head.headers, now);
    let size = SizeHint::with_exact(stored.body.len() as u64);
    let Ok(plan) = storability(shared, context, &updated, &size, control, now) else {
        return;
    };
    let response = StoredResponse {
        has_own_etag: stored.has_own_etag,
        ..StoredResponse::new(updated.status, updated.headers, stored.body.clone(), plan.lifetime)
    };
    fill.keep_tags_of_stale();
    // What became of it is an event.
    let _ = store(
        shared,
        context,
        &slot,
        fill,
        &Arc::new(Stored::Response(response)),
        plan,
    )
    .await;
}

/// What an answer to HEAD says of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Confirmed,
    Contradicted,
    /// Nothing.
    Silent,
}

fn judge(found: &Found<Stored>, context: &RequestContext, head: &HeaderMap) -> Verdict {
    let Stored::Response(stored) = &*found.value else {
        return Verdict::Silent;
    };
    // It is newer than the answer, or another coding of it, whose length is another one.
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
