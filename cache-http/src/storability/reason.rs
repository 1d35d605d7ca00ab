//! Why a response is not stored.

use std::fmt;

/// Why a response is not stored, or a request bypasses the cache.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The policy does not name the method.
    Method,
    /// The request has `Authorization`.
    Authorization,
    /// The request has `Cookie`.
    Cookie,
    /// The request says `no-store`.
    RequestNoStore,
    /// The policy does not store the status, or the response says `must-understand` and this crate does not know the
    /// status.
    Status,
    /// The response is a part of a representation.
    Partial,
    /// The response says `no-store`.
    NoStore,
    /// The response is `private`.
    Private,
    /// The response says `no-cache`, and the policy does not validate or the response has no validator.
    NoCache,
    /// The response sets a cookie.
    SetCookie,
    /// The response says `Vary: *`.
    VaryAny,
    /// The response is not fresh and has no stale window, and the policy does not validate or the response has no
    /// validator.
    NotFresh,
    /// The body is larger than the cache accepts. This crate never returns it; it is for caches that collect bodies.
    TooLarge,
    /// The body ended early. This crate never returns it; it is for caches that collect bodies.
    Incomplete,
    /// The URL has too many variants. This crate never returns it; it is for caches that count them.
    TooManyVariants,
}

impl Reason {
    /// Returns the reason as a token, for the `detail` of `Cache-Status`.
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
