//! Header fields of responses: those that the layer adds, and those that it reads.

use cache_engine::cache_core::Timestamp;
use cache_http::MAX_SECONDS;
use cache_http::{Lifetime, Vary};
use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::Config;
use crate::config::client_caching::ClientCaching;
use crate::response::header_value::HeaderLine;

/// Returns the value of `Content-Length`, if there is a valid one.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Adds `Cache-Control` for clients to a response about whose caching the handler has stated nothing.
///
/// A response that is not stored gets no lifetime. Clients must reuse other responses for no more requests than the
/// layer does: the response of one user is `private`, and `Vary` names the other fields by which the layer
/// distinguishes requests. Content is not part of the key of other caches, so responses to POST get nothing.
pub(crate) fn add_client_caching(
    config: &Config,
    method: &Method,
    headers: &mut HeaderMap,
    lifetime: &Lifetime,
    now: Timestamp,
    is_kept: bool,
) {
    if *method == Method::POST {
        return;
    }
    let is_of_user = config.keys.identity.is_some();
    let by_key = if is_of_user || config.keys.builder.is_some() || !config.bypass_if.is_empty() {
        // Only the key builder, or the condition, knows how it distinguishes requests.
        ClientCaching::Revalidate
    } else {
        ClientCaching::default()
    };
    let mut line = HeaderLine::new();
    if is_of_user {
        line.push("private, ");
    }
    match config.client.unwrap_or(by_key) {
        ClientCaching::Silent => return,
        ClientCaching::Revalidate => line.push("no-cache"),
        // The layer cannot say how long a response that it does not store remains valid.
        _ if !is_kept && !is_of_user => return,
        _ if !is_kept => line.push("no-cache"),
        // After a soft invalidation, a stale response may be younger than its lifetime.
        ClientCaching::Lifetime if !lifetime.is_fresh(now) => push_max_age(&mut line, 0),
        ClientCaching::Lifetime => push_max_age(&mut line, lifetime.fresh.as_secs()),
        ClientCaching::Remaining => {
            headers.remove(AGE);
            push_max_age(&mut line, u64::try_from(lifetime.ttl_seconds(now)).unwrap_or(0));
        }
        ClientCaching::MaxAge(age) => push_max_age(&mut line, age.as_secs()),
    }
    headers.insert(CACHE_CONTROL, line.to_value());
    add_vary(config, headers);
}

fn push_max_age(line: &mut HeaderLine, seconds: u64) {
    line.push("max-age=");
    line.push_number(seconds.min(MAX_SECONDS.into()));
}

/// Adds the fields by which the layer distinguishes requests to `Vary`. The last line also contains those of the
/// handler, because some caches downstream read only that line, for example nginx before 1.23.
fn add_vary(config: &Config, headers: &mut HeaderMap) {
    let Some(value) = &config.vary_value else { return };
    if !headers.contains_key(VARY) {
        headers.insert(VARY, value.clone());
        return;
    }
    let Vary::Fields(named) = Vary::from_headers(headers) else {
        return;
    };
    let added = config.vary.iter().filter(|field| !named.contains(field));
    let names: Vec<&str> = named.iter().chain(added).map(HeaderName::as_str).collect();
    if names.len() > named.len()
        && let Ok(value) = HeaderValue::try_from(names.join(", "))
    {
        headers.append(VARY, value);
    }
}
