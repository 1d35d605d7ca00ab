//! The lifetimes of a response that goes out without `Age`.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};

use crate::cache_control::member::{Member, members};

/// Subtracts `seconds` from every `max-age` and `s-maxage` in the `Cache-Control` of `headers`, down to zero. Everything
/// else stays as it is. Unreadable lifetimes become zero.
///
/// Use this only for answers **without** `Age`. A recipient subtracts `Age` itself (RFC 9111, section 4.2.3), so with both
/// the time would count twice.
///
/// ```
/// use http::HeaderMap;
/// use http::header::{CACHE_CONTROL, HeaderValue};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
/// cache_http::count_down(&mut headers, 45);
/// assert_eq!(headers[CACHE_CONTROL], "public, max-age=15");
/// ```
pub fn count_down(headers: &mut HeaderMap, seconds: u32) {
    for (_, value) in headers.iter_mut().filter(|(name, _)| *name == CACHE_CONTROL) {
        let counts = |member: &Member<'_>| member.is("max-age") || member.is("s-maxage");
        if !members(value.as_bytes()).any(|member| counts(&member)) {
            continue;
        }
        let mut line = Vec::with_capacity(value.len());
        for member in members(value.as_bytes()) {
            if !line.is_empty() {
                line.extend_from_slice(b", ");
            }
            if counts(&member) {
                let left = member.seconds().unwrap_or(0).saturating_sub(seconds);
                line.extend_from_slice(member.name);
                line.extend_from_slice(format!("={left}").as_bytes());
            } else {
                line.extend_from_slice(member.raw);
            }
        }
        // Every byte comes from a valid value, so this does not fail.
        if let Ok(line) = HeaderValue::from_bytes(&line) {
            *value = line;
        }
    }
}
