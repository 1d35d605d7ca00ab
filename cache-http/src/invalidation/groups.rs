//! Groups of responses that become invalid together (RFC 9875).

use http::{HeaderMap, HeaderName, Method};

use crate::field::{Bare, Member, list};
use crate::invalidation::method::is_safe;

/// The field that adds a response to groups (RFC 9875, section 2).
pub const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// The field that invalidates groups (RFC 9875, section 3).
pub const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// Returns the groups of a response, in the order given and without duplicates. Names are case-sensitive and belong to the
/// response's origin.
///
/// A field that is not a List of Strings counts as absent. Parameters are ignored.
///
/// ```
/// use http::HeaderMap;
/// use http::header::HeaderValue;
///
/// let mut response = HeaderMap::new();
/// response.insert("cache-groups", HeaderValue::from_static(r#""scripts", "menu";v=2"#));
/// assert_eq!(cache_http::cache_groups(&response), ["scripts", "menu"]);
/// ```
#[must_use]
pub fn cache_groups(response: &HeaderMap) -> Vec<String> {
    strings(response, &CACHE_GROUPS).unwrap_or_default()
}

/// Returns the groups of the same origin that an exchange invalidates. None if the method is safe, since the field must be
/// ignored then.
#[must_use]
pub fn invalidated_groups(method: &Method, response: &HeaderMap) -> Vec<String> {
    if is_safe(method) {
        return Vec::new();
    }
    strings(response, &CACHE_GROUP_INVALIDATION).unwrap_or_default()
}

fn strings(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let members = list(headers.get_all(name))?;
    let mut names: Vec<String> = Vec::with_capacity(members.len());
    for member in members {
        let Member::Item(Bare::String(name)) = member else {
            return None;
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}
