//! The byte form of stored responses, for stores that hold bytes.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use cache_engine::cache_core::{Coder, Error, ErrorKind, Timestamp, allocated};
use cache_http::{Lifetime, LifetimeSource};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::entry::response::StoredResponse;
use crate::entry::stored::Stored;
use crate::entry::variant_index::{QueryRules, VariantIndex};
use crate::key::routing::Routing;

/// Encodes and decodes [`Stored`] responses: numbers, the headers in their order, and the body as it is. Decoding
/// copies neither the body nor the values of the headers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ResponseCoder;

const RESPONSE: u8 = 0;
const VARIANTS: u8 = 1;

const NO_CACHE: u8 = 1;
const MUST_REVALIDATE: u8 = 2;
const OWN_ETAG: u8 = 4;
/// The record has keys for caches downstream.
const KEYS: u8 = 8;
/// The record has the route of its request.
const ROUTE: u8 = 16;
/// The path of its request was not spelled in its normal form.
const RESPELLED: u8 = 32;

/// The same for the record of an index, beside that it has a namespace.
const NAMESPACE: u8 = 1;
const INDEX_ROUTE: u8 = 2;
const INDEX_RESPELLED: u8 = 4;

/// Represents "not set". It is one more than any window can be.
const NONE: u64 = u64::MAX;

impl Coder<Stored> for ResponseCoder {
    fn name(&self) -> &'static str {
        "http-response/2"
    }

    fn encode(&self, value: &Stored) -> Result<Bytes, Error> {
        let mut out = BytesMut::with_capacity(self.encoded_len(value)?);
        match value {
            Stored::Response(response) => write_response(&mut out, response)?,
            Stored::Index(variants) => write_variants(&mut out, variants)?,
        }
        Ok(out.freeze())
    }

    fn decode(&self, bytes: &Bytes) -> Result<Stored, Error> {
        let mut input = Input(bytes.clone());
        let stored = match input.u8()? {
            RESPONSE => Stored::Response(read_response(&mut input)?),
            VARIANTS => Stored::Index(read_variants(&mut input)?),
            _ => return Err(broken()),
        };
        if input.0.is_empty() { Ok(stored) } else { Err(broken()) }
    }

    fn encoded_len(&self, value: &Stored) -> Result<usize, Error> {
        Ok(match value {
            Stored::Response(response) => {
                let headers = response.headers.iter();
                let headers: usize = headers.map(|(name, value)| 6 + name.as_str().len() + value.len()).sum();
                let keys = response.surrogate_keys.as_ref().map_or(0, |keys| 4 + keys.len());
                let route = route_len(response.routing);
                1 + 2 + LIFETIME_LEN + 2 + headers + keys + route + response.body.len()
            }
            Stored::Index(variants) => {
                let fields: usize = variants.fields.iter().map(|field| 2 + field.as_str().len()).sum();
                let rules = variants.query_rules.as_str().len();
                let listed: usize = variants.listed.iter().map(|name| 2 + name.len()).sum();
                let namespace = variants.namespace().map_or(0, str::len);
                let route = route_len(variants.routing);
                1 + 16 + 1 + 2 + namespace + route + 2 + fields + 2 + rules + 2 + listed
            }
        })
    }

    fn weight(&self, value: &Stored) -> Result<usize, Error> {
        let owned = match value {
            Stored::Response(response) => {
                let keys = response.surrogate_keys.as_ref().map_or(0, |keys| allocated(keys.len()));
                headers_memory(&response.headers) + allocated(response.body.len()) + BESIDE_TEXT + keys
            }
            Stored::Index(variants) => {
                let listed: usize = variants
                    .listed
                    .iter()
                    .map(|name| size_of::<Box<str>>() + allocated(name.len()))
                    .sum();
                let fields = variants.fields.capacity() * size_of::<HeaderName>();
                let rules = allocated(variants.query_rules.as_str().len());
                listed + fields + rules + variants.namespace().map_or(0, |namespace| allocated(namespace.len()))
            }
        };
        Ok(size_of::<Stored>() + owned)
    }
}

