//! The conformance kit on a memcached in this process. Against real ones it runs in `integration-tests`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use cache_core::ManualClock;
use cache_core::conformance::Subject;
use support::{Fake, over};

fn subject(servers: usize) -> Subject {
    let clock = ManualClock::new();
    let fakes: Vec<Fake> = (0..servers).map(|_| Fake::new()).collect();
    // A busy machine is no reason to fail.
    let patience = std::time::Duration::from_secs(20);
    let backend = over(&fakes)
        .clock(clock.clone())
        .operation_timeout(patience)
        .connect_timeout(patience);
    Subject::new(backend.build().unwrap()).with_clock(clock)
}

mod one_server {
    cache_core::conformance!(super::subject(1), declares: [value_bytes]);
}

mod three_servers {
    cache_core::conformance!(super::subject(3), declares: [value_bytes]);
}
