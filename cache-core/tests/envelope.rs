//! An envelope decodes as it was encoded, or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    EntryKind, Envelope, EnvelopeError, ErrorKind, FreshnessWindows, Key, KeyName, Prefix, Tags, Timestamp, Version,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Version 1 of the format, byte for byte. Stored records outlive the program that wrote them, so this never changes.
const GOLDEN: &str = include_str!("golden/envelope-v1.hex");
const GOLDEN_LEASE: &str = include_str!("golden/envelope-v1-lease.hex");

fn golden() -> (Key, Envelope) {
    let name = KeyName::with_identity("5f3c", *b"\x00find_user\x2a");
    let windows = FreshnessWindows::new(Duration::from_secs(60))
        .with_stale_while_revalidate(Duration::from_millis(1_500))
        .with_stale_if_error(Duration::from_secs(86_400));
    let tags = [
        ("user:42", Version::from_u128(0x0102_0304)),
        ("µ", Version::from_u128(u128::MAX)),
    ];
    let envelope = Envelope::new(EntryKind::Value, Timestamp::from_millis(1_704_067_200_123), windows)
        .with_payload("json", Bytes::from_static(br#"{"name":"Ada"}"#))
        .with_tags(Tags::new(tags).unwrap());
    (Prefix::new("shop").namespace("users").key(name), envelope)
}

fn unhex(text: &str) -> Bytes {
    let digits: String = text.lines().flat_map(|line| line.split('#').next()).collect();
    let digits: Vec<char> = digits.chars().filter(|c| !c.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap())
        .collect()
}

#[test]
fn version_1_is_written_and_read_as_it_always_was() {
    let lease = Envelope::new(EntryKind::Lease, Timestamp::from_millis(1), FreshnessWindows::FOREVER);
    let key = Prefix::new("shop").namespace("users").key("42");
    for ((key, envelope), stored) in [(golden(), GOLDEN), ((key, lease), GOLDEN_LEASE)] {
        let stored = unhex(stored);
        assert_eq!(envelope.encode(&key).unwrap(), stored);
        assert_eq!(Envelope::decode(&stored, &key), Ok(envelope));
    }
}

/// They follow the tags, and take no room where they are not set, so that what was written before them is read.
#[test]
fn the_load_time_and_the_version_of_the_type_follow_the_tags() {
    let (key, envelope) = golden();
    let before = envelope.encode(&key).unwrap();
    let with = envelope
        .with_load_time(Duration::from_nanos(1_000_001))
        .with_type_version(2);
    let bytes = with.encode(&key).unwrap();
    let payload = with.payload.len();
    let (start, end) = (before.len() - payload, bytes.len() - payload);
    assert_eq!(
        bytes[start..end],
        [0, 0, 0x03, 0xe9, 0, 0, 0, 2],
        "1,001 microseconds, and 2"
    );
    assert_eq!(bytes[10], before[10] | 0b1100);
    let read = Envelope::decode(&bytes, &key).unwrap();
    assert_eq!(
        (read.load_time, read.type_version),
        (Some(Duration::from_micros(1_001)), 2)
    );
    let longest = Envelope::new(EntryKind::Absent, Timestamp::from_millis(1), FreshnessWindows::FOREVER)
        .with_load_time(Duration::MAX);
    let read = Envelope::decode(&longest.encode(&key).unwrap(), &key).unwrap();
    assert_eq!(read.load_time, Some(Duration::from_micros(u32::MAX.into())));
}

#[test]
fn each_kind_keeps_its_number() {
    let (key, envelope) = golden();
    let kinds = [
        EntryKind::Value,
        EntryKind::Absent,
        EntryKind::Failure,
        EntryKind::Lease,
        EntryKind::Tag,
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        let mut envelope = envelope.clone();
        envelope.kind = kind;
        assert_eq!(usize::from(envelope.encode(&key).unwrap()[9]), number, "{kind:?}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (key, envelope) = golden();
    let bytes = envelope.encode(&key).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let decoded = Envelope::decode(&damaged.into(), &key);
        assert!(decoded.is_err(), "bit {bit}: {decoded:?}");
    }
}

#[test]
fn everything_cut_short_or_lengthened_is_noticed() {
    let (key, envelope) = golden();
    let bytes = envelope.encode(&key).unwrap();
    for length in 0..bytes.len() {
        assert!(
            Envelope::decode(&bytes.slice(..length), &key).is_err(),
            "{length} bytes"
        );
    }
    let longer = Bytes::from([&bytes[..], b"\0"].concat());
    assert_eq!(Envelope::decode(&longer, &key), Err(EnvelopeError::Corrupt));
}

#[test]
fn what_is_wrong_is_told_apart() {
    let (key, envelope) = golden();
    let bytes = envelope.encode(&key).unwrap();
    let with = |at: usize, byte| {
        let mut changed = bytes.to_vec();
        changed[at] = byte;
        Envelope::decode(&changed.into(), &key)
    };
    assert_eq!(
        Envelope::decode(&Bytes::from_static(b"{\"a\":1}"), &key),
        Err(EnvelopeError::NotAnEnvelope)
    );
    assert_eq!(Envelope::decode(&Bytes::new(), &key), Err(EnvelopeError::NotAnEnvelope));
    assert_eq!(with(4, 2), Err(EnvelopeError::NewerVersion(2)));
    assert_eq!(with(4, 0), Err(EnvelopeError::Corrupt));
    assert_eq!(with(bytes.len() - 1, 0), Err(EnvelopeError::Corrupt));
}

/// A reader does not rely on the checksum alone.
#[test]
fn a_header_that_contradicts_itself_is_damage_even_if_the_checksum_holds() {
    let (key, envelope) = golden();
    let bytes = envelope.encode(&key).unwrap();
    let with = |at: usize, byte| {
        let mut changed = bytes.to_vec();
        changed[at] = byte;
        Envelope::decode(&with_valid_checksum(changed).into(), &key)
    };
    assert!(with(9, 0).is_ok(), "nothing was changed");
    for (at, byte, what) in [
        (9, 99, "an unknown kind"),
        (10, 0b1000_0010, "an unknown flag"),
        (10, 0b110, "a load time that is not there"),
        (10, 0b011, "for ever, and an end"),
        (10, 0b000, "no text, and its length"),
        (43, 5, "a longer name of the coder"),
        (44, 0xff, "an identity beyond the end"),
        (48, 0xff, "a text beyond the end"),
        (52, 0xff, "tags beyond the end"),
        (55, 0x30, "tags that end inside a tag"),
        (56, 0xff, "a payload beyond the end"),
        (63, 0, "bytes after the payload"),
        (64, 0xff, "a coder's name that is not UTF-8"),
        (98, 0xff, "a tag's name that is not UTF-8"),
    ] {
        assert_eq!(with(at, byte), Err(EnvelopeError::Corrupt), "{what}");
    }
}

#[test]
fn one_key_cannot_be_mistaken_for_another() {
    let users = Prefix::new("shop").namespace("users");
    let named = |name: &str, identity: &[u8]| users.key(KeyName::with_identity(name, identity));
    let keys = [
        users.key("1"),
        users.key("2"),
        Prefix::new("other").namespace("users").key("1"),
        named("1", b"one"),
        named("1", b"another with the same hash"),
        named("2", b"one"),
    ];
    for (written_for, key) in keys.iter().enumerate() {
        let bytes = golden().1.encode(key).unwrap();
        for (read_for, key) in keys.iter().enumerate() {
            let decoded = Envelope::decode(&bytes, key);
            if written_for == read_for {
                assert_eq!(decoded, Ok(golden().1));
            } else {
                assert_eq!(
                    decoded,
                    Err(EnvelopeError::OtherKey),
                    "{written_for} read as {read_for}"
                );
            }
        }
    }
}

#[test]
fn the_payload_is_not_copied_when_it_is_read() {
    let (key, envelope) = golden();
    let bytes = envelope.encode(&key).unwrap();
    let payload = Envelope::decode(&bytes, &key).unwrap().payload;
    assert!(bytes.as_ptr_range().contains(&payload.as_ptr()));
}

#[test]
fn what_the_format_cannot_hold_is_an_error() {
    let (key, envelope) = golden();
    let longest = envelope.clone().with_payload("c".repeat(255), Bytes::new());
    assert_eq!(Envelope::decode(&longest.encode(&key).unwrap(), &key), Ok(longest));
    let too_long = envelope.with_payload("c".repeat(256), Bytes::new());
    assert_eq!(too_long.encode(&key).unwrap_err().kind(), ErrorKind::Codec);
}

#[test]
fn windows_are_kept_in_whole_milliseconds_and_never_cut() {
    let key = golden().0;
    let stored = |windows| {
        let bytes = Envelope::new(EntryKind::Lease, Timestamp::from_millis(0), windows).encode(&key);
        Envelope::decode(&bytes.unwrap(), &key).unwrap().windows
    };
    assert_eq!(
        stored(FreshnessWindows::new(Duration::from_micros(1_001))),
        FreshnessWindows::new(Duration::from_millis(2))
    );
    assert_eq!(
        stored(FreshnessWindows::new(Duration::MAX)),
        FreshnessWindows::new(Duration::from_millis(u64::MAX))
    );
    assert_eq!(stored(FreshnessWindows::FOREVER), FreshnessWindows::FOREVER);
    assert_eq!(
        stored(FreshnessWindows::new(Duration::ZERO)),
        FreshnessWindows::new(Duration::ZERO)
    );
}

fn any_key() -> impl Strategy<Value = Key> {
    (any::<String>(), any::<String>(), option::of(vec(any::<u8>(), 0..40))).prop_map(|(namespace, name, identity)| {
        let name = match identity {
            Some(identity) => KeyName::with_identity(name, identity),
            None => KeyName::new(name),
        };
        Prefix::new("p").namespace(&namespace).key(name)
    })
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    let kind = prop::sample::select(vec![
        EntryKind::Value,
        EntryKind::Absent,
        EntryKind::Failure,
        EntryKind::Lease,
        EntryKind::Tag,
    ]);
    let millis = || any::<u64>().prop_map(Duration::from_millis);
    let windows = (option::of(millis()), millis(), millis()).prop_map(|(fresh, revalidate, error)| {
        FreshnessWindows::new(fresh)
            .with_stale_while_revalidate(revalidate)
            .with_stale_if_error(error)
    });
    let tags = vec((any::<String>(), any::<u128>().prop_map(Version::from_u128)), 0..5);
    let payload = vec(any::<u8>(), 0..200);
    let load_time = option::of(any::<u32>().prop_map(|micros| Duration::from_micros(micros.into())));
    let optional = (load_time, any::<u32>());
    (kind, any::<u64>(), windows, "[a-zé]{0,6}", tags, payload, optional).prop_map(
        |(kind, created, windows, coder, tags, payload, (load_time, type_version))| {
            Envelope::new(kind, Timestamp::from_millis(created), windows)
                .with_payload(coder, payload.into())
                .with_tags(Tags::new(tags).unwrap())
                .with_load_time(load_time)
                .with_type_version(type_version)
        },
    )
}

/// A change to stored bytes: some are replaced, some are put in, some are cut off.
#[derive(Debug, Clone)]
enum Damage {
    Overwrite(prop::sample::Index, Vec<u8>),
    Insert(prop::sample::Index, Vec<u8>),
    Truncate(prop::sample::Index),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<prop::sample::Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        (any::<prop::sample::Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        any::<prop::sample::Index>().prop_map(Damage::Truncate),
    ]
}

fn damaged(bytes: &[u8], damage: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damage {
        match damage {
            Damage::Overwrite(at, with) => {
                let at = at.index(bytes.len() + 1);
                let end = (at + with.len()).min(bytes.len());
                bytes.splice(at..end, with.iter().copied());
            }
            Damage::Insert(at, with) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, with.iter().copied());
            }
            Damage::Truncate(at) => bytes.truncate(at.index(bytes.len() + 1)),
        }
    }
    bytes
}

/// Corrects the checksum of changed bytes, so that the checks after it are reached.
fn with_valid_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 9 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[..5]);
        crc.update(&bytes[9..]);
        bytes[5..9].copy_from_slice(&crc.finalize().to_be_bytes());
    }
    bytes
}

