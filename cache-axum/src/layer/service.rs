//! The service of the cache layer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use crate::exchange::finish::Finish;
use crate::exchange::outcome::Answered;
use crate::exchange::respond::{respond, respond_from_memory, respond_with_content};
use crate::exchange::route::Route;
use crate::request::shared::Shared;

/// The service that [`CacheLayer`](crate::CacheLayer) creates.
///
/// It is always ready. It waits for the readiness of the inner service only when it calls that service, so a hit does
/// not need it.
#[derive(Clone)]
pub struct CacheService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> CacheService<S> {
    pub(crate) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S> CacheService<S> {
    /// Answers a request whose response has to be finished.
    #[cold]
    fn call_to_finish<B>(&self, parts: Parts, body: Body, route: Route) -> ResponseFuture<S::Error>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let finish = Finish::of(&self.shared, &parts);
        if finish.is_simple()
            && let Some(mut answered) = respond_from_memory(&self.shared, &parts, &route)
        {
            finish.end(&self.shared, &mut answered);
            return ResponseFuture::ready(answered.response);
        }
        let (inner, shared) = (self.inner.clone(), Arc::clone(&self.shared));
        ResponseFuture::waiting(finish.respond(shared, inner, parts, body, route))
    }
}

impl<S> fmt::Debug for CacheService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheService")
            .field("shared", &self.shared)
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
        let route = Route::of(&self.shared, &parts, &body);
        if self.shared.config.finishes {
            return self.call_to_finish(parts, body, route);
        }
        if let Some(answered) = respond_from_memory(&self.shared, &parts, &route) {
            return ResponseFuture::ready(answered.response);
        }
        let (inner, shared) = (self.inner.clone(), Arc::clone(&self.shared));
        match route {
            Route::Content(_) => ResponseFuture::waiting(respond_with_content(shared, inner, parts, body, route)),
            _ => ResponseFuture::waiting(respond(shared, inner, parts, body, route)),
        }
    }
}

/// The future that [`CacheService`] returns: the response itself if it was in memory, and otherwise the work that
/// produces it.
pub struct ResponseFuture<E>(Answering<E>);

enum Answering<E> {
    Ready(Option<Response<Body>>),
    Waiting(Pin<Box<dyn Future<Output = Result<Answered, E>> + Send>>),
}

impl<E> ResponseFuture<E> {
    fn ready(response: Response<Body>) -> Self {
        Self(Answering::Ready(Some(response)))
    }

    fn waiting(future: impl Future<Output = Result<Answered, E>> + Send + 'static) -> Self {
        Self(Answering::Waiting(Box::pin(future)))
    }
}

impl<E> Future for ResponseFuture<E> {
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            // If polled again after it has completed, it is pending forever, which is allowed.
            Answering::Ready(response) => response
                .take()
                .map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
            Answering::Waiting(future) => future.as_mut().poll(context).map_ok(|answered| answered.response),
        }
    }
}

impl<E> fmt::Debug for ResponseFuture<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
