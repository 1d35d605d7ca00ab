//! Responses to POST that also answer a later GET (RFC 9110, section 9.3.3).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cache_engine::cache_core::Key;
use cache_engine::{Fill, Lookup};
use cache_http::{LifetimeSource, answers_later_get, target_uri};
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, EXPECT, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, RANGE, TE, TRAILER, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::uri::Scheme;
use http::{Method, Response, response};
use http_body::Body as _;

use crate::body::collect::{Collector, Progress};
use crate::body::tee::{Bounds, Ending};
use crate::config::handler::Control;
use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::exchange::lookup::Slot;
use crate::exchange::storability::{StorePlan, storability};
use crate::exchange::store::store;
use crate::key::url::{is_unrouted_spelling, target};
use crate::request::bypass::{FieldSummary, bypass};
use crate::request::context::RequestContext;
use crate::request::hit_for_miss::Remembered;
use crate::request::nesting::NestedLoads;
use crate::request::shared::Shared;
use crate::response::detail::Detail;
use crate::response::headers::content_length;

/// How long the load of a GET may be held for a POST. If nothing is stored, GETs of the URL wait for that time.
const HELD: Duration = Duration::from_millis(500);

/// The fields of a POST that describe its content, or that a GET whose response is stored does not have.
const NOT_OF_GET: [http::HeaderName; 12] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_TYPE,
    EXPECT,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    RANGE,
    TE,
    TRANSFER_ENCODING,
];

/// The right to store the response to a POST for later GETs of its URL.
///
/// It is acquired before the handler is called. Another request that is handled in the meantime may make the response
/// outdated; its invalidation then revokes this right.
pub(crate) struct LaterGet {
    slot: Slot,
    context: RequestContext,
    fill: Fill<Stored>,
}

impl LaterGet {
    /// Returns `None` if a GET with these fields would not be looked up, or if another request is loading its response.
    pub(crate) async fn reserve(shared: &Shared, request: &Parts) -> Option<Self> {
        if request.method != Method::POST {
            return None;
        }
        let mut asked = request.clone();
        asked.method = Method::GET;
        for name in NOT_OF_GET.iter().chain([&TRAILER]) {
            asked.headers.remove(name);
        }
        let identity = shared.config.keys.identity(&asked);
        let policy = shared.config.policy(identity.is_some());
        let is_plain = FieldSummary::of(shared, &asked.headers).is_plain;
        if bypass(shared, policy, &asked, &Body::empty(), is_plain).is_some() || is_unrouted_spelling(&asked) {
            return None;
        }
        let key = shared.key(&asked, identity.as_deref(), None).ok()?;
        let now = shared.now();
        let is_known = shared
            .hit_for_miss
            .contains(&key, Remembered::NotForGet, &asked.headers, now);
        if is_known || NestedLoads::contain(&asked.extensions, &key) {
            return None;
        }
        let slot = Slot::new(shared, &asked, key, false);
        let Lookup::Miss(fill) = slot.look_up(true).await else {
            return None;
        };
        fill.is_storable().then_some(Self {
            slot,
            context: RequestContext {
                method: Method::GET,
                query: shared.selecting_query(&asked),
                headers: asked.headers,
                is_identified: identity.is_some(),
                may_collapse: true,
                directives: cache_http::RequestDirectives::default(),
                forwarded_at: now,
            },
            fill,
        })
    }

    /// Waits for the handler, and gives up the right if the handler takes too long.
    pub(crate) async fn attend<F: Future>(mut self, mut call: Pin<&mut F>) -> (F::Output, Option<Self>) {
        let held = self.fill.renewing(tokio::time::timeout(HELD, call.as_mut())).await;
        match held {
            Ok(output) => (output, Some(self)),
            Err(_) => {
                drop(self);
                (call.await, None)
            }
        }
    }

    /// Returns the response, and what is to be stored if it may be stored.
    pub(crate) async fn take(
        self,
        shared: &Shared,
        request: &Parts,
        response: Response<Body>,
        control: Option<Control>,
    ) -> (response::Parts, Body, Option<Answer>) {
        let (head, body) = response.into_parts();
        let now = shared.now();
        let plan = storability(shared, &self.context, &head, &body.size_hint(), control, now);
        let plan = plan.ok().filter(|plan| is_of_target(request, &head, plan));
        let Some(plan) = plan else {
            let Self { slot, context, .. } = self;
            shared
                .hit_for_miss
                .insert(&slot.primary, Remembered::NotForGet, &context.headers, now);
            return (head, body, None);
        };
        let exact = body.size_hint().exact();
        let mut collector = Collector::new(body, Bounds::of_one_reader(shared.config.max_body));
        let mut progress = collector.gather_ready().await;
        // If the length is known, the rest is likely to arrive soon.
        if matches!(progress, Progress::Pending)
            && exact.is_some()
            && let Ok(collected) = tokio::time::timeout(HELD, collector.collect()).await
        {
            progress = collected;
        }
        let rest = match progress {
            Progress::Complete => {
                let is_complete = content_length(&head.headers).is_none_or(|length| length == collector.len() as u64);
                if is_complete {
                    let whole = collector.into_bytes();
                    let config = &shared.config;
                    let stored =
                        StoredResponse::prepare(&config.policy, &head, whole.clone(), plan.lifetime, config.own_etag);
                    let answer = Answer {
                        later: self,
                        stored: Arc::new(Stored::Response(stored)),
                        plan,
                    };
                    return (head, Body::from(whole), Some(answer));
                }
                Ending::End
            }
            // The response does not wait for the rest.
            Progress::Pending => collector.take_rest(),
            Progress::Over(ending, _) => ending,
        };
        let body = collector.reader(exact);
        collector.end_with(rest);
        (head, body, None)
    }
}

/// Returns whether the response states that its content is what a GET of the target would get, and for how long.
fn is_of_target(request: &Parts, head: &response::Parts, plan: &StorePlan) -> bool {
    let mut lifetime = plan.lifetime;
    // The handler may also have stated the lifetime with `StoreFor`.
    if plan.has_own_ttl {
        lifetime.source = LifetimeSource::MaxAge;
    }
    // Keys do not contain the scheme, and an HTTP/1.1 server does not know it either.
    [Scheme::HTTP, Scheme::HTTPS].into_iter().any(|scheme| {
        target_uri(target(request), &request.headers, scheme)
            .is_some_and(|target| answers_later_get(&request.method, &target, head.status, &head.headers, &lifetime))
    })
}

/// The response to a POST that is to be stored for later GETs.
pub(crate) struct Answer {
    later: LaterGet,
    stored: Arc<Stored>,
    plan: StorePlan,
}

impl Answer {
    /// Returns the key of the record that the response replaces.
    pub(crate) fn key(&self) -> &Key {
        &self.later.slot.primary
    }

    pub(crate) async fn store(self, shared: &Shared) -> Result<(), Detail> {
        let LaterGet { slot, context, fill } = self.later;
        let primary = slot.primary.clone();
        let stored = store(shared, &context, &slot, fill, &self.stored, self.plan).await;
        if stored.is_err() {
            // The record that was stored there is outdated anyway. A failure is reported as an event, and stays
            // pending.
            let _ = shared.cache.invalidate(primary).await;
        }
        stored
    }
}
