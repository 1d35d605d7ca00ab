//! What clients are told about caching.

use std::time::Duration;

/// What the layer tells clients in `Cache-Control`, on responses that are stored and where the handler says nothing itself.
/// What a handler says in `Cache-Control` or `Expires` goes out unchanged.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientCaching {
    /// `max-age` with the lifetime of the stored copy, beside `Age`. Clients subtract the one from the other (RFC 9111,
    /// section 4.2.3), and keep a copy for as long as the layer does. The default.
    #[default]
    Lifetime,
    /// `max-age` with the seconds that the stored copy is still fresh, without `Age`. For clients that do not know `Age`.
    Remaining,
    /// `max-age` with these seconds, whatever the lifetime of the stored copy.
    MaxAge(Duration),
    /// `no-cache`: clients ask each time, and get 304 while nothing has changed. Use it where copies are invalidated, since
    /// nobody can invalidate those of the clients.
    Revalidate,
    /// Nothing.
    Silent,
}
