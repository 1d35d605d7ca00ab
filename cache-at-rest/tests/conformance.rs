//! The conformance kit, over a store in memory.

#![allow(clippy::unwrap_used)]

use cache_at_rest::{AtRest, Compression, KeyRing};
use cache_core::ManualClock;
use cache_core::conformance::Subject;
use cache_memory::MemoryBackend;

/// Below the store's own limit, so that whatever the declared limit allows also fits.
const MAX_DECOMPRESSED: usize = 256 << 10;

fn subject(at_rest: impl FnOnce(AtRest<MemoryBackend>) -> AtRest<MemoryBackend>) -> Subject {
    let clock = ManualClock::new();
    let memory = MemoryBackend::builder()
        .clock(clock.clone())
        .max_bytes(32 << 20)
        .shards(16);
    let store = AtRest::new(memory.build()).with_max_decompressed(MAX_DECOMPRESSED);
    Subject::new(at_rest(store)).with_clock(clock)
}

fn keys() -> KeyRing {
    KeyRing::new([("new", [1; 32]), ("old", [2; 32])]).unwrap()
}

mod without_settings {
    use super::*;

    cache_core::conformance!(subject(|store| store), declares: [clear, value_bytes]);
}

mod zstd {
    use super::*;

    cache_core::conformance!(
        subject(|store| store.with_compression(Compression::zstd().with_threshold(0))),
        declares: [clear, value_bytes]
    );
}

mod lz4 {
    use super::*;

    cache_core::conformance!(
        subject(|store| store.with_compression(Compression::lz4())),
        declares: [clear, value_bytes]
    );
}

mod encrypted {
    use super::*;

    cache_core::conformance!(subject(|store| store.with_encryption(keys())), declares: [clear, value_bytes]);
}

mod compressed_and_encrypted {
    use super::*;

    cache_core::conformance!(
        subject(|store| store.with_encryption(keys()).with_compression(Compression::zstd().with_threshold(0))),
        declares: [clear, value_bytes]
    );
}
