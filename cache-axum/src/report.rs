//! How a request was handled: `X-Cache` and `Cache-Status` on every answer.

use cache_http::{CacheStatus, Forward};
use http::{HeaderMap, HeaderValue};

use crate::options::{Bypass, Options};

/// How a request was handled.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    plain: &'static str,
    status: CacheStatus,
}

impl Report {
    /// Answered from a fresh copy.
    pub(crate) fn hit(ttl: i64) -> Self {
        Self {
            plain: "HIT",
            status: CacheStatus::hit().ttl(ttl),
        }
    }

    /// Answered by a load that another request started.
    pub(crate) fn collapsed(forward: Forward) -> Self {
        Self {
            plain: "HIT",
            status: CacheStatus::forwarded(forward).collapsed(true),
        }
    }

    /// Answered from a stale copy, without asking the handler first.
    pub(crate) fn stale(ttl: i64) -> Self {
        Self {
            plain: "STALE",
            status: CacheStatus::hit().ttl(ttl),
        }
    }

    /// Answered from a stale copy, since the handler failed.
    pub(crate) fn stale_if_error(status: Option<u16>) -> Self {
        let forwarded = CacheStatus::forwarded(Forward::Stale);
        Self {
            plain: "STALE",
            status: match status {
                Some(status) => forwarded.forward_status(status),
                None => forwarded.detail("handler-failed"),
            },
        }
    }

    /// Answered by the handler.
    pub(crate) fn miss(forward: Forward) -> Self {
        Self {
            plain: "MISS",
            status: CacheStatus::forwarded(forward),
        }
    }

    /// The request passed the cache by.
    pub(crate) fn bypass(bypass: Bypass) -> Self {
        let (forward, detail) = match bypass {
            Bypass::Refused(cache_http::Reason::Method) => (Forward::Method, None),
            other => (Forward::Bypass, Some(other.as_str())),
        };
        let status = CacheStatus::forwarded(forward);
        Self {
            plain: "BYPASS",
            status: match detail {
                Some(detail) => status.detail(detail),
                None => status,
            },
        }
    }

    /// Answered by the cache itself, with nothing to go by.
    pub(crate) fn generated(detail: &'static str) -> Self {
        Self {
            plain: "MISS",
            status: CacheStatus::generated().detail(detail),
        }
    }

    pub(crate) fn stored(mut self, stored: bool) -> Self {
        self.status = self.status.stored(stored);
        self
    }

    pub(crate) fn forward_status(mut self, status: u16) -> Self {
        self.status = self.status.forward_status(status);
        self
    }

    pub(crate) fn detail(mut self, detail: Option<&'static str>) -> Self {
        if let Some(detail) = detail {
            self.status = self.status.detail(detail);
        }
        self
    }

    /// Writes it into the headers of an answer.
    pub(crate) fn write(&self, options: &Options, headers: &mut HeaderMap) {
        if let Some(name) = &options.status_header {
            headers.insert(name.clone(), HeaderValue::from_static(self.plain));
        }
        self.status.append_to(&options.name, headers);
    }
}
