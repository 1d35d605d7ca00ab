//! Time spans that may be absent.

use std::time::Duration;

/// The argument of a setting that takes a time span or none: a [`Duration`], or an `Option` of one.
///
/// For users of such a setting, for example `ttl(Duration::from_secs(60))` or `ttl(None)`. A number is no time span, because
/// it has no unit.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a time span",
    label = "expected a `Duration`, or an `Option` of one",
    note = "write the unit, as in `Duration::from_secs(60)`, or `None` for no time span"
)]
pub trait OptionalDuration {
    /// Returns the time span, if there is one.
    fn into_option(self) -> Option<Duration>;
}

impl OptionalDuration for Duration {
    fn into_option(self) -> Option<Duration> {
        Some(self)
    }
}

impl OptionalDuration for Option<Duration> {
    fn into_option(self) -> Self {
        self
    }
}
