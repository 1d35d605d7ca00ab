//! What a call returns, depending on how its load ended.

use super::error::CallError;
use super::return_type::plan::Handling;
use crate::load::error::LoadError;
use crate::load::fill::Outcome;

/// What a call ends with.
pub(super) enum Settled<R> {
    Answer(R),
    /// There is no value, and the function's return type cannot express why.
    Fail(CallError),
    /// As `Fail` if the function has run. Otherwise it runs for its caller only, uncoalesced.
    Uncoalesced(CallError),
}

/// The caller that loaded.
pub(super) enum Loader<E> {
    /// This caller, with what remains of its function's error if it returned one.
    This(Option<E>),
    Another,
}

/// Returns what a call ends with.
pub(super) fn settle<H: Handling>(
    outcome: Outcome<H::Value, H::Shared>,
    loader: Loader<H::Error>,
) -> Settled<H::Output> {
    let error = match outcome {
        Ok(found) => {
            return match H::join(Ok(found.map(|found| found.value))) {
                Some(output) => Settled::Answer(output),
                None => Settled::Uncoalesced(LoadError::Remembered("there is no value".into())),
            };
        }
        Err(error) => error,
    };
    let error = match error {
        LoadError::Failed(shared) => {
            let error = match loader {
                Loader::This(Some(own)) => Some(own),
                Loader::This(None) => H::reclaim(shared),
                Loader::Another => H::restore(&shared),
            };
            return match error.and_then(|error| H::join(Err(error))) {
                Some(output) => Settled::Answer(output),
                None => Settled::Uncoalesced(LoadError::Remembered("the load of another caller failed".into())),
            };
        }
        LoadError::Panicked(message) => return Settled::Fail(LoadError::Panicked(message)),
        LoadError::Remembered(message) => LoadError::Remembered(message),
        LoadError::TimedOut(after) => LoadError::TimedOut(after),
        LoadError::Circular(key) => LoadError::Circular(key),
    };
    match H::convert(error).map(|error| H::join(Err(error))) {
        Ok(Some(output)) => Settled::Answer(output),
        Ok(None) => Settled::Fail(LoadError::Remembered("there is no value".into())),
        Err(error @ LoadError::Circular(_)) => Settled::Fail(error),
        Err(error) => Settled::Uncoalesced(error),
    }
}

/// Panics with the panic of the load, which reaches every caller that waited, or because a function needs its own
/// entry. The latter is a bug that only a suitable error type can report in another way.
pub(super) fn fail(error: &CallError) -> ! {
    match error {
        LoadError::Panicked(message) => panic!("{message}"),
        error => panic!("a function that is cached has no value: {error}"),
    }
}
