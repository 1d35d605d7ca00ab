//! Whether an answer is stored, for how long, and where.

use std::time::Duration;

use cache_engine::cache_core::{Key, Timestamp};
use cache_http::{Lifetime, LifetimeSource, Policy, Reason, Statuses, Storable, Vary, storable};
use http::header::{CONTENT_TYPE, TRAILER, VARY};
use http::{HeaderMap, HeaderName, StatusCode, response};
use http_body::SizeHint;

use crate::config::handler::{Control, StoreFor};
use crate::entry::variants::QueryRules;
use crate::request::context::RequestContext;
use crate::request::hit_for_miss::Remembered;
use crate::request::shared::Shared;
use crate::response::detail::Detail;
use crate::response::headers::content_length;

/// How an answer is stored.
#[derive(Debug)]
pub(crate) struct StorePlan {
    pub(crate) lifetime: Lifetime,
    /// The handler has set the lifetime by [`StoreFor`].
    pub(crate) has_own_ttl: bool,
    /// The request fields that select it.
    pub(crate) fields: Vec<HeaderName>,
    pub(crate) namespace: Option<Box<str>>,
    /// Which differences between queries do not matter to it.
    pub(crate) query_rules: QueryRules,
    /// The tags that the handler named with the response. `None` once the load has them.
    pub(crate) tags: Option<Vec<String>>,
    /// The fields that are for the caller alone (RFC 9111, sections 5.2.2.4 and 5.2.2.7).
    pub(crate) withheld: HeaderMap,
}

/// Why an answer is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) detail: Detail,
    /// The handler has changed its mind on what was stored before, if anything was.
    pub(crate) is_lasting: bool,
    /// The next answer is likely to be refused as well, so nobody should wait for it.
    pub(crate) mark: Option<Remembered>,
    /// It is too large, as the next one is likely to be for so long.
    too_large_for: Option<Duration>,
}

impl Refusal {
    pub(crate) fn lasting(detail: Detail) -> Self {
        Self {
            detail,
            is_lasting: true,
            mark: Some(Remembered::Refused),
            too_large_for: None,
        }
    }

    pub(crate) fn passing(detail: Detail) -> Self {
        Self {
            detail,
            is_lasting: false,
            mark: None,
            too_large_for: None,
        }
    }

    /// A refusal of an answer that is too large. That is remembered for as long as the answer would have been stored.
    pub(crate) fn too_large(lifetime: &Lifetime) -> Self {
        Self {
            too_large_for: Some(lifetime.fresh),
            ..Self::lasting(Detail::Rule(Reason::TooLarge))
        }
    }

    /// A refusal of an answer with this status.
    fn of(reason: Reason, status: StatusCode) -> Self {
        let is_lasting = matches!(
            reason,
            Reason::NoStore
                | Reason::Private
                | Reason::NoCache
                | Reason::SetCookie
                | Reason::VaryAny
                | Reason::NotFresh
        );
        let mark = match reason {
            Reason::Authorization | Reason::Cookie => Some(Remembered::RefusedToCredentials),
            Reason::Status if is_of_url(status) => Some(Remembered::Refused),
            _ => is_lasting.then_some(Remembered::Refused),
        };
        Self {
            detail: Detail::Rule(reason),
            is_lasting,
            mark,
            too_large_for: None,
        }
    }
}

/// Whether a status says something of the URL: it is neither the fault of the request, nor one that may pass in a moment.
fn is_of_url(status: StatusCode) -> bool {
    let is_of_request = status.is_client_error()
        && ![
            StatusCode::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED,
            StatusCode::GONE,
            StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
        ]
        .contains(&status);
    !is_of_request && !status.is_server_error()
}

/// Takes note of a refusal.
pub(crate) fn remember(shared: &Shared, primary: &Key, context: &RequestContext, refusal: &Refusal) {
    if let Some(time) = refusal.too_large_for {
        let (marks, headers) = (&shared.hit_for_miss, &context.headers);
        marks.insert_for(time, primary, Remembered::TooLarge, headers, shared.now());
    }
    let Some(mark) = refusal.mark else { return };
    // The answer to a request with credentials says nothing of those to others.
    let mark = if context.may_collapse {
        mark
    } else {
        Remembered::RefusedToCredentials
    };
    shared
        .hit_for_miss
        .insert(primary, mark, &context.headers, shared.now());
}

/// Takes note of an answer that could be stored: the next one is worth waiting for.
pub(crate) fn forget(shared: &Shared, primary: &Key, context: &RequestContext) {
    shared
        .hit_for_miss
        .remove(primary, Remembered::Refused, &context.headers);
    if !context.may_collapse {
        shared
            .hit_for_miss
            .remove(primary, Remembered::RefusedToCredentials, &context.headers);
    }
}

