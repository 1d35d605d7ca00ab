//! Responses to POST that also answer a later GET (RFC 9110, section 9.3.3).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use cache_engine::cache_core::Key;
use cache_engine::{Fill, Reservation, Tagger};
use cache_http::{Forward, LifetimeSource, answers_later_get, target_uri};
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, EXPECT, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, RANGE, TE, TRAILER, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::uri::Scheme;
use http::{Method, Response, response};
use http_body::SizeHint;

use crate::config::handler::Control;
use crate::entry::stored::Stored;
use crate::entry::variant_index::Selecting;
use crate::exchange::load::Load;
use crate::exchange::lookup::Slot;
use crate::exchange::storability::{StorePlan, storability};
use crate::key::routing::Routing;
use crate::key::url::target;
use crate::request::bypass::{FieldSummary, bypass};
use crate::request::context::RequestContext;
use crate::request::hit_for_miss::Remembered;
use crate::request::nesting::NestedLoads;
use crate::request::shared::Shared;
use crate::response::passing::reported;
use crate::response::report::Report;

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
/// outdated; its invalidation then revokes this right. GETs do not wait for the handler.
pub(crate) struct LaterGet {
    slot: Slot,
    context: RequestContext,
    reservation: Reservation<Stored>,
}

impl LaterGet {
    /// Returns `None` if a GET with these fields would not be looked up, or if another request is loading its response.
    pub(crate) fn reserve(shared: &Shared, request: &Parts) -> Pin<Box<impl Future<Output = Option<Box<Self>>>>> {
        Box::pin(async move {
            match request.method {
                Method::POST => Self::reserve_get(shared, request).await.map(Box::new),
                _ => None,
            }
        })
    }

    async fn reserve_get(shared: &Shared, request: &Parts) -> Option<Self> {
        let mut asked = request.clone();
        asked.method = Method::GET;
        for name in NOT_OF_GET.iter().chain([&TRAILER]) {
            asked.headers.remove(name);
        }
        let identity = shared.config.keys.identity(&asked);
        let policy = shared.config.policy(identity.is_some());
        let is_plain = FieldSummary::of(shared, &asked.headers).is_plain;
        if bypass(shared, policy, &asked, &Body::empty(), is_plain).is_some() {
            return None;
        }
        let (key, is_respelled) = shared.key(&asked, identity.as_deref(), None).ok()?;
        // The route of the normal spelling may be another one.
        if is_respelled {
            return None;
        }
        let routing = Routing::of(&asked, false);
        let now = shared.now();
        let query = shared.selecting_query(&asked);
        let selecting = Selecting {
            headers: &asked.headers,
            query: query.as_deref(),
            routing,
        };
        let is_known = shared
            .hit_for_miss
            .contains(&key, Remembered::NotForGet, selecting, now);
        if is_known || NestedLoads::contain(&asked.extensions, &key) {
            return None;
        }
        let slot = Slot::new(shared, &asked, key, routing, false);
        let reservation = slot.cache.adapter().reserve(&slot.primary).await?;
        Some(Self {
            slot,
            context: RequestContext {
                method: Method::GET,
                query,
                routing,
                headers: asked.headers,
                is_identified: identity.is_some(),
                may_collapse: true,
                directives: cache_http::RequestDirectives::default(),
                forwarded_at: now,
            },
            reservation,
        })
    }

    /// Returns the tagger of the response. The handler runs in its scope.
    pub(crate) fn tagger(&self) -> Tagger {
        self.reservation.tagger().clone()
    }

    /// Decides from its head whether the response is stored. If it is, removes what is stored for GETs so far. From now
    /// on they wait for the response.
    pub(crate) async fn decide(
        self: Box<Self>,
        shared: &Shared,
        request: &Parts,
        head: &response::Parts,
        size: &SizeHint,
        control: Option<Control>,
    ) -> Option<Answer> {
        let Self {
            slot,
            context,
            reservation,
        } = *self;
        let now = shared.now();
        let at_most = reservation.fresh_at_most();
        let plan = storability(shared, &context, head, size, control, at_most, now);
        let Some(plan) = plan.ok().filter(|plan| is_of_target(request, head, plan)) else {
            shared
                .hit_for_miss
                .insert(&slot.primary, Remembered::NotForGet, context.selecting(), now);
            return None;
        };
        let fill = reservation.begin().await?;
        Some(Answer {
            slot,
            context,
            plan,
            fill,
        })
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
    slot: Slot,
    context: RequestContext,
    plan: StorePlan,
    fill: Fill<Stored>,
}

impl Answer {
    /// Returns the key of the record that the response replaces.
    pub(crate) fn key(&self) -> &Key {
        &self.slot.primary
    }

    /// Stores the response and returns it for the caller. If its body does not arrive at once, the caller and the GETs
    /// that come meanwhile read it as it arrives.
    pub(crate) async fn respond(
        self,
        shared: &Arc<Shared>,
        head: response::Parts,
        body: Body,
        report: Report,
    ) -> Response<Body> {
        let Self {
            slot,
            context,
            plan,
            fill,
        } = self;
        let load: Load<Infallible> = Load {
            shared: Arc::clone(shared),
            context,
            slot,
            fill,
            forward: Forward::Method,
            caller: None,
            probe: None,
        };
        let (tagger, span) = (load.fill.tagger().clone(), load.fill.span());
        let (body, stored) = span.scope(tagger.scope(load.keep_passing(plan, &head, body))).await;
        reported(shared, head, body, &report.stored(stored))
    }
}
