//! The line that is logged for an event.

use std::fmt;

use crate::event::Event;

/// One line in plain words. Keys and tags are quoted and escaped, so that no key can forge a line. Errors are shown as
/// `Debug` shows them, which is with their causes.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bypassed { namespace, reason } => write!(f, "bypassed in {namespace:?}: {reason}"),
            Self::LoadFailed { key, took, failure } => {
                let failure = failure.as_str();
                write!(f, "the load of {:?} failed after {took:?}: {failure}", key.as_str())
            }
            Self::Loaded { key, took } => write!(f, "{:?} was loaded in {took:?}", key.as_str()),
            Self::Refused { key, reason } => write!(f, "the response for {:?} is not stored: {reason}", key.as_str()),
            Self::Fenced { key } => {
                let key = key.as_str();
                write!(
                    f,
                    "{key:?} is not stored: it was invalidated or written while it was loaded"
                )
            }
            Self::Diverged { key, age } => {
                let key = key.as_str();
                write!(
                    f,
                    "{key:?} has diverged: its source has another value, and nothing has invalidated it for {age:?}"
                )
            }
            Self::DecodeFailed { key, error } => {
                let counts = if key.is_reserved() { "changed" } else { "a miss" };
                let key = key.as_str();
                write!(
                    f,
                    "the record of {key:?} cannot be decoded and counts as {counts}: {error:?}"
                )
            }
            Self::EncodeFailed { key, error } => {
                write!(f, "{:?} is not stored: it cannot be encoded: {error:?}", key.as_str())
            }
            Self::NotRoundTrip { key, error } => {
                let key = key.as_str();
                write!(
                    f,
                    "{key:?} is not stored: it changes when it is encoded and decoded: {error:?}"
                )
            }
            Self::StoreCalled {
                backend,
                operation,
                took,
                failure,
                ..
            } => {
                write!(f, "{operation} of {backend} took {took:?}")?;
                failure.map_or(Ok(()), |failure| write!(f, " and failed: {failure}"))
            }
            Self::StoreFailed { operation, key, error } => {
                write!(f, "the store failed: {operation}")?;
                if let Some(key) = key {
                    write!(f, " of {:?}", key.as_str())?;
                }
                write!(f, ": {error:?}")
            }
            Self::BreakerOpened => f.write_str("the circuit breaker has opened: the store is not called for a while"),
            Self::BreakerClosed => f.write_str("the circuit breaker has closed: the store answers again"),
            Self::SubscriptionBegun => f.write_str("the change subscription has begun"),
            Self::SubscriptionLost { error } => write!(
                f,
                "the change subscription is lost, and near copies are not used until it begins again: {error:?}"
            ),
            Self::FeedConnected => f.write_str("a change feed is connected"),
            Self::FeedLost { error } => write!(
                f,
                "a change feed is lost, and outdated values may be found until it is connected again: {error:?}"
            ),
            Self::LeaseLost { key } => write!(f, "the load of {:?} has lost its lease", key.as_str()),
            Self::InvalidationPending { count } => write!(
                f,
                "the store did not carry out an invalidation, which is tried again; pending now: {count}"
            ),
            Self::InvalidationsRecovered { count } => write!(f, "pending invalidations were carried out: {count}"),
            Self::Purged { count } => write!(f, "the purger was told of invalidations: {count}"),
            Self::PurgeFailed { error, count } => {
                write!(
                    f,
                    "the purger failed and is told again; pending purges: {count}: {error:?}"
                )
            }
            Self::PendingFileFailed { error } => {
                write!(f, "the file of pending invalidations is not usable: {error:?}")
            }
            Self::TagInvalidated { tag, soft } => {
                let how = if *soft { "softly invalidated" } else { "invalidated" };
                write!(f, "the tag {tag:?} was {how}")
            }
            Self::Invalidated { key, soft: true } => write!(f, "{:?} was softly invalidated", key.as_str()),
            Self::Cleared { scope, soft } => {
                let how = if *soft { "softly cleared" } else { "cleared" };
                write!(f, "{:?} was {how}", scope.as_str())
            }
            // The name says what happened to the key.
            _ => {
                f.write_str(&self.name().replace('_', " "))?;
                self.key().map_or(Ok(()), |key| write!(f, ": {:?}", key.as_str()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{Error, ErrorKind};

    use super::*;

    #[test]
    fn shows_the_cause_of_an_error() {
        let cause = std::io::Error::other("no space left on device");
        let error = Error::new(ErrorKind::Rejected, "redb failed").with_source(cause);
        let event = Event::StoreFailed {
            operation: "set",
            key: None,
            error: &error,
        };
        let line = event.to_string();
        assert_eq!(
            line,
            "the store failed: set: rejected: redb failed: no space left on device"
        );
    }
}
