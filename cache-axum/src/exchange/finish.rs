//! What is done with a response before it goes out, depending on its request.

use std::sync::Arc;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use cache_engine::{Background, bypass};
use cache_http::CACHE_STATUS;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body as _;
use tower_service::Service;
use tracing::Span;

use crate::body::last_piece::LastPiece;
use crate::exchange::explain::Explanation;
use crate::exchange::outcome::{Answered, Outcome};
use crate::exchange::respond::{respond, with_content};
use crate::exchange::route::Route;
use crate::request::bypass::Bypass;
use crate::request::debug::Debug;
use crate::request::shared::Shared;

/// What is done with the response to a request before it goes out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish {
    /// Whether the keys for caches downstream are removed.
    hides_keys: bool,
    debug: Debug,
}

impl Finish {
    pub(crate) fn of(shared: &Shared, request: &Parts) -> Self {
        let keys = shared.config.surrogate_keys.as_ref();
        Self {
            hides_keys: keys.is_some_and(|keys| !keys.only_if.is_empty() && !keys.only_if.matches(request)),
            debug: Debug::of(shared, request),
        }
    }

    /// Returns whether a response from memory needs nothing but [`end`](Self::end).
    pub(crate) fn is_simple(self) -> bool {
        self.debug == Debug::default()
    }

    /// Records the outcome, and removes the fields that the client is not to get.
    pub(crate) fn end(self, shared: &Shared, answered: &mut Answered) {
        let Answered { response, outcome } = answered;
        if shared.config.trace_outcome
            && let Some(outcome) = outcome
        {
            record(*outcome, response.headers());
        }
        if let Some(keys) = shared.config.surrogate_keys.as_ref().filter(|_| self.hides_keys) {
            response.headers_mut().remove(&keys.field);
        }
    }

    /// Responds to a request, and finishes its response.
    pub(crate) async fn respond<S, B>(
        self,
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
        let (mut route, body) = with_content(&shared, &parts, body, route).await;
        let explanation = match self.debug.explain {
            true => Some(Explanation::before(&shared, &parts, &route).await),
            false => None,
        };
        if self.debug.bypass {
            route = Route::Bypass(Bypass::Debug);
        }
        let is_head = parts.method == Method::HEAD;
        let background = shared.config.foreground.then(Background::new);
        let responding = respond(Arc::clone(&shared), inner, parts, body, route);
        let responding = async {
            match self.debug.bypass {
                true => bypass(responding).await,
                false => responding.await,
            }
        };
        let answered = match &background {
            Some(background) => background.scope(Box::pin(responding)).await,
            None => responding.await,
        };
        let mut answered = match (answered, &background) {
            (Ok(answered), _) => answered,
            (Err(error), Some(background)) => {
                settled(background.clone(), shared.config.max_wait).await;
                return Err(error);
            }
            (Err(error), None) => return Err(error),
        };
        self.end(&shared, &mut answered);
        if let Some(explanation) = explanation {
            explanation.add_to(&shared, answered.response.headers_mut()).await;
        }
        if let Some(background) = background.filter(|background| !background.is_idle()) {
            answered.response = after(answered.response, is_head, background, shared.config.max_wait).await;
        }
        Ok(answered)
    }
}

/// Records in the current span the outcome of a request, and what this layer says of it in `Cache-Status`.
fn record(outcome: Outcome, headers: &HeaderMap) {
    let span = Span::current();
    span.record("cache.request.type", outcome.as_str());
    let last = headers.get_all(CACHE_STATUS).iter().next_back();
    if let Some(status) = last.and_then(|line| line.to_str().ok()) {
        span.record("cache.status", status);
    }
}

/// Returns a response whose last piece goes out once the tasks in `background` have ended, or the limit is over.
async fn after(response: Response<Body>, is_head: bool, background: Background, limit: Duration) -> Response<Body> {
    // The bodies of responses to HEAD are not read.
    if is_head || response.body().is_end_stream() {
        settled(background, limit).await;
        return response;
    }
    response.map(|body| Body::new(LastPiece::new(body, settled(background, limit))))
}

/// Waits for the tasks, for at most `limit` from now on: from the end of a body.
async fn settled(background: Background, limit: Duration) {
    let _ = tokio::time::timeout(limit, background.settled()).await;
}
