//! The bytes of records are pinned: records of this version are read by every later one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use cache_at_rest::AtRest;
use cache_memory::MemoryBackend;
use support::{bytes, key, put, reason, ring, sealed, text};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[tokio::test]
async fn records_of_version_1_are_read() {
    let memory = MemoryBackend::default();
    let plain = AtRest::new(memory.clone());
    // Mark, version, kind; no compression; the value.
    put(&memory, &key("42"), hex("ca727374 01 00 00 ca727374")).await;
    assert_eq!(bytes(&plain, &key("42")).await, &b"\xCArst"[..]);
    // Mark, version, kind; the algorithm; the length of the value; the compressed value.
    for record in [ZSTD, LZ4] {
        put(&memory, &key("42"), hex(record)).await;
        assert_eq!(bytes(&plain, &key("42")).await, text(270));
    }
    // Mark, version, kind; the length of the key's id, the id; the nonce; a frame as above, encrypted; the tag.
    put(&memory, &key("42"), hex(SEALED)).await;
    assert_eq!(bytes(&sealed(&memory, ring("2026-11", 7)), &key("42")).await, "a value");
}

const ZSTD: &str = "ca727374 01 00 01 0000010e
    28b52ffd600e00150100d87b226e616d65223a22416461222c22626f726e223a313831357d2c0100c39d9a63";
const LZ4: &str = "ca727374 01 00 02 0000010e
    ff0c7b226e616d65223a22416461222c22626f726e223a313831357d2c1b00da60313831357d2c";
const SEALED: &str = "ca727374 01 01 07 323032362d3131
    487e1391228b763d63d49d8273c0442f2063c298a108e8c2
    045e0db729d7985d
    d7a75dd92478d8352c94246fd7956f84";

#[tokio::test]
async fn what_this_version_cannot_read_is_named() {
    let memory = MemoryBackend::default();
    for (record, expected) in [
        ("ca727374", "damaged"),
        ("ca727374 00 00 00", "damaged"),
        ("ca727374 01", "damaged"),
        ("ca727374 02 00 00", "newer format version 2"),
        ("ca727374 01 00", "cut short"),
        ("ca727374 01 00 01 000000", "cut short"),
        ("ca727374 01 00 09 00000000", "unknown algorithm 9"),
        ("ca727374 01 09 00", "unknown kind 9"),
        ("ca727374 01 01", "cut short"),
        ("ca727374 01 01 05 31", "cut short"),
        ("ca727374 01 01 01 31", "no keys"),
    ] {
        put(&memory, &key("42"), hex(record)).await;
        let reason = reason(&AtRest::new(memory.clone()), &key("42")).await;
        assert!(reason.contains(expected), "{record}: {reason}");
    }
    let rest = "00".repeat(40);
    let (unknown, hostile) = (
        format!("ca727374 01 01 01 32 {rest}"),
        format!("ca727374 01 01 02 ff0a {rest}"),
    );
    for (record, expected) in [
        ("ca727374 01 01 01 31", "cut short"),
        (unknown.as_str(), "\"2\", which is not in the key ring"),
        (hostile.as_str(), "\\n\", which is not in the key ring"),
        ("ca727374 02 01 01 31", "newer format version 2"),
        ("ca727374 01 09 00", "not sealed"),
        ("ca727374 01 00 00", "not sealed"),
        ("", "not sealed"),
    ] {
        put(&memory, &key("42"), hex(record)).await;
        let reason = reason(&sealed(&memory, ring("1", 1)), &key("42")).await;
        assert!(reason.contains(expected), "{record}: {reason}");
    }
}
