//! The header fields of recent responses from the store, for reuse: the responses of one second have the same fields.

use std::sync::{Arc, OnceLock, RwLock, Weak};

use bytes::BytesMut;
use cache_engine::cache_core::Timestamp;
use cache_http::Lifetime;
use http::{HeaderMap, HeaderValue};

use crate::entry::stored::Stored;

/// How many responses can have prepared fields at the same time. A power of two.
const SLOTS: usize = 128;

/// The maximum total size in bytes of the values of prepared fields.
const MAX_VALUES: usize = 4096;

/// The header fields of recent responses from the store, for one layer. Its size is limited, and it does not keep any
/// response alive.
#[derive(Default)]
pub(crate) struct PreparedHeaders {
    /// Initialized by the first hit.
    slots: OnceLock<Box<[RwLock<Slot>]>>,
}

struct Slot {
    /// Weak, so that the response can be freed. Its address is not reused while the weak reference exists.
    of: Weak<Stored>,
    second: Second,
    fields: Fields,
}

enum Fields {
    /// The fields were requested once. Most responses are not requested again within the second.
    Seen,
    Prepared(HeaderMap),
    TooLarge,
}

/// What changes in the responses from one stored response while it is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Second {
    age: u64,
    ttl: i64,
}

impl Second {
    pub(crate) fn of(lifetime: &Lifetime, now: Timestamp) -> Self {
        Self {
            age: lifetime.age(now).as_secs(),
            ttl: lifetime.ttl_seconds(now),
        }
    }
}

impl Slot {
    fn is_of(&self, stored: &Arc<Stored>, second: Second) -> bool {
        self.second == second && std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(stored))
    }
}

impl PreparedHeaders {
    /// Returns the header fields of a response from `stored` at `second`. `make` builds them, and must build the same
    /// fields at any time in that second. Never waits.
    pub(crate) fn get(&self, stored: &Arc<Stored>, second: Second, make: impl FnOnce() -> HeaderMap) -> HeaderMap {
        let slots = self
            .slots
            .get_or_init(|| (0..SLOTS).map(|_| RwLock::default()).collect());
        let slot = &slots[index(stored)];
        if let Ok(slot) = slot.try_read()
            && slot.is_of(stored, second)
            && let Fields::Prepared(fields) = &slot.fields
        {
            return fields.clone();
        }
        let fields = make();
        if let Ok(mut slot) = slot.try_write() {
            if !slot.is_of(stored, second) {
                *slot = Slot {
                    of: Arc::downgrade(stored),
                    second,
                    fields: Fields::Seen,
                };
            } else if matches!(slot.fields, Fields::Seen) {
                slot.fields = compacted(&fields).map_or(Fields::TooLarge, Fields::Prepared);
            }
        }
        fields
    }
}

fn index(stored: &Arc<Stored>) -> usize {
    // The upper bits of the product depend on all bits of the address.
    let mixed = (Arc::as_ptr(stored).addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize & (SLOTS - 1)
}

/// Returns a copy whose values have memory of their own. The values of a response may be slices of a much larger
/// buffer.
fn compacted(fields: &HeaderMap) -> Option<HeaderMap> {
    let len = fields.values().map(HeaderValue::len).sum();
    if len > MAX_VALUES {
        return None;
    }
    let mut values = BytesMut::with_capacity(len);
    fields
        .values()
        .for_each(|value| values.extend_from_slice(value.as_bytes()));
    let mut values = values.freeze();
    let mut compacted = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let mut copy = HeaderValue::from_maybe_shared(values.split_to(value.len())).ok()?;
        copy.set_sensitive(value.is_sensitive());
        compacted.append(name.clone(), copy);
    }
    Some(compacted)
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            of: Weak::new(),
            second: Second { age: 0, ttl: 0 },
            fields: Fields::Seen,
        }
    }
}

