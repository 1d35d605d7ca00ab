//! Validators (RFC 9110, section 8.8).

use cache_core::Timestamp;
use http::HeaderMap;
use http::header::{DATE, ETAG, LAST_MODIFIED};

use crate::field::{ETag, date_of};

/// The validators of a response, which identify its representation. Compute them once, when you store the response.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<ETag>,
    /// `Last-Modified`.
    pub last_modified: Option<Timestamp>,
    /// `Date`.
    pub date: Option<Timestamp>,
}

impl Validators {
    /// Reads the validators of a response with these headers.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            etag: headers.get(ETAG).and_then(ETag::parse),
            last_modified: date_of(headers, LAST_MODIFIED).valid(),
            date: date_of(headers, DATE).valid(),
        }
    }

    /// Returns whether there is an entity-tag or a modification date.
    #[must_use]
    pub fn any(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// Returns whether `Last-Modified` is a strong validator: `Date` is at least a second later (RFC 9110, section
    /// 8.8.2.2).
    #[must_use]
    pub fn last_modified_is_strong(&self) -> bool {
        match (self.last_modified, self.date) {
            (Some(modified), Some(date)) => date.as_millis() >= modified.as_millis().saturating_add(1000),
            _ => false,
        }
    }
}
