//! The service: what becomes of a request.

use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use cache_engine::Refresh;
use cache_engine::cache_core::Key;
use cache_http::{Forward, RequestDirectives, may_collapse};
use http::header::{CACHE_CONTROL, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;
use tower_service::Service;

use crate::alone::{alone, confirmed, pass_by, through};
use crate::answer::answer;
use crate::content::{Content, take_content};
use crate::extract::LayerHandle;
use crate::find::{Found, Place};
use crate::judge::Asked;
use crate::load::{Answer, Load};
use crate::marks::Mark;
use crate::options::{Bypass, Options};
use crate::report::Report;
use crate::stored::{Stored, StoredResponse};
use crate::within::Loading;

/// What [`CacheLayer`](crate::CacheLayer) makes of a service.
///
/// It is always ready: the readiness of the inner service is waited for where it is called, so a hit needs none.
#[derive(Clone)]
pub struct CacheService<S> {
    inner: S,
    options: Arc<Options>,
}

impl<S> CacheService<S> {
    pub(crate) fn new(inner: S, options: Arc<Options>) -> Self {
        Self { inner, options }
    }
}

impl<S> fmt::Debug for CacheService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheService")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<S, A, B> Service<Request<A>> for CacheService<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    A: http_body::Body<Data = Bytes> + Send + 'static,
    A::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let body = Body::new(body);
        let known = match at_once(&self.options, &parts, &body) {
            AtOnce::Answer(response) => return ResponseFuture::ready(response),
            AtOnce::Known(known) => known,
            AtOnce::Through => {
                let inner = self.inner.clone();
                return ResponseFuture::waiting(through(inner, Request::from_parts(parts, body)));
            }
        };
        let inner = self.inner.clone();
        let options = Arc::clone(&self.options);
        ResponseFuture::waiting(respond(options, inner, parts, body, known))
    }
}

/// What [`CacheService`] returns: the answer itself where it was in memory, and otherwise the way to it.
pub struct ResponseFuture<E>(Answering<E>);

enum Answering<E> {
    Ready(Option<Response<Body>>),
    Waiting(Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>),
}

impl<E> ResponseFuture<E> {
    fn ready(response: Response<Body>) -> Self {
        Self(Answering::Ready(Some(response)))
    }

    fn waiting(future: impl Future<Output = Result<Response<Body>, E>> + Send + 'static) -> Self {
        Self(Answering::Waiting(Box::pin(future)))
    }
}

impl<E> Future for ResponseFuture<E> {
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            // Polled again after its end it waits for ever, as it may.
            Answering::Ready(response) => response
                .take()
                .map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
            Answering::Waiting(future) => future.as_mut().poll(context),
        }
    }
}

impl<E> fmt::Debug for ResponseFuture<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// What is known of a request before anything is waited for.
struct Known {
    identity: Option<String>,
    bypass: Option<Bypass>,
    key: Option<Key>,
}

enum AtOnce {
    Answer(Response<Body>),
    Known(Known),
    /// A layer around this one is loading the answer.
    Through,
}

/// Answers a plain request from a store in this process: without a task, a wait, or a clone of the inner service.
fn at_once(options: &Options, parts: &Parts, body: &Body) -> AtOnce {
    let identity = options.identity(parts);
    let policy = options.policy(identity.as_deref());
    let mut known = Known {
        bypass: options.bypass(policy, parts, body),
        identity,
        key: None,
    };
    if known.bypass.is_some() || parts.method == Method::POST {
        return AtOnce::Known(known);
    }
    let Ok(key) = options.key(parts, known.identity.as_deref(), None) else {
        known.bypass = Some(Bypass::NoKey);
        return AtOnce::Known(known);
    };
    if Loading::has(&parts.extensions, &key) {
        return AtOnce::Through;
    }
    if !(policy.request_directives && parts.headers.contains_key(CACHE_CONTROL)) {
        let found = match options.cache.find_here::<Stored>(&key) {
            Some(found) => match &*found {
                Stored::Response(_) => Some(found),
                Stored::Variants(variants) => options
                    .cache
                    .find_here(&options.variant(variants, &key, &parts.headers)),
            },
            None => None,
        };
        if let Some(Stored::Response(response)) = found.as_deref() {
            return AtOnce::Answer(hit(options, parts, response, None));
        }
    }
    known.key = Some(key);
    AtOnce::Known(known)
}