impl std::fmt::Debug for PreparedHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedHeaders").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use cache_engine::cache_core::Timestamp;
    use cache_http::Lifetime;
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::{MAX_VALUES, PreparedHeaders, Second, compacted};
    use crate::entry::response::StoredResponse;
    use crate::entry::stored::Stored;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn stored() -> Arc<Stored> {
        let lifetime = Lifetime::new(Duration::from_secs(60), NOW);
        let response = StoredResponse::new(StatusCode::OK, HeaderMap::new(), Bytes::new(), lifetime);
        Arc::new(Stored::Response(response))
    }

    fn fields(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("x-text"), HeaderValue::from_static(text))])
    }

    fn second(after: Duration) -> Second {
        Second::of(&Lifetime::new(Duration::from_secs(60), NOW), NOW + after)
    }

    #[test]
    fn fields_are_made_until_they_are_asked_for_a_second_time() {
        let (prepared, stored) = (PreparedHeaders::default(), stored());
        let now = second(Duration::ZERO);
        for text in ["first", "second"] {
            assert_eq!(prepared.get(&stored, now, || fields(text)), fields(text));
        }
        assert_eq!(prepared.get(&stored, now, || fields("third")), fields("second"));
    }

    #[test]
    fn another_second_or_another_response_has_other_fields() {
        let (prepared, stored, other) = (PreparedHeaders::default(), stored(), stored());
        let now = second(Duration::ZERO);
        for _ in 0..3 {
            prepared.get(&stored, now, || fields("now"));
        }
        let later = second(Duration::from_millis(1_000));
        assert_eq!(prepared.get(&stored, later, || fields("later")), fields("later"));
        assert_eq!(prepared.get(&other, now, || fields("other")), fields("other"));
    }

    #[test]
    fn a_response_is_not_kept_by_its_fields() {
        let (prepared, stored) = (PreparedHeaders::default(), stored());
        for _ in 0..3 {
            prepared.get(&stored, second(Duration::ZERO), || fields("text"));
        }
        assert_eq!(Arc::strong_count(&stored), 1);
    }

    #[test]
    fn large_fields_are_made_each_time() {
        let (prepared, stored) = (PreparedHeaders::default(), stored());
        let large = |byte: u8| {
            let value = HeaderValue::from_bytes(&vec![byte; MAX_VALUES + 1]);
            HeaderMap::from_iter(value.map(|value| (HeaderName::from_static("x-large"), value)))
        };
        for byte in *b"abcd" {
            let answer = prepared.get(&stored, second(Duration::ZERO), || large(byte));
            assert_eq!(answer, large(byte));
        }
    }

    proptest! {
        #[test]
        fn a_second_tells_apart_what_answers_say(fresh in 0_u64..5_000, age in 0_u64..5_000, one in 0_u64..5_000, other in 0_u64..5_000) {
            let mut lifetime = Lifetime::new(Duration::from_millis(fresh), NOW);
            lifetime.initial_age = Duration::from_millis(age);
            let says = |after| {
                let now = NOW + Duration::from_millis(after);
                (lifetime.age(now).as_secs(), lifetime.ttl_seconds(now))
            };
            let second = |after| Second::of(&lifetime, NOW + Duration::from_millis(after));
            prop_assert_eq!(second(one) == second(other), says(one) == says(other));
        }

        #[test]
        fn compacted_fields_are_the_same(lines in prop::collection::vec(("x-[a-d]", "[ -~]{0,8}", any::<bool>()), 0..12)) {
            let mut headers = HeaderMap::new();
            for (name, value, is_sensitive) in lines {
                let mut value = HeaderValue::try_from(value.trim())?;
                value.set_sensitive(is_sensitive);
                headers.append(HeaderName::try_from(name)?, value);
            }
            let copy = compacted(&headers).unwrap_or_default();
            prop_assert!(copy.iter().eq(headers.iter()));
            let is_sensitive = |headers: &HeaderMap| headers.values().map(HeaderValue::is_sensitive).collect::<Vec<_>>();
            prop_assert_eq!(is_sensitive(&copy), is_sensitive(&headers));
        }
    }
}
