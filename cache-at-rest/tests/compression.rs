//! What is compressed comes back, within a bound, whatever the settings were when it was written.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use allocation_counter::measure;
use bytes::Bytes;
use cache_at_rest::{AtRest, Compression};
use cache_core::{Backend, ErrorKind, SetOptions};
use cache_memory::MemoryBackend;
use support::{HOUR, bytes, key, noise, put, reason, ring, text};

const MIB: usize = 1 << 20;

fn at_rest(memory: &MemoryBackend, compression: Compression) -> AtRest<MemoryBackend> {
    AtRest::new(memory.clone()).with_compression(compression)
}

fn algorithms() -> [Compression; 4] {
    [
        Compression::zstd(),
        Compression::zstd_with_level(-5),
        Compression::zstd_with_level(i32::MAX),
        Compression::lz4(),
    ]
}

#[tokio::test]
async fn text_shrinks_and_comes_back() {
    let memory = MemoryBackend::default();
    for compression in algorithms() {
        let store = at_rest(&memory, compression);
        put(&store, &key("42"), text(100_000)).await;
        let stored = bytes(&memory, &key("42")).await;
        assert!(stored.len() < 2000, "{compression:?}: {}", stored.len());
        assert_eq!(bytes(&store, &key("42")).await, text(100_000));
    }
}

#[tokio::test]
async fn what_is_small_or_does_not_shrink_is_stored_as_it_is() {
    let memory = MemoryBackend::default();
    for compression in algorithms() {
        let store = at_rest(&memory, compression);
        for value in [Bytes::new(), text(1023), noise(1024), noise(100_000)] {
            put(&store, &key("42"), value.clone()).await;
            assert_eq!(bytes(&memory, &key("42")).await, value, "{compression:?}");
            assert_eq!(bytes(&store, &key("42")).await, value);
        }
        put(&store, &key("42"), text(1024)).await;
        assert!(bytes(&memory, &key("42")).await.len() < 1024, "{compression:?}");
        put(
            &at_rest(&memory, compression.with_threshold(2000)),
            &key("42"),
            text(1999),
        )
        .await;
        assert_eq!(bytes(&memory, &key("42")).await, text(1999));
    }
}

#[tokio::test]
async fn settings_may_change_while_records_live() {
    let memory = MemoryBackend::default();
    let stores = algorithms().map(|compression| at_rest(&memory, compression));
    let off = AtRest::new(memory.clone())
        .with_compression(Compression::lz4())
        .with_compression(None);
    for writer in &stores {
        put(writer, &key("42"), text(5000)).await;
        assert!(bytes(&memory, &key("42")).await.len() < 1000);
        for reader in stores.iter().chain([&off]) {
            assert_eq!(bytes(reader, &key("42")).await, text(5000));
        }
    }
    // Records from before are read as they are.
    put(&off, &key("42"), text(5000)).await;
    assert_eq!(bytes(&memory, &key("42")).await, text(5000));
    for reader in &stores {
        assert_eq!(bytes(reader, &key("42")).await, text(5000));
    }
}

#[tokio::test]
async fn a_value_that_looks_like_a_record_comes_back() {
    let memory = MemoryBackend::default();
    let store = at_rest(&memory, Compression::zstd());
    put(&store, &key("real"), text(5000)).await;
    let real = bytes(&memory, &key("real")).await;
    for value in [&b"\xCArst"[..], b"\xCArst\x01", b"\xCArst\x01\x00\x00", &real] {
        for store in [&store, &AtRest::new(memory.clone())] {
            put(store, &key("42"), value.to_vec()).await;
            assert_eq!(bytes(store, &key("42")).await, value);
        }
    }
}

/// A record that is not sealed: a frame of `algorithm` that claims to have `len` bytes.
fn claiming(algorithm: u8, len: u32, compressed: &[u8]) -> Bytes {
    [b"\xCArst\x01\x00", &[algorithm][..], &len.to_be_bytes(), compressed]
        .concat()
        .into()
}

