//! The route of a request: how the request is handled.

use axum::body::Body;
use cache_engine::cache_core::{Key, Timestamp};
use cache_http::{RequestDirectives, may_collapse};
use http::header::{CACHE_CONTROL, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method, Request};

use crate::entry::stored::Stored;
use crate::entry::variant_index::Selecting;
use crate::key::routing::Routing;
use crate::request::bypass::{Bypass, FieldSummary, bypass, may_have_content};
use crate::request::context::RequestContext;
use crate::request::hit_for_miss::Remembered;
use crate::request::nesting::NestedLoads;
use crate::request::shared::Shared;

/// How a request is handled.
pub(crate) enum Route {
    /// Call the handler: the cache does not take part.
    Bypass(Bypass),
    /// Read the content of the request first: it is part of the key, or shows whether the request has any.
    Content(Option<String>),
    /// Call the handler: a layer around this one is already loading the response.
    Nested,
    /// Answer from the store, or with 504.
    OnlyIfCached(Keyed),
    /// Answer from the store, or by the handler. [`Keyed::is_uncoalesced`] decides whether other requests share that
    /// call; a hit does not need to know.
    Lookup(Keyed),
}

/// What is known about a request that is looked up.
pub(crate) struct Keyed {
    pub(crate) key: Key,
    /// The query, if it selects among the responses of the key.
    pub(crate) query: Option<Box<str>>,
    /// The route that serves the request. Of a request whose path has its normal form, it is known only after
    /// [`Route::routed`].
    pub(crate) routing: Routing,
    /// Whether the request's identity is part of its key.
    pub(crate) is_identified: bool,
    /// Whether the request may wait for the response to another request, and other requests for its response.
    pub(crate) may_collapse: bool,
    /// Whether the request has none of the fields that decide its route; see [`FieldSummary`].
    is_plain: bool,
    /// Whether the request has no condition and asks for no part.
    pub(crate) asks_for_whole: bool,
    /// `None` if the request has no directives, or if they are ignored.
    pub(crate) directives: Option<RequestDirectives>,
    /// When the request arrived.
    pub(crate) arrived: Timestamp,
}

impl Route {
    /// Decides the route of a request from its head and the framing of its content.
    pub(crate) fn of(shared: &Shared, request: &Parts, body: &Body) -> Self {
        let identity = shared.config.keys.identity(request);
        let policy = shared.config.policy(identity.is_some());
        let fields = FieldSummary::of(shared, &request.headers);
        if let Some(reason) = bypass(shared, policy, request, body, fields.is_plain) {
            return Self::Bypass(reason);
        }
        if shared.config.content_limit(&request.method).is_some() || may_have_content(body) {
            return Self::Content(identity);
        }
        Self::keyed(shared, request, identity.as_deref(), None, fields)
    }

    /// Decides the route of a request whose content has been read, if the content is part of its key.
    pub(crate) fn by_key(shared: &Shared, request: &Parts, identity: Option<&str>, content: Option<&[u8]>) -> Self {
        let fields = FieldSummary::of(shared, &request.headers);
        Self::keyed(shared, request, identity, content, fields)
    }

    fn keyed(
        shared: &Shared,
        request: &Parts,
        identity: Option<&str>,
        content: Option<&[u8]>,
        fields: FieldSummary,
    ) -> Self {
        let FieldSummary {
            is_plain,
            asks_for_whole,
        } = fields;
        let Ok((key, is_respelled)) = shared.key(request, identity, content) else {
            return Self::Bypass(Bypass::NoKey);
        };
        if NestedLoads::contain(&request.extensions, &key) {
            return Self::Nested;
        }
        let policy = shared.config.policy(identity.is_some());
        let directives = (!is_plain && policy.request_directives && request.headers.contains_key(CACHE_CONTROL))
            .then(|| RequestDirectives::from_headers(&request.headers));
        let only_if_cached = directives.as_ref().is_some_and(|directives| directives.only_if_cached);
        let keyed = Keyed {
            key,
            query: shared.selecting_query(request),
            routing: Routing { route: 0, is_respelled },
            is_identified: identity.is_some(),
            may_collapse: is_plain || may_collapse(policy, &shared.config.with_credentials(&request.headers)),
            is_plain,
            asks_for_whole,
            directives,
            arrived: shared.now(),
        };
        if only_if_cached {
            Self::OnlyIfCached(keyed)
        } else {
            Self::Lookup(keyed)
        }
    }

