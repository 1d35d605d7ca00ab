//! Which fields of a response are stored (RFC 9111, section 3.1).

use cache_core::Timestamp;
use http::HeaderMap;
use http::header::DATE;

use crate::field::{format_date, remove_hop_by_hop};
use crate::policy::Policy;

/// The headers of a response as they are stored (RFC 9111, section 3.1): without the fields of one connection, without
/// those that a qualified `private` or `no-cache` withholds (sections 5.2.2.4 and 5.2.2.7), and with a `Date`, which is
/// `response_time` if there was none (RFC 9110, section 6.6.1).
///
/// Work out the [`Lifetime`](crate::Lifetime) from the headers as they arrived, before this.
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
