//! Explains to an operator how a response came about.

use std::time::Duration;

use cache_engine::cache_core::Key;
use cache_engine::{InspectedContent, InspectedEntry, InspectedState, Inspection};
use cache_http::{CDN_CACHE_CONTROL, StatusParameters};
use http::header::{CACHE_CONTROL, EXPIRES};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::entry::stored::Stored;
use crate::entry::variant_index::Selecting;
use crate::exchange::route::Route;
use crate::key::routing::Routing;
use crate::request::shared::Shared;

/// The longest text of a parameter in bytes. A head has to remain short enough for those who forward it.
const LONGEST: usize = 1024;

/// What is known about a request before it is handled.
#[derive(Debug)]
pub(crate) struct Explanation {
    /// `None` if the request has no key.
    key: Option<Key>,
    is_identified: bool,
    headers: HeaderMap,
    query: Option<Box<str>>,
    before: Seen,
}

/// What was seen under the key of a request.
#[derive(Debug, Default)]
struct Seen {
    /// The entry that a request finds first.
    entry: Option<InspectedEntry>,
    /// The request fields that select among the variants, and the key of the selected one.
    variant: Option<(String, Key)>,
    refused: Vec<(&'static str, Duration)>,
    error: Option<String>,
}

impl Seen {
    /// Returns whether there is an entry which says something about a response.
    fn is_telling(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| {
            matches!(entry.content, InspectedContent::Value { .. })
                && !matches!(entry.state, InspectedState::Expired | InspectedState::Invalidated)
        })
    }
}

impl Explanation {
    /// Looks up what is stored for a request before it is handled.
    pub(crate) async fn before(shared: &Shared, request: &Parts, route: &Route) -> Self {
        let identity = shared.config.keys.identity(request);
        let key = match route {
            Route::Lookup(keyed) | Route::OnlyIfCached(keyed) => Some(keyed.key.clone()),
            // The key that it would have if it were looked up.
            _ => shared.key(request, identity.as_deref(), None).ok().map(|(key, _)| key),
        };
        let mut explanation = Self {
            key,
            is_identified: identity.is_some(),
            headers: request.headers.clone(),
            query: shared.selecting_query(request),
            before: Seen::default(),
        };
        explanation.before = explanation.look(shared).await;
        explanation
    }

    async fn look(&self, shared: &Shared) -> Seen {
        let Some(key) = &self.key else {
            return Seen::default();
        };
        let mut seen = match shared.cache.inspect(key).await {
            Ok(inspection) => seen(inspection),
            Err(error) => {
                return Seen {
                    error: Some(error.to_string()),
                    ..Seen::default()
                };
            }
        };
        let found = shared.part_adapter().read::<Stored>(key).await.ok().flatten();
        let Some(Stored::Index(index)) = found.as_ref().map(|found| &*found.value) else {
            return seen;
        };
        let selecting = Selecting {
            headers: &self.headers,
            query: self.query.as_deref(),
            routing: Routing::default(),
        };
        let variant = shared.variant(index, key, selecting);
        let fields: Vec<&str> = index.fields.iter().map(HeaderName::as_str).collect();
        if let Ok(inspection) = shared.cache.inspect(&variant).await {
            let index = seen.entry.take();
            let refused = std::mem::take(&mut seen.refused);
            seen = self::seen(inspection);
            seen.refused.extend(refused);
            // The index carries the tags of the first variant.
            seen.entry = seen.entry.map(|mut entry| {
                let of_index = index.map(|index| index.tags).unwrap_or_default();
                let more = of_index.into_iter().filter(|tag| !entry.tags.contains(tag));
                let more: Vec<_> = more.collect();
                entry.tags.extend(more);
                entry
            });
        }
        seen.variant = Some((fields.join(", "), variant));
        seen
    }

    /// Adds what is known to the member of `Cache-Status` of this layer, and keeps the response out of all caches.
    pub(crate) async fn add_to(self, shared: &Shared, headers: &mut HeaderMap) {
        let after;
        let seen = if self.before.is_telling() {
            &self.before
        } else {
            after = self.look(shared).await;
            &after
        };
        let mut parameters = StatusParameters::new();
        if let Some(key) = &self.key {
            parameters = parameters.string("key", short(key.as_str()));
        }
        if self.is_identified {
            parameters = parameters.flag("identified");
        }
        if let Some((fields, key)) = &seen.variant {
            parameters = parameters
                .string("vary", short(fields))
                .string("variant", short(key.as_str()));
        }
        if let Some(entry) = &seen.entry {
            parameters = of_entry(parameters, entry);
        }
        if let Some(error) = &seen.error {
            parameters = parameters.string("store-error", short(error));
        }
        if !seen.refused.is_empty() {
            let refused = seen.refused.iter();
            let refused: Vec<_> = refused
                .map(|(reason, ago)| format!("{reason} {} s ago", ago.as_secs()))
                .collect();
            parameters = parameters.string("refused", short(&refused.join(", ")));
        }
        for (name, parameter) in [(CACHE_CONTROL, "cache-control"), (EXPIRES, "expires")] {
            let lines = headers.get_all(&name).iter();
            let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
            if !lines.is_empty() {
                parameters = parameters.string(parameter, short(&lines.join(", ")));
            }
            headers.remove(name);
        }
        for name in [CDN_CACHE_CONTROL, HeaderName::from_static("surrogate-control")] {
            headers.remove(name);
        }
        for name in &shared.config.base.targets {
            headers.remove(name);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        parameters.add_to_last(headers);
    }
}

fn seen(inspection: Inspection) -> Seen {
    let Inspection {
        near, store, refused, ..
    } = inspection;
    Seen {
        entry: near.or(store),
        refused,
        ..Seen::default()
    }
}

fn of_entry(parameters: StatusParameters, entry: &InspectedEntry) -> StatusParameters {
    let mut parameters = parameters
        .token("tier", entry.tier.as_str())
        .token("state", entry.state.as_str());
    if let InspectedContent::Value { .. } = entry.content {
        parameters = parameters.seconds("age", entry.age);
    }
    if let Some(fresh) = entry.windows.fresh {
        parameters = parameters.seconds("lifetime", fresh);
    }
    for (name, window) in [
        ("stale-while-revalidate", entry.windows.stale_while_revalidate),
        ("stale-if-error", entry.windows.stale_if_error),
    ] {
        if !window.is_zero() {
            parameters = parameters.seconds(name, window);
        }
    }
    parameters
        .integer("size", i64::try_from(entry.size).unwrap_or(i64::MAX))
        .string("tags", short(&entry.tags.join(" ")))
}

/// Returns the beginning of a text, if it is too long.
fn short(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
