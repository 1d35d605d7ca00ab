//! The configuration of a layer.

pub(crate) mod client_caching;
pub(crate) mod conditions;
pub(crate) mod handler;
pub(crate) mod surrogate_keys;
pub(crate) mod tags;

use std::borrow::Cow;
use std::time::Duration;

use cache_engine::Cache;
use cache_http::{CacheName, Policy, Sharing, Statuses};
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::client_caching::ClientCaching;
use crate::config::conditions::Conditions;
use crate::config::surrogate_keys::SurrogateKeys;
use crate::config::tags::RouteTags;
use crate::entry::coder::ResponseCoder;
use crate::entry::response::OwnEtag;
use crate::key::request::RequestKeys;

/// The method of RFC 10008.
const QUERY: &str = "QUERY";

/// The configuration of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) keys: RequestKeys,
    /// The request fields by which the layer distinguishes requests, in addition to their URLs.
    pub(crate) vary: Vec<HeaderName>,
    /// The same fields as a value of `Vary`. `None` if there are none.
    pub(crate) vary_value: Option<HeaderValue>,
    /// The rules before any switch is applied.
    pub(crate) base: Policy,
    pub(crate) allow: Allow,
    /// The rules for requests whose identity is not part of their key.
    pub(crate) policy: Policy,
    /// The rules for requests whose identity is part of their key.
    pub(crate) identified: Policy,
    /// The requests that the layer leaves alone.
    pub(crate) bypass_if: Conditions,
    /// The request fields that are credentials, in addition to `Authorization`.
    pub(crate) credentials: Vec<HeaderName>,
    /// The maximum size in bytes of a POST's content that becomes part of the key.
    pub(crate) post: Option<usize>,
    /// The same for the content of a QUERY.
    pub(crate) query_method: Option<usize>,
    /// `None` if it is derived from what is in the key.
    pub(crate) client: Option<ClientCaching>,
    pub(crate) status_header: Option<HeaderName>,
    pub(crate) own_etag: OwnEtag,
    /// Whether the handler calls an origin elsewhere, so that the time of the call counts towards the age of the
    /// response.
    pub(crate) is_gateway: bool,
    pub(crate) name: CacheName,
    /// The value of `Cache-Status` on a hit, up to the number of seconds.
    pub(crate) hit: Box<str>,
    /// The maximum number of responses of one URL.
    pub(crate) max_variants: usize,
    pub(crate) max_body: usize,
    pub(crate) max_body_time: Duration,
    /// How long other requests wait for a load, counted from its start.
    pub(crate) max_wait: Duration,
    /// The maximum number of loads that continue although no request waits for them.
    pub(crate) max_detached: usize,
    /// The statuses that count as a failure of the handler.
    pub(crate) failures: Statuses,
    pub(crate) invalidate_on_write: bool,
    pub(crate) invalidate_softly: bool,
    pub(crate) tags: RouteTags,
    /// The keys for caches downstream, if responses get them.
    pub(crate) surrogate_keys: Option<SurrogateKeys>,
    /// The requests of operators, who may ask for more than others.
    pub(crate) debug_if: Conditions,
    /// Whether the outcome of a request is recorded in its span.
    pub(crate) trace_outcome: bool,
    /// Whether requests wait for what would otherwise be done in the background.
    pub(crate) foreground: bool,
    /// Whether something is done with responses after they were made, depending on the request.
    pub(crate) finishes: bool,
}

/// Which responses are stored and shared although the rules refuse it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allow {
    pub(crate) set_cookie: bool,
    pub(crate) authorization: bool,
    pub(crate) cookies: bool,
}

impl Config {
    /// Returns the rules for a request, depending on whether its identity is part of its key.
    pub(crate) fn policy(&self, is_identified: bool) -> &Policy {
        if is_identified { &self.identified } else { &self.policy }
    }

