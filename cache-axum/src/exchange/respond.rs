//! Responds to the requests that the layer receives.

use std::panic::resume_unwind;
use std::sync::Arc;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use cache_engine::cache_core::{Error, Key, Timestamp};
use cache_engine::{AdapterEvent, Background, CacheTier, Refresh};
use cache_http::{Forward, Framing};
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::oneshot;
use tower_service::Service;

use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::entry::variant_index::Selecting;
use crate::exchange::apart::apart;
use crate::exchange::forward::{forward_bypassing, forward_nested, forward_to_revalidate, forward_uncoalesced};
use crate::exchange::load::{Answer, Load};
use crate::exchange::lookup::{Collapsed, LookupOutcome, Slot, forward_in_outage, look_up, read, read_usable};
use crate::exchange::outcome::{Answered, Outcome};
use crate::exchange::route::{Keyed, Route};
use crate::request::body::{Content, take_content, take_nothing};
use crate::request::bypass::Bypass;
use crate::request::context::RequestContext;
use crate::request::extension::LayerHandle;
use crate::request::nesting::NestedLoads;
use crate::request::shared::Shared;
use crate::response::detail::Detail;
use crate::response::from_entry::{Source, answer, answer_prepared, answer_whole};
use crate::response::report::Report;

/// Answers a plain request from a store in this process, without spawning a task, waiting, or cloning the inner
/// service.
pub(crate) fn respond_from_memory(shared: &Shared, parts: &Parts, route: &Route) -> Option<Answered> {
    let (Route::OnlyIfCached(keyed) | Route::Lookup(keyed)) = route else {
        return None;
    };
    if keyed.directives.is_some() {
        return None;
    }
    let adapter = shared.adapter().refresh_early_if(Stored::is_response);
    let mut stored = adapter.read_local::<Stored>(&keyed.key)?;
    if let Stored::Index(variants) = &*stored {
        if !keyed.may_have(&stored, parts) {
            return None;
        }
        let key = shared.variant(variants, &keyed.key, keyed.selecting(&parts.headers));
        let selected = adapter.read_local::<Stored>(&key)?;
        if matches!(&*selected, Stored::Response(_)) {
            shared.used(variants, &keyed.key, &key);
        }
        stored = selected;
    }
    let Stored::Response(response) = &*stored else {
        return None;
    };
    if !keyed.may_have(&stored, parts) {
        return None;
    }
    let now = keyed.arrived;
    let is_get_of_whole = keyed.asks_for_whole && parts.method == Method::GET;
    if is_get_of_whole && let Some(prepared) = answer_prepared(shared, &stored, response, now) {
        shared.report(&keyed.key, AdapterEvent::Hit(adapter.local_tier()));
        return Some(Answered::new(prepared, Outcome::Hit));
    }
    let outcome = report_found(shared, &keyed.key, response, now, adapter.local_tier());
    if is_get_of_whole && outcome == Outcome::Hit {
        return Some(Answered::new(answer_whole(shared, &stored, response, now), outcome));
    }
    let response = hit(shared, &parts.method, &parts.headers, response, now, None);
    if response.status() == StatusCode::NOT_MODIFIED {
        shared.report(&keyed.key, AdapterEvent::NotModified);
    }
    Some(Answered::new(response, outcome))
}

/// Reports that a response was found, and answers its request at once.
#[inline]
fn report_found(shared: &Shared, key: &Key, response: &StoredResponse, now: Timestamp, tier: CacheTier) -> Outcome {
    let (event, outcome) = if response.lifetime.is_fresh(now) {
        (AdapterEvent::Hit(tier), Outcome::Hit)
    } else {
        (AdapterEvent::Stale, Outcome::Stale)
    };
    shared.report(key, event);
    outcome
}

