//! The test kit that every backend runs.
//!
//! A backend is right when it keeps to the contract of [`Backend`], and the contract is long: any text is a key, any
//! bytes are a value, nothing is gone early, nothing lives for ever, one writer of many wins, and a call that was
//! dropped half-way never spoils the next one. The kit holds a check for each of these. One line in a backend's own
//! tests runs them all, and each check reports by its name:
//!
//! ```
//! # #[derive(Debug, Default)]
//! # struct MyBackend;
//! # #[cache_core::async_trait]
//! # impl cache_core::Backend for MyBackend {
//! #     async fn get(&self, _: &cache_core::Key) -> Result<Option<cache_core::Record>, cache_core::Error> { Ok(None) }
//! #     async fn set(&self, _: &cache_core::Key, _: cache_core::Value, _: cache_core::SetOptions)
//! #         -> Result<cache_core::SetOutcome, cache_core::Error> { Ok(cache_core::SetOutcome::Refused) }
//! #     async fn delete(&self, _: &cache_core::Key) -> Result<bool, cache_core::Error> { Ok(false) }
//! # }
//! # impl MyBackend { async fn connect() -> Self { Self } }
//! cache_core::conformance!(MyBackend::connect().await);
//! ```
//!
//! The expression is evaluated once for each check. It gives a handle of its own, which is [closed](Backend::close)
//! after the check, to a store that may be new or shared: a check writes under a random prefix, so the checks run side
//! by side, also against a store that others use. They remove what they wrote where the store can
//! [`clear`](Backend::clear); elsewhere it expires within an hour.
//!
//! The expression may also give a [`Subject`], which says how thorough the checks are and which clock drives the
//! backend:
//!
//! ```
//! # #![allow(unused_imports)]
//! # #[derive(Debug, Default)]
//! # struct MyBackend;
//! # #[cache_core::async_trait]
//! # impl cache_core::Backend for MyBackend {
//! #     async fn get(&self, _: &cache_core::Key) -> Result<Option<cache_core::Record>, cache_core::Error> { Ok(None) }
//! #     async fn set(&self, _: &cache_core::Key, _: cache_core::Value, _: cache_core::SetOptions)
//! #         -> Result<cache_core::SetOutcome, cache_core::Error> { Ok(cache_core::SetOutcome::Refused) }
//! #     async fn delete(&self, _: &cache_core::Key) -> Result<bool, cache_core::Error> { Ok(false) }
//! # }
//! # impl MyBackend { fn with_clock(_: ManualClock) -> Self { Self } }
//! use cache_core::ManualClock;
//! use cache_core::conformance::Subject;
//!
//! cache_core::conformance!({
//!     let clock = ManualClock::new();
//!     Subject::new(MyBackend::with_clock(clock.clone())).with_clock(clock).with_entries(1_000)
//! });
//! ```
//!
//! Two stores are tested in one file by putting each line in a module of its own.
//!
//! # What is checked
//!
//! | group | guards |
//! |---|---|
//! | values | empty, binary, large and overwritten values; values over [`Limits::value_bytes`](crate::Limits) |
//! | keys | Unicode, control characters, patterns, look-alikes and keys of any length |
//! | lifetimes | 1 ms to 31 days and none: never gone early, never immortal; the remaining lifetime |
//! | versions | a new one on every write, never used again; `version` gives that of the record |
//! | modes | `IfAbsent` and `IfVersion`, one by one and under concurrent writers |
//! | deletes | `delete`, `delete_if` and what they report |
//! | batches | order, duplicates, missing keys, any size |
//! | clears | boundaries, literal names, counts, leases; where [`Capabilities::clear`](crate::Capabilities) is declared |
//! | cancellation | futures dropped after any number of polls |
//! | handle | `ping`, `close`, shared objects |
//! | invalidations | every change is told of, to its scope only, and before the stream is up to date; where [`Capabilities::subscribe`](crate::Capabilities) is declared |
//! | model | random calls against a map; `CONFORMANCE_SEED` repeats a run |
//!
//! A check that the backend's [capabilities](Backend::capabilities) or [limits](Backend::limits) leave without an object
//! passes and says on standard output that it does not apply.
//!
//! # Time
//!
//! With a [clock](Subject::with_clock) the checks move it and do not wait. Without one they wait in real time, some ten
//! seconds in all, which the threads of the test run share. They forgive a store that keeps a record too long by less
//! than the [slack](Subject::with_slack), and never one that drops it too early (by more than the two milliseconds that
//! clocks may differ in).

