//! Decoding an envelope never panics, and a decoded envelope encodes to the same bytes.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use cache_core::{Envelope, Key, KeyName, Prefix};
use libfuzzer_sys::{Corpus, fuzz_target};

/// A key that is its own identity, and one with another identity.
static KEYS: LazyLock<[Key; 2]> = LazyLock::new(|| {
    let namespace = Prefix::new("p").namespace("n");
    [namespace.key("k"), namespace.key(KeyName::with_identity("k", *b"i"))]
});

fuzz_target!(|input: &[u8]| -> Corpus {
    let as_it_is = decodes(input.to_vec());
    // A fuzzer cannot guess the checksum, so it is corrected to reach the checks after it.
    let mut bytes = input.to_vec();
    if bytes.len() < 9 {
        return Corpus::Keep;
    }
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes[..5]);
    checksum.update(&bytes[9..]);
    bytes[5..9].copy_from_slice(&checksum.finalize().to_be_bytes());
    let with_checksum = decodes(bytes);
    assert!(with_checksum || !as_it_is, "the checksum is not where it is written");
    Corpus::Keep
});

fn decodes(bytes: Vec<u8>) -> bool {
    let bytes = Bytes::from(bytes);
    let decoded = KEYS.iter().filter(|key| {
        let Ok(envelope) = Envelope::decode(&bytes, key) else {
            return false;
        };
        assert!(envelope.tags.iter().count() <= bytes.len());
        let encoded = envelope.encode(key).expect("what decodes can be encoded");
        assert_eq!(encoded, bytes, "{envelope:?}");
        true
    });
    match decoded.count() {
        0 => false,
        1 => true,
        _ => panic!("two keys read the same bytes"),
    }
}