    /// Adds which route of the routers serves the request. A hit in memory does not need to know, unless a spelling is not the
    /// normal one.
    pub(crate) fn routed(mut self, request: &Parts) -> Self {
        if let Self::OnlyIfCached(keyed) | Self::Lookup(keyed) = &mut self {
            keyed.routing = Routing::of(request, keyed.routing.is_respelled);
        }
        self
    }
}

impl Keyed {
    /// Returns whether the request may have what is stored: whether the same route serves it as the request that led to that,
    /// if either of them was not spelled in the normal form.
    #[inline]
    pub(crate) fn may_have(&self, stored: &Stored, request: &Parts) -> bool {
        let routing = stored.routing();
        !(self.routing.is_respelled || routing.is_respelled) || self.is_routed_as(routing, request)
    }

    #[cold]
    fn is_routed_as(&self, routing: Routing, request: &Parts) -> bool {
        Routing::of(request, self.routing.is_respelled).agrees_with(routing)
    }

    /// Returns whether no other request shares the call of the handler, if one is needed.
    pub(crate) fn is_uncoalesced(&self, shared: &Shared, request: &Parts) -> bool {
        request.method == Method::HEAD
            || self.routing.is_respelled && self.is_of_other_route(shared, &request.headers)
            || !self.is_plain && self.is_range_of_large(shared, &request.headers)
            || self.is_hit_for_miss(shared, &request.headers)
    }

    /// Returns whether the request is for a part of a response that is known to be too large to be stored.
    fn is_range_of_large(&self, shared: &Shared, request: &HeaderMap) -> bool {
        request.contains_key(RANGE)
            && shared
                .hit_for_miss
                .contains(&self.key, Remembered::TooLarge, self.selecting(request), self.arrived)
    }

    /// Returns whether another route is known to serve other spellings of the path.
    fn is_of_other_route(&self, shared: &Shared, request: &HeaderMap) -> bool {
        shared
            .hit_for_miss
            .contains(&self.key, Remembered::OtherRoute, self.selecting(request), self.arrived)
    }

    /// Returns whether the last response of the URL turned out to be for one request only (hit-for-miss).
    fn is_hit_for_miss(&self, shared: &Shared, request: &HeaderMap) -> bool {
        let request = self.selecting(request);
        let is_remembered = |what| shared.hit_for_miss.contains(&self.key, what, request, self.arrived);
        is_remembered(Remembered::Refused)
            || is_remembered(Remembered::VariantRefused)
            || is_remembered(Remembered::RefusedAlike)
            || is_remembered(Remembered::Undecided)
            || !self.may_collapse && is_remembered(Remembered::RefusedToCredentials)
    }

    /// Returns what a request with these headers selects a variant by.
    pub(crate) fn selecting<'a>(&'a self, headers: &'a HeaderMap) -> Selecting<'a> {
        Selecting {
            headers,
            query: self.query.as_deref(),
            routing: self.routing,
        }
    }

    /// Returns whether the request accepts a stale response.
    pub(crate) fn takes_stale(&self) -> bool {
        self.directives
            .as_ref()
            .is_some_and(|directives| directives.max_stale.is_some())
    }

    /// Returns what the exchange needs to know about the request from here on, and the key of the request.
    pub(crate) fn into_context(self, shared: &Shared, request: &Request<Body>) -> (RequestContext, Key) {
        let context = RequestContext {
            method: request.method().clone(),
            headers: request.headers().clone(),
            query: self.query,
            routing: self.routing,
            is_identified: self.is_identified,
            may_collapse: self.may_collapse,
            directives: self.directives.unwrap_or_default(),
            forwarded_at: shared.now(),
        };
        (context, self.key)
    }
}
