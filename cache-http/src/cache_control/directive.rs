//! Common parts of the directives of requests and responses.

/// A directive that this crate does not interpret, as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Directive {
    /// The name in lower case.
    pub name: String,
    /// The argument without its quotes, if there is one.
    pub argument: Option<String>,
}

/// Sets `slot` to the smaller of its value and `value`.
pub(super) fn smaller(slot: &mut Option<u32>, value: u32) {
    *slot = Some(slot.map_or(value, |other| other.min(value)));
}
