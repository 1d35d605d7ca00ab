//! The conformance kit on a memcached in this process. Against real ones it runs in `integration-tests`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use cache_core::ManualClock;
use cache_core::conformance::Subject;
use cache_memcached::{MemcachedBackendBuilder, NodeList};
use support::{Fake, names, over, reaching};

fn subject(servers: usize) -> Subject {
    with_settings(over(&fakes(servers)))
}

/// The same with a list of servers that may change.
fn discovered(servers: usize) -> Subject {
    let fakes = fakes(servers);
    let list = NodeList::new(names(&fakes));
    with_settings(reaching(&fakes).nodes(move || std::future::ready(Ok(list.clone()))))
}

fn fakes(servers: usize) -> Vec<Fake> {
    (0..servers).map(|_| Fake::new()).collect()
}

fn with_settings(builder: MemcachedBackendBuilder) -> Subject {
    let clock = ManualClock::new();
    // A busy machine is no reason to fail.
    let patience = std::time::Duration::from_secs(20);
    let backend = builder
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

mod servers_of_a_provider {
    cache_core::conformance!(super::discovered(3), declares: [value_bytes]);
}
