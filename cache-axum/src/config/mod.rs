//! What a layer is set to.

pub(crate) mod client_caching;
pub(crate) mod handler;
pub(crate) mod tags;

use std::time::Duration;

use cache_http::{CacheName, Policy};
use http::HeaderName;

use crate::config::client_caching::ClientCaching;
use crate::config::tags::RouteTags;
use crate::entry::response::OwnEtag;
use crate::key::request::RequestKeys;

/// What a layer is set to.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) keys: RequestKeys,
    pub(crate) policy: Policy,
    /// For requests whose identity is part of their key.
    pub(crate) identified: Policy,
    /// The most bytes of a POST's content that are taken into the key.
    pub(crate) post: Option<usize>,
    pub(crate) client: ClientCaching,
    pub(crate) status_header: Option<HeaderName>,
    /// Whether the tags are weak that the layer adds.
    pub(crate) own_etag: OwnEtag,
    /// The handler asks an origin elsewhere, so its time counts to the age of what it brings.
    pub(crate) is_gateway: bool,
    pub(crate) name: CacheName,
    /// What `Cache-Status` says on a hit, up to the number of seconds.
    pub(crate) hit: Box<str>,
    /// The most responses of one URL.
    pub(crate) max_variants: usize,
    pub(crate) max_body: usize,
    pub(crate) max_body_time: Duration,
    pub(crate) invalidate_on_write: bool,
    pub(crate) invalidate_softly: bool,
    pub(crate) tags: RouteTags,
}

impl Config {
    /// The policy for a request, by whether its identity is part of its key.
    pub(crate) fn policy(&self, is_identified: bool) -> &Policy {
        if is_identified { &self.identified } else { &self.policy }
    }
}
