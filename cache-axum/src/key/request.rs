//! The key of a request: its URL, and what else the layer makes part of it.

use std::fmt;
use std::sync::Arc;

use axum::extract::NestedPath;
use cache_engine::Cache;
use cache_engine::cache_core::{Error, Key, KeyBuilder, KeyName};
use cache_http::{Normalization, content_digest, variant_key};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Uri};

use crate::key::text::{Text, push_word};
use crate::key::url::{
    UrlKey, authority, in_normal_spelling, is_respelled, is_respelled_if, is_rewritten, normal_copy,
    normalize_spelling, request_for, room, target,
};

/// Returns the name of the user that a request is from.
pub(crate) type Identity = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// What the tags of URLs begin with.
const URL_TAG: &str = "cache-url:";

/// The longest URL that is part of a tag, in bytes. Others are replaced by a digest.
const LONGEST_IN_TAG: usize = 120;

/// What the keys of a layer's requests consist of.
#[derive(Clone)]
pub(crate) struct RequestKeys {
    pub(crate) url: UrlKey,
    /// Whether the query selects among the responses of the URL without it.
    pub(crate) no_vary_search: bool,
    /// Replaces `url`.
    pub(crate) builder: Option<Arc<dyn KeyBuilder<Parts>>>,
    /// Request fields that are part of the key.
    pub(crate) fields: Vec<HeaderName>,
    pub(crate) identity: Option<Identity>,
    pub(crate) normalization: Normalization,
}

impl RequestKeys {
    /// Returns the user that the request is from, if the route identifies users.
    pub(crate) fn identity(&self, request: &Parts) -> Option<String> {
        let identity = self.identity.as_ref()?;
        in_normal_spelling(request, |request| identity(request))
    }

    /// Rewrites a request whose response is to be stored, so that the handler sees only what the key contains of the URL,
    /// and that in one spelling, and only what selects the variant of its preferences.
    pub(crate) fn normalize(&self, request: &mut Parts) {
        match self.builder {
            None => self.url.normalize(request),
            Some(_) => normalize_spelling(request),
        }
        self.choose(&mut request.headers);
    }

    /// Returns a copy of a request that was [normalised](Self::normalize), or `None` if it is normal already.
    pub(crate) fn normal_copy(&self, request: &Parts) -> Option<Parts> {
        let copy = match self.builder {
            None => self.url.normal_copy(request),
            Some(_) => normal_copy(request),
        };
        if !self.normalization.has_choices() {
            return copy;
        }
        let mut copy = copy.unwrap_or_else(|| request.clone());
        self.choose(&mut copy.headers);
        Some(copy)
    }

    /// Rewrites the preferences of a request so that the handler answers for the variant that the request selects. Also for a
    /// request whose response is not stored: a HEAD, a part or a 304 is about that variant too. The layer itself keeps what the
    /// client has sent: it selects the same variant, and what is refused is remembered for the values that were refused.
    pub(crate) fn choose(&self, request: &mut HeaderMap) {
        self.normalization.choose(request);
    }