mod batches;
mod cancellation;
mod clears;
mod deletes;
mod handle;
mod keys;
mod lifetimes;
mod model;
mod modes;
mod subject;
mod subscriptions;
mod trial;
mod values;
mod versions;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

pub use self::subject::Subject;
use self::trial::{Stop, Trial, Verdict};
#[cfg(doc)]
use crate::Backend;

/// Runs every check of the [test kit](mod@crate::conformance) as a test of its own.
///
/// It takes one expression, which may use `.await` and gives a backend or a [`Subject`]. The tests bring their own
/// runtime (tokio, several threads).
#[macro_export]
macro_rules! conformance {
    ($subject:expr $(,)?) => {
        $crate::__conformance! { @each tests ($subject) }
    };
}

// The one list of the checks: the tests of the macro and the table of the module are both made from it.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance {
    (@each $what:ident ($($with:tt)*)) => {
        $crate::__conformance! { @$what ($($with)*)
            values::empty_value_comes_back
            values::binary_value_comes_back
            values::large_value_comes_back
            values::overwrite_replaces_the_value
            values::too_large_value_is_refused
            values::too_large_value_leaves_nothing_stale
            values::too_large_value_in_a_batch_leaves_nothing_stale
            keys::keys_of_any_characters_come_back
            keys::keys_that_look_alike_are_apart
            keys::key_text_is_never_a_command
            keys::long_keys_come_back
            keys::long_keys_with_a_common_start_are_apart
            keys::namespaces_and_prefixes_are_apart
            lifetimes::lifetime_of_1_ms_ends
            lifetimes::lifetime_of_500_ms_ends_and_not_early
            lifetimes::lifetime_of_1_s_ends_and_not_early
            lifetimes::lifetime_of_1500_ms_ends_and_not_early
            lifetimes::lifetime_of_31_days_is_kept
            lifetimes::longest_lifetime_is_kept
            lifetimes::no_lifetime_means_no_end
            lifetimes::remaining_lifetime_counts_down
            lifetimes::overwrite_replaces_the_lifetime
            lifetimes::refused_write_leaves_the_lifetime
            lifetimes::expired_record_is_absent_to_every_call
            versions::every_write_has_a_new_version
            versions::versions_do_not_repeat_after_removal
            versions::concurrent_writes_have_versions_of_their_own
            versions::version_is_that_of_the_record
            modes::if_absent_writes_only_where_nothing_is
            modes::if_version_writes_only_over_that_version
            modes::if_version_is_refused_after_delete
            modes::if_absent_has_one_winner
            modes::if_version_has_one_winner
            modes::compare_and_set_loses_no_update
            deletes::delete_reports_what_it_removed
            deletes::delete_if_removes_that_version_only
            deletes::concurrent_deletes_remove_once
            deletes::concurrent_delete_ifs_remove_once
            batches::empty_batches_do_nothing
            batches::batch_read_keeps_the_order_of_its_keys
            batches::batch_read_answers_duplicates
            batches::batch_write_reports_in_order
            batches::batch_write_with_duplicates_is_consistent
            batches::batch_delete_counts_each_record_once
            batches::batches_may_have_any_size
            clears::clear_is_refused_where_not_declared
            clears::clear_stops_at_the_boundary
            clears::clear_of_the_empty_namespace
            clears::clear_of_a_prefix
            clears::clear_takes_names_literally
            clears::clear_of_many_entries
            clears::clear_leaves_what_is_written_elsewhere_meanwhile
            clears::clear_fences_leases
            cancellation::dropped_calls_do_not_answer_later_ones
            cancellation::dropped_calls_under_load_do_not_mix_answers
            handle::ping_answers
            handle::closed_backend_refuses_every_call
            handle::shared_objects_come_back_as_they_are
            subscriptions::invalidations_are_refused_where_not_declared
            subscriptions::every_change_is_told_of
            subscriptions::cleared_records_are_told_of
            subscriptions::changes_elsewhere_are_not_told_of
            subscriptions::up_to_date_is_said_again_and_again
            subscriptions::up_to_date_follows_the_changes_before_it
            subscriptions::dropped_waits_lose_no_notice
            subscriptions::close_ends_the_notices
            model::random_calls_agree_with_a_map
        }
    };
    (@tests ($subject:expr) $($group:ident::$name:ident)*) => {$(
        #[test]
        fn $name() {
            $crate::conformance::__test(::core::stringify!($name), async || $subject);
        }
    )*};
    (@table () $($group:ident::$name:ident)*) => {
        &[$(Check {
            name: stringify!($name),
            run: |trial| Box::pin($group::$name(trial)),
        }),*]
    };
}