/// Reads the content of a request, if that decides its route.
pub(crate) async fn with_content(shared: &Shared, parts: &Parts, body: Body, route: Route) -> (Route, Body) {
    let Route::Content(identity) = route else {
        return (route, body);
    };
    let limit = shared.config.content_limit(&parts.method);
    let content = match limit {
        Some(limit) => take_content(body, limit).await,
        None => take_nothing(body, Framing::from_request(parts.version, &parts.headers)).await,
    };
    match content {
        Content::Whole(content) => {
            let in_key = limit.map(|_| &content[..]);
            (
                Route::by_key(shared, parts, identity.as_deref(), in_key),
                Body::from(content),
            )
        }
        Content::Other(body) if limit.is_some() => (Route::Bypass(Bypass::TooLarge), body),
        Content::Other(body) => (Route::Bypass(Bypass::Content), body),
    }
}

/// Responds to a request whose content decides its route.
pub(crate) async fn respond_with_content<S, B>(
    shared: Arc<Shared>,
    inner: S,
    parts: Parts,
    body: Body,
    route: Route,
) -> Result<Answered, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (route, body) = with_content(&shared, &parts, body, route).await;
    respond(shared, inner, parts, body, route).await
}

/// Responds to a request according to its route. Its content has been read, if that decides the route.
pub(crate) async fn respond<S, B>(
    shared: Arc<Shared>,
    inner: S,
    parts: Parts,
    body: Body,
    route: Route,
) -> Result<Answered, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let route = route.routed(&parts);
    let is_uncoalesced = match &route {
        Route::Lookup(keyed) => keyed.is_uncoalesced(&shared, &parts),
        _ => false,
    };
    let conditional = match &route {
        Route::OnlyIfCached(keyed) | Route::Lookup(keyed) if !keyed.asks_for_whole => {
            Some((Arc::clone(&shared), keyed.key.clone()))
        }
        _ => None,
    };
    let request = Request::from_parts(parts, body);
    let answered = match route {
        Route::Bypass(bypass) => {
            shared.cache.adapter().report_bypass(Detail::from(bypass).as_str());
            let response = apart(|| forward_bypassing(shared, inner, request, bypass)).await?;
            Ok(Answered::new(response, Outcome::Bypass))
        }
        // `Content` cannot occur here: the content has been read.
        Route::Content(_) | Route::Nested => Ok(Answered {
            response: forward_nested(inner, request).await?,
            outcome: None,
        }),
        Route::OnlyIfCached(keyed) => Ok(
            match read_stored(&shared, request.method(), request.headers(), &keyed, true).await {
                Ok(Some(answered)) => answered,
                nothing => {
                    let outcome = report_not_found(&shared, &keyed.key, nothing.is_err());
                    Answered::new(unavailable(&shared, outcome), outcome)
                }
            },
        ),
        Route::Lookup(keyed) if is_uncoalesced => apart(|| respond_uncoalesced(shared, inner, request, keyed)).await,
        Route::Lookup(keyed) => apart(|| respond_normally(shared, inner, request, keyed)).await,
    };
    if let (Some((shared, key)), Ok(answered)) = (conditional, &answered)
        && answered.response.status() == StatusCode::NOT_MODIFIED
    {
        shared.report(&key, AdapterEvent::NotModified);
    }
    answered
}

/// Reports that nothing was found that answers a request.
fn report_not_found(shared: &Shared, key: &Key, is_outage: bool) -> Outcome {
    let (event, outcome) = if is_outage {
        (AdapterEvent::Outage, Outcome::Outage)
    } else {
        (AdapterEvent::Miss, Outcome::Miss)
    };
    shared.report(key, event);
    outcome
}

/// Reports that the load of another request answers a request.
fn report_coalesced(shared: &Shared, key: &Key, is_outage: bool) -> Outcome {
    let outcome = report_not_found(shared, key, is_outage);
    shared.report(key, AdapterEvent::Coalesced);
    outcome
}

