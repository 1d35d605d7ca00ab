//! The test kit of cache-core, on the machine's clock and on a clock that the checks move.

use cache_memory::MemoryBackend;

mod real_time {
    cache_core::conformance!(super::MemoryBackend::default(), declares: [clear, shared_objects, value_bytes]);
}

mod manual_time {
    use cache_core::ManualClock;
    use cache_core::conformance::Subject;

    cache_core::conformance!({
        let clock = ManualClock::new();
        let backend = super::MemoryBackend::builder().clock(clock.clone()).build();
        Subject::new(backend).with_clock(clock)
    }, declares: [clear, shared_objects, value_bytes]);
}

mod many_shards {
    cache_core::conformance!(super::MemoryBackend::builder().shards(64).build(), declares: [clear, shared_objects, value_bytes]);
}
