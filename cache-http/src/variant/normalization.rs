//! How request fields are normalised.

/// How request fields are normalised before they select a variant.
///
/// A field without a rule, or whose preferences are unreadable, has its lines joined and the white space around commas
/// removed. `Authorization`, `Cookie` and `Proxy-Authorization` are compared unchanged, line by line.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Normalization {
    /// The rule for `Accept-Encoding`. Default: none.
    pub accept_encoding: Option<Preference>,
    /// The rule for `Accept-Language`. Default: none.
    pub accept_language: Option<Preference>,
}

impl Normalization {
    /// Ranks both fields by quality. Two requests become equal only if they state the same preferences (RFC 9110,
    /// sections 12.4.2, 12.5.3 and 12.5.4). Do not use it if your server distinguishes `gzip, br` from `br, gzip`. The
    /// standard does not support that distinction.
    #[must_use]
    pub fn by_quality() -> Self {
        Self {
            accept_encoding: Some(Preference::Ranked),
            accept_language: Some(Preference::Ranked),
        }
    }

    /// Ranks both fields by quality and keeps the order of languages of equal quality. Use it if your server treats that
    /// order as a priority, as some do (RFC 9110, section 12.5.4).
    #[must_use]
    pub fn by_quality_and_order() -> Self {
        Self {
            accept_language: Some(Preference::Listed),
            ..Self::by_quality()
        }
    }
}

/// How a field that states preferences is normalised.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preference {
    /// Keeps all members in lower case, by descending quality, and those of equal quality by name.
    Ranked,
    /// Keeps all members in lower case, by descending quality, and those of equal quality in the order given.
    Listed,
    /// Keeps only the name from this list that the request prefers, or none. Of equally preferred names, the first in
    /// this list wins. Use it if responses exist in these forms only.
    OneOf(Vec<String>),
}
