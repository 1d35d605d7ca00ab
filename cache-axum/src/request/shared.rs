//! What all requests of a layer share.

use std::sync::Arc;

use cache_engine::cache_core::{Error, Key, Timestamp};
use cache_engine::{Adapter, AdapterEvent, Cache, Invalidation, Reporting};
use http::Uri;
use http::request::Parts;

use crate::config::Config;
use crate::entry::coder::ResponseCoder;
use crate::entry::prepared::PreparedHeaders;
use crate::entry::variant_index::{Selecting, VariantIndex, variant_name};
use crate::request::detached::DetachedLoads;
use crate::request::hit_for_miss::HitForMiss;
use crate::request::variant_uses::VariantUses;

/// What all requests of a layer share: its configuration, the cache, and what is remembered about URLs.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) cache: Cache<ResponseCoder>,
    pub(crate) hit_for_miss: Arc<HitForMiss>,
    pub(crate) detached: Arc<DetachedLoads>,
    pub(crate) variant_uses: Arc<VariantUses>,
    /// Header fields that depend on this configuration and this cache.
    pub(crate) prepared: Arc<PreparedHeaders>,
}

impl Shared {
    /// Returns the cache for the steps of an exchange, which reports the outcome of its request itself.
    #[inline]
    pub(crate) fn adapter(&self) -> Adapter<'_, ResponseCoder> {
        self.cache.adapter().reporting(Reporting::Loads)
    }

    /// Returns the cache for what is part of storing a response, such as the index of its variants.
    pub(crate) fn part_adapter(&self) -> Adapter<'_, ResponseCoder> {
        self.cache.adapter().reporting(Reporting::Nothing)
    }

    /// Reports what happened to the request whose key is `key`.
    #[inline]
    pub(crate) fn report(&self, key: &Key, event: AdapterEvent) {
        self.cache.adapter().report(key, event);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cache.adapter().now()
    }

    /// Returns the key of a request, and whether the request [is respelled](crate::key::url::is_respelled). `content` is the
    /// content of a POST.
    pub(crate) fn key(
        &self,
        request: &Parts,
        identity: Option<&str>,
        content: Option<&[u8]>,
    ) -> Result<(Key, bool), Error> {
        self.config.keys.key(&self.cache, request, identity, content)
    }

    /// Returns the keys that may hold what the client that sent `request` gets for GET at `uri`.
    pub(crate) fn keys_at(&self, request: &Parts, uri: &Uri) -> Result<Vec<Key>, Error> {
        self.config.keys.keys_at(&self.cache, request, uri)
    }

    /// Returns the tags of the responses at `uri` that are stored by the content of their requests, if the layer stores any.
    pub(crate) fn url_tags_at(&self, request: &Parts, uri: &Uri) -> Vec<String> {
        if self.config.stores_by_content() {
            self.config.keys.url_tags_at(request, uri)
        } else {
            Vec::new()
        }
    }

    /// Adds the responses at `uri` to a set of invalidations: those that the client that sent `request` gets for GET, and those
    /// that are stored by the content of their requests.
    ///
    /// # Errors
    /// No request for `uri` has a key.
    pub(crate) fn add_uri(&self, set: Invalidation, request: &Parts, uri: &Uri) -> Result<Invalidation, Error> {
        let set = self.keys_at(request, uri)?.into_iter().fold(set, Invalidation::add_key);
        Ok(self
            .url_tags_at(request, uri)
            .into_iter()
            .fold(set, Invalidation::add_tag))
    }

    /// Returns an empty set of invalidations, soft or hard.
    pub(crate) fn invalidation(&self, soft: bool) -> Invalidation {
        if soft {
            self.cache.soft().invalidation()
        } else {
            self.cache.invalidation()
        }
    }

    /// Returns the query of a request, if it selects among the responses of a URL without it.
    pub(crate) fn selecting_query(&self, request: &Parts) -> Option<Box<str>> {
        self.config.keys.selecting_query(request)
    }

    /// Returns the key of the response that a request selects among `variants`.
    pub(crate) fn variant(&self, variants: &VariantIndex, primary: &Key, request: Selecting<'_>) -> Key {
        variants.key(&self.cache, primary, request, &self.config.keys.normalization)
    }

    /// Records that a variant was used.
    #[inline]
    pub(crate) fn used(&self, variants: &VariantIndex, primary: &Key, variant: &Key) {
        self.variant_uses
            .touch(variants.generation, variant_name(primary, variant));
    }
}
