//! Responses for one caller only: no other request waits for them, and they are not stored.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use cache_engine::AdapterEvent;
use cache_engine::cache_core::Key;
use cache_http::{Forward, Reason};
use futures_util::FutureExt;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, response};
use http_body::Body as _;
use tower::ServiceExt;
use tower_service::Service;

use crate::config::handler::Control;
use crate::entry::stored::Stored;
use crate::exchange::apart::apart;
use crate::exchange::later_get::LaterGet;
use crate::exchange::lookup::Slot;
use crate::exchange::revalidate::{Revalidation, confirmed, refreshed_head, revalidation};
use crate::exchange::stale_if_error::Failure;
use crate::exchange::stale_if_error::stale_if_error;
use crate::exchange::storability::{forget, remember, report_refused, storability};
use crate::exchange::unsafe_method::{Also, UnsafeRequest};
use crate::exchange::update_by_head::update_by_head;
use crate::request::bypass::Bypass;
use crate::request::context::RequestContext;
use crate::request::extension::LayerHandle;
use crate::request::shared::Shared;
use crate::response::detail::Detail;
use crate::response::passing::reported;
use crate::response::report::Report;

/// Returns the inner service's own response. The layer around this one decides what happens with it.
pub(crate) async fn forward_nested<S, B>(inner: S, request: Request<Body>) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Ok(inner.oneshot(request).await?.map(Body::new))
}

/// Calls the inner service as if there were no layer.
async fn call<S, B>(
    shared: &Arc<Shared>,
    inner: S,
    mut request: Request<Body>,
) -> Result<(Response<Body>, Option<Control>), S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    LayerHandle::leave(shared, &mut request);
    let mut response = inner.oneshot(request).await?.map(Body::new);
    let control = response.extensions_mut().remove::<Control>();
    Ok((response, control))
}

/// Forwards a request in which the cache takes no part, except that it invalidates what an unsafe request may have
/// changed.
pub(crate) async fn forward_bypassing<S, B>(
    shared: Arc<Shared>,
    inner: S,
    request: Request<Body>,
    bypass: Bypass,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let write = shared
        .config
        .invalidate_on_write
        .then(|| {
            UnsafeRequest::of(&shared, &parts, |parts| Also {
                is_search: parts.method == Method::POST && shared.config.post.is_some(),
                ..Also::default()
            })
        })
        .flatten();
    let later = match bypass {
        Bypass::Rule(Reason::Method) => apart(|| LaterGet::reserve(&shared, &parts)).await,
        _ => None,
    };
    let posted = later.is_some().then(|| Box::new(parts.clone()));
    if later.is_some() {
        // The response may be stored for the GETs that select the same variant.
        shared.config.keys.choose(&mut parts.headers);
    }
    let calling = call(&shared, inner, Request::from_parts(parts, body));
    let (response, control) = match &later {
        Some(later) => later.tagger().scope(calling).await?,
        None => calling.await?,
    };
    Ok(apart(|| conclude(shared, write, later.zip(posted), response, control, bypass)).await)
}

/// Invalidates what a request has changed that bypassed the cache, and stores its response if that also answers a later GET.
async fn conclude(
    shared: Arc<Shared>,
    write: Option<UnsafeRequest>,
    later: Option<(Box<LaterGet>, Box<Parts>)>,
    response: Response<Body>,
    control: Option<Control>,
    bypass: Bypass,
) -> Response<Body> {
    let (head, body) = response.into_parts();
    let answer = match later {
        Some((later, posted)) => later.decide(&shared, &posted, &head, &body.size_hint(), control).await,
        None => None,
    };
    let write = match &answer {
        Some(answer) => write.map(|write| write.replacing(answer.key())),
        None => write,
    };
    let report = completed(write, &head, Report::bypass(bypass)).await;
    match answer {
        Some(answer) => Box::pin(answer.respond(&shared, head, body, report)).await,
        None => reported(&shared, head, body, &report),
    }
}

/// Invalidates what a request has changed.
async fn completed(write: Option<UnsafeRequest>, head: &response::Parts, report: Report) -> Report {
    let Some(write) = write else { return report };
    match write.completed(head).await {
        Ok(()) => report,
        Err(_) => report.detail(Some(Detail::InvalidationFailed)),
    }
}