/// Answers from the store, without loading. `is_last` is set if only a call of the handler may follow.
async fn read_stored(
    shared: &Shared,
    method: &Method,
    headers: &HeaderMap,
    keyed: &Keyed,
    is_last: bool,
) -> Result<Option<Answered>, Error> {
    let directives = keyed.directives.as_ref();
    let stored = read_usable(shared, &keyed.key, keyed.selecting(headers), directives, is_last).await?;
    Ok(stored.map(|stored| {
        let outcome = match &*stored {
            Stored::Response(response) => {
                let outcome = report_found(shared, &keyed.key, response, shared.now(), CacheTier::Store);
                Some(outcome)
            }
            Stored::Index(_) => None,
        };
        Answered {
            response: answer_with(shared, method, headers, &stored, None),
            outcome,
        }
    }))
}

async fn respond_uncoalesced<S, B>(
    shared: Arc<Shared>,
    inner: S,
    request: Request<Body>,
    keyed: Keyed,
) -> Result<Answered, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let is_outage = match read_stored(&shared, request.method(), request.headers(), &keyed, true).await {
        Ok(Some(answered)) => return Ok(answered),
        Ok(None) => false,
        Err(_) => true,
    };
    let outcome = report_not_found(&shared, &keyed.key, is_outage);
    let report =
        Report::miss(forward_in_outage(Forward::UriMiss, is_outage)).detail(is_outage.then_some(Detail::Outage));
    let (context, key) = keyed.into_context(&shared, &request);
    let response = apart(|| forward_uncoalesced(shared, inner, request, context, Some(key), report)).await?;
    Ok(Answered::new(response, outcome))
}

