//! Invalidates stored responses when a request may have changed something.

use std::sync::Arc;

use cache_engine::Invalidation;
use cache_engine::cache_core::{Error, ErrorKind, Key};
use cache_http::{invalidated_groups, invalidated_targets, is_safe};
use http::request::Parts;
use http::uri::{InvalidUri, Scheme};
use http::{HeaderMap, Uri, response};

use crate::config::tags::tag_of_group;
use crate::key::url::{at_each_host, origin, request_for, target};
use crate::request::shared::Shared;

/// What an unsafe request invalidates in addition to its own URL.
#[derive(Debug, Default)]
pub(crate) struct Also {
    pub(crate) urls: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) namespaces: Vec<String>,
    /// Whether all of this is also outdated after a 5xx, which does not show whether the change was made.
    pub(crate) after_server_errors: bool,
    /// Whether responses that are stored by the content of their requests remain, because the request is a search like those
    /// that they are for.
    pub(crate) is_search: bool,
}

/// A request that may change something, until its response shows what has changed.
///
/// If it is dropped before that, because the caller disconnected, the handler panicked or its service failed, it
/// invalidates in the background what is known without the response. Whether the change was made is unknown then, and
/// an unnecessary invalidation does no harm.
pub(crate) struct UnsafeRequest {
    /// `None` once the response has arrived.
    pending: Option<Box<Pending>>,
}

struct Pending {
    shared: Arc<Shared>,
    request: Parts,
    groups_of: Option<Box<str>>,
    /// What is outdated if the change was made, whatever the response says.
    outdated: Outdated,
    after_server_errors: bool,
    is_search: bool,
}

impl UnsafeRequest {
    /// Returns `None` if the method is safe.
    pub(crate) fn of(shared: &Arc<Shared>, request: &Parts, also: impl FnOnce(&Parts) -> Also) -> Option<Self> {
        if is_safe(&request.method) {
            return None;
        }
        let Also {
            urls,
            tags,
            namespaces,
            after_server_errors,
            is_search,
        } = also(request);
        // The keys are built here, not when they are needed, because the identity of the client is known in its own
        // task.
        let mut outdated = Outdated::new(shared).add_uri(shared, request, target(request), is_search);
        for url in urls {
            outdated = match parse_url(&url) {
                Ok(uri) => outdated.add_uri(shared, request, &uri, is_search),
                Err(error) => outdated.add_keys(Err(error)),
            };
        }
        outdated.set = namespaces.into_iter().fold(outdated.set, Invalidation::add_namespace);
        outdated.set = tags.into_iter().fold(outdated.set, Invalidation::add_tag);
        Some(Self {
            pending: Some(Box::new(Pending {
                groups_of: origin(&request_for(request, target(request))),
                shared: Arc::clone(shared),
                request: request.clone(),
                outdated,
                after_server_errors,
                is_search,
            })),
        })
    }

    /// Invalidates the groups that the response names (RFC 9875, section 3). If the response is a success, also
    /// invalidates the URLs that the exchange is about (RFC 9111, section 4.4) and everything else that was named.
    /// Tries all of it, and returns the first error.
    ///
    /// Once started, this continues even if the caller disconnects.
    pub(crate) async fn completed(mut self, head: &response::Parts) -> Result<(), Error> {
        match self.pending.take() {
            Some(pending) => {
                let shared = Arc::clone(&pending.shared);
                pending.outdated_by(head).invalidate(&shared).await
            }
            None => Ok(()),
        }
    }

    /// Excludes a key whose record the response itself is about to replace.
    pub(crate) fn replacing(mut self, key: &Key) -> Self {
        if let Some(pending) = &mut self.pending {
            pending.outdated.replaced = Some(key.clone());
        }
        self
    }
}

impl Drop for UnsafeRequest {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            // A failure is logged there.
            pending.outdated.into_set().run_in_background();
        }
    }
}