/// What the buffer of a text in a header takes beside the text: the notes and the rounding of the allocator, and a count
/// if it is shared.
const BESIDE_TEXT: usize = 32;
/// The fields of a header map in its two tables: a position, and a field with name, value, hash and links.
const POSITION: usize = 4;
const FIELD: usize = size_of::<(HeaderName, HeaderValue)>() + 4 * size_of::<usize>();

/// Returns about how many bytes a header map takes beside itself.
fn headers_memory(headers: &HeaderMap) -> usize {
    let capacity = headers.capacity();
    // A quarter of the positions stay vacant.
    let tables = allocated((capacity + capacity / 3) * POSITION) + allocated(capacity * FIELD);
    let texts: usize = headers.values().map(|value| value.len() + BESIDE_TEXT).sum();
    tables + texts
}

/// Returns the length of a route in a record.
fn route_len(routing: Routing) -> usize {
    if routing.route == 0 { 0 } else { 8 }
}

/// Returns the flags of a routing in a record.
fn routing_flags(routing: Routing, route: u8, respelled: u8) -> u8 {
    let route = if routing.route == 0 { 0 } else { route };
    let respelled = if routing.is_respelled { respelled } else { 0 };
    route | respelled
}

const LIFETIME_LEN: usize = 8 + 1 + 8 + 8 + 1 + 8 + 8;

fn write_response(out: &mut BytesMut, response: &StoredResponse) -> Result<(), Error> {
    out.put_u8(RESPONSE);
    out.put_u16(response.status.as_u16());
    let own_etag = if response.has_own_etag { OWN_ETAG } else { 0 };
    let keys = if response.surrogate_keys.is_some() { KEYS } else { 0 };
    let routing = routing_flags(response.routing, ROUTE, RESPELLED);
    write_lifetime(out, &response.lifetime, own_etag | keys | routing);
    out.put_u16(u16::try_from(response.headers.len()).map_err(|_| too_many("headers"))?);
    for (name, value) in &response.headers {
        write_name(out, name)?;
        out.put_u32(u32::try_from(value.len()).map_err(|_| too_many("bytes in a header"))?);
        out.put_slice(value.as_bytes());
    }
    if let Some(keys) = &response.surrogate_keys {
        out.put_u32(u32::try_from(keys.len()).map_err(|_| too_many("bytes of tags"))?);
        out.put_slice(keys.as_bytes());
    }
    if response.routing.route != 0 {
        out.put_u64(response.routing.route);
    }
    out.put_slice(&response.body);
    Ok(())
}

fn read_response(input: &mut Input) -> Result<StoredResponse, Error> {
    let status = StatusCode::from_u16(input.u16()?).map_err(|_| broken())?;
    let (lifetime, flags) = read_lifetime(input, OWN_ETAG | KEYS | ROUTE | RESPELLED)?;
    let count = input.u16()?;
    let mut headers = HeaderMap::new();
    for _ in 0..count {
        let name = read_name(input)?;
        let len = input.u32()?;
        let value = input.take(usize::try_from(len).map_err(|_| broken())?)?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| broken())?;
        headers.try_append(name, value).map_err(|_| broken())?;
    }
    let surrogate_keys = if flags & KEYS == 0 {
        None
    } else {
        let len = input.u32()?;
        let keys = input.take(usize::try_from(len).map_err(|_| broken())?)?;
        Some(std::str::from_utf8(&keys).map_err(|_| broken())?.into())
    };
    let routing = Routing {
        route: if flags & ROUTE == 0 { 0 } else { input.u64()? },
        is_respelled: flags & RESPELLED != 0,
    };
    let body = std::mem::take(&mut input.0);
    Ok(StoredResponse {
        has_own_etag: flags & OWN_ETAG != 0,
        surrogate_keys,
        routing,
        ..StoredResponse::new(status, headers, body, lifetime)
    })
}