async fn respond_normally<S, B>(
    shared: Arc<Shared>,
    inner: S,
    request: Request<Body>,
    keyed: Keyed,
) -> Result<Answered, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut probe = None;
    if !keyed.may_collapse {
        // One request at a time finds out whether such responses are shared. It waits for no load, and no request waits
        // for it.
        let selecting = keyed.selecting(request.headers());
        probe = shared.hit_for_miss.probe(&keyed.key, selecting, keyed.arrived);
        if probe.is_none() {
            return apart(|| respond_uncoalesced(shared, inner, request, keyed)).await;
        }
    }
    if keyed.takes_stale()
        && let Ok(Some(answered)) = read_stored(&shared, request.method(), request.headers(), &keyed, false).await
    {
        return Ok(answered);
    }
    let (parts, body) = request.into_parts();
    let slot = Slot::new(&shared, &parts, keyed.key.clone(), keyed.routing, keyed.may_collapse);
    let request = Request::from_parts(parts, body);
    // Each load that is waited for has its own time limit. This one limits several loads in a row.
    let bound = shared.config.max_wait + shared.config.max_wait.max(shared.config.max_body_time);
    let looking_up = look_up(&shared, slot, request.headers(), keyed.directives.as_ref());
    let Ok(found) = tokio::time::timeout(bound, looking_up).await else {
        drop(probe);
        let outcome = report_not_found(&shared, &keyed.key, false);
        let report = Report::miss(Forward::UriMiss).detail(Some(Detail::Overdue));
        let (context, key) = keyed.into_context(&shared, &request);
        let response = apart(|| forward_uncoalesced(shared, inner, request, context, Some(key), report)).await?;
        return Ok(Answered::new(response, outcome));
    };
    let (context, key, forward, outcome) = match found {
        LookupOutcome::Hit {
            stored,
            tier,
            collapsed,
            refresh,
        } => {
            let outcome = match (&*stored, &collapsed) {
                (_, Some(collapsed)) => report_coalesced(&shared, &keyed.key, collapsed.outage),
                (Stored::Response(response), None) => report_found(&shared, &keyed.key, response, shared.now(), tier),
                (Stored::Index(_), None) => report_not_found(&shared, &keyed.key, false),
            };
            let (method, headers) = (request.method(), request.headers());
            let response = answer_with(&shared, method, headers, &stored, collapsed);
            if let Some((refresh, slot)) = refresh {
                let (context, _) = keyed.into_context(&shared, &request);
                start_refresh(&shared, inner, request, context, slot, refresh);
            }
            return Ok(Answered::new(response, outcome));
        }
        LookupOutcome::Stale {
            stored,
            refresh: Some(refresh),
            slot,
        } if shared.config.foreground => {
            let (method, headers, key) = (request.method().clone(), request.headers().clone(), keyed.key.clone());
            let (context, _) = keyed.into_context(&shared, &request);
            let (query, routing) = (context.query.clone(), context.routing);
            let refreshing = Background::new();
            refreshing
                .scope(async { start_refresh(&shared, inner, request, context, slot, refresh) })
                .await;
            let refreshed = match tokio::time::timeout(shared.config.max_wait, refreshing.settled()).await {
                Ok(()) => {
                    let selecting = Selecting {
                        headers: &headers,
                        query: query.as_deref(),
                        routing,
                    };
                    refreshed(&shared, &key, selecting).await
                }
                Err(_) => None,
            };
            return Ok(match refreshed {
                Some(new) => {
                    let outcome = report_not_found(&shared, &key, false);
                    let report = Report::miss(Forward::Stale).stored(true);
                    let response = answer(&shared, &method, &headers, &new, shared.now(), Source::Kept, &report);
                    Answered::new(response, outcome)
                }
                None => {
                    shared.report(&key, AdapterEvent::Stale);
                    Answered::new(answer_with(&shared, &method, &headers, &stored, None), Outcome::Stale)
                }
            });
        }
        LookupOutcome::Stale { stored, refresh, slot } => {
            shared.report(&keyed.key, AdapterEvent::Stale);
            let response = answer_with(&shared, request.method(), request.headers(), &stored, None);
            if let Some(refresh) = refresh {
                let (context, _) = keyed.into_context(&shared, &request);
                start_refresh(&shared, inner, request, context, slot, refresh);
            }
            return Ok(Answered::new(response, Outcome::Stale));
        }
        LookupOutcome::Miss { fill, forward, slot } => {
            let outcome = report_not_found(&shared, &keyed.key, !fill.store_answered());
            // The answer comes before the load has ended, so a load of a layer around this one follows it.
            fill.contribute();
            let (caller, answer) = oneshot::channel();
            let (context, _) = keyed.into_context(&shared, &request);
            let request = request_to_store(&shared, &slot, request);
            let load = Load {
                context,
                shared: Arc::clone(&shared),
                slot,
                fill,
                forward,
                caller: Some(caller),
                probe,
            };
            let span = load.fill.span();
            let _awaited = shared.cache.adapter().spawn_load(span, load.run(inner, request));
            let response = match answer.await {
                Ok(Answer::Response(response)) => response,
                Ok(Answer::Failed(error)) => return Err(error),
                Ok(Answer::Panicked(panic)) => resume_unwind(panic),
                // The runtime is being shut down.
                Err(_) => empty(StatusCode::SERVICE_UNAVAILABLE),
            };
            return Ok(Answered::new(response, outcome));
        }
        LookupOutcome::Arriving {
            arriving,
            forward,
            outage,
        } => {
            drop(probe);
            let (context, key) = keyed.into_context(&shared, &request);
            let report = Report::collapsed(forward).detail(outage.then_some(Detail::Outage));
            if let Some(response) = arriving.answer(&shared, &context, report).await {
                return Ok(Answered::new(response, report_coalesced(&shared, &key, outage)));
            }
            let outcome = report_not_found(&shared, &key, outage);
            (context, key, forward, outcome)
        }
        LookupOutcome::Uncoalesced { forward, copy, outage } => {
            drop(probe);
            let (context, key) = keyed.into_context(&shared, &request);
            let outcome = report_not_found(&shared, &key, outage);
            if let Some(copy) = copy {
                let response = Box::pin(forward_to_revalidate(
                    shared, inner, request, context, &key, &copy, forward,
                ))
                .await?;
                return Ok(Answered::new(response, outcome));
            }
            (context, key, forward, outcome)
        }
    };
    let report = Report::miss(forward).detail((outcome == Outcome::Outage).then_some(Detail::Outage));
    let response = apart(|| forward_uncoalesced(shared, inner, request, context, Some(key), report)).await?;
    Ok(Answered::new(response, outcome))
}

