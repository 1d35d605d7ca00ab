//! Decides whether a response is stored, for how long, and where.

use std::time::Duration;

use cache_engine::AdapterEvent;
use cache_engine::cache_core::{Key, Timestamp};
use cache_http::{Lifetime, LifetimeSource, Policy, Reason, Statuses, Storable, Vary, storable};
use http::header::{CONTENT_TYPE, TRAILER, VARY};
use http::{HeaderMap, HeaderName, StatusCode, response};
use http_body::SizeHint;

use crate::config::handler::{Control, StoreFor};
use crate::entry::lifetime::shorten;
use crate::entry::variant_index::{Audience, QueryRules};
use crate::request::context::RequestContext;
use crate::request::hit_for_miss::Remembered;
use crate::request::shared::Shared;
use crate::response::detail::Detail;
use crate::response::headers::content_length;

/// How a response is stored.
#[derive(Debug)]
pub(crate) struct StorePlan {
    pub(crate) lifetime: Lifetime,
    /// Whether the handler has set the lifetime with [`StoreFor`].
    pub(crate) has_own_ttl: bool,
    /// The request fields that select the response.
    pub(crate) fields: Vec<HeaderName>,
    pub(crate) namespace: Option<Box<str>>,
    /// Which differences between queries do not matter to the response.
    pub(crate) query_rules: QueryRules,
    /// The tags that the handler named with the response. `None` once they have been added to the load.
    pub(crate) tags: Option<Vec<String>>,
    /// The fields that only the caller gets (RFC 9111, sections 5.2.2.4 and 5.2.2.7).
    pub(crate) withheld: HeaderMap,
}

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) detail: Detail,
    /// Whether the refusal also replaces what was stored before, if anything was.
    pub(crate) is_lasting: bool,
    /// What to remember for the next requests: the next response is likely to be refused too, so no request should wait
    /// for it.
    pub(crate) mark: Option<Remembered>,
    /// How long to remember that the response is too large, because the next one is likely to be too large as well.
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

    /// Refuses a response that is not the variant that its request selects. It says nothing about that variant.
    fn other_variant() -> Self {
        Self {
            mark: Some(Remembered::VariantRefused),
            ..Self::passing(Detail::OtherVariant)
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

    /// Refuses a response that is too large. That is remembered for as long as the response would have been stored.
    pub(crate) fn too_large(lifetime: &Lifetime) -> Self {
        Self {
            too_large_for: Some(lifetime.fresh),
            ..Self::lasting(Detail::Rule(Reason::TooLarge))
        }
    }

    /// Refuses a response with this head.
    fn of(reason: Reason, head: &response::Parts) -> Self {
        let is_of_cache = matches!(
            reason,
            Reason::NoStore
                | Reason::Private
                | Reason::NoCache
                | Reason::SetCookie
                | Reason::VaryAny
                | Reason::NotFresh
        );
        let is_lasting = is_of_cache || reason == Reason::Status && is_gone(head.status);
        let mark = match reason {
            Reason::Authorization | Reason::Cookie => Some(Remembered::RefusedToCredentials),
            Reason::Status if is_of_url(head.status) => Some(Remembered::Refused),
            _ => is_of_cache.then_some(Remembered::Refused),
        };
        let mark = match mark {
            Some(Remembered::Refused) if reason != Reason::VaryAny && head.headers.contains_key(VARY) => {
                Some(Remembered::VariantRefused)
            }
            mark => mark,
        };
        Self {
            detail: Detail::Rule(reason),
            is_lasting,
            mark,
            too_large_for: None,
        }
    }
}

/// Returns whether a status says something about the URL: the request did not cause it, and it is not a temporary one.
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

/// Returns whether a status says that what was stored for the URL is no longer there. A complete response replaces a stale one
/// (RFC 9111, section 4.3.3).
fn is_gone(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS
            | StatusCode::MOVED_PERMANENTLY
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// Reports that the response to the request with the key `primary` is not stored.
pub(crate) fn report_refused(shared: &Shared, primary: &Key, detail: Detail) {
    shared.report(primary, AdapterEvent::Refused(detail.as_str()));
}

/// Records a refusal.
pub(crate) fn remember(shared: &Shared, primary: &Key, context: &RequestContext, refusal: &Refusal) {
    if let Some(time) = refusal.too_large_for {
        shared
            .hit_for_miss
            .insert_for(time, primary, Remembered::TooLarge, context.selecting(), shared.now());
    }
    let Some(mark) = refusal.mark else { return };
    // The response to a request with credentials says nothing about the responses to others.
    let mark = if context.may_collapse {
        mark
    } else {
        Remembered::RefusedToCredentials
    };
    let (selecting, now) = (context.selecting(), shared.now());
    match mark {
        Remembered::Refused | Remembered::VariantRefused => shared.hit_for_miss.refuse(primary, mark, selecting, now),
        _ => shared.hit_for_miss.insert(primary, mark, selecting, now),
    }
}

/// Records that a response could be stored, so that other requests may wait for the next one.
pub(crate) fn forget(shared: &Shared, primary: &Key, context: &RequestContext) {
    shared.hit_for_miss.accept(primary, context.selecting(), shared.now());
    if !context.may_collapse {
        shared
            .hit_for_miss
            .remove(primary, Remembered::RefusedToCredentials, context.selecting());
    }
}

/// Decides from its head whether and how a response is stored. `at_most` is how long the entries that it is made from are
/// still fresh.
pub(crate) fn storability(
    shared: &Shared,
    context: &RequestContext,
    head: &response::Parts,
    size: &SizeHint,
    control: Option<Control>,
    at_most: Option<Duration>,
    now: Timestamp,
) -> Result<StorePlan, Refusal> {
    let store_for = match control {
        Some(Control::DoNotStore) => return Err(Refusal::lasting(Detail::DoNotStore)),
        Some(Control::StoreFor(store_for)) => store_for,
        None => StoreFor::as_usual(),
    };
    let policy = shared.config.policy(context.is_identified);
    let since = if shared.config.is_gateway {
        context.forwarded_at
    } else {
        now
    };
    let is_error = head.status.is_client_error() || head.status.is_server_error();
    let own = (is_error && store_for.ttl.is_some()).then(|| without_stale_windows(policy));
    let mut lifetime = Lifetime::from_response(own.as_ref().unwrap_or(policy), head.status, &head.headers, since, now);
    if lifetime.source == LifetimeSource::Policy {
        lifetime.fresh = cache_engine::cache_core::jittered(lifetime.fresh, shared.cache.policy().jitter);
    }
    if let Some(ttl) = store_for.ttl {
        lifetime.fresh = ttl.saturating_add(lifetime.initial_age);
        lifetime.source = LifetimeSource::Policy;
    }
    shorten(&mut lifetime, at_most, now);
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
        return Err(Refusal::of(reason, head));
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
    let fields = selecting_fields(shared, &head.headers);
    if !is_as_chosen(shared, context, &fields, &head.headers) {
        return Err(Refusal::other_variant());
    }
    Ok(StorePlan {
        lifetime,
        has_own_ttl: store_for.ttl.is_some(),
        fields,
        namespace: store_for.namespace,
        query_rules: query_rules(context, &head.headers),
        tags: Some(store_for.tags),
        withheld: withheld(policy, &head.headers),
    })
}

/// Returns the rules for an error whose lifetime the handler has set. The stale windows of a route are for its content: a 404
/// that is stored for seconds must not be served for hours while the database fails.
fn without_stale_windows(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    policy.stale_while_revalidate = None;
    policy.stale_if_error = None;
    policy
}

/// Returns the request fields that select a response among those of its key.
fn selecting_fields(shared: &Shared, response: &HeaderMap) -> Vec<HeaderName> {
    let mut fields = match Vary::from_headers(response) {
        Vary::Fields(fields) => fields,
        // This only occurs if the policy ignores `*`.
        Vary::Any => Vary::named_fields(response.get_all(VARY)),
    };
    fields.retain(|field| !shared.config.keys.fields.contains(field));
    fields
}

/// Returns whether a response has the language and the coding that were chosen for its request, as far as it declares them.
/// The handler saw only these, but something around it may have decided by what the client has sent.
fn is_as_chosen(shared: &Shared, context: &RequestContext, fields: &[HeaderName], response: &HeaderMap) -> bool {
    let keys = &shared.config.keys;
    [fields, &keys.fields]
        .iter()
        .all(|fields| keys.normalization.is_as_chosen(fields, &context.headers, response))
}

/// Returns which differences between queries do not matter to a response.
fn query_rules(context: &RequestContext, response: &HeaderMap) -> QueryRules {
    match context.query {
        Some(_) => QueryRules::from_headers(response),
        None => QueryRules::default(),
    }
}

/// Returns the requests that a response with these headers is for.
pub(crate) fn audience(shared: &Shared, context: &RequestContext, response: &HeaderMap) -> Audience {
    Audience::new(
        selecting_fields(shared, response),
        query_rules(context, response),
        context.selecting(),
        &shared.config.keys.normalization,
    )
}

fn withheld(policy: &Policy, headers: &HeaderMap) -> HeaderMap {
    let mut withheld = HeaderMap::new();
    for name in policy.directives(headers).withheld_fields() {
        withheld.extend(headers.get_all(name).iter().map(|value| (name.clone(), value.clone())));
    }
    withheld
}

/// Returns whether the response is an event stream, whose end cannot be waited for.
fn is_endless(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
        value[..end].trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// Returns whether the response of a failed handler, which is not stored, may be given to the requests that have waited
/// for it and would have selected it.
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
        // The settings of a route take its handlers into account. For an origin, a gateway shares only what the
        // standard lets it store (RFC 9111, section 4): a failure may depend on a cookie, or on a field that the
        // response does not name.
        Storable::No(Reason::NotFresh) => !shared.config.is_gateway,
        Storable::No(_) => false,
    };
    is_for_all
        && !is_endless(&head.headers)
        && !head.headers.contains_key(TRAILER)
        && is_as_chosen(shared, context, &selecting_fields(shared, &head.headers), &head.headers)
}
