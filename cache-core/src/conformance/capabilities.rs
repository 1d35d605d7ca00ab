//! The backend declares exactly the capabilities and limits that its test lists.

use crate::conformance::declared::tried_value_bytes;
use crate::conformance::trial::{Trial, Verdict, ensure};

pub(super) async fn backend_declares_what_the_test_says(trial: Trial) -> Verdict {
    let backend = trial.backend();
    let capabilities = backend.capabilities();
    let said = trial.subject.declared;
    for (name, declares, said) in [
        ("clear", capabilities.clear, said.has_clear()),
        ("shared_objects", capabilities.shared_objects, said.has_shared_objects()),
        ("subscribe", capabilities.subscribe, said.has_subscribe()),
        (
            "value_bytes",
            tried_value_bytes(backend.limits()).is_some(),
            said.has_value_bytes(),
        ),
    ] {
        ensure!(
            said || !declares,
            "the backend declares `{name}`, and the test does not say so: add it to `declares`, or its checks do not run"
        );
        ensure!(
            declares || !said,
            "the test says that the backend declares `{name}`, and the backend does not: declare it in \
             `Backend::capabilities` or `Backend::limits`, or remove it from `declares`"
        );
    }
    Ok(())
}
