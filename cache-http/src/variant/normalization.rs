//! How request fields are brought to one form.

/// How request fields are brought to one form before they select a variant. Fields without a rule of their own, and
/// preferences that cannot be read, have the white space around commas removed and their lines joined;
/// `Authorization`, `Cookie` and `Proxy-Authorization` are taken as they are, line by line.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Normalization {
    /// For `Accept-Encoding`.
    pub accept_encoding: Option<Preference>,
    /// For `Accept-Language`.
    pub accept_language: Option<Preference>,
}

impl Normalization {
    /// Both fields by quality, whatever the names. It joins requests only if they state the same preferences in other
    /// words (RFC 9110, sections 12.4.2, 12.5.3 and 12.5.4): a server that tells `gzip, br` from `br, gzip`, which the
    /// standard gives it no ground for, needs a rule without it.
    #[must_use]
    pub fn by_quality() -> Self {
        Self {
            accept_encoding: Some(Preference::Ranked),
            accept_language: Some(Preference::Ranked),
        }
    }

    /// As [`by_quality`](Self::by_quality), for servers that take the order of languages of one quality for one of
    /// priority, as some do (RFC 9110, section 12.5.4).
    #[must_use]
    pub fn by_quality_and_order() -> Self {
        Self {
            accept_language: Some(Preference::Listed),
            ..Self::by_quality()
        }
    }
}

/// What is kept of a field that states preferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preference {
    /// All members in lower case, by falling quality, those of one quality by name.
    Ranked,
    /// All members in lower case, by falling quality, those of one quality in the order in which they were listed.
    Listed,
    /// The one of these names that the request likes best, or none of them. Of those that it likes equally, the first
    /// in this list. Right if the responses really exist in these forms only.
    OneOf(Vec<String>),
}
