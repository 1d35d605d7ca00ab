//! What clients are told about caching.

use std::time::Duration;

/// What the layer tells clients in `Cache-Control`, on answers that are or will be stored and where the handler has
/// said nothing itself. What a handler says goes out as it is.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientCaching {
    /// `max-age` with the seconds for which the stored copy is still fresh: it counts down, so that no client keeps a
    /// copy for longer than the server does. `Age` goes out as well, as RFC 9111 demands; a client that takes it off
    /// once more asks again earlier, and never later.
    #[default]
    Remaining,
    /// `max-age` with these seconds, whatever the server's own lifetime.
    MaxAge(Duration),
    /// `no-cache`: clients ask each time, and get 304 while nothing has changed. Right where the server's copies are
    /// invalidated, since nobody can invalidate those of the clients.
    Revalidate,
    /// Nothing.
    Silent,
}