/// Answers from what a lookup found, which is never an index.
fn answer_with(
    shared: &Shared,
    method: &Method,
    headers: &HeaderMap,
    stored: &Stored,
    collapsed: Option<Collapsed>,
) -> Response<Body> {
    match stored {
        // The response of a failed handler, for the requests that have waited for it.
        Stored::Response(response) if response.failed_for.is_some() && collapsed.is_some() => {
            let report = collapsed.map_or_else(|| Report::collapsed(Forward::UriMiss), Collapsed::report);
            answer(
                shared,
                method,
                headers,
                response,
                shared.now(),
                Source::NotKept,
                &report,
            )
        }
        Stored::Response(response) => hit(shared, method, headers, response, shared.now(), collapsed),
        Stored::Index(_) => empty(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// Answers from the store.
fn hit(
    shared: &Shared,
    method: &Method,
    headers: &HeaderMap,
    response: &StoredResponse,
    now: Timestamp,
    collapsed: Option<Collapsed>,
) -> Response<Body> {
    let ttl = response.lifetime.ttl_seconds(now);
    let report = match collapsed {
        _ if !response.lifetime.is_fresh(now) => Report::stale(ttl),
        Some(collapsed) => collapsed.report(),
        None => Report::hit(ttl),
    };
    let source = match collapsed {
        Some(collapsed) if !collapsed.is_stored => Source::NotKept,
        _ => Source::Store,
    };
    answer(shared, method, headers, response, now, source, &report)
}

/// Returns the fresh response that a refresh has stored for a request.
async fn refreshed(shared: &Shared, key: &Key, selecting: Selecting<'_>) -> Option<StoredResponse> {
    let stored = read(shared, key, selecting).await.ok().flatten()?;
    match &*stored {
        Stored::Response(response) if response.lifetime.is_fresh(shared.now()) => Some(response.clone()),
        _ => None,
    }
}

/// Refreshes a stale response in the background.
fn start_refresh<S, B>(
    shared: &Arc<Shared>,
    inner: S,
    request: Request<Body>,
    context: RequestContext,
    slot: Slot,
    refresh: Refresh<Stored>,
) where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let request = request_to_store(shared, &slot, request);
    let owned = Arc::clone(shared);
    let cache = slot.cache.clone();
    cache.adapter().spawn_refresh(refresh, move |fill| {
        let load = Load {
            shared: owned,
            context,
            slot,
            fill,
            forward: Forward::Stale,
            caller: None,
            // Other requests are answered from the present copy in the meantime.
            probe: None,
        };
        load.run(inner, request)
    });
}

/// Prepares the request for the handler. Its response is for all requests, so it must be a whole one.
fn request_to_store(shared: &Arc<Shared>, slot: &Slot, request: Request<Body>) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    shared.config.keys.normalize(&mut parts);
    let mut request = Request::from_parts(parts, body);
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        request.headers_mut().remove(name);
    }
    LayerHandle::leave(shared, &mut request);
    NestedLoads::add(request.extensions_mut(), &slot.primary);
    request
}

/// Builds the 504 response to an `only-if-cached` request (RFC 9111, section 5.2.1.7).
fn unavailable(shared: &Shared, outcome: Outcome) -> Response<Body> {
    let mut response = empty(StatusCode::GATEWAY_TIMEOUT);
    let detail = match outcome {
        Outcome::Outage => Detail::Outage,
        _ => Detail::OnlyIfCached,
    };
    Report::generated(detail).write(shared, response.headers_mut());
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