fn write_variants(out: &mut BytesMut, variants: &VariantIndex) -> Result<(), Error> {
    out.put_u8(VARIANTS);
    out.put_u128(variants.generation);
    let routing = routing_flags(variants.routing, INDEX_ROUTE, INDEX_RESPELLED);
    let namespace = variants.namespace().unwrap_or_default();
    let has_namespace = if variants.namespace.is_some() { NAMESPACE } else { 0 };
    out.put_u8(has_namespace | routing);
    out.put_u16(u16::try_from(namespace.len()).map_err(|_| too_many("bytes in a namespace"))?);
    out.put_slice(namespace.as_bytes());
    if variants.routing.route != 0 {
        out.put_u64(variants.routing.route);
    }
    out.put_u16(u16::try_from(variants.fields.len()).map_err(|_| too_many("fields in `Vary`"))?);
    for field in &variants.fields {
        write_name(out, field)?;
    }
    let rules = variants.query_rules.as_str();
    out.put_u16(u16::try_from(rules.len()).map_err(|_| too_many("bytes in `No-Vary-Search`"))?);
    out.put_slice(rules.as_bytes());
    out.put_u16(u16::try_from(variants.listed.len()).map_err(|_| too_many("variants"))?);
    for name in &variants.listed {
        out.put_u16(u16::try_from(name.len()).map_err(|_| too_many("bytes in the name of a variant"))?);
        out.put_slice(name.as_bytes());
    }
    Ok(())
}

fn read_variants(input: &mut Input) -> Result<VariantIndex, Error> {
    let generation = input.u128()?;
    let flags = input.u8()?;
    if flags & !(NAMESPACE | INDEX_ROUTE | INDEX_RESPELLED) != 0 {
        return Err(broken());
    }
    let len = input.u16()?;
    let namespace = input.take(len.into())?;
    let routing = Routing {
        route: if flags & INDEX_ROUTE == 0 { 0 } else { input.u64()? },
        is_respelled: flags & INDEX_RESPELLED != 0,
    };
    let namespace = match (flags & NAMESPACE != 0, namespace.is_empty()) {
        (true, _) => Some(std::str::from_utf8(&namespace).map_err(|_| broken())?.into()),
        (false, true) => None,
        (false, false) => return Err(broken()),
    };
    let count = input.u16()?;
    let mut fields = Vec::new();
    for _ in 0..count {
        fields.push(read_name(input)?);
    }
    let len = input.u16()?;
    let rules = input.take(len.into())?;
    let query_rules = QueryRules::parse(std::str::from_utf8(&rules).map_err(|_| broken())?);
    let count = input.u16()?;
    let mut listed = Vec::new();
    for _ in 0..count {
        let len = input.u16()?;
        let name = input.take(len.into())?;
        listed.push(std::str::from_utf8(&name).map_err(|_| broken())?.into());
    }
    Ok(VariantIndex {
        fields,
        namespace,
        generation,
        query_rules,
        routing,
        listed,
    })
}

/// Writes a lifetime, and `flags` among its own.
fn write_lifetime(out: &mut BytesMut, lifetime: &Lifetime, flags: u8) {
    out.put_u64(millis(lifetime.fresh));
    out.put_u8(match lifetime.source {
        LifetimeSource::SMaxage => 0,
        LifetimeSource::MaxAge => 1,
        LifetimeSource::Expires => 2,
        LifetimeSource::Policy => 3,
        LifetimeSource::Heuristic => 4,
        LifetimeSource::Invalid => 5,
        _ => 6,
    });
    out.put_u64(millis(lifetime.initial_age));
    out.put_u64(lifetime.response_time.as_millis());
    let no_cache = if lifetime.no_cache { NO_CACHE } else { 0 };
    let must_revalidate = if lifetime.must_revalidate { MUST_REVALIDATE } else { 0 };
    out.put_u8(no_cache | must_revalidate | flags);
    out.put_u64(lifetime.stale_while_revalidate.map_or(NONE, millis));
    out.put_u64(lifetime.stale_if_error.map_or(NONE, millis));
}

