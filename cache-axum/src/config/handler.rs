//! What a handler can tell the layer about one response.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::{IntoResponseParts, ResponseParts};

/// Sets how long one response is stored. Takes precedence over the route's setting and over what `Cache-Control` tells
/// clients.
///
/// It does not override a refusal: a response with `Set-Cookie` or `no-store`, for example, is still not stored, nor one
/// with a status that the layer does not [store](crate::CacheLayer::statuses).
///
/// ```
/// use std::time::Duration;
/// use axum::response::IntoResponse;
/// use cache_axum::StoreFor;
///
/// async fn headlines() -> impl IntoResponse {
///     (StoreFor::new(Duration::from_secs(10)).namespace("news"), "…")
/// }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "it is part of a response"]
pub struct StoreFor {
    pub(crate) ttl: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) tags: Vec<String>,
}

impl StoreFor {
    /// Stores the response so that it is fresh for `ttl`.
    ///
    /// A success keeps the stale windows of the route. A response with a 4xx or 5xx status has none, unless you set them
    /// here or the response names them in `Cache-Control`: a 404 that is stored for 5 s is gone after 5 s, also while the
    /// database fails.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl: Some(ttl),
            ..Self::default()
        }
    }

    /// Stores the response for as long as the route and the response itself say.
    pub fn as_usual() -> Self {
        Self::default()
    }

    /// Sets how long the response may be served after that while a new one is loaded.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = Some(window);
        self
    }

    /// Sets how long the response may be served after that if the handler fails.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = Some(window);
        self
    }

    /// Stores the response in this namespace, so that clearing the namespace removes the response. A hit then takes two
    /// lookups in the store: one in the route's namespace, which leads to this namespace, and one in this namespace.
    ///
    /// The first response of a URL that names a namespace is not stored (`detail=namespace-learned`), because the
    /// namespace could have been cleared while the response was made, and nothing would show it. If you know the
    /// namespace in advance, pass it to the [layer](crate::CacheLayer::namespace).
    pub fn namespace(mut self, namespace: impl Into<Box<str>>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Adds tags to the response, if the layer accepts [late tags](crate::CacheLayer::late_tags). Use it for tags that
    /// you know only after you have read the data, such as those of the items of a list. If one of the tags was
    /// invalidated while the response was made, the response is not stored.
    pub fn tags<N: Into<String>>(mut self, tags: impl IntoIterator<Item = N>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }
}

/// Prevents one response from being stored and shared, without sending anything to clients about it.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "it is part of a response"]
pub struct DoNotStore;

/// Marks a response that a gateway generated itself because the origin could not be reached. The cache may then serve a
/// stale copy for longer than after an error that the origin has sent: see
/// [`Policy::stale_if_disconnected`](cache_http::Policy::stale_if_disconnected).
///
/// ```
/// use axum::http::StatusCode;
/// use axum::response::{IntoResponse, Response};
/// use cache_axum::OriginUnreachable;
///
/// fn no_answer(error: std::io::Error) -> Response {
///     (StatusCode::BAD_GATEWAY, OriginUnreachable, error.to_string()).into_response()
/// }
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "it is part of a response"]
pub struct OriginUnreachable;

impl IntoResponseParts for OriginUnreachable {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        response.extensions_mut().insert(self);
        Ok(response)
    }
}

/// What the layer reads from the extensions of a response.
#[derive(Debug, Clone)]
pub(crate) enum Control {
    StoreFor(StoreFor),
    DoNotStore,
}

impl IntoResponseParts for StoreFor {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        // `DoNotStore` takes precedence, in whatever order the two are set.
        if !matches!(response.extensions().get(), Some(Control::DoNotStore)) {
            response.extensions_mut().insert(Control::StoreFor(self));
        }
        Ok(response)
    }
}

impl IntoResponseParts for DoNotStore {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        response.extensions_mut().insert(Control::DoNotStore);
        Ok(response)
    }
}