async fn respond<S, B>(
    options: Arc<Options>,
    inner: S,
    parts: Parts,
    mut body: Body,
    known: Known,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Known { identity, bypass, key } = known;
    if let Some(bypass) = bypass {
        return pass_by(options, inner, Request::from_parts(parts, body), bypass).await;
    }
    let key = match key {
        Some(key) => Ok(key),
        None => match take_content(body, options.post.unwrap_or(0)).await {
            Content::Whole(content) => {
                body = Body::from(content.clone());
                options.key(&parts, identity.as_deref(), Some(&content))
            }
            Content::Other(body) => {
                return pass_by(options, inner, Request::from_parts(parts, body), Bypass::TooLarge).await;
            }
        },
    };
    let Ok(key) = key else {
        return pass_by(options, inner, Request::from_parts(parts, body), Bypass::NoKey).await;
    };
    if Loading::has(&parts.extensions, &key) {
        return through(inner, Request::from_parts(parts, body)).await;
    }
    let policy = options.policy(identity.as_deref());
    let directives = (policy.request_directives && parts.headers.contains_key(CACHE_CONTROL))
        .then(|| RequestDirectives::from_headers(&parts.headers));
    let identified = identity.is_some();

    let only_if_cached = directives.as_ref().is_some_and(|directives| directives.only_if_cached);
    let may_collapse = may_collapse(policy, &parts.headers);
    let now = options.now();
    let is_marked = options.marks.contains(&key, Mark::Refused, now)
        || options.marks.contains(&key, Mark::Undecided, now)
        || !may_collapse && options.marks.contains(&key, Mark::RefusedToCredentials, now);
    let mut is_alone = is_marked || parts.method == Method::HEAD;
    let mut deciding = None;
    if !is_alone && !may_collapse {
        // One of all finds out whether such answers are shared. Nobody waits for it, and nobody is waited for.
        deciding = options.marks.decide(&key, now);
        is_alone = deciding.is_none();
    }
    let takes_stale = directives
        .as_ref()
        .is_some_and(|directives| directives.max_stale.is_some());
    if only_if_cached || is_alone || takes_stale {
        let glanced = options
            .glance(&key, &parts.headers, directives.as_ref(), only_if_cached || is_alone)
            .await;
        let detail = glanced.is_err().then_some("outage");
        if let Ok(Some(stored)) = glanced {
            return Ok(answer_with(&options, &parts, &stored, None));
        }
        if only_if_cached {
            return Ok(unavailable(&options));
        }
        if is_alone {
            let report = Report::miss(Forward::UriMiss).detail(detail);
            let asked = asked(&options, &parts, identified, may_collapse, directives);
            let request = Request::from_parts(parts, body);
            return alone(options, inner, request, asked, Some(key), report).await;
        }
    }

    let place = Place::new(&options, &parts, key.clone(), may_collapse);
    match options.find(place, &parts.headers, directives.as_ref()).await {
        Found::Hit { stored, collapsed } => Ok(answer_with(&options, &parts, &stored, collapsed)),
        Found::Stale { stored, refresh, place } => {
            let response = answer_with(&options, &parts, &stored, None);
            if let Some(refresh) = refresh {
                let asked = asked(&options, &parts, identified, may_collapse, directives);
                start_refresh(&options, inner, Request::from_parts(parts, body), asked, place, refresh);
            }
            Ok(response)
        }
        Found::Lead { fill, forward, place } => {
            let (caller, answer) = oneshot::channel();
            let asked = asked(&options, &parts, identified, may_collapse, directives);
            let request = request_to_store(&options, &place, Request::from_parts(parts, body));
            let load = Load {
                asked,
                options: Arc::clone(&options),
                place,
                fill,
                forward,
                caller: Some(caller),
                _deciding: deciding,
            };
            options.cache.spawn(load.run(inner, request));
            match answer.await {
                Ok(Answer::Response(response)) => Ok(response),
                Ok(Answer::Failed(error)) => Err(error),
                Ok(Answer::Panicked(panic)) => resume_unwind(panic),
                // The runtime is being shut down.
                Err(_) => Ok(empty(StatusCode::SERVICE_UNAVAILABLE)),
            }
        }
        Found::Alone { forward, copy } => {
            drop(deciding);
            let asked = asked(&options, &parts, identified, may_collapse, directives);
            let request = Request::from_parts(parts, body);
            match copy {
                Some(copy) => confirmed(options, inner, request, asked, &copy, forward).await,
                None => alone(options, inner, request, asked, Some(key), Report::miss(forward)).await,
            }
        }
    }
}

fn asked(
    options: &Options,
    parts: &Parts,
    identified: bool,
    may_collapse: bool,
    directives: Option<RequestDirectives>,
) -> Asked {
    Asked {
        method: parts.method.clone(),
        headers: parts.headers.clone(),
        identified,
        may_collapse,
        directives: directives.unwrap_or_default(),
        since: options.now(),
    }
}

/// Answers from what a look-up found, which is never a marker.
fn answer_with(options: &Options, parts: &Parts, stored: &Stored, collapsed: Option<Forward>) -> Response<Body> {
    match stored {
        Stored::Response(response) => hit(options, parts, response, collapsed),
        Stored::Variants(_) => empty(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// Answers from the store.
fn hit(options: &Options, parts: &Parts, response: &StoredResponse, collapsed: Option<Forward>) -> Response<Body> {
    let now = options.now();
    let ttl = response.lifetime.ttl_seconds(now);
    let report = match collapsed {
        _ if !response.lifetime.is_fresh(now) => Report::stale(ttl),
        Some(forward) => Report::collapsed(forward),
        None => Report::hit(ttl),
    };
    answer(options, &parts.method, &parts.headers, response, now, true, &report)
}

/// Refreshes a stale response in the background.
fn start_refresh<S, B>(
    options: &Arc<Options>,
    inner: S,
    request: Request<Body>,
    asked: Asked,
    place: Place,
    refresh: Refresh<Stored>,
) where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let request = request_to_store(options, &place, request);
    let owned = Arc::clone(options);
    options.cache.spawn(async move {
        if let Some(fill) = place.cache.begin_refresh(refresh).await {
            let load = Load {
                options: owned,
                asked,
                place,
                fill,
                forward: Forward::Stale,
                caller: None,
                // Others are answered from the stale copy meanwhile.
                _deciding: None,
            };
            load.run(inner, request).await;
        }
    });
}

/// The request as the handler is to see it: its answer is for everyone, so it must be whole.
fn request_to_store(options: &Arc<Options>, place: &Place, mut request: Request<Body>) -> Request<Body> {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        request.headers_mut().remove(name);
    }
    LayerHandle::leave(options, &mut request);
    Loading::add(request.extensions_mut(), &place.primary);
    request
}

/// RFC 9111, section 5.2.1.7.
fn unavailable(options: &Options) -> Response<Body> {
    let mut response = empty(StatusCode::GATEWAY_TIMEOUT);
    Report::generated("only-if-cached").write(options, response.headers_mut());
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