/// Reads a lifetime, and which of the flags `others` are stored among its own.
fn read_lifetime(input: &mut Input, others: u8) -> Result<(Lifetime, u8), Error> {
    let fresh = Duration::from_millis(input.u64()?);
    let source = match input.u8()? {
        0 => LifetimeSource::SMaxage,
        1 => LifetimeSource::MaxAge,
        2 => LifetimeSource::Expires,
        3 => LifetimeSource::Policy,
        4 => LifetimeSource::Heuristic,
        5 => LifetimeSource::Invalid,
        6 => LifetimeSource::Nothing,
        _ => return Err(broken()),
    };
    let initial_age = Duration::from_millis(input.u64()?);
    let mut lifetime = Lifetime::new(fresh, Timestamp::from_millis(input.u64()?));
    lifetime.source = source;
    lifetime.initial_age = initial_age;
    let flags = input.u8()?;
    if flags & !(NO_CACHE | MUST_REVALIDATE | others) != 0 {
        return Err(broken());
    }
    lifetime.no_cache = flags & NO_CACHE != 0;
    lifetime.must_revalidate = flags & MUST_REVALIDATE != 0;
    let window = |millis| (millis != NONE).then(|| Duration::from_millis(millis));
    lifetime.stale_while_revalidate = window(input.u64()?);
    lifetime.stale_if_error = window(input.u64()?);
    Ok((lifetime, flags & others))
}

/// Returns whole milliseconds, like the store's own windows.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NONE - 1).min(NONE - 1)
}

fn write_name(out: &mut BytesMut, name: &HeaderName) -> Result<(), Error> {
    out.put_u16(u16::try_from(name.as_str().len()).map_err(|_| too_many("bytes in a header's name"))?);
    out.put_slice(name.as_str().as_bytes());
    Ok(())
}

fn read_name(input: &mut Input) -> Result<HeaderName, Error> {
    let len = input.u16()?;
    HeaderName::from_bytes(&input.take(len.into())?).map_err(|_| broken())
}

/// Bytes that are consumed from the front.
struct Input(Bytes);

