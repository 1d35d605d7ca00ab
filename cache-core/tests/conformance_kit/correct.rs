//! A correct backend passes every check: on the real clock, on a clock that is moved, and with the provided methods.

use cache_core::conformance::{self, Declared, Outcome, Subject};

use crate::reference::Reference;

mod on_the_real_clock {
    use super::*;

    cache_core::conformance!(Reference::new(), declares: [clear, shared_objects, subscribe, value_bytes]);
}

mod on_a_manual_clock {
    use cache_core::ManualClock;
    use cache_core::conformance::Subject;

    use super::*;

    cache_core::conformance!({
        let clock = ManualClock::new();
        Subject::new(Reference::with_clock(clock.clone())).with_clock(clock)
    }, declares: [clear, shared_objects, subscribe, value_bytes]);
}

/// With the three required methods and `close` only: no capability, no limit.
mod with_the_provided_methods {
    use cache_core::conformance::Subject;
    use cache_core::{Backend, Error, Key, ManualClock, Record, SetOptions, SetOutcome, Value};

    use super::*;

    #[derive(Debug)]
    struct Minimal(Reference);

    #[cache_core::async_trait]
    impl Backend for Minimal {
        async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
            self.0.get(key).await
        }

        async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
            self.0.set(key, value, options).await
        }

        async fn delete(&self, key: &Key) -> Result<bool, Error> {
            self.0.delete(key).await
        }

        async fn ping(&self) -> Result<(), Error> {
            self.0.ping().await
        }

        async fn close(&self) -> Result<(), Error> {
            self.0.close().await
        }
    }

    cache_core::conformance!({
        let clock = ManualClock::new();
        Subject::new(Minimal(Reference::with_clock(clock.clone()))).with_clock(clock)
    }, declares: []);
}

/// Against one store that all checks share, all of them at once.
#[test]
fn checks_do_not_disturb_each_other() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let shared = Reference::new();
        let mut running = tokio::task::JoinSet::new();
        for check in conformance::checks() {
            // Closing a handle closes no other, as with connections to a server.
            let handle = shared.another_handle();
            let declared = Declared::nothing().clear().shared_objects().subscribe().value_bytes();
            let subject = Subject::new(handle).with_declared(declared);
            running.spawn(async move { (check.name(), check.run(subject).await) });
        }
        while let Some(report) = running.join_next().await {
            let (name, outcome) = report.unwrap();
            assert!(!matches!(outcome, Outcome::Failed(_)), "{name}: {outcome:?}");
        }
        assert!(shared.map.lock().unwrap().is_empty(), "the checks leave records behind");
    });
}
