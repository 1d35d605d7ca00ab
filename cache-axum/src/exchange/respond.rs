//! What becomes of a request that the layer gets.

use std::panic::resume_unwind;
use std::sync::Arc;

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

use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::exchange::forward::{alone, confirmed, pass_by, through};
use crate::exchange::load::{Answer, Load};
use crate::exchange::lookup::{Found, Place, find, glance};
use crate::request::body::{Content, take_content};
use crate::request::bypass::{Bypass, bypass};
use crate::request::context::Asked;
use crate::request::extension::LayerHandle;
use crate::request::hit_for_miss::Mark;
use crate::request::nesting::Loading;
use crate::request::shared::Shared;
use crate::response::from_entry::answer;
use crate::response::status::Report;

/// What is known of a request before anything is waited for.
pub(crate) struct Known {
    identity: Option<String>,
    bypass: Option<Bypass>,
    key: Option<Key>,
}

pub(crate) enum AtOnce {
    Answer(Response<Body>),
    Known(Known),
    /// A layer around this one is loading the answer.
    Through,
}

/// Answers a plain request from a store in this process: without a task, a wait, or a clone of the inner service.
pub(crate) fn at_once(shared: &Shared, parts: &Parts, body: &Body) -> AtOnce {
    let identity = shared.config.keys.identity(parts);
    let policy = shared.config.policy(identity.is_some());
    let mut known = Known {
        bypass: bypass(shared.cache.is_enabled(), policy, parts, body),
        identity,
        key: None,
    };
    if known.bypass.is_some() || parts.method == Method::POST {
        return AtOnce::Known(known);
    }
    let Ok(key) = shared.key(parts, known.identity.as_deref(), None) else {
        known.bypass = Some(Bypass::NoKey);
        return AtOnce::Known(known);
    };
    if Loading::has(&parts.extensions, &key) {
        return AtOnce::Through;
    }
    if !(policy.request_directives && parts.headers.contains_key(CACHE_CONTROL)) {
        let found = match shared.cache.find_here::<Stored>(&key) {
            Some(found) => match &*found {
                Stored::Response(_) => Some(found),
                Stored::Variants(variants) => shared.cache.find_here(&shared.variant(variants, &key, &parts.headers)),
            },
            None => None,
        };
        if let Some(Stored::Response(response)) = found.as_deref() {
            return AtOnce::Answer(hit(shared, parts, response, None));
        }
    }
    known.key = Some(key);
    AtOnce::Known(known)
}

