//! `Content-Location` (RFC 9110, section 8.7).

use http::header::CONTENT_LOCATION;
use http::{HeaderMap, Uri};

use crate::uri::normal_form::normal_path;
use crate::uri::reference::{path_and_query, resolve, same_origin};

/// Returns whether the `Content-Location` of a response names the target itself. If so, the content is a representation of
/// the target, and the response to a POST may answer a later GET (RFC 9110, section 9.3.3).
#[must_use]
pub fn is_content_of_target(target: &Uri, response: &HeaderMap) -> bool {
    let mut locations = response.get_all(CONTENT_LOCATION).iter();
    let location = locations
        .next()
        .and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    locations.next().is_none()
        && location
            .and_then(|reference| resolve(target, reference))
            .is_some_and(|uri| {
                same_origin(target, &uri) && normal_path(path_and_query(&uri)) == normal_path(path_and_query(target))
            })
}
