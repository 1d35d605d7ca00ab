//! Responses whose bodies are still arriving: for the request that caused the load, and for the requests that wait for
//! it and read the body as it arrives.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use cache_http::{Lifetime, age_header};
use http::header::{AGE, CACHE_CONTROL, EXPIRES, RANGE};
use http::{Response, StatusCode, response};

use crate::body::tee::Tee;
use crate::entry::response::StoredResponse;
use crate::entry::variant_index::{Audience, VariantIndex};
use crate::exchange::storability::StorePlan;
use crate::request::context::RequestContext;
use crate::request::shared::Shared;
use crate::response::cache_status::Report;
use crate::response::headers::{add_client_caching, content_length};
use crate::response::passing::{reported, select_passing};

/// A response that is to be stored, and whose body is still being collected.
#[derive(Debug)]
pub(crate) struct Arriving {
    /// The response as it is to be stored, without its body.
    head: StoredResponse,
    /// The requests that may have the response.
    audience: Audience,
    tee: Arc<Tee>,
    /// The length of the body, if it is known in advance.
    length: Option<u64>,
    /// Whether the response can be stored at all.
    is_kept: bool,
}

impl Arriving {
    /// Returns `None` if only the caller may have the response before it is stored. `variants` is the index that led to
    /// it.
    pub(crate) fn of(
        shared: &Shared,
        context: &RequestContext,
        variants: Option<&VariantIndex>,
        plan: &StorePlan,
        head: &response::Parts,
        tee: &Arc<Tee>,
        length: Option<u64>,
    ) -> Option<Self> {
        // A new namespace has no entry yet, so nothing would show that it was cleared in the meantime.
        let namespace = variants.and_then(VariantIndex::namespace);
        // A response that was validated for one request, or that was never fresh, must not be used for another request
        // without validation (RFC 9111, sections 4.2 and 5.2.2.4).
        let was_never_fresh = plan.lifetime.fresh <= plan.lifetime.initial_age;
        if plan.lifetime.no_cache || was_never_fresh || plan.namespace.as_deref() != namespace {
            return None;
        }
        let policy = shared.config.policy(context.is_identified);
        Some(Self {
            head: StoredResponse::new(
                head.status,
                StoredResponse::prepared_headers(policy, &head.headers, &plan.lifetime),
                Bytes::new(),
                plan.lifetime,
            ),
            audience: Audience::new(
                plan.fields.clone(),
                plan.query_rules.clone(),
                context.selecting(),
                &shared.config.keys.normalization,
            ),
            tee: Arc::clone(tee),
            length,
            is_kept: true,
        })
    }

    /// Sets whether the response can be stored at all.
    pub(crate) fn kept(self, is_kept: bool) -> Self {
        Self { is_kept, ..self }
    }

    /// Answers a request that has waited for this response. Returns `None` if that request selects another response, if
    /// nothing of the body has arrived for the configured maximum wait, or if the body does not arrive completely.
    ///
    /// A range of a body of unknown length waits until the length is known, for at most the configured maximum wait.
    pub(crate) async fn answer(
        &self,
        shared: &Shared,
        context: &RequestContext,
        report: Report,
    ) -> Option<Response<Body>> {
        let normalization = &shared.config.keys.normalization;
        if !self.audience.includes(context.selecting(), normalization) {
            return None;
        }
        if self.tee.is_stalled(shared.config.max_wait) {
            return None;
        }
        let mut body = self.tee.read_along(self.length)?;
        let is_unmeasured = self.length.or(content_length(&self.head.headers)).is_none();
        if is_unmeasured && asks_for_range(context, self.head.status) {
            let measured = tokio::time::timeout(shared.config.max_wait, body.measure()).await;
            if !measured.unwrap_or(false) {
                return None;
            }
        }
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = self.head.status;
        head.headers.clone_from(&self.head.headers);
        let lifetime = &self.head.lifetime;
        // Instead of the age that the response had when it arrived.
        head.headers.insert(AGE, age_header(lifetime.age(shared.now())));
        let body = Body::new(body);
        Some(passing(shared, context, lifetime, self.is_kept, head, body, report))
    }
}

/// Returns whether a request is for a part (RFC 9110, section 14.2; RFC 10008).
pub(crate) fn is_for_part(context: &RequestContext) -> bool {
    matches!(context.method.as_str(), "GET" | "QUERY") && context.headers.contains_key(RANGE)
}

/// Returns whether a request asks for a part of a response with this status.
pub(crate) fn asks_for_range(context: &RequestContext, status: StatusCode) -> bool {
    status == StatusCode::OK && is_for_part(context)
}

/// Builds a response whose body is still arriving, limited to what the request asks for.
pub(crate) fn passing(
    shared: &Shared,
    context: &RequestContext,
    lifetime: &Lifetime,
    is_kept: bool,
    head: response::Parts,
    body: Body,
    report: Report,
) -> Response<Body> {
    let has_cache_control = head.headers.contains_key(CACHE_CONTROL) || head.headers.contains_key(EXPIRES);
    let (mut head, body, report) = select_passing(context, head, body, report);
    if !has_cache_control && head.status != StatusCode::RANGE_NOT_SATISFIABLE {
        let now = shared.now();
        add_client_caching(
            &shared.config,
            &context.method,
            &mut head.headers,
            lifetime,
            now,
            is_kept,
        );
    }
    reported(shared, head, body, &report)
}
