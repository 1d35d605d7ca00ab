//! The tags of a route's responses.

use std::fmt;
use std::sync::Arc;

use cache_engine::Cache;
use cache_http::cache_groups;
use http::HeaderMap;
use http::request::Parts;

use crate::entry::coder::ResponseCoder;
use crate::key::url::origin;

type TagsOf = Arc<dyn Fn(&Parts) -> Vec<String> + Send + Sync>;

/// Which tags the responses of a route carry.
#[derive(Clone, Default)]
pub(crate) struct RouteTags {
    pub(crate) fixed: Vec<String>,
    pub(crate) by: Vec<TagsOf>,
    /// Whether responses may name tags.
    pub(crate) late: bool,
    /// Whether `Cache-Groups` are tags.
    pub(crate) groups: bool,
}

impl RouteTags {
    /// Returns the handle for loads that answer `request`.
    pub(crate) fn handle(&self, cache: &Cache<ResponseCoder>, request: &Parts) -> Cache<ResponseCoder> {
        if self.fixed.is_empty() && self.by.is_empty() && !self.takes_late() {
            return cache.clone();
        }
        let by = self.by.iter().flat_map(|tags| tags(request));
        cache
            .with_tags(self.fixed.iter().cloned().chain(by))
            .adapter()
            .with_late_tags(self.takes_late())
    }

    /// Returns whether tags are made from requests.
    pub(crate) fn depend_on_request(&self) -> bool {
        !self.by.is_empty()
    }

    /// Returns whether a response may name tags.
    pub(crate) fn takes_late(&self) -> bool {
        self.late || self.groups
    }

    /// Returns whether groups are tags.
    pub(crate) fn knows_groups(&self) -> bool {
        self.groups
    }

    /// Returns the origin whose groups the response to `request` may name. Returns `None` if groups are not tags.
    pub(crate) fn groups_of(&self, request: &Parts) -> Option<Box<str>> {
        self.groups.then(|| origin(request)).flatten()
    }
}

impl fmt::Debug for RouteTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteTags")
            .field("fixed", &self.fixed)
            .field("late", &self.late)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// Returns the tags that represent the groups of a response from `origin`.
pub(crate) fn tags_of_groups(origin: &str, response: &HeaderMap) -> Vec<String> {
    let groups = cache_groups(response);
    groups.iter().map(|group| tag_of_group(origin, group)).collect()
}

/// Returns the tag that represents a group of `origin`. An origin contains no slash, so groups of different origins
/// have different tags.
pub(crate) fn tag_of_group(origin: &str, group: &str) -> String {
    format!("cache-group:{origin}/{group}")
}