proptest! {
    #[test]
    fn what_was_written_is_read(key in any_key(), envelope in any_envelope()) {
        let bytes = envelope.encode(&key).unwrap();
        prop_assert_eq!(Envelope::decode(&bytes, &key), Ok(envelope));
    }

    #[test]
    fn damage_never_changes_what_is_read(
        key in any_key(),
        envelope in any_envelope(),
        damage in vec(any_damage(), 1..4),
    ) {
        let bytes = envelope.encode(&key).unwrap();
        if let Ok(decoded) = Envelope::decode(&damaged(&bytes, &damage).into(), &key) {
            prop_assert_eq!(decoded, envelope);
        }
    }

    #[test]
    fn another_keys_bytes_are_never_read(a in any_key(), b in any_key(), envelope in any_envelope()) {
        prop_assume!(a != b || a.identity() != b.identity());
        let bytes = envelope.encode(&a).unwrap();
        prop_assert_eq!(Envelope::decode(&bytes, &b), Err(EnvelopeError::OtherKey));
    }

    #[test]
    fn no_bytes_make_it_panic_allocate_beyond_their_length_or_read_what_was_not_written(
        key in any_key(),
        envelope in any_envelope(),
        damage in vec(any_damage(), 0..4),
        arbitrary in vec(any::<u8>(), 0..300),
    ) {
        let body = envelope.encode(&key).unwrap();
        let inputs = [
            arbitrary.clone(),
            [b"\xCAche\x01", &arbitrary[..]].concat(),
            with_valid_checksum([b"\xCAche\x01", &arbitrary[..]].concat()),
            with_valid_checksum(damaged(&body, &damage)),
        ];
        for bytes in inputs.map(Bytes::from) {
            let mut decoded = None;
            let allocated = allocation_counter::measure(|| decoded = Envelope::decode(&bytes, &key).ok());
            prop_assert!(allocated.bytes_total <= bytes.len() as u64, "{:?} for {} bytes", allocated, bytes.len());
            if let Some(decoded) = decoded {
                prop_assert_eq!(decoded.encode(&key).unwrap(), bytes);
            }
        }
    }
}