/// One check of the kit.
#[derive(Clone, Copy)]
pub struct Check {
    name: &'static str,
    run: fn(Trial) -> Pin<Box<dyn Future<Output = Verdict> + Send>>,
}

const CHECKS: &[Check] = __conformance! { @each table () };

/// All checks, in the order of the table above.
#[must_use]
pub fn checks() -> &'static [Check] {
    CHECKS
}

/// Runs all checks, one after the other, each on a subject of its own.
///
/// It must be called within a tokio runtime with time enabled, better one of several threads.
pub async fn run_all<S: Into<Subject>>(subject: impl AsyncFn() -> S) -> Vec<Report> {
    let mut reports = Vec::with_capacity(CHECKS.len());
    for check in CHECKS {
        reports.push(Report {
            check: check.name,
            outcome: check.run(subject().await).await,
        });
    }
    reports
}

impl Check {
    /// The name, which is also the name of the test.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the check and closes the backend. A panic of the backend is a failure.
    ///
    /// It must be called within a tokio runtime with time enabled, better one of several threads.
    pub async fn run(&self, subject: impl Into<Subject>) -> Outcome {
        let trial = Trial::new(subject.into());
        let limit = trial.subject.timeout;
        let mut run = tokio::spawn((self.run)(trial.clone()));
        let outcome = match tokio::time::timeout(limit, &mut run).await {
            Ok(Ok(Ok(()))) => Outcome::Passed,
            Ok(Ok(Err(Stop::NotApplicable(reason)))) => Outcome::NotApplicable(reason),
            Ok(Ok(Err(Stop::Failed(message)))) => Outcome::Failed(message),
            Ok(Err(panic)) => Outcome::Failed(panic.to_string()),
            Err(_) => {
                run.abort();
                Outcome::Failed(format!("did not finish within {limit:?}"))
            }
        };
        trial.finish().await;
        outcome
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// What came of a check.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The backend keeps to this part of the contract.
    Passed,
    /// The backend's capabilities or limits leave nothing to check; the reason.
    NotApplicable(&'static str),
    /// The backend breaks the contract, answered with an error, panicked or did not answer; the message says which.
    Failed(String),
}

/// A check and what came of it.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The name of the check.
    pub check: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Passed => write!(f, "{}: passed", self.check),
            Outcome::NotApplicable(reason) => write!(f, "{}: does not apply: {reason}", self.check),
            Outcome::Failed(message) => write!(f, "{}: FAILED: {message}", self.check),
        }
    }
}

/// The body of one test of [`conformance!`](macro@crate::conformance).
#[doc(hidden)]
pub fn __test<S: Into<Subject>>(name: &str, subject: impl AsyncFn() -> S) {
    let Some(check) = CHECKS.iter().find(|check| check.name == name) else {
        panic!("there is no check {name:?}");
    };
    // More threads than a small machine has cores: races need them.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(async { check.run(subject().await).await }),
        Err(error) => panic!("no runtime: {error}"),
    };
    let report = Report {
        check: check.name,
        outcome,
    };
    match report.outcome {
        Outcome::Failed(_) => panic!("{report}"),
        _ => println!("{report}"),
    }
}
