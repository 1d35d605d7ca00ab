//! Support for the tests of this crate.

use std::time::Duration;

use cache_core::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

/// 2023-11-14T22:13:20Z.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Headers from lines, in their order.
pub(crate) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

/// So many seconds after [`NOW`].
#[allow(dead_code)]
pub(crate) fn after(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

/// The date so many seconds before or after [`NOW`].
#[allow(dead_code)]
pub(crate) fn date(offset: i64) -> String {
    let millis = NOW.as_millis().saturating_add_signed(offset * 1000);
    let value = cache_http::format_date(Timestamp::from_millis(millis));
    value.to_str().unwrap().to_owned()
}

#[allow(dead_code)]
pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