    /// Returns the key of a request, and whether the request [is respelled](is_respelled). `content` is the content of a
    /// POST.
    pub(crate) fn key<C>(
        &self,
        cache: &Cache<C>,
        request: &Parts,
        identity: Option<&str>,
        content: Option<&[u8]>,
    ) -> Result<(Key, bool), Error> {
        let without_query = self.selects_by_query(request).then(|| self.url.without_query());
        let url = without_query.as_ref().unwrap_or(&self.url);
        let built = match (&self.builder, content) {
            (None, None) => {
                // The key is written into its own memory, piece by piece.
                let uri = target(request);
                let authority = authority(request, uri)?;
                let mut key = cache
                    .namespace()
                    .write_key(request.method.as_str().len() + 1 + room(uri, &authority));
                self.push_qualifiers(&mut key, request, identity);
                let is_normal = url.push_to(&mut key, request, uri, &authority);
                return Ok((key.finish(), is_respelled_if(is_normal, request)));
            }
            (None, Some(_)) => url.build(request)?,
            (Some(builder), _) => match normal_copy(request) {
                Some(normal) => builder.build(&normal)?,
                None => builder.build(request)?,
            },
        };
        let mut name = String::with_capacity(built.as_str().len() + 8);
        self.push_qualifiers(&mut name, request, identity);
        let Some(content) = content else {
            name.push_str(built.as_str());
            return Ok((cache.key(standing_for(name, &built)), is_respelled(request)));
        };
        let media_type = [CONTENT_TYPE, CONTENT_ENCODING];
        name.push_str(&variant_key(&media_type, &request.headers, &Normalization::default()));
        name.push_str(" body=");
        push_word(&mut name, content_digest(content).as_bytes());
        name.push(' ');
        name.push_str(built.as_str());
        // Different contents with the same digest are distinguished when the record is read.
        let mut identity = Vec::with_capacity(name.len() + built.identity().len() + content.len() + 8);
        identity.extend_from_slice(&(name.len() as u64).to_be_bytes());
        identity.extend_from_slice(name.as_bytes());
        identity.extend_from_slice(&(built.identity().len() as u64).to_be_bytes());
        identity.extend_from_slice(built.identity());
        identity.extend_from_slice(content);
        let key = cache.key(KeyName::with_identity(name, identity));
        Ok((key, is_respelled(request)))
    }

    /// Appends what precedes the name from the URL or the builder. It has a fixed number of words for each method of a
    /// layer, so different names cannot be confused.
    fn push_qualifiers(&self, name: &mut impl Text, request: &Parts, identity: Option<&str>) {
        name.push_str(match request.method {
            Method::HEAD => "GET",
            _ => request.method.as_str(),
        });
        name.push(' ');
        if self.identity.is_some() {
            name.push_str("user");
            if let Some(identity) = identity {
                name.push('=');
                push_word(name, identity.as_bytes());
            }
            name.push(' ');
        }
        if !self.fields.is_empty() {
            name.push_str(&variant_key(&self.fields, &request.headers, &self.normalization));
            name.push(' ');
        }
    }

    /// Returns whether the key of a request excludes its query. A handler that sees another URI may see another query.
    fn selects_by_query(&self, request: &Parts) -> bool {
        self.no_vary_search && self.builder.is_none() && !is_rewritten(request)
    }

    /// Returns the query of a request, if its key does not contain it: the parts that count, and the question mark
    /// before them.
    pub(crate) fn selecting_query(&self, request: &Parts) -> Option<Box<str>> {
        self.selects_by_query(request).then(|| self.url.query_of(request))
    }

    /// Returns the keys that may hold what the client that sent `request` gets for GET at `uri`.
    pub(crate) fn keys_at<C>(&self, cache: &Cache<C>, request: &Parts, uri: &Uri) -> Result<Vec<Key>, Error> {
        let mut asked = asked_at(request, uri);
        let mut result = self.keys_of(cache, &asked.next().unwrap_or_else(|| request_for(request, uri)));
        for asked in asked {
            match (&mut result, self.keys_of(cache, &asked)) {
                (Ok(keys), Ok(others)) => {
                    for key in others {
                        if !keys.contains(&key) {
                            keys.push(key);
                        }
                    }
                }
                (Err(_), Ok(others)) => result = Ok(others),
                (_, Err(_)) => {}
            }
        }
        result
    }

    /// Returns the tag of responses that are stored by the content of their requests: that of their URL, since no key leads to
    /// all of them. Returns `None` if the request has no key.
    pub(crate) fn url_tag(&self, request: &Parts) -> Option<String> {
        let name = match &self.builder {
            None => {
                let without_query = self.selects_by_query(request).then(|| self.url.without_query());
                without_query.as_ref().unwrap_or(&self.url).build(request)
            }
            Some(builder) => {
                let mut asked = normal_copy(request).unwrap_or_else(|| request.clone());
                asked.method = Method::GET;
                builder.build(&asked)
            }
        };
        let name = name.ok()?;
        let name = name.as_str();
        Some(if name.len() <= LONGEST_IN_TAG {
            format!("{URL_TAG}{name}")
        } else {
            // No URL in a key contains this character.
            format!("{URL_TAG}#{}", content_digest(name.as_bytes()))
        })
    }

