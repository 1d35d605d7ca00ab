//! What becomes of stored responses when a request may have changed something.

use std::sync::Arc;

use cache_engine::cache_core::{Error, ErrorKind, Key};
use cache_http::{invalidated_groups, invalidated_targets, is_safe};
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, Uri, response};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::config::tags::tag_of_group;
use crate::key::url::{origin, request_for, target};
use crate::request::shared::Shared;

/// What a write invalidates beside what it is about.
#[derive(Debug, Default)]
pub(crate) struct Also {
    pub(crate) urls: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) namespaces: Vec<String>,
    /// All of this is outdated also after a 5xx, which does not tell whether the write took place.
    pub(crate) after_server_errors: bool,
}

/// A request that may change something, until its answer tells what has changed.
///
/// Dropped before that, because the caller went away, the handler panicked or its service failed, it invalidates what is
/// known without the answer, in the background: nobody knows whether the write took place, and an invalidation too many
/// does no harm.
pub(crate) struct UnsafeRequest {
    /// Gone once the answer is there.
    pending: Option<Pending>,
}

struct Pending {
    shared: Arc<Shared>,
    request: Parts,
    groups_of: Option<Box<str>>,
    /// What is outdated if the write took place, whatever its answer says.
    outdated: Outdated,
    after_server_errors: bool,
}

impl UnsafeRequest {
    /// `None` if the method is safe.
    pub(crate) fn of(shared: &Arc<Shared>, request: &Parts, also: impl FnOnce(&Parts) -> Also) -> Option<Self> {
        if is_safe(&request.method) {
            return None;
        }
        let Also {
            urls,
            tags,
            namespaces,
            after_server_errors,
        } = also(request);
        let mut outdated = Outdated {
            tags,
            namespaces,
            ..Outdated::default()
        };
        // The keys are built here and not when they are needed: whoever the request is from is known in its own task.
        outdated.add(shared.keys_at(request, target(request)));
        for url in urls {
            outdated.add(shared.config.keys.keys_at_url(&shared.cache, request, &url));
        }
        Some(Self {
            pending: Some(Pending {
                groups_of: origin(&request_for(request, target(request))),
                shared: Arc::clone(shared),
                request: request.clone(),
                outdated,
                after_server_errors,
            }),
        })
    }

    /// Invalidates the groups that the answer names (RFC 9875, section 3), and if it is a success what the exchange is
    /// about (RFC 9111, section 4.4) and what else is named. All is tried, whatever becomes of one; the first error is
    /// returned.
    ///
    /// Once begun it goes on, also if nobody waits for it any longer.
    pub(crate) async fn completed(mut self, head: &response::Parts) -> Result<(), Error> {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let shared = Arc::clone(&pending.shared);
        let outdated = pending.outdated_by(head);
        if outdated.is_nothing() {
            return Ok(());
        }
        let (waiting, done) = oneshot::channel();
        let cache = shared.cache.clone();
        cache.adapter().spawn(async move {
            // The caller may have gone.
            let _ = waiting.send(outdated.invalidate(&shared).await);
        });
        done.await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Other, "an invalidation was broken off")))
    }
}

impl Drop for UnsafeRequest {
    fn drop(&mut self) {
        let Some(Pending { shared, outdated, .. }) = self.pending.take() else {
            return;
        };
        let cache = shared.cache.clone();
        let task = async move {
            // What fails is in the log.
            let _ = outdated.invalidate(&shared).await;
        };
        if Handle::try_current().is_ok() {
            cache.adapter().spawn(task);
        } else if task.now_or_never().is_none() {
            // There is nowhere left to wait. A store in this process is done at once.
            tracing::error!(target: "cache", "a write could not invalidate what it has changed: there is no runtime");
        }
    }
}

impl Pending {
    fn outdated_by(self, head: &response::Parts) -> Outdated {
        let groups = self.groups(&head.headers);
        let mut outdated = if head.status.is_success() || head.status.is_redirection() {
            let mut outdated = self.outdated;
            for uri in changed(&self.request, head) {
                outdated.add(self.shared.keys_at(&self.request, &uri));
            }
            outdated
        } else if head.status.is_server_error() && self.after_server_errors {
            self.outdated
        } else {
            Outdated::default()
        };
        outdated.tags.extend(groups);
        outdated
    }

    /// The tags of the groups that are no longer valid.
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

/// The URIs beside the target whose responses the exchange makes invalid. None if it failed.
fn changed(request: &Parts, head: &response::Parts) -> Vec<Uri> {
    let target = target(request);
    let mut uris = invalidated_targets(&request.method, target, &request.headers, head.status, &head.headers);
    uris.retain(|uri| uri != target);
    uris
}

/// What is to be invalidated.
#[derive(Default)]
struct Outdated {
    keys: Vec<Key>,
    tags: Vec<String>,
    namespaces: Vec<String>,
    /// Why there is no key for something.
    error: Option<Error>,
}

impl Outdated {
    fn add(&mut self, keys: Result<Vec<Key>, Error>) {
        match keys {
            Ok(keys) => self.keys.extend(keys),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }

    fn is_nothing(&self) -> bool {
        self.keys.is_empty() && self.error.is_none() && self.tags.is_empty() && self.namespaces.is_empty()
    }

    /// Each is tried, whatever becomes of the others; the first failure is returned, and logged.
    async fn invalidate(self, shared: &Shared) -> Result<(), Error> {
        let soft = shared.config.invalidate_softly;
        let Self {
            keys,
            tags,
            namespaces,
            error,
        } = self;
        let mut result = error.map_or(Ok(()), Err);
        for key in keys {
            result = result.and(invalidate_key(shared, key, soft).await);
        }
        for namespace in namespaces {
            result = result.and(if soft {
                shared.cache.soft().clear(&namespace).await
            } else {
                shared.cache.clear(&namespace).await.map(drop)
            });
        }
        result = result.and(if soft {
            shared.cache.soft().invalidate_tags(tags).await
        } else {
            shared.cache.invalidate_tags(tags).await
        });
        if let Err(error) = &result {
            tracing::error!(target: "cache", %error, "a write could not invalidate everything that it has changed");
        }
        result
    }
}

/// Invalidates what is stored for GET at `url`, as the client who sent `request` would ask for it.
pub(crate) async fn invalidate_url(shared: &Shared, request: &Parts, url: &str, soft: bool) -> Result<(), Error> {
    invalidate_keys(
        shared,
        shared.config.keys.keys_at_url(&shared.cache, request, url)?,
        soft,
    )
    .await
}

pub(crate) async fn invalidate_keys(shared: &Shared, keys: Vec<Key>, soft: bool) -> Result<(), Error> {
    let mut result = Ok(());
    for key in keys {
        // All are tried, whatever becomes of the first.
        result = result.and(invalidate_key(shared, key, soft).await);
    }
    result
}

pub(crate) async fn invalidate_key(shared: &Shared, key: Key, soft: bool) -> Result<(), Error> {
    if soft {
        shared.cache.soft().invalidate(key).await
    } else {
        shared.cache.invalidate(key).await
    }
}