/// Decides on an answer by its head.
pub(crate) fn storability(
    shared: &Shared,
    context: &RequestContext,
    head: &response::Parts,
    size: &SizeHint,
    control: Option<Control>,
    now: Timestamp,
) -> Result<StorePlan, Refusal> {
    let store_for = match control {
        Some(Control::DoNotStore) => return Err(Refusal::lasting(Detail::DoNotStore)),
        Some(Control::StoreFor(store_for)) => store_for,
        None => StoreFor::as_usual(),
    };
    let policy = if context.is_identified {
        &shared.config.identified
    } else {
        &shared.config.policy
    };
    let since = if shared.config.is_gateway {
        context.forwarded_at
    } else {
        now
    };
    let mut lifetime = Lifetime::from_response(policy, head.status, &head.headers, since, now);
    if lifetime.source == LifetimeSource::Policy {
        lifetime.fresh = cache_engine::cache_core::jittered(lifetime.fresh, shared.cache.policy().jitter);
    }
    if let Some(ttl) = store_for.ttl {
        lifetime.fresh = ttl.saturating_add(lifetime.initial_age);
        lifetime.source = LifetimeSource::Policy;
    }
    lifetime.stale_while_revalidate = store_for.stale_while_revalidate.or(lifetime.stale_while_revalidate);
    lifetime.stale_if_error = store_for.stale_if_error.or(lifetime.stale_if_error);

    let verdict = storable(
        policy,
        &context.method,
        &shared.config.with_credentials(&context.headers),
        head.status,
        &head.headers,
        &lifetime,
    );
    if let Storable::No(reason) = verdict {
        return Err(Refusal::of(reason, head.status));
    }
    if is_endless(&head.headers) {
        return Err(Refusal::lasting(Detail::Endless));
    }
    if head.headers.contains_key(TRAILER) {
        return Err(Refusal::lasting(Detail::Trailers));
    }
    if !store_for.tags.is_empty() && !shared.config.tags.takes_late() {
        return Err(Refusal::lasting(Detail::LateTags));
    }
    let length = content_length(&head.headers).unwrap_or(0).max(size.lower());
    if length > shared.config.max_body as u64 {
        return Err(Refusal::too_large(&lifetime));
    }
    let mut fields = match Vary::from_headers(&head.headers) {
        Vary::Fields(fields) => fields,
        // Only where the policy takes it as if it were not there.
        Vary::Any => Vary::named_fields(head.headers.get_all(VARY)),
    };
    fields.retain(|field| !shared.config.keys.fields.contains(field));
    Ok(StorePlan {
        lifetime,
        has_own_ttl: store_for.ttl.is_some(),
        fields,
        namespace: store_for.namespace,
        query_rules: match context.query {
            Some(_) => QueryRules::from_headers(&head.headers),
            None => QueryRules::default(),
        },
        tags: Some(store_for.tags),
        withheld: withheld(policy, &head.headers),
    })
}

fn withheld(policy: &Policy, headers: &HeaderMap) -> HeaderMap {
    let mut withheld = HeaderMap::new();
    for name in policy.directives(headers).withheld_fields() {
        withheld.extend(headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
    }
    withheld
}

/// Whether the answer is a stream of events, which has no end to wait for.
fn is_endless(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
        value[..end].trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// Whether the answer of a handler that failed, which is not stored, may be given to those who have waited for it.
pub(crate) fn is_shareable(shared: &Shared, context: &RequestContext, head: &response::Parts, now: Timestamp) -> bool {
    let mut policy = shared.config.policy(context.is_identified).clone();
    policy.statuses = Statuses::predicate(|_| true);
    let lifetime = Lifetime::from_response(&policy, head.status, &head.headers, now, now);
    let headers = shared.config.with_credentials(&context.headers);
    let decided = storable(
        &policy,
        &context.method,
        &headers,
        head.status,
        &head.headers,
        &lifetime,
    );
    let is_for_all = match decided {
        Storable::Yes => true,
        // Handlers of a route are known by its settings. Of an origin, a gateway shares only what the standard lets it
        // store (RFC 9111, section 4): a failure may be due to a cookie, or to a field that nobody has named.
        Storable::No(Reason::NotFresh) => !shared.config.is_gateway,
        Storable::No(_) => false,
    };
    is_for_all && !head.headers.contains_key(VARY) && !is_endless(&head.headers) && !head.headers.contains_key(TRAILER)
}
