//! Header fields of answers: those that the layer adds, and those that it reads.

use cache_engine::cache_core::Timestamp;
use cache_http::MAX_SECONDS;
use cache_http::{Lifetime, Vary};
use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::Config;
use crate::config::client_caching::ClientCaching;
use crate::response::header_value::HeaderLine;

/// Returns the value of `Content-Length`, if there is one that can be read.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Tells clients in `Cache-Control` how long to keep a response about whose caching the handler has said nothing.
///
/// A response that is not kept is given no lifetime. They keep others for no more requests than the layer gives it to. A response of one user is `private`, and what other
/// fields the layer tells requests apart by is in `Vary`. Content is in no other cache's key, so answers to POST get
/// nothing.
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
    let by_key = if is_of_user || config.keys.builder.is_some() {
        // Nobody but the key builder knows by what it tells requests apart.
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
        // The layer does not answer for how long a response is right that it does not keep.
        _ if !is_kept && !is_of_user => return,
        _ if !is_kept => line.push("no-cache"),
        // Stale it may be younger than its lifetime, if it was invalidated softly.
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

/// Adds the fields to `Vary` by which the layer tells requests apart. The last line names those of the handler too, since
/// some caches downstream read only that one, as nginx before 1.23.
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
