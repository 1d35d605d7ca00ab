//! What the layer sends to clients about caching.

use std::time::Duration;

/// What the layer sends to clients in `Cache-Control`, on stored responses for which the handler sends nothing itself.
/// A `Cache-Control` or `Expires` of the handler goes out unchanged.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientCaching {
    /// Sends `max-age` with the lifetime of the stored copy, together with `Age`. Clients subtract the one from the
    /// other (RFC 9111, section 4.2.3), and reuse a copy for as long as the layer does. The default, unless the layer has a
    /// setting by which it distinguishes requests and that no `Vary` can express; see
    /// [`client_caching`](crate::CacheLayer::client_caching).
    #[default]
    Lifetime,
    /// Sends `max-age` with the seconds that the stored copy is still fresh, without `Age`. For clients that do not
    /// support `Age`.
    Remaining,
    /// Sends `max-age` with this duration in seconds, regardless of the lifetime of the stored copy.
    MaxAge(Duration),
    /// Sends `no-cache`: clients revalidate each time, and get 304 while nothing has changed. Use it for responses that
    /// you invalidate, because the copies of clients cannot be invalidated.
    Revalidate,
    /// Sends nothing.
    Silent,
}