impl Pending {
    fn outdated_by(self, head: &response::Parts) -> Outdated {
        let groups = self.groups(&head.headers);
        let mut outdated = if head.status.is_success() || head.status.is_redirection() {
            changed(&self.request, head)
                .iter()
                .fold(self.outdated, |outdated, uri| {
                    outdated.add_uri(&self.shared, &self.request, uri, self.is_search)
                })
        } else if head.status.is_server_error() && self.after_server_errors {
            self.outdated
        } else {
            Outdated::new(&self.shared)
        };
        outdated.set = groups.into_iter().fold(outdated.set, Invalidation::add_tag);
        outdated
    }

    /// Returns the tags of the groups that are no longer valid.
    fn groups(&self, response: &HeaderMap) -> Vec<String> {
        let Some(origin) = self
            .groups_of
            .as_ref()
            .filter(|_| self.shared.config.tags.knows_groups())
        else {
            return Vec::new();
        };
        let groups = invalidated_groups(&self.request.method, response);
        groups.iter().map(|group| tag_of_group(origin, group)).collect()
    }
}

/// Returns the URIs, other than the target, whose responses the exchange invalidates. Returns none if the exchange
/// failed.
fn changed(request: &Parts, head: &response::Parts) -> Vec<Uri> {
    let target = target(request);
    let mut uris = invalidated_targets(&request.method, target, &request.headers, head.status, &head.headers);
    uris.retain(|uri| uri != target);
    uris
}

/// What is to be invalidated.
struct Outdated {
    /// Everything except the keys.
    set: Invalidation,
    keys: Vec<Key>,
    /// The one of the keys whose record is about to be replaced.
    replaced: Option<Key>,
    /// The error that left something without a key.
    error: Option<Error>,
}

impl Outdated {
    fn new(shared: &Shared) -> Self {
        Self {
            set: shared.invalidation(shared.config.invalidate_softly),
            keys: Vec::new(),
            replaced: None,
            error: None,
        }
    }

    /// Adds the responses at a URI. If the request names several hosts, at each of them: the handler may have used any. That is
    /// the client's fault, and nothing to report.
    fn add_uri(mut self, shared: &Shared, request: &Parts, uri: &Uri, is_search: bool) -> Self {
        for uri in at_each_host(request, uri) {
            self = self.add_keys(shared.keys_at(request, &uri));
            if !is_search {
                let tags = shared.url_tags_at(request, &uri);
                self.set = tags.into_iter().fold(self.set, Invalidation::add_tag);
            }
        }
        self
    }

    fn add_keys(mut self, keys: Result<Vec<Key>, Error>) -> Self {
        match keys {
            Ok(keys) => self.keys.extend(keys),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    fn into_set(self) -> Invalidation {
        let Self {
            set, keys, replaced, ..
        } = self;
        keys.into_iter()
            .filter(|key| Some(key) != replaced.as_ref())
            .fold(set, Invalidation::add_key)
    }

    /// Tries all of it. Logs and returns the first error.
    async fn invalidate(mut self, shared: &Shared) -> Result<(), Error> {
        let error = self.error.take();
        let result = self.into_set().run().await.map(drop);
        let result = error.map_or(result, Err);
        if let Err(error) = &result {
            let message = "a write could not invalidate everything that it has changed";
            shared.cache.adapter().log_error(message, Some(error));
        }
        result
    }
}

/// Parses a URL that requests can be for.
pub(crate) fn parse_url(url: &str) -> Result<Uri, Error> {
    let uri: Uri = url
        .parse()
        .map_err(|error: InvalidUri| no_url(url, "is not a URL with a path").with_source(error))?;
    // `user:42` parses as a host and a port.
    if uri.path_and_query().is_none() || !uri.path().starts_with('/') {
        return Err(no_url(url, "is not a URL with a path"));
    }
    if uri
        .scheme()
        .is_some_and(|scheme| ![Scheme::HTTP, Scheme::HTTPS].contains(scheme))
    {
        return Err(no_url(url, "has a scheme that is not one of HTTP"));
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(no_url(url, "names a user, which no request does"));
    }
    Ok(uri)
}

fn no_url(url: &str, fault: &str) -> Error {
    let message = format!(
        "{url:?} {fault}: name a path such as \"/items/42\", or a whole URL; keys, tags and namespaces are invalidated by \
         methods of their own"
    );
    Error::new(ErrorKind::InvalidKey, message)
}
