//! Which fields of a response are stored (RFC 9111, section 3.1).

use cache_core::Timestamp;
use http::HeaderMap;
use http::header::DATE;

use crate::field::{format_date, remove_hop_by_hop};
use crate::policy::Policy;

/// Turns the headers of a response into those to store (RFC 9111, section 3.1). Removes the fields of one connection and
/// those that a qualified `private` or `no-cache` withholds (sections 5.2.2.4 and 5.2.2.7). Adds `Date`, set to
/// `response_time`, if there is none (RFC 9110, section 6.6.1).
///
/// Compute the [`Lifetime`](crate::Lifetime) before this, from the headers as they arrived.
pub fn prepare_for_store(policy: &Policy, headers: &mut HeaderMap, response_time: Timestamp) {
    let directives = policy.directives(headers);
    for name in directives.withheld_fields() {
        headers.remove(name);
    }
    remove_hop_by_hop(headers);
    if !headers.contains_key(DATE) {
        headers.insert(DATE, format_date(response_time));
    }
}
