//! What a layer is set to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cache_engine::Cache;
use cache_engine::cache_core::{Error, ErrorKind, Key, KeyBuilder, KeyName, Timestamp};
use cache_http::{
    CacheName, Normalization, Policy, Reason, connection_names_end_to_end, content_digest, request_bypass, variant_key,
};
use http::header::{IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Uri};

use http_body::Body as _;

use crate::client::ClientCaching;
use crate::coder::ResponseCoder;
use crate::key::{push_word, request_for, target};
use crate::marks::Marks;
use crate::stored::OwnEtag;
use crate::tags::RouteTags;

pub(crate) type Identity = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

/// What a layer is set to.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) cache: Cache<ResponseCoder>,
    pub(crate) policy: Policy,
    /// For requests whose identity is part of their key.
    pub(crate) identified: Policy,
    pub(crate) key: Arc<dyn KeyBuilder<Parts>>,
    pub(crate) key_headers: Vec<HeaderName>,
    pub(crate) identity: Option<Identity>,
    pub(crate) normalization: Normalization,
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
    pub(crate) marks: Arc<Marks>,
}

impl Options {
    pub(crate) fn now(&self) -> Timestamp {
        self.cache.now()
    }

    /// Who the request is from, if the route declares identities.
    pub(crate) fn identity(&self, request: &Parts) -> Option<String> {
        self.identity.as_ref().and_then(|identity| identity(request))
    }

    pub(crate) fn policy(&self, identity: Option<&str>) -> &Policy {
        if identity.is_some() {
            &self.identified
        } else {
            &self.policy
        }
    }

