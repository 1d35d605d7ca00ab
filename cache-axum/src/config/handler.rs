//! What a handler says to the layer about one response.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::{IntoResponseParts, ResponseParts};

/// Sets how long one response is stored, in place of the route's setting and of what `Cache-Control` tells clients.
///
/// It does not lift a refusal: an answer with `Set-Cookie` or `no-store`, say, is not stored all the same.
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
    /// Fresh for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl: Some(ttl),
            ..Self::default()
        }
    }

    /// For as long as the route and the response say otherwise.
    pub fn as_usual() -> Self {
        Self::default()
    }

    /// How long after that the response may be answered while a new one is fetched.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = Some(window);
        self
    }

    /// How long after that the response may be answered if the handler fails.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = Some(window);
        self
    }

    /// Keeps the response in this namespace, so that clearing it removes the response. A hit then takes two look-ups
    /// in the store: one in the route's namespace that tells of this one, and one here.
    ///
    /// The first answer of a URL that names a namespace is not stored (`detail=namespace-learned`), since the namespace
    /// could have been cleared while it was made, and nothing would show it. Where the namespace is known beforehand,
    /// give it to the [layer](crate::CacheLayer::namespace).
    pub fn namespace(mut self, namespace: impl Into<Box<str>>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Adds tags to the response, where the layer takes [late tags](crate::CacheLayer::late_tags): for tags that are
    /// known only from what was read, such as those of the items of a list. If one of them was invalidated while the
    /// response was made, it is not stored.
    pub fn tags<N: Into<String>>(mut self, tags: impl IntoIterator<Item = N>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }
}

/// Keeps one response from being stored and shared, without a word to clients.
#[derive(Debug, Clone, Copy, Default)]
#[must_use = "it is part of a response"]
pub struct DoNotStore;

/// Says of an answer that a gateway had to make up by itself that the origin could not be reached. The cache may then
/// answer with a stale copy for longer than after an error that the origin has sent: see
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

/// What the layer finds in the extensions of a response.
#[derive(Debug, Clone)]
pub(crate) enum Control {
    StoreFor(StoreFor),
    DoNotStore,
}

impl IntoResponseParts for StoreFor {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        // Whoever says "do not store" has the last word, in whatever order.
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
