//! The values of `detail` in `Cache-Status`.

use cache_http::Reason;

use crate::body::collect::Cause;
use crate::request::bypass::Bypass;

/// Why a response was not stored, or not looked up. Written as `detail` in `Cache-Status` (RFC 9211, section 2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The rules of HTTP caching forbid it.
    Rule(Reason),
    /// The cache is switched off.
    Disabled,
    /// A condition of `bypass_if` is true for the request.
    BypassIf,
    /// An operator asks for the handler's own response.
    Debug,
    /// The request asks to switch to another protocol.
    Upgrade,
    /// `Connection` names a field that does not belong to the connection.
    Connection,
    /// The request has a precondition that only the handler can evaluate.
    Precondition,
    /// The request has content that is not part of the key.
    Content,
    /// The request has no key.
    NoKey,
    /// The content of the request is larger than what may become part of the key.
    RequestTooLarge,
    /// The handler returned `DoNotStore`.
    DoNotStore,
    /// The handler answered a HEAD, and only responses to GET are stored.
    Head,
    /// The response is an event stream.
    Endless,
    /// The response has trailers.
    Trailers,
    /// The body took longer than the limit.
    TooSlow,
    /// The response names tags, and the layer does not accept them.
    LateTags,
    /// The response is made from entries with tags that it cannot carry.
    UncarriedTags,
    /// The response depends on request fields that were unknown before.
    VaryChanged,
    /// The response names a namespace that was unknown before.
    NamespaceLearned,
    /// The response was invalidated while it was made.
    Invalidated,
    /// The store is unavailable.
    Outage,
    /// The store refused the response.
    StoreFailed,
    /// The handler was called and failed.
    HandlerFailed,
    /// The request forbids calling the handler, and nothing is stored.
    OnlyIfCached,
    /// The handler took so long that the waiting requests stopped waiting.
    Overdue,
    /// An invalidation failed.
    InvalidationFailed,
}

impl Detail {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rule(reason) => reason.as_str(),
            Self::Disabled => "disabled",
            Self::BypassIf => "bypass-if",
            Self::Debug => "debug",
            Self::Upgrade => "upgrade",
            Self::Connection => "connection",
            Self::Precondition => "precondition",
            Self::Content => "content",
            Self::NoKey => "no-key",
            Self::RequestTooLarge => "request-too-large",
            Self::DoNotStore => "do-not-store",
            Self::Head => "head",
            Self::Endless => "endless",
            Self::Trailers => "trailers",
            Self::TooSlow => "too-slow",
            Self::LateTags => "late-tags",
            Self::UncarriedTags => "uncarried-tags",
            Self::VaryChanged => "vary-changed",
            Self::NamespaceLearned => "namespace-learned",
            Self::Invalidated => "invalidated",
            Self::Outage => "outage",
            Self::StoreFailed => "store-failed",
            Self::HandlerFailed => "handler-failed",
            Self::OnlyIfCached => "only-if-cached",
            Self::Overdue => "overdue",
            Self::InvalidationFailed => "invalidation-failed",
        }
    }
}

impl From<Bypass> for Detail {
    fn from(bypass: Bypass) -> Self {
        match bypass {
            Bypass::Disabled => Self::Disabled,
            Bypass::Condition => Self::BypassIf,
            Bypass::Debug => Self::Debug,
            Bypass::Rule(reason) => Self::Rule(reason),
            Bypass::Upgrade => Self::Upgrade,
            Bypass::Connection => Self::Connection,
            Bypass::Precondition => Self::Precondition,
            Bypass::Content => Self::Content,
            Bypass::NoKey => Self::NoKey,
            Bypass::TooLarge => Self::RequestTooLarge,
        }
    }
}

impl From<Cause> for Detail {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::TooLarge => Self::Rule(Reason::TooLarge),
            Cause::TooSlow => Self::TooSlow,
            Cause::Trailers => Self::Trailers,
            Cause::Broken => Self::Rule(Reason::Incomplete),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use cache_http::Reason;

    use super::Detail;

    /// All values.
    const ALL: [Detail; 40] = [
        Detail::Rule(Reason::Method),
        Detail::Rule(Reason::Authorization),
        Detail::Rule(Reason::Cookie),
        Detail::Rule(Reason::RequestNoStore),
        Detail::Rule(Reason::Status),
        Detail::Rule(Reason::Partial),
        Detail::Rule(Reason::NoStore),
        Detail::Rule(Reason::Private),
        Detail::Rule(Reason::NoCache),
        Detail::Rule(Reason::SetCookie),
        Detail::Rule(Reason::VaryAny),
        Detail::Rule(Reason::NotFresh),
        Detail::Rule(Reason::TooLarge),
        Detail::Rule(Reason::Incomplete),
        Detail::Rule(Reason::TooManyVariants),
        Detail::Disabled,
        Detail::BypassIf,
        Detail::Debug,
        Detail::Upgrade,
        Detail::Connection,
        Detail::Precondition,
        Detail::Content,
        Detail::NoKey,
        Detail::RequestTooLarge,
        Detail::DoNotStore,
        Detail::Head,
        Detail::Endless,
        Detail::Trailers,
        Detail::TooSlow,
        Detail::LateTags,
        Detail::UncarriedTags,
        Detail::VaryChanged,
        Detail::NamespaceLearned,
        Detail::Invalidated,
        Detail::Outage,
        Detail::StoreFailed,
        Detail::HandlerFailed,
        Detail::OnlyIfCached,
        Detail::Overdue,
        Detail::InvalidationFailed,
    ];

    /// The words in the first column of the guide's table.
    fn documented() -> BTreeSet<&'static str> {
        let guide = include_str!("../../../docs/caching-endpoints.md");
        let table = guide.split("| `detail` | why").nth(1).unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        rows.flat_map(|row| {
            let words = row.split('|').nth(1).unwrap();
            words.split('`').skip(1).step_by(2)
        })
        .collect()
    }

    #[test]
    fn the_guide_lists_each_word_and_no_other() {
        let words = ALL.iter().filter(|word| **word != Detail::Rule(Reason::Method));
        let words: BTreeSet<_> = words.map(|word| word.as_str()).collect();
        assert_eq!(documented(), words);
    }
}