    /// Why a request passes the cache by.
    pub(crate) fn bypass(&self, policy: &Policy, request: &Parts, body: &Body) -> Option<Bypass> {
        if !self.cache.is_enabled() {
            return Some(Bypass::Disabled);
        }
        if let Some(reason) = request_bypass(policy, &request.method, &request.headers) {
            return Some(Bypass::Refused(reason));
        }
        let headers = &request.headers;
        if headers.contains_key(UPGRADE) {
            return Some(Bypass::Upgrade);
        }
        // A handler that passes the request on does so without these fields, which the key and the variant may be made
        // of (RFC 9110, section 7.6.1).
        if connection_names_end_to_end(headers) {
            return Some(Bypass::Connection);
        }
        // Not for a cache to evaluate (RFC 9111, section 4.3.2), so the handler is to see them.
        if headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE) {
            return Some(Bypass::Precondition);
        }
        // Content that is in no key would make answers differ that are taken for the same.
        let has_content =
            request.method != Method::POST && !body.is_end_stream() && body.size_hint().exact() != Some(0);
        has_content.then_some(Bypass::Content)
    }

    /// The key of a request. `content` is the content of a POST.
    pub(crate) fn key(&self, request: &Parts, identity: Option<&str>, content: Option<&[u8]>) -> Result<Key, Error> {
        let built = self.key.build(request)?;
        let mut name = String::with_capacity(built.as_str().len() + 8);
        // What stands before the builder's own name has a fixed number of words for one method of one layer, so no
        // name can be taken for another.
        name.push_str(match request.method {
            Method::HEAD => "GET",
            _ => request.method.as_str(),
        });
        name.push(' ');
        if self.identity.is_some() {
            name.push_str("user");
            if let Some(identity) = identity {
                name.push('=');
                push_word(&mut name, identity.as_bytes());
            }
            name.push(' ');
        }
        if !self.key_headers.is_empty() {
            name.push_str(&variant_key(&self.key_headers, &request.headers, &self.normalization));
            name.push(' ');
        }
        let Some(content) = content else {
            name.push_str(built.as_str());
            return Ok(self.cache.key(standing_for(name, &built)));
        };
        let media_type = [http::header::CONTENT_TYPE, http::header::CONTENT_ENCODING];
        name.push_str(&variant_key(&media_type, &request.headers, &Normalization::default()));
        name.push_str(" body=");
        push_word(&mut name, content_digest(content).as_bytes());
        name.push(' ');
        name.push_str(built.as_str());
        // Contents with the same digest are told apart when the record is read.
        let mut identity = Vec::with_capacity(name.len() + built.identity().len() + content.len() + 8);
        identity.extend_from_slice(&(name.len() as u64).to_be_bytes());
        identity.extend_from_slice(name.as_bytes());
        identity.extend_from_slice(&(built.identity().len() as u64).to_be_bytes());
        identity.extend_from_slice(built.identity());
        identity.extend_from_slice(content);
        Ok(self.cache.key(KeyName::with_identity(name, identity)))
    }

    /// The keys under which there may be what the client who sent `request` gets for GET at `uri`.
    pub(crate) fn keys_at(&self, request: &Parts, uri: &Uri) -> Result<Vec<Key>, Error> {
        let mut asked = request_for(request, uri);
        let whole = self.keys_of(&asked);
        if request.uri == *uri || target(request) != uri {
            return whole;
        }
        // Where a nested router has taken its part off the path, a builder may go by what is left, or know nothing else.
        asked.uri = request.uri.clone();
        match (whole, self.keys_of(&asked)) {
            (Ok(mut keys), Ok(rest)) => {
                for key in rest {
                    if !keys.contains(&key) {
                        keys.push(key);
                    }
                }
                Ok(keys)
            }
            (Ok(keys), Err(_)) | (Err(_), Ok(keys)) => Ok(keys),
            (Err(error), Err(_)) => Err(error),
        }
    }

    fn keys_of(&self, request: &Parts) -> Result<Vec<Key>, Error> {
        let mut keys = vec![self.key(request, None, None)?];
        if let Some(identity) = self.identity(request) {
            keys.push(self.key(request, Some(&identity), None)?);
        }
        Ok(keys)
    }

    /// The same at a URL, or at a path on the host of `request`.
    pub(crate) fn keys_at_url(&self, request: &Parts, url: &str) -> Result<Vec<Key>, Error> {
        let uri = url.parse().map_err(|error: http::uri::InvalidUri| {
            Error::new(ErrorKind::InvalidKey, format!("{url:?} is not a URL")).with_source(error)
        })?;
        self.keys_at(request, &uri)
    }

    /// The key of the response that a request selects among `variants`.
    pub(crate) fn variant(&self, variants: &crate::Variants, primary: &Key, request: &HeaderMap) -> Key {
        variants.key(&self.cache, primary, request, &self.normalization)
    }
}

/// A name that stands for what the builder's name stood for.
fn standing_for(name: String, built: &KeyName) -> KeyName {
    if built.identity() == built.as_str().as_bytes() {
        return KeyName::from(name);
    }
    let mut identity = (name.len() as u64).to_be_bytes().to_vec();
    identity.extend_from_slice(name.as_bytes());
    identity.extend_from_slice(built.identity());
    KeyName::with_identity(name, identity)
}

/// Why a request passes the cache by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bypass {
    Disabled,
    Refused(Reason),
    Upgrade,
    Connection,
    Precondition,
    Content,
    NoKey,
    TooLarge,
}

impl Bypass {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Refused(reason) => reason.as_str(),
            Self::Upgrade => "upgrade",
            Self::Connection => "connection",
            Self::Precondition => "precondition",
            Self::Content => "content",
            Self::NoKey => "no-key",
            Self::TooLarge => "request-too-large",
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("cache", &self.cache)
            .field("policy", &self.policy)
            .field("key_headers", &self.key_headers)
            .field("per_user", &self.identity.is_some())
            .field("post", &self.post)
            .field("client", &self.client)
            .field("status_header", &self.status_header)
            .field("name", &self.name)
            .field("max_variants", &self.max_variants)
            .field("max_body", &self.max_body)
            .field("max_body_time", &self.max_body_time)
            .field("invalidate_on_write", &self.invalidate_on_write)
            .finish_non_exhaustive()
    }
}
