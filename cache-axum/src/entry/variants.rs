//! The variant index: where the responses of a URL stand that `Vary` tells apart (RFC 9111, section 4.1).

use std::fmt::Write;

use cache_engine::Cache;
use cache_engine::cache_core::{Key, Timestamp};
use cache_http::{ETag, Normalization, variant_key};
use http::{HeaderMap, HeaderName};

/// Stands under the key of a request whose responses are kept elsewhere: one for each selection of request fields
/// that `Vary` names, or in the namespace that the handler chose.
///
/// The generation is part of the keys of the responses. It is random and new with each marker, so what an invalidation
/// of the marker has cut off is never found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariantIndex {
    pub(crate) fields: Vec<HeaderName>,
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) generation: u128,
    /// The responses that this leads to, so that their number has a bound: a fingerprint of each selection, and until
    /// when its response is kept. Lossy: of two that are stored at the same time, one may be missing.
    pub(crate) listed: Vec<(u64, Timestamp)>,
}

impl VariantIndex {
    pub(crate) fn new(fields: Vec<HeaderName>, namespace: Option<Box<str>>) -> Self {
        Self {
            fields,
            namespace,
            generation: fastrand::u128(..),
            listed: Vec::new(),
        }
    }

    /// Whether the selection is listed, and how many others are.
    pub(crate) fn listing(&self, selection: u64, now: Timestamp) -> (bool, usize) {
        let kept = || self.listed.iter().filter(|(_, until)| *until > now);
        let is_listed = kept().any(|(listed, _)| *listed == selection);
        (is_listed, kept().count() - usize::from(is_listed))
    }

    /// With the selection listed, and without those whose time is over.
    pub(crate) fn with_listed(&self, selection: u64, until: Timestamp, now: Timestamp) -> Self {
        let mut listed = self.listed.clone();
        listed.retain(|(other, until)| *other != selection && *until > now);
        listed.push((selection, until));
        Self { listed, ..self.clone() }
    }

    /// A number that stands for what a request with these headers selects, the same in every process.
    pub(crate) fn selection(&self, request: &HeaderMap, normalization: &Normalization) -> u64 {
        let digest = ETag::from_content(variant_key(&self.fields, request, normalization).as_bytes());
        let digits = std::str::from_utf8(digest.opaque())
            .ok()
            .and_then(|digits| digits.get(..16));
        digits
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .unwrap_or_default()
    }

    /// The namespace of the responses, if it is another one than the marker's.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Whether responses that vary by `fields` can be kept under this marker.
    pub(crate) fn covers(&self, fields: &[HeaderName], namespace: Option<&str>) -> bool {
        self.namespace() == namespace && fields.iter().all(|field| self.fields.contains(field))
    }

    /// A marker for responses that vary by `fields` as well.
    pub(crate) fn widened(&self, fields: &[HeaderName], namespace: Option<Box<str>>) -> Self {
        let mut all = self.fields.clone();
        all.extend(fields.iter().filter(|field| !self.fields.contains(field)).cloned());
        all.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        Self::new(all, namespace)
    }

    /// The key of the response that a request with these headers selects.
    pub(crate) fn key<C>(
        &self,
        cache: &Cache<C>,
        primary: &Key,
        request: &HeaderMap,
        normalization: &Normalization,
    ) -> Key {
        let mut name = String::with_capacity(primary.name().len() + 64);
        name.push_str(primary.name());
        // Writing to a string cannot fail.
        let _ = write!(name, " #{:032x} ", self.generation);
        name.push_str(&variant_key(&self.fields, request, normalization));
        match &self.namespace {
            Some(namespace) => cache.with_namespace(namespace).key(name),
            None => primary.namespace().key(name),
        }
    }
}
