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
    /// The response has another language or coding than the one that was chosen for its request.
    OtherVariant,
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
            Self::OtherVariant => "other-variant",
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

    /// Returns what a word of [`as_str`](Self::as_str) means, in a sentence without its end.
    #[cfg(feature = "admin")]
    pub(crate) fn meaning_of(word: &str) -> Option<&'static str> {
        ALL.iter()
            .find(|detail| detail.as_str() == word)
            .map(|detail| detail.meaning())
    }

    #[cfg(feature = "admin")]
    const fn meaning(self) -> &'static str {
        match self {
            Self::Rule(reason) => match reason {
                Reason::Method => "the layer does not cache requests with this method",
                Reason::Authorization => "the request has credentials (Authorization)",
                Reason::Cookie => "the request has cookies",
                Reason::RequestNoStore => "the request says no-store",
                Reason::Status => "responses with this status are not stored",
                Reason::Partial => "the response is a part of a representation",
                Reason::NoStore => "the response says no-store",
                Reason::Private => "the response says private",
                Reason::NoCache => "the response says no-cache",
                Reason::SetCookie => "the response sets a cookie",
                Reason::VaryAny => "the response says Vary: *",
                Reason::NotFresh => "the response has no lifetime left",
                Reason::TooLarge => "the body is larger than max_body",
                Reason::Incomplete => "the body broke off",
                Reason::TooManyVariants => {
                    "max_variants is 0, or the list of the URL's variants could not be changed in time"
                }
                _ => "a rule of HTTP caching forbids it",
            },
            Self::Disabled => "the cache is switched off",
            Self::BypassIf => "a condition of bypass_if is true for the request",
            Self::Debug => "an operator asked for the handler's own response",
            Self::Upgrade => "the request asks for another protocol",
            Self::Connection => "Connection names a field that does not belong to the connection",
            Self::Precondition => "only the handler can evaluate the precondition of the request",
            Self::Content => "the request has content that is not part of the key",
            Self::NoKey => "the host is ambiguous, or the key builder failed",
            Self::RequestTooLarge => "the content of the request is larger than what may be part of the key",
            Self::DoNotStore => "the handler returned DoNotStore",
            Self::Head => "the handler answered a HEAD, and only responses to GET are stored",
            Self::Endless => "the response is an event stream",
            Self::Trailers => "the response has trailers",
            Self::TooSlow => "the body took longer than max_body_time",
            Self::LateTags => "the response names tags, and the layer does not accept late tags",
            Self::UncarriedTags => "it is made from entries with tags that it cannot carry",
            Self::VaryChanged => "it depends on request fields that were unknown before; the next one will be stored",
            Self::OtherVariant => {
                "the response has another language or coding than the one that was chosen for its request"
            }
            Self::NamespaceLearned => "it names a namespace that was unknown before; the next one will be stored",
            Self::Invalidated => "it was invalidated while it was made",
            Self::Outage => "the store is unavailable",
            Self::StoreFailed => "the store refused the response",
            Self::HandlerFailed => "the handler failed",
            Self::OnlyIfCached => "the request accepts only what is stored, and nothing is",
            Self::Overdue => "the handler took longer than max_wait, and the waiting requests loaded for themselves",
            Self::InvalidationFailed => "an invalidation failed: the old response may still be served",
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

/// All values.
#[cfg(any(feature = "admin", test))]
const ALL: [Detail; 41] = [
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
    Detail::OtherVariant,
    Detail::NamespaceLearned,
    Detail::Invalidated,
    Detail::Outage,
    Detail::StoreFailed,
    Detail::HandlerFailed,
    Detail::OnlyIfCached,
    Detail::Overdue,
    Detail::InvalidationFailed,
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use cache_http::Reason;

    use super::{ALL, Detail};

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
