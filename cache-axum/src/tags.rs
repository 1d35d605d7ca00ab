//! The tags of a route's responses.

use std::sync::Arc;

use cache_engine::Cache;
use cache_http::cache_groups;
use http::HeaderMap;
use http::request::Parts;

use crate::coder::ResponseCoder;
use crate::key::origin;
use crate::layer::CacheLayer;

type TagsOf = Arc<dyn Fn(&Parts) -> Vec<String> + Send + Sync>;

/// Which tags the responses of a route carry.
#[derive(Clone, Default)]
pub(crate) struct RouteTags {
    fixed: Vec<String>,
    by: Vec<TagsOf>,
    /// Responses may name tags.
    late: bool,
    /// `Cache-Groups` are tags.
    groups: bool,
}

impl RouteTags {
    /// The handle for loads that answer `request`.
    pub(crate) fn handle(&self, cache: &Cache<ResponseCoder>, request: &Parts) -> Cache<ResponseCoder> {
        if self.fixed.is_empty() && self.by.is_empty() && !self.takes_late() {
            return cache.clone();
        }
        let by = self.by.iter().flat_map(|tags| tags(request));
        cache
            .with_tags(self.fixed.iter().cloned().chain(by))
            .with_late_tags(self.takes_late())
    }

    /// Whether a response may name tags.
    pub(crate) fn takes_late(&self) -> bool {
        self.late || self.groups
    }

    /// Whether groups are tags.
    pub(crate) fn knows_groups(&self) -> bool {
        self.groups
    }

    /// Whose groups the answer to `request` may name, if they are tags.
    pub(crate) fn groups_of(&self, request: &Parts) -> Option<Box<str>> {
        self.groups.then(|| origin(request)).flatten()
    }
}

/// The tags that stand for the groups of a response from `origin`.
pub(crate) fn tags_of_groups(origin: &str, response: &HeaderMap) -> Vec<String> {
    let groups = cache_groups(response);
    groups.iter().map(|group| tag_of_group(origin, group)).collect()
}

/// The tag that stands for a group of `origin`. An origin has no slash in it, so no group is that of another one.
pub(crate) fn tag_of_group(origin: &str, group: &str) -> String {
    format!("cache-group:{origin}/{group}")
}

/// Tags: what makes many responses outdated at once, whatever their URLs.
impl CacheLayer {
    /// The tags of all responses, beside those that are named elsewhere.
    ///
    /// A tag is invalidated by [`CacheHandle::invalidate_tag`](crate::CacheHandle::invalidate_tag),
    /// [`InvalidateLayer::tags`](crate::InvalidateLayer::tags), a [`PurgeRouter`](crate::PurgeRouter), or
    /// [`Cache::invalidate_tag`]. It belongs to the whole cache, whatever the namespace. Tags are captured before the
    /// handler runs, so an invalidation while it runs is not missed. A hit reads their records too.
    pub fn tags<N: Into<String>>(self, tags: impl IntoIterator<Item = N>) -> Self {
        self.with(|options| options.tags.fixed.extend(tags.into_iter().map(Into::into)))
    }

    /// The tags that `tags` names for a request, beside those that are named elsewhere.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use cache_axum::CacheLayer;
    /// use cache_axum::cache_engine::Cache;
    /// use cache_memory::MemoryBackend;
    ///
    /// let layer = CacheLayer::new(Cache::builder(MemoryBackend::default()).build())
    ///     .tags(["pages"])
    ///     .tags_by(|request| {
    ///         let id = request.uri.path().trim_start_matches("/items/");
    ///         vec![format!("item:{id}")]
    ///     });
    /// let app: Router = Router::new().route("/items/{id}", get(|| async { "…" })).layer(layer);
    /// ```
    pub fn tags_by(self, tags: impl Fn(&Parts) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.with(|options| options.tags.by.push(Arc::new(tags)))
    }

    /// Whether responses may name tags, by [`StoreFor::tags`](crate::StoreFor::tags). Not unless set: a response that
    /// does is then not stored (`detail=late-tags`).
    ///
    /// A tag that is known only when the handler has answered was not captured before. So each load captures what every
    /// invalidation of a tag, whichever, changes, which is one record more to read; if that has changed meanwhile, the
    /// response is not stored. Where tags are known earlier, name them by [`tags_by`](Self::tags_by), or in the handler
    /// by [`CacheHandle::tagged`](crate::CacheHandle::tagged).
    pub fn late_tags(self, late: bool) -> Self {
        self.with(|options| options.tags.late = late)
    }

    /// Whether `Cache-Groups` put responses into groups, and `Cache-Group-Invalidation` in the response to a request
    /// with an unsafe method invalidates them (RFC 9875). With [`shared`](Self::shared) they do unless set, otherwise not.
    ///
    /// Groups belong to the origin: the host and port of the request, whatever the scheme, as with the keys. They are
    /// late tags, with the cost of [those](Self::late_tags).
    pub fn cache_groups(self, groups: bool) -> Self {
        self.with(|options| options.tags.groups = groups)
    }

    /// Whether requests that change something invalidate softly: responses are kept for
    /// [`stale_while_revalidate`](Self::stale_while_revalidate) and [`stale_if_error`](Self::stale_if_error), but are no
    /// longer fresh. Not unless set.
    pub fn invalidate_softly(self, soft: bool) -> Self {
        self.with(|options| options.invalidate_softly = soft)
    }
}