    /// Derives the rules for requests from the base and the switches.
    pub(crate) fn derive_policies(&mut self) {
        let mut policy = self.base.clone();
        for (is_allowed, sharing) in [
            (self.allow.set_cookie, &mut policy.set_cookie),
            (self.allow.authorization, &mut policy.authorization),
            (self.allow.cookies, &mut policy.cookie),
        ] {
            if is_allowed {
                *sharing = Sharing::Always;
            }
        }
        let query = Method::from_bytes(QUERY.as_bytes()).ok();
        let by_content = [
            self.post.map(|_| Method::POST),
            query.filter(|_| self.query_method.is_some()),
        ];
        for method in by_content.into_iter().flatten() {
            if !policy.methods.contains(&method) {
                policy.methods.push(method);
            }
        }
        self.identified = policy.clone();
        self.identified.authorization = Sharing::Always;
        self.identified.cookie = Sharing::Always;
        // Each user's responses are stored for that user.
        self.identified.allow_private = true;
        self.policy = policy;
        self.vary = self.fields_that_tell_apart();
        let hides_keys = self
            .surrogate_keys
            .as_ref()
            .is_some_and(|keys| !keys.only_if.is_empty());
        self.finishes = self.foreground || self.trace_outcome || hides_keys || !self.debug_if.is_empty();
        let names: Vec<&str> = self.vary.iter().map(HeaderName::as_str).collect();
        self.vary_value = HeaderValue::try_from(names.join(", "))
            .ok()
            .filter(|names| !names.is_empty());
    }

    /// Returns the maximum size in bytes of the content that becomes part of the key of a request with this method.
    /// Returns `None` if the key contains no content.
    pub(crate) fn content_limit(&self, method: &Method) -> Option<usize> {
        match method.as_str() {
            "POST" => Some(self.post.unwrap_or(0)),
            QUERY => Some(self.query_method.unwrap_or(0)),
            _ => None,
        }
    }

    /// Returns whether responses are stored by the content of their requests.
    pub(crate) fn stores_by_content(&self) -> bool {
        self.post.is_some() || self.query_method.is_some()
    }

    /// Returns the tag of the response to a request, if the response is stored by the content of its request.
    fn content_tag(&self, request: &Parts) -> Option<String> {
        let limit = match request.method.as_str() {
            "POST" => self.post,
            QUERY => self.query_method,
            _ => None,
        };
        limit.and_then(|_| self.keys.url_tag(request))
    }

    /// Returns the handle for loads that answer `request`.
    pub(crate) fn handle(&self, cache: &Cache<ResponseCoder>, request: &Parts) -> Cache<ResponseCoder> {
        // The tags belong to the response, so they are made from what its handler sees.
        let normal = self.tags.depend_on_request().then(|| self.keys.normal_copy(request));
        let handle = self.tags.handle(cache, normal.flatten().as_ref().unwrap_or(request));
        match self.content_tag(request) {
            Some(tag) => handle.with_tags([tag]),
            None => handle,
        }
    }

    fn fields_that_tell_apart(&self) -> Vec<HeaderName> {
        let mut fields = self.keys.fields.clone();
        let tells_users_apart = self.keys.identity.is_some();
        if tells_users_apart || self.policy.authorization != Sharing::Always {
            fields.push(AUTHORIZATION);
            fields.extend(self.credentials.iter().cloned());
        }
        if tells_users_apart || self.policy.cookie != Sharing::Always {
            fields.push(COOKIE);
        }
        fields
    }

    /// Returns the headers of a request for use with the rules: with `Authorization` if another field is configured as
    /// a credential.
    pub(crate) fn with_credentials<'a>(&self, headers: &'a HeaderMap) -> Cow<'a, HeaderMap> {
        let has_other = self.credentials.iter().any(|name| headers.contains_key(name));
        if !has_other || headers.contains_key(AUTHORIZATION) {
            return Cow::Borrowed(headers);
        }
        let mut headers = headers.clone();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("declared"));
        Cow::Owned(headers)
    }
}
