//! The header fields of recent responses from the store, for reuse: the responses of one second have the same fields.

use std::sync::{Arc, OnceLock, RwLock, Weak};
use std::time::Duration;

use bytes::BytesMut;
use cache_engine::cache_core::Timestamp;
use cache_http::Lifetime;
use http::{HeaderMap, HeaderValue};

use crate::entry::stored::Stored;

/// How many responses can have prepared fields at the same time. A power of two.
const SLOTS: usize = 128;

/// The maximum total size in bytes of the values of prepared fields.
const MAX_VALUES: usize = 4096;

/// The longest time in milliseconds from which [`Lifetime::ttl_seconds`] counts down.
const LONGEST_TTL: u64 = i64::MAX as u64;

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

/// The time in which a stored response is fresh and all responses from it have the same fields: at most a second. A hit needs
/// only to compare its two ends, and not to compute an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Second {
    from: Timestamp,
    /// The first moment after it.
    until: Timestamp,
}

impl Second {
    /// Returns the rest of the second that contains `now`. It contains no moment if the response is not fresh.
    pub(crate) fn of(lifetime: &Lifetime, now: Timestamp) -> Self {
        let age = lifetime.age(now);
        // What `Age` and the `ttl` of `Cache-Status` say changes after these times, and the freshness after the last one. Ages
        // grow by no more than the time that passes.
        let until_older = Duration::from_secs(1) - Duration::from_nanos(age.subsec_nanos().into());
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let ttl = millis(lifetime.fresh).min(LONGEST_TTL).saturating_sub(millis(age));
        let until_less_ttl = Duration::from_millis(ttl % 1000 + 1);
        let left = until_older.min(until_less_ttl).min(lifetime.fresh.saturating_sub(age));
        // The times are whole milliseconds.
        let left = Duration::from_millis(u64::from(left.subsec_nanos().div_ceil(1_000_000)) + 1_000 * left.as_secs());
        Self {
            from: now,
            until: now + left,
        }
    }

    fn contains(self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

impl Slot {
    fn is_of(&self, stored: &Arc<Stored>, now: Timestamp) -> bool {
        self.second.contains(now) && std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(stored))
    }
}

impl PreparedHeaders {
    fn slot(&self, stored: &Arc<Stored>) -> &RwLock<Slot> {
        let slots = self
            .slots
            .get_or_init(|| (0..SLOTS).map(|_| RwLock::default()).collect());
        &slots[index(stored)]
    }

    /// Returns the header fields of a response from `stored` at `now`, if they are prepared. Then `stored` is fresh. Never
    /// waits.
    pub(crate) fn find(&self, stored: &Arc<Stored>, now: Timestamp) -> Option<HeaderMap> {
        let slot = self.slot(stored).try_read().ok()?;
        match &slot.fields {
            Fields::Prepared(fields) if slot.is_of(stored, now) => Some(fields.clone()),
            _ => None,
        }
    }

    /// Records that a response from `stored` at `now` has these fields, which are the same in all of `second`. They are
    /// prepared if this is the second such response. Never waits.
    pub(crate) fn add(&self, stored: &Arc<Stored>, second: Second, fields: &HeaderMap) {
        let Ok(mut slot) = self.slot(stored).try_write() else {
            return;
        };
        if !slot.is_of(stored, second.from) {
            *slot = Slot {
                of: Arc::downgrade(stored),
                second,
                fields: Fields::Seen,
            };
        } else if matches!(slot.fields, Fields::Seen) {
            slot.fields = compacted(fields).map_or(Fields::TooLarge, Fields::Prepared);
        }
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
        let copy = values.split_to(value.len());
        let mut copy = match constant(value) {
            Some(value) => HeaderValue::from_static(value),
            None => HeaderValue::from_maybe_shared(copy).ok()?,
        };
        copy.set_sensitive(value.is_sensitive());
        compacted.append(name.clone(), copy);
    }
    Some(compacted)
}

/// Returns a frequent value as a constant. Copies of other values count their references, all in one place, which is expensive
/// if several threads make them.
fn constant(value: &HeaderValue) -> Option<&'static str> {
    let constants = match value.len() {
        0 => &[""][..],
        1 => &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        3 => &["HIT"],
        4 => &["gzip"],
        5 => &["bytes"],
        8 => &["no-cache"],
        9 => &["image/png", "text/html"],
        15 => &["accept-encoding", "Accept-Encoding"],
        16 => &["application/json"],
        21 => &["authorization, cookie"],
        24 => &["application/octet-stream", "text/html; charset=utf-8"],
        25 => &["text/plain; charset=utf-8"],
        _ => &[],
    };
    constants
        .iter()
        .copied()
        .find(|constant| constant.as_bytes() == value.as_bytes())
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            of: Weak::new(),
            second: Second {
                from: Timestamp::from_millis(0),
                until: Timestamp::from_millis(0),
            },
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

