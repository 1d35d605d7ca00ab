//! Durations in options.

use std::time::Duration;

/// The type of a duration in an option.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a time",
    label = "not a `Duration`",
    note = "write a text with a unit, such as \"60s\", or an expression that gives a `Duration` or an `Option` of one"
)]
pub trait Time {
    fn time(self) -> Option<Duration>;
}

impl Time for Duration {
    fn time(self) -> Option<Duration> {
        Some(self)
    }
}

impl Time for Option<Duration> {
    fn time(self) -> Self {
        self
    }
}

/// Returns the duration, if there is one.
#[must_use]
pub fn time<T: Time>(time: T) -> Option<Duration> {
    time.time()
}
