//! How a request was handled: `X-Cache` and `Cache-Status` on every response.

use cache_http::{CACHE_STATUS, CacheStatus, Forward, Reason};
use http::{HeaderMap, HeaderValue};

use crate::request::bypass::Bypass;
use crate::request::shared::Shared;
use crate::response::detail::Detail;
use crate::response::header_value::HeaderLine;

/// How a request was handled.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    plain: &'static str,
    status: Member,
}

#[derive(Debug, Clone)]
enum Member {
    /// The most frequent value, which is written directly.
    Hit(u64),
    Other(CacheStatus),
}

impl Member {
    fn change(self, change: impl FnOnce(CacheStatus) -> CacheStatus) -> Self {
        Self::Other(change(match self {
            Self::Hit(ttl) => CacheStatus::hit().ttl(i64::try_from(ttl).unwrap_or(i64::MAX)),
            Self::Other(status) => status,
        }))
    }
}

impl Report {
    /// The request was answered from a fresh copy.
    pub(crate) fn hit(ttl: i64) -> Self {
        Self {
            plain: "HIT",
            status: Member::Hit(u64::try_from(ttl).unwrap_or(0)),
        }
    }

    /// The request was answered by a load that another request started.
    pub(crate) fn collapsed(forward: Forward) -> Self {
        Self {
            plain: "HIT",
            status: Member::Other(CacheStatus::forwarded(forward).collapsed(true)),
        }
    }

    /// The request was answered from a stale copy, without calling the handler first.
    pub(crate) fn stale(ttl: i64) -> Self {
        Self {
            plain: "STALE",
            status: Member::Other(CacheStatus::hit().ttl(ttl)),
        }
    }

    /// The request was answered from a stale copy, because the handler failed.
    pub(crate) fn stale_if_error(status: Option<u16>) -> Self {
        let forwarded = CacheStatus::forwarded(Forward::Stale);
        Self {
            plain: "STALE",
            status: Member::Other(match status {
                Some(status) => forwarded.forward_status(status),
                None => forwarded.detail(Detail::HandlerFailed.as_str()),
            }),
        }
    }

    /// The request was answered from a copy that the handler has just confirmed.
    pub(crate) fn validated(forward: Forward) -> Self {
        Self {
            plain: "HIT",
            status: Member::Other(CacheStatus::forwarded(forward).forward_status(304)),
        }
    }

    /// The request was answered by the handler.
    pub(crate) fn miss(forward: Forward) -> Self {
        Self {
            plain: "MISS",
            status: Member::Other(CacheStatus::forwarded(forward)),
        }
    }

    /// The request bypassed the cache.
    pub(crate) fn bypass(bypass: Bypass) -> Self {
        let (forward, detail) = match bypass {
            Bypass::Rule(Reason::Method) => (Forward::Method, None),
            other => (Forward::Bypass, Some(Detail::from(other).as_str())),
        };
        let status = CacheStatus::forwarded(forward);
        Self {
            plain: "BYPASS",
            status: Member::Other(match detail {
                Some(detail) => status.detail(detail),
                None => status,
            }),
        }
    }

    /// The request was answered by the cache itself, without any stored response.
    pub(crate) fn generated(detail: Detail) -> Self {
        Self {
            plain: "MISS",
            status: Member::Other(CacheStatus::generated().detail(detail.as_str())),
        }
    }

    pub(crate) fn stored(mut self, stored: bool) -> Self {
        self.status = self.status.change(|member| member.stored(stored));
        self
    }

    pub(crate) fn forward_status(mut self, status: u16) -> Self {
        self.status = self.status.change(|member| member.forward_status(status));
        self
    }

    pub(crate) fn detail(mut self, detail: Option<Detail>) -> Self {
        if let Some(detail) = detail {
            self.status = self.status.change(|member| member.detail(detail.as_str()));
        }
        self
    }

    /// Writes the report into the headers of a response.
    pub(crate) fn write(&self, shared: &Shared, headers: &mut HeaderMap) {
        if let Some(name) = &shared.config.status_header {
            headers.insert(name.clone(), HeaderValue::from_static(self.plain));
        }
        match &self.status {
            Member::Hit(ttl) => {
                let mut line = HeaderLine::new();
                line.push(&shared.config.hit);
                line.push_number(*ttl);
                headers.append(CACHE_STATUS, line.to_value());
            }
            Member::Other(status) => status.append_to(&shared.config.name, headers),
        }
    }
}