    /// Answers as a hit does: with the prepared fields, or with new ones, which may be prepared for later.
    fn get(
        prepared: &PreparedHeaders,
        stored: &Arc<Stored>,
        now: Timestamp,
        make: impl FnOnce() -> HeaderMap,
    ) -> HeaderMap {
        prepared.find(stored, now).unwrap_or_else(|| {
            let fields = make();
            let second = Second::of(&Lifetime::new(Duration::from_secs(60), NOW), now);
            prepared.add(stored, second, &fields);
            fields
        })
    }

    #[test]
    fn fields_are_made_until_they_are_asked_for_a_second_time() {
        let (prepared, stored) = (PreparedHeaders::default(), stored());
        // The `ttl` changes after the first millisecond, and all that depends on the time again 999 ms later.
        let begin = NOW + Duration::from_millis(1);
        for text in ["first", "second"] {
            assert_eq!(get(&prepared, &stored, begin, || fields(text)), fields(text));
        }
        assert_eq!(get(&prepared, &stored, begin, || fields("third")), fields("second"));
        let end = NOW + Duration::from_millis(999);
        assert_eq!(get(&prepared, &stored, end, || fields("last")), fields("second"));
    }

    #[test]
    fn another_second_or_another_response_has_other_fields() {
        let (prepared, stored, other) = (PreparedHeaders::default(), stored(), stored());
        for _ in 0..3 {
            get(&prepared, &stored, NOW, || fields("now"));
        }
        assert_eq!(get(&prepared, &other, NOW, || fields("other")), fields("other"));
        let later = NOW + Duration::from_millis(1_000);
        assert_eq!(get(&prepared, &stored, later, || fields("later")), fields("later"));
        // The clock was set back.
        assert_eq!(get(&prepared, &stored, NOW, || fields("again")), fields("again"));
    }

    #[test]
    fn a_response_is_not_kept_by_its_fields() {
        let (prepared, stored) = (PreparedHeaders::default(), stored());
        for _ in 0..3 {
            get(&prepared, &stored, NOW, || fields("text"));
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
            let answer = get(&prepared, &stored, NOW, || large(byte));
            assert_eq!(answer, large(byte));
        }
    }

    proptest! {
        #[test]
        fn a_second_lasts_until_answers_say_something_else(
            fresh in prop_oneof![0_u64..5_000, Just(u64::MAX)],
            age in 0_u64..5_000,
            begin in 0_u64..5_000,
            nanos in 0_u64..2_000_000,
        ) {
            // Lifetimes and ages may have fractions of a millisecond.
            let mut lifetime = Lifetime::new(Duration::from_millis(fresh).saturating_add(Duration::from_nanos(nanos)), NOW);
            lifetime.initial_age = Duration::from_millis(age) + Duration::from_nanos(nanos / 2);
            let says = |now| (lifetime.is_fresh(now), lifetime.age(now).as_secs(), lifetime.ttl_seconds(now));
            let begin = NOW + Duration::from_millis(begin);
            let second = Second::of(&lifetime, begin);
            let is_same = |now: &Timestamp| lifetime.is_fresh(begin) && says(*now) == says(begin);
            let moments: Vec<_> = (0..1_100).map(|after| begin + Duration::from_millis(after)).collect();
            let same: Vec<_> = moments.iter().copied().take_while(is_same).collect();
            let within: Vec<_> = moments.iter().copied().filter(|now| second.contains(*now)).collect();
            prop_assert_eq!(within, same);
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
