//! The variant index: where the responses of a URL that `Vary` distinguishes are stored (RFC 9111, section 4.1).

use std::fmt::Write;

use cache_engine::Cache;
use cache_engine::cache_core::{Key, KeyName, VersionSource};
use cache_http::{NO_VARY_SEARCH, NoVarySearch, Normalization, content_digest, variant_key};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::key::routing::Routing;

/// The maximum length of a variant's name. The names are listed in the index, so longer names are replaced by a digest.
const MAX_NAME: usize = 128;

/// The length of the text between the name of a URL's key and the name of a variant: a space, `#`, the generation and a
/// space.
const BETWEEN: usize = 2 + 32 + 1;

/// The entry under the key of a request whose responses are stored elsewhere: one response for each selection of
/// request fields that `Vary` names, or a response in the namespace that the handler chose.
///
/// The generation is part of the keys of the responses. It is random and new with each index, so a response whose index
/// was invalidated is never found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariantIndex {
    pub(crate) fields: Vec<HeaderName>,
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) generation: u128,
    /// Which differences between queries do not matter, if the URL's key does not contain its query.
    pub(crate) query_rules: QueryRules,
    /// The route of the request that led to the index.
    pub(crate) routing: Routing,
    /// The names of the stored variants, the least recently used one first. A variant is listed before it is stored,
    /// and its record is removed when it is no longer listed, so that the number of variants is limited.
    pub(crate) listed: Vec<Box<str>>,
}

/// The `No-Vary-Search` rules of a response.
#[derive(Debug, Clone, Default)]
pub(crate) struct QueryRules {
    text: Box<str>,
    rules: NoVarySearch,
}

impl QueryRules {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(NO_VARY_SEARCH).iter();
        let lines: Vec<&str> = lines.filter_map(|line: &HeaderValue| line.to_str().ok()).collect();
        Self::parse(&lines.join(", "))
    }

    pub(crate) fn parse(text: &str) -> Self {
        Self {
            text: text.into(),
            rules: NoVarySearch::parse([text]),
        }
    }

    /// Returns the field value as it was received.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for QueryRules {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules
    }
}

impl Eq for QueryRules {}

/// What a request selects a variant by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selecting<'a> {
    pub(crate) headers: &'a HeaderMap,
    /// The query, with its question mark, if the URL's key does not contain it.
    pub(crate) query: Option<&'a str>,
    /// The route that serves the request.
    pub(crate) routing: Routing,
}

impl VariantIndex {
    pub(crate) fn new(fields: Vec<HeaderName>, namespace: Option<Box<str>>, query_rules: QueryRules) -> Self {
        Self {
            fields,
            namespace,
            generation: VersionSource::new().next().as_u128(),
            query_rules,
            routing: Routing::default(),
            listed: Vec::new(),
        }
    }

    /// Returns whether there are several variants, so that they are to be listed.
    pub(crate) fn varies(&self) -> bool {
        !self.fields.is_empty()
    }

    pub(crate) fn lists(&self, name: &str) -> bool {
        self.listed.iter().any(|listed| **listed == *name)
    }

    /// Returns the index with one more variant, and the names of the variants that make room for it, so that at most
    /// `max` are listed. `last_use` returns when a variant was used after the list was written, if it was.
    pub(crate) fn with_listed<U: Ord>(
        &self,
        name: &str,
        max: usize,
        last_use: impl Fn(&str) -> Option<U>,
    ) -> (Self, Vec<Box<str>>) {
        let mut listed = self.listed.clone();
        listed.retain(|other| **other != *name);
        // The variants that were not used since then keep their order, before the others.
        listed.sort_by_cached_key(|name| last_use(name));
        let too_many = (listed.len() + 1).saturating_sub(max).min(listed.len());
        let evicted = listed.drain(..too_many).collect();
        listed.push(name.into());
        (Self { listed, ..self.clone() }, evicted)
    }

    /// Returns the namespace of the responses, if it differs from the index's.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Returns whether responses that vary by `fields`, and by queries according to `query_rules`, can be stored under
    /// this index.
    pub(crate) fn covers(&self, fields: &[HeaderName], namespace: Option<&str>, query_rules: &QueryRules) -> bool {
        // An index that distinguishes all queries fits every response.
        let tells_apart = self.query_rules.rules.is_default() || self.query_rules == *query_rules;
        tells_apart && self.namespace() == namespace && fields.iter().all(|field| self.fields.contains(field))
    }

