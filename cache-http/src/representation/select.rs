//! The choice of what to send of a response.

use cache_core::Timestamp;
use http::header::{CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

use crate::representation::byte_range::ByteRange;
use crate::representation::multipart::Multipart;
use crate::representation::partial::{partial_headers, unsatisfiable_headers};
use crate::representation::precondition::{Outcome, evaluate, not_modified_headers};
use crate::representation::range::{RangeOutcome, evaluate_range};
use crate::representation::validators::Validators;

/// A response to choose an answer from, either stored or still arriving.
///
/// ```
/// use cache_http::{Content, Representation, Validators};
/// use http::header::{HeaderValue, RANGE};
/// use http::{HeaderMap, Method, StatusCode};
///
/// let stored = HeaderMap::new();
/// let validators = Validators::from_headers(&stored);
/// let representation = Representation::new(StatusCode::OK, &stored, &validators).with_length(10);
///
/// let mut request = HeaderMap::new();
/// request.insert(RANGE, HeaderValue::from_static("bytes=8-"));
/// let selection = representation.select(&Method::GET, &request);
/// assert_eq!(selection.status, StatusCode::PARTIAL_CONTENT);
/// assert_eq!(selection.headers["content-range"], "bytes 8-9/10");
/// let Content::Range(range) = selection.content else { panic!("one range") };
/// assert_eq!(range.to_indices(), Some(8..10));
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Representation<'a> {
    status: StatusCode,
    headers: &'a HeaderMap,
    validators: &'a Validators,
    length: Option<u64>,
    arrived: Option<Timestamp>,
    boundary: Option<fn() -> String>,
}

/// What to send for a request.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Selection {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Which part of the content to send.
    pub content: Content,
}

/// Which part of the content of a response to send.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// All of the content.
    Whole,
    /// Nothing, because the method is HEAD.
    Head,
    /// Nothing, because the client has the content (304).
    NotModified,
    /// This range (206).
    Range(ByteRange),
    /// Several ranges (206).
    Multipart(Multipart),
    /// Nothing, because the ranges lie outside of the content (416).
    Unsatisfiable,
}

impl<'a> Representation<'a> {
    /// Describes a response with this status, these headers and their validators. By default its length is unknown, only
    /// `Last-Modified` is compared with `If-Modified-Since`, and a request for several ranges gets the whole.
    pub fn new(status: StatusCode, headers: &'a HeaderMap, validators: &'a Validators) -> Self {
        Self {
            status,
            headers,
            validators,
            length: None,
            arrived: None,
            boundary: None,
        }
    }

    /// Sets the length of the content. Without it no ranges are selected.
    pub fn with_length(self, length: impl Into<Option<u64>>) -> Self {
        Self {
            length: length.into(),
            ..self
        }
    }

    /// Sets when a stored response arrived. This or `Date` stands in for a missing `Last-Modified` (RFC 9111, section
    /// 4.3.2).
    pub fn with_arrival(self, arrived: Timestamp) -> Self {
        Self {
            arrived: Some(arrived),
            ..self
        }
    }

    /// Allows [several ranges](Content::Multipart) in one answer. `boundary` returns the text that separates them, see
    /// [`Multipart::new`].
    pub fn with_boundary(self, boundary: fn() -> String) -> Self {
        Self {
            boundary: Some(boundary),
            ..self
        }
    }

    /// Selects what to send for a request with this method and these headers. Preconditions come before ranges (RFC
    /// 9110, section 13.2.2).
    pub fn select(&self, method: &Method, request: &HeaderMap) -> Selection {
        if self.is_not_modified(method, request) {
            let mut headers = not_modified_headers(self.headers);
            // Without this, a server would add the length of the empty body. RFC 9110, section 8.6, requires the length of
            // the 200.
            if let Some(length) = self.length {
                headers.insert(CONTENT_LENGTH, length.into());
            }
            return Selection {
                status: StatusCode::NOT_MODIFIED,
                headers,
                content: Content::NotModified,
            };
        }
        if method == Method::HEAD {
            let mut headers = self.headers.clone();
            if let Some(length) = self.length
                && !headers.contains_key(CONTENT_LENGTH)
                && !headers.contains_key(TRANSFER_ENCODING)
                && self.status != StatusCode::NO_CONTENT
            {
                headers.insert(CONTENT_LENGTH, length.into());
            }
            return self.all_of(headers, Content::Head);
        }
        self.ranges(method, request)
            .unwrap_or_else(|| self.all_of(self.headers.clone(), Content::Whole))
    }

    fn all_of(&self, headers: HeaderMap, content: Content) -> Selection {
        Selection {
            status: self.status,
            headers,
            content,
        }
    }

    fn is_not_modified(&self, method: &Method, request: &HeaderMap) -> bool {
        let by_tag = request.contains_key(IF_NONE_MATCH);
        let by_date = || {
            let comparable = self.arrived.is_some() || self.validators.last_modified.is_some();
            comparable && request.contains_key(IF_MODIFIED_SINCE)
        };
        // Not used if nothing has arrived, since only `Last-Modified` is compared then.
        let arrived = self.arrived.unwrap_or(Timestamp::from_millis(0));
        (by_tag || by_date())
            && evaluate(method, request, self.status, self.validators, arrived) == Outcome::NotModified
    }

    /// Returns `None` if the request gets the whole.
    fn ranges(&self, method: &Method, request: &HeaderMap) -> Option<Selection> {
        let length = self.length.filter(|_| request.contains_key(RANGE))?;
        let (status, headers, content) = match evaluate_range(method, request, self.status, self.validators, length) {
            RangeOutcome::Whole => return None,
            RangeOutcome::Single(range) => {
                let headers = partial_headers(self.headers, range, length);
                (StatusCode::PARTIAL_CONTENT, headers, Content::Range(range))
            }
            RangeOutcome::Several(ranges) => {
                let boundary = self.boundary?();
                let multipart = Multipart::new(self.headers, &ranges, length, &boundary);
                let headers = multipart.headers.clone();
                (StatusCode::PARTIAL_CONTENT, headers, Content::Multipart(multipart))
            }
            RangeOutcome::Unsatisfiable => {
                let headers = unsatisfiable_headers(length);
                (StatusCode::RANGE_NOT_SATISFIABLE, headers, Content::Unsatisfiable)
            }
        };
        Some(Selection {
            status,
            headers,
            content,
        })
    }
}

/// Returns whether a request with these headers gets the whole in any case: it has neither a range nor a precondition
/// that a cache evaluates.
#[must_use]
pub fn asks_for_whole(request: &HeaderMap) -> bool {
    ![IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE]
        .iter()
        .any(|name| request.contains_key(name))
}