    /// Returns the tags of the responses at `uri` that are stored by the content of their requests.
    pub(crate) fn url_tags_at(&self, request: &Parts, uri: &Uri) -> Vec<String> {
        let mut tags = Vec::new();
        for tag in asked_at(request, uri).filter_map(|asked| self.url_tag(&asked)) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags
    }

    fn keys_of<C>(&self, cache: &Cache<C>, request: &Parts) -> Result<Vec<Key>, Error> {
        let mut keys = vec![self.key(cache, request, None, None)?.0];
        if let Some(identity) = self.identity(request) {
            keys.push(self.key(cache, request, Some(&identity), None)?.0);
        }
        Ok(keys)
    }
}

/// Returns the requests for GET at `uri` by the client that sent `request`, as a layer may see them. The first one is that
/// which a layer around all routers sees.
fn asked_at(request: &Parts, uri: &Uri) -> impl Iterator<Item = Parts> {
    let nested = request.extensions.get::<NestedPath>();
    let rewritten = spellings(request, uri).into_iter().map(move |(original, seen)| {
        // If a nested router has removed its part of the path, a builder may use the rest, or know only the rest.
        let mut asked = request_for(request, &original);
        asked.uri = seen;
        if let Some(nested) = nested {
            asked.extensions.insert(nested.clone());
        }
        asked
    });
    std::iter::once(request_for(request, uri)).chain(rewritten)
}

/// Returns the client's URI and the URI that the handler sees, for each case in which `uri` is one of the two.
fn spellings(request: &Parts, uri: &Uri) -> Vec<(Uri, Uri)> {
    let (original, seen) = (target(request), &request.uri);
    if original == uri {
        return vec![(uri.clone(), seen.clone())];
    }
    if !is_rewritten(request) {
        return Vec::new();
    }
    let as_original = changed_alike(original, seen, uri).map(|seen| (uri.clone(), seen));
    let as_seen = changed_alike(seen, original, uri).map(|original| (original, uri.clone()));
    as_original.into_iter().chain(as_seen).collect()
}

/// Applies the change from `from` to `to` to `uri`: at the beginning of the path, and at the end of the query. Returns
/// `None` if the change does not apply to it.
fn changed_alike(from: &Uri, to: &Uri, uri: &Uri) -> Option<Uri> {
    let same = from
        .path()
        .bytes()
        .rev()
        .zip(to.path().bytes().rev())
        .take_while(|(one, other)| one == other)
        .count();
    let kept = &from.path()[from.path().len() - same..];
    // Whole segments only.
    let kept = kept.find('/').map_or("", |slash| &kept[slash..]);
    let taken = from.path().strip_suffix(kept)?;
    let given = to.path().strip_suffix(kept)?;
    let mut changed = format!("{given}{}", uri.path().strip_prefix(taken)?);
    let query = match (from.query(), to.query()) {
        (None, added) => [uri.query(), added],
        (Some(before), None) => [uri.query().filter(|query| *query != before), None],
        (Some(before), Some(after)) if after.len() >= before.len() => {
            [uri.query(), after.strip_prefix(before)?.strip_prefix('&')]
        }
        (Some(before), Some(after)) => [uri.query()?.strip_suffix(before.strip_prefix(after)?), None],
    };
    for (index, part) in query.into_iter().flatten().enumerate() {
        changed.push(if index == 0 { '?' } else { '&' });
        changed.push_str(part);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(changed.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Returns a key name that preserves the identity of the builder's name.
fn standing_for(name: String, built: &KeyName) -> KeyName {
    if built.identity() == built.as_str().as_bytes() {
        return KeyName::from(name);
    }
    let mut identity = (name.len() as u64).to_be_bytes().to_vec();
    identity.extend_from_slice(name.as_bytes());
    identity.extend_from_slice(built.identity());
    KeyName::with_identity(name, identity)
}

impl fmt::Debug for RequestKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestKeys")
            .field("fields", &self.fields)
            .field("per_user", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}