    /// Returns an index for responses that also vary by `fields`. The index distinguishes all queries if responses do
    /// not agree on which of their differences matter.
    pub(crate) fn widened(&self, fields: &[HeaderName], namespace: Option<Box<str>>, query_rules: &QueryRules) -> Self {
        let mut all = self.fields.clone();
        all.extend(fields.iter().filter(|field| !self.fields.contains(field)).cloned());
        all.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        let agreed = Some(query_rules).filter(|rules| self.query_rules == **rules);
        Self {
            routing: self.routing,
            ..Self::new(all, namespace, agreed.cloned().unwrap_or_default())
        }
    }

    /// Returns the key of the response that a request selects.
    pub(crate) fn key<C>(
        &self,
        cache: &Cache<C>,
        primary: &Key,
        request: Selecting<'_>,
        normalization: &Normalization,
    ) -> Key {
        let selection = selection(&self.fields, &self.query_rules, request, normalization);
        if selection.len() <= MAX_NAME {
            return self.key_of(cache, primary, &selection, None);
        }
        // No selection begins with this character. Different selections with the same digest are distinguished when the
        // record is read.
        let name = format!("#{}", content_digest(selection.as_bytes()));
        self.key_of(cache, primary, &name, Some(&selection))
    }

    /// Returns the key of the response that is listed under `name`, to the extent that the store uses it.
    pub(crate) fn listed_key<C>(&self, cache: &Cache<C>, primary: &Key, name: &str) -> Key {
        self.key_of(cache, primary, name, None)
    }

    fn key_of<C>(&self, cache: &Cache<C>, primary: &Key, name: &str, selection: Option<&str>) -> Key {
        let mut text = String::with_capacity(primary.name().len() + BETWEEN + name.len());
        text.push_str(primary.name());
        // Writing to a string cannot fail.
        let _ = write!(text, " #{:032x} ", self.generation);
        text.push_str(name);
        let is_short = primary.identity() == primary.as_str().as_bytes();
        let name = if is_short && selection.is_none() {
            KeyName::from(text)
        } else {
            // The length of the primary key's identity separates it from what follows.
            let mut identity = (primary.identity().len() as u64).to_be_bytes().to_vec();
            identity.extend_from_slice(primary.identity());
            identity.extend_from_slice(text.as_bytes());
            identity.extend_from_slice(selection.unwrap_or_default().as_bytes());
            KeyName::with_identity(text, identity)
        };
        match &self.namespace {
            Some(namespace) => cache.with_namespace(namespace).key(name),
            None => primary.namespace().key(name),
        }
    }
}

/// Returns the part of a request that selects a response among those of its key, if they vary by `fields`, and by queries
/// according to `query_rules`.
fn selection(
    fields: &[HeaderName],
    query_rules: &QueryRules,
    request: Selecting<'_>,
    normalization: &Normalization,
) -> String {
    let mut selection = variant_key(fields, request.headers, normalization);
    if let Some(query) = request.query {
        // No other part contains a question mark.
        selection.push('?');
        if query_rules.rules.is_default() {
            selection.push_str(query);
        } else {
            let query = query.strip_prefix('?').unwrap_or(query);
            selection.push_str(&query_rules.rules.normal_query(query));
        }
    }
    selection
}

/// The requests that a response is for which is not stored, or not yet: those that would select it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audience {
    fields: Vec<HeaderName>,
    query_rules: QueryRules,
    /// What the request has for them that caused the response.
    selection: String,
    /// The route of that request.
    routing: Routing,
}

impl Audience {
    /// Returns the audience of a response to `request` that varies by `fields`, and by queries according to `query_rules`.
    pub(crate) fn new(
        fields: Vec<HeaderName>,
        query_rules: QueryRules,
        request: Selecting<'_>,
        normalization: &Normalization,
    ) -> Self {
        Self {
            selection: selection(&fields, &query_rules, request, normalization),
            fields,
            query_rules,
            routing: request.routing,
        }
    }

    /// Returns whether a request would select the response.
    pub(crate) fn includes(&self, request: Selecting<'_>, normalization: &Normalization) -> bool {
        self.routing.agrees_with(request.routing)
            && selection(&self.fields, &self.query_rules, request, normalization) == self.selection
    }
}

/// Returns the name of a variant, from its [key](VariantIndex::key).
pub(crate) fn variant_name<'a>(primary: &Key, variant: &'a Key) -> &'a str {
    variant.name().get(primary.name().len() + BETWEEN..).unwrap_or_default()
}