pub(crate) async fn respond<S, B>(
    shared: Arc<Shared>,
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
        return pass_by(shared, inner, Request::from_parts(parts, body), bypass).await;
    }
    let key = match key {
        Some(key) => Ok(key),
        None => match take_content(body, shared.config.post.unwrap_or(0)).await {
            Content::Whole(content) => {
                body = Body::from(content.clone());
                shared.key(&parts, identity.as_deref(), Some(&content))
            }
            Content::Other(body) => {
                return pass_by(shared, inner, Request::from_parts(parts, body), Bypass::TooLarge).await;
            }
        },
    };
    let Ok(key) = key else {
        return pass_by(shared, inner, Request::from_parts(parts, body), Bypass::NoKey).await;
    };
    if Loading::has(&parts.extensions, &key) {
        return through(inner, Request::from_parts(parts, body)).await;
    }
    let policy = shared.config.policy(identity.is_some());
    let directives = (policy.request_directives && parts.headers.contains_key(CACHE_CONTROL))
        .then(|| RequestDirectives::from_headers(&parts.headers));
    let identified = identity.is_some();

    let only_if_cached = directives.as_ref().is_some_and(|directives| directives.only_if_cached);
    let may_collapse = may_collapse(policy, &parts.headers);
    let now = shared.now();
    let is_marked = shared.hit_for_miss.contains(&key, Mark::Refused, now)
        || shared.hit_for_miss.contains(&key, Mark::Undecided, now)
        || !may_collapse && shared.hit_for_miss.contains(&key, Mark::RefusedToCredentials, now);
    let mut is_alone = is_marked || parts.method == Method::HEAD;
    let mut deciding = None;
    if !is_alone && !may_collapse {
        // One of all finds out whether such answers are shared. Nobody waits for it, and nobody is waited for.
        deciding = shared.hit_for_miss.decide(&key, now);
        is_alone = deciding.is_none();
    }
    let takes_stale = directives
        .as_ref()
        .is_some_and(|directives| directives.max_stale.is_some());
    if only_if_cached || is_alone || takes_stale {
        let glanced = glance(
            &shared,
            &key,
            &parts.headers,
            directives.as_ref(),
            only_if_cached || is_alone,
        )
        .await;
        let detail = glanced.is_err().then_some("outage");
        if let Ok(Some(stored)) = glanced {
            return Ok(answer_with(&shared, &parts, &stored, None));
        }
        if only_if_cached {
            return Ok(unavailable(&shared));
        }
        if is_alone {
            let report = Report::miss(Forward::UriMiss).detail(detail);
            let asked = asked(&shared, &parts, identified, may_collapse, directives);
            let request = Request::from_parts(parts, body);
            return alone(shared, inner, request, asked, Some(key), report).await;
        }
    }

    let place = Place::new(&shared, &parts, key.clone(), may_collapse);
    match find(&shared, place, &parts.headers, directives.as_ref()).await {
        Found::Hit { stored, collapsed } => Ok(answer_with(&shared, &parts, &stored, collapsed)),
        Found::Stale { stored, refresh, place } => {
            let response = answer_with(&shared, &parts, &stored, None);
            if let Some(refresh) = refresh {
                let asked = asked(&shared, &parts, identified, may_collapse, directives);
                start_refresh(&shared, inner, Request::from_parts(parts, body), asked, place, refresh);
            }
            Ok(response)
        }
        Found::Lead { fill, forward, place } => {
            let (caller, answer) = oneshot::channel();
            let asked = asked(&shared, &parts, identified, may_collapse, directives);
            let request = request_to_store(&shared, &place, Request::from_parts(parts, body));
            let load = Load {
                asked,
                shared: Arc::clone(&shared),
                place,
                fill,
                forward,
                caller: Some(caller),
                _deciding: deciding,
            };
            shared.cache.spawn(load.run(inner, request));
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
            let asked = asked(&shared, &parts, identified, may_collapse, directives);
            let request = Request::from_parts(parts, body);
            match copy {
                Some(copy) => confirmed(shared, inner, request, asked, &copy, forward).await,
                None => alone(shared, inner, request, asked, Some(key), Report::miss(forward)).await,
            }
        }
    }
}

fn asked(
    shared: &Shared,
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
        since: shared.now(),
    }
}

/// Answers from what a look-up found, which is never a marker.
fn answer_with(shared: &Shared, parts: &Parts, stored: &Stored, collapsed: Option<Forward>) -> Response<Body> {
    match stored {
        Stored::Response(response) => hit(shared, parts, response, collapsed),
        Stored::Variants(_) => empty(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// Answers from the store.
fn hit(shared: &Shared, parts: &Parts, response: &StoredResponse, collapsed: Option<Forward>) -> Response<Body> {
    let now = shared.now();
    let ttl = response.lifetime.ttl_seconds(now);
    let report = match collapsed {
        _ if !response.lifetime.is_fresh(now) => Report::stale(ttl),
        Some(forward) => Report::collapsed(forward),
        None => Report::hit(ttl),
    };
    answer(shared, &parts.method, &parts.headers, response, now, true, &report)
}

/// Refreshes a stale response in the background.
fn start_refresh<S, B>(
    shared: &Arc<Shared>,
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
    let request = request_to_store(shared, &place, request);
    let owned = Arc::clone(shared);
    shared.cache.spawn(async move {
        if let Some(fill) = place.cache.begin_refresh(refresh).await {
            let load = Load {
                shared: owned,
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
fn request_to_store(shared: &Arc<Shared>, place: &Place, mut request: Request<Body>) -> Request<Body> {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        request.headers_mut().remove(name);
    }
    LayerHandle::leave(shared, &mut request);
    Loading::add(request.extensions_mut(), &place.primary);
    request
}

/// RFC 9111, section 5.2.1.7.
fn unavailable(shared: &Shared) -> Response<Body> {
    let mut response = empty(StatusCode::GATEWAY_TIMEOUT);
    Report::generated("only-if-cached").write(shared, response.headers_mut());
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
