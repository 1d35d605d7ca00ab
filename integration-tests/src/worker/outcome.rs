//! The outcome of an action.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cache_core::Error;
use cache_engine::LoadError;

use crate::worker::protocol::{Outcome, Seen};

pub(super) fn seen(value: u64, fresh: bool) -> Seen {
    Seen { value, fresh }
}

/// Converts the result of a call that does not report freshness.
pub(super) fn given<E>(result: Result<Option<Arc<u64>>, LoadError<E>>) -> Outcome {
    match result {
        Ok(Some(value)) => Outcome::Read(vec![Some(seen(*value, false))]),
        Ok(None) | Err(_) => Outcome::NoValue,
    }
}

pub(super) fn value(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Read(values) => values.first().copied().flatten().map(|seen| seen.value),
        _ => None,
    }
}

pub(super) fn done<T>(result: Result<T, Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Returns the microseconds since the Unix epoch by the machine's clock, which all workers share.
pub(super) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Panics without a message on standard error.
pub(super) fn panic() -> ! {
    std::panic::resume_unwind(Box::new("a load that was told to"))
}