impl Input {
    fn take(&mut self, len: usize) -> Result<Bytes, Error> {
        if len > self.0.len() {
            return Err(broken());
        }
        Ok(self.0.split_to(len))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?[..].try_into().map_err(|_| broken())
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    fn u128(&mut self) -> Result<u128, Error> {
        self.array().map(u128::from_be_bytes)
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Codec, "not a stored response")
}

fn too_many(what: &str) -> Error {
    Error::new(ErrorKind::Codec, format!("too many {what}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use cache_engine::cache_core::{Coder, Timestamp};
    use cache_http::{Lifetime, LifetimeSource};
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
    use proptest::option;
    use proptest::prelude::*;

    use super::ResponseCoder;
    use crate::entry::response::StoredResponse;
    use crate::entry::stored::Stored;
    use crate::entry::variant_index::{QueryRules, VariantIndex};
    use crate::key::routing::Routing;

    fn lifetimes() -> impl Strategy<Value = Lifetime> {
        let sources = [
            LifetimeSource::SMaxage,
            LifetimeSource::MaxAge,
            LifetimeSource::Expires,
            LifetimeSource::Policy,
            LifetimeSource::Heuristic,
            LifetimeSource::Invalid,
            LifetimeSource::Nothing,
        ];
        let millis = || (0..1_u64 << 42).prop_map(Duration::from_millis);
        (
            (
                millis(),
                0..1_u64 << 42,
                prop::sample::select(sources.to_vec()),
                millis(),
            ),
            any::<bool>(),
            any::<bool>(),
            option::of(millis()),
            option::of(millis()),
        )
            .prop_map(
                |((fresh, response_time, source, age), no_cache, must_revalidate, swr, sie)| {
                    let mut lifetime = Lifetime::new(fresh, Timestamp::from_millis(response_time));
                    lifetime.source = source;
                    lifetime.initial_age = age;
                    lifetime.no_cache = no_cache;
                    lifetime.must_revalidate = must_revalidate;
                    lifetime.stale_while_revalidate = swr;
                    lifetime.stale_if_error = sie;
                    lifetime
                },
            )
    }

    fn routings() -> impl Strategy<Value = Routing> {
        (prop_oneof![Just(0), any::<u64>()], any::<bool>())
            .prop_map(|(route, is_respelled)| Routing { route, is_respelled })
    }

    fn responses() -> impl Strategy<Value = StoredResponse> {
        (
            prop::sample::select(vec![200_u16, 203, 204]),
            prop::collection::vec(("x-[a-c]", "[ -~]{0,8}"), 0..8),
            prop::collection::vec(any::<u8>(), 0..64),
            lifetimes(),
            any::<bool>(),
            option::of("[ -~]{0,16}"),
            routings(),
        )
            .prop_map(|(status, lines, body, lifetime, has_own_etag, keys, routing)| {
                let mut headers = HeaderMap::new();
                for (name, value) in lines {
                    headers.append(
                        HeaderName::try_from(name).unwrap(),
                        HeaderValue::try_from(value.trim()).unwrap(),
                    );
                }
                StoredResponse {
                    has_own_etag,
                    surrogate_keys: keys.map(Into::into),
                    routing,
                    ..StoredResponse::new(StatusCode::from_u16(status).unwrap(), headers, body.into(), lifetime)
                }
            })
    }

    fn variants() -> impl Strategy<Value = VariantIndex> {
        (
            prop::collection::vec("x-[a-c]{1,3}", 0..4),
            option::of("[a-z]{0,8}"),
            prop::collection::vec("[a-z=&]{0,8}", 0..4),
            prop::sample::select(vec!["", "key-order", "params=(\"a\")"]),
            routings(),
        )
            .prop_map(|(fields, namespace, listed, rules, routing)| {
                let fields = fields.into_iter().map(|field| HeaderName::try_from(field).unwrap());
                VariantIndex {
                    listed: listed.into_iter().map(Into::into).collect(),
                    routing,
                    ..VariantIndex::new(fields.collect(), namespace.map(Into::into), QueryRules::parse(rules))
                }
            })
    }

    proptest! {
        #[test]
        fn a_response_is_read_as_it_was_written(response in responses()) {
            let written = Stored::Response(response);
            let bytes = ResponseCoder.encode(&written).unwrap();
            prop_assert_eq!(bytes.len(), ResponseCoder.encoded_len(&written).unwrap());
            let read = ResponseCoder.decode(&bytes).unwrap();
            prop_assert_eq!(&read, &written);
            if let (Stored::Response(read), Stored::Response(written)) = (&read, &written) {
                prop_assert!(read.headers.iter().eq(written.headers.iter()));
                // The body is a slice of the input, not a copy.
                if !read.body.is_empty() {
                    prop_assert_eq!(read.body.as_ptr_range().end, bytes.as_ptr_range().end);
                }
            }
        }

        #[test]
        fn a_variant_index_is_read_as_it_was_written_and_no_part_of_it_is(variants in variants()) {
            let written = Stored::Index(variants);
            let bytes = ResponseCoder.encode(&written).unwrap();
            prop_assert_eq!(bytes.len(), ResponseCoder.encoded_len(&written).unwrap());
            prop_assert_eq!(&ResponseCoder.decode(&bytes).unwrap(), &written);
            for len in 0..bytes.len() {
                prop_assert!(ResponseCoder.decode(&bytes.slice(..len)).is_err());
            }
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes: Vec<u8>, kind in 0_u8..3) {
            let _ = ResponseCoder.decode(&Bytes::from(bytes.clone()));
            let mut bytes = bytes;
            bytes.insert(0, kind);
            let _ = ResponseCoder.decode(&Bytes::from(bytes));
        }
    }
}
