//! What clients are told about caching.

use std::time::Duration;

use cache_engine::cache_core::Timestamp;
use cache_http::Lifetime;
use cache_http::MAX_SECONDS;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};

use crate::line::Line;

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

impl ClientCaching {
    pub(crate) fn apply(self, headers: &mut HeaderMap, lifetime: &Lifetime, now: Timestamp) {
        let seconds = match self {
            Self::Remaining => u64::try_from(lifetime.ttl_seconds(now)).unwrap_or(0),
            Self::MaxAge(age) => age.as_secs(),
            Self::Revalidate => {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                return;
            }
            Self::Silent => return,
        };
        let mut line = Line::new();
        line.push("max-age=");
        line.push_number(seconds.min(MAX_SECONDS.into()));
        headers.insert(CACHE_CONTROL, line.to_value());
    }
}
