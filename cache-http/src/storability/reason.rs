//! Why a response is not stored.

use std::fmt;

/// Why a response is not stored, or a request does not look into the cache.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The method is none that the cache serves.
    Method,
    /// The request has `Authorization`.
    Authorization,
    /// The request has `Cookie`.
    Cookie,
    /// The request says `no-store`.
    RequestNoStore,
    /// The status is none that the cache stores, or none that it knows although it must (`must-understand`).
    Status,
    /// The response is a part of a representation.
    Partial,
    /// The response says `no-store`.
    NoStore,
    /// The response is `private`.
    Private,
    /// The response says `no-cache`, and this cache does not validate or has nothing to validate with.
    NoCache,
    /// The response sets a cookie.
    SetCookie,
    /// The response says `Vary: *`.
    VaryAny,
    /// The response is not fresh, has no window in which it may be used stale, and this cache does not validate or
    /// has nothing to validate with.
    NotFresh,
    /// The body is larger than the cache takes. For those who collect bodies.
    TooLarge,
    /// The body ended early. For those who collect bodies.
    Incomplete,
    /// There are too many variants of the URL. For those who count them.
    TooManyVariants,
}

impl Reason {
    /// The reason as a token, for the `detail` of `Cache-Status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::RequestNoStore => "request-no-store",
            Self::Status => "status",
            Self::Partial => "partial",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NoCache => "no-cache",
            Self::SetCookie => "set-cookie",
            Self::VaryAny => "vary-any",
            Self::NotFresh => "not-fresh",
            Self::TooLarge => "too-large",
            Self::Incomplete => "incomplete",
            Self::TooManyVariants => "too-many-variants",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