/// Forwards a request whose response is not stored, and for which no other request waits. If the handler fails, the
/// response that is stored under `key` answers.
pub(crate) async fn forward_uncoalesced<S, B>(
    shared: Arc<Shared>,
    inner: S,
    request: Request<Body>,
    context: RequestContext,
    key: Option<Key>,
    mut report: Report,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    shared.config.keys.choose(&mut parts.headers);
    let is_head = context.method == Method::HEAD;
    let of_get = key
        .clone()
        // The handler of another spelling may be another one.
        .filter(|_| is_head && !context.routing.is_respelled)
        .map(|key| Slot::new(&shared, &parts, key, context.routing, false));
    if shared.cache.adapter().contributes() {
        let handle = shared.config.handle(&shared.cache, &parts);
        let adapter = handle.adapter();
        apart(|| adapter.contribute_uncoalesced()).await;
    }
    let request = Request::from_parts(parts, body);
    let calling = AssertUnwindSafe(call(&shared, inner, request)).catch_unwind();
    // What the handler uses also concerns the response to GET that its response may confirm.
    let tagger = of_get.is_some().then(|| shared.cache.adapter().tagger());
    let called = match &tagger {
        Some(tagger) => tagger.scope(calling).await,
        None => calling.await,
    };
    let failure = match &called {
        Ok(Ok((response, _))) => Failure::of(&shared, response),
        Ok(Err(_)) => Some(Failure::NoAnswer),
        Err(_) => Some(Failure::Panic),
    };
    if let (Some(key), Some(failure)) = (&key, failure)
        && let Some(response) = apart(|| stale_if_error(&shared, key, &context, failure)).await
    {
        shared.report(key, AdapterEvent::StaleIfError);
        return Ok(response);
    }
    let (response, control) = called.unwrap_or_else(|panic| resume_unwind(panic))?;
    let (head, body) = response.into_parts();
    if is_head {
        let refreshed = match of_get.zip(tagger) {
            Some((slot, tagger)) => apart(|| update_by_head(&shared, &context, slot, &head, control, &tagger)).await,
            None => false,
        };
        report = if refreshed {
            report.stored(true)
        } else {
            if let Some(key) = &key {
                report_refused(&shared, key, Detail::Head);
            }
            report.detail(Some(Detail::Head))
        };
    } else {
        let size = body.size_hint();
        match storability(&shared, &context, &head, &size, control, None, shared.now()) {
            // The response could be stored, so other requests may wait for the next one again.
            Ok(_) => {
                if let Some(key) = key
                    && size.exact().is_some()
                {
                    forget(&shared, &key, &context);
                }
            }
            Err(refusal) => {
                if let Some(key) = &key {
                    report_refused(&shared, key, refusal.detail);
                }
                if let Some(key) = key
                    && !is_of_condition(head.status)
                {
                    remember(&shared, &key, &context, &refusal);
                }
                report = report.detail(Some(refusal.detail));
            }
        }
    }
    Ok(reported(&shared, head, body, &report))
}

/// Returns whether a response depends on the conditions or the range of its request, so that it says nothing about the
/// responses to other requests.
fn is_of_condition(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_MODIFIED
            | StatusCode::PARTIAL_CONTENT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE
    )
}

/// Like [`forward_uncoalesced`], for a caller with a copy that the handler is to confirm. The confirmed copy answers
/// the caller and is not stored.
pub(crate) async fn forward_to_revalidate<S, B>(
    shared: Arc<Shared>,
    inner: S,
    mut request: Request<Body>,
    context: RequestContext,
    key: &Key,
    copy: &Stored,
    forward: Forward,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let report = Report::miss(forward);
    shared.config.keys.choose(request.headers_mut());
    let Revalidation { request, validated } = revalidation(Some(copy), request);
    let Some((copy, whole)) = validated else {
        return forward_uncoalesced(shared, inner, request, context, None, report).await;
    };
    let (response, _) = call(&shared, inner.clone(), request).await?;
    if response.status() != StatusCode::NOT_MODIFIED {
        let (head, body) = response.into_parts();
        return Ok(reported(&shared, head, body, &report));
    }
    let Some(refreshed) = refreshed_head(&shared, &copy, &response) else {
        return forward_uncoalesced(shared, inner, whole, context, None, report).await;
    };
    shared.report(key, AdapterEvent::Revalidated);
    Ok(confirmed(&shared, &context, &copy, refreshed, forward))
}