#[tokio::test]
async fn a_record_that_would_take_too_much_memory_is_not_read() {
    let memory = MemoryBackend::default();
    for compression in [Compression::zstd(), Compression::lz4()] {
        put(&at_rest(&memory, compression), &key("42"), text(8 * MIB)).await;
        let bomb = bytes(&memory, &key("42")).await;
        assert!(bomb.len() < MIB, "{}", bomb.len());
        let store = AtRest::new(memory.clone()).with_max_decompressed(MIB);
        let reason = reason(&store, &key("42")).await;
        assert!(
            reason.contains("8388608 bytes decompressed, and at most 1048576"),
            "{reason}"
        );

        // It lies about its length: more, less and far more than it has.
        let (algorithm, compressed) = (bomb[6], bomb.slice(11..));
        for len in [0, 1, MIB as u32, 8 * MIB as u32 - 1, 8 * MIB as u32 + 1] {
            put(&memory, &key("42"), claiming(algorithm, len, &compressed)).await;
            let reason = support::reason(&AtRest::new(memory.clone()), &key("42")).await;
            assert!(reason.contains("damaged"), "{len}: {reason}");
        }
    }
}

#[test]
fn no_memory_is_allocated_for_what_is_not_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let memory = MemoryBackend::builder().background_purge(false).build();
    let store = AtRest::new(memory.clone());
    for algorithm in [1, 2] {
        runtime.block_on(put(&memory, &key("42"), claiming(algorithm, u32::MAX, &noise(100))));
        let taken = measure(|| drop(store.get_now(&key("42"))));
        assert!(taken.bytes_max < 10_000, "{taken:?}");
    }
    // LZ4 cannot expand a hundred bytes to a mebibyte, so that is not even tried.
    runtime.block_on(put(&memory, &key("42"), claiming(2, MIB as u32, &noise(100))));
    let taken = measure(|| drop(store.get_now(&key("42"))));
    assert!(taken.bytes_max < 10_000, "{taken:?}");
}

#[tokio::test]
async fn what_is_larger_than_may_be_read_is_not_compressed() {
    let memory = MemoryBackend::default();
    let store = at_rest(&memory, Compression::zstd()).with_max_decompressed(10_000);
    put(&store, &key("42"), text(10_000)).await;
    assert!(bytes(&memory, &key("42")).await.len() < 1000);
    put(&store, &key("42"), text(10_001)).await;
    assert_eq!(bytes(&memory, &key("42")).await.len(), 10_001);
    assert_eq!(bytes(&store, &key("42")).await, text(10_001));
}

#[tokio::test]
async fn compression_makes_room_for_values_above_the_limit_of_the_store() {
    let memory = MemoryBackend::builder().max_bytes(1 << 18).shards(1).build();
    let limit = memory.limits().value_bytes.unwrap();
    for encryption in [None, Some(ring("1", 1))] {
        let store = at_rest(&memory, Compression::zstd()).with_encryption(encryption);
        assert_eq!(store.limits().value_bytes, Some(64 * MIB));
        put(&store, &key("42"), text(4 * limit)).await;
        assert_eq!(bytes(&store, &key("42")).await, text(4 * limit));
        // It does not shrink. The record that it would have replaced is gone, as the contract demands.
        let value = noise(4 * limit).into();
        let error = store.set(&key("42"), value, SetOptions::new(HOUR)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(store.get(&key("42")).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn it_is_compressed_before_it_is_encrypted() {
    let memory = MemoryBackend::default();
    let store = AtRest::new(memory.clone());
    let one = store
        .clone()
        .with_encryption(ring("1", 1))
        .with_compression(Compression::zstd());
    let other = store
        .with_compression(Compression::zstd())
        .with_encryption(ring("1", 1));
    for (writer, reader) in [(&one, &other), (&other, &one)] {
        put(writer, &key("42"), text(100_000)).await;
        assert!(bytes(&memory, &key("42")).await.len() < 1000);
        assert_eq!(bytes(reader, &key("42")).await, text(100_000));
    }
}
