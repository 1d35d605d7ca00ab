//! The list of the checks, and running them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::conformance::declared::Declared;
use crate::conformance::subject::Subject;
use crate::conformance::trial::{Stop, Trial, Verdict};
use crate::conformance::{
    batches, cancellation, capabilities, clears, deletes, handle, keys, lifetimes, model, modes, subscriptions, values,
    versions,
};

/// Runs every check of the [test kit](mod@crate::conformance) as a test of its own.
///
/// Takes an expression, which may use `.await` and returns a backend or a [`Subject`], and the list of what the backend
/// [declares](mod@crate::conformance#what-the-backend-declares). The tests bring their own runtime (tokio, with several
/// threads).
#[macro_export]
macro_rules! conformance {
    ($subject:expr, declares: [$($declared:ident),* $(,)?] $(,)?) => {
        $crate::__conformance! { @each tests ($subject, [$($declared)*]) }
    };
    ($subject:expr $(,)?) => {
        ::core::compile_error!(
            "say what the backend declares: `conformance!(…, declares: [])`, with any of `clear`, `shared_objects`, \
             `subscribe` and `value_bytes` between the brackets"
        );
    };
}

// The list of all checks, from which the macro's tests and [`checks`] are made.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance {
    (@each $what:ident ($($with:tt)*)) => {
        $crate::__conformance! { @$what ($($with)*)
            capabilities::backend_declares_what_the_test_says
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
            modes::get_or_add_finds_or_adds
            modes::get_or_add_has_one_winner
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
            handle::shown_objects_have_the_lifetime_of_their_record
            subscriptions::subscribe_is_refused_where_not_declared
            subscriptions::every_change_is_reported
            subscriptions::cleared_records_are_reported
            subscriptions::changes_elsewhere_are_not_reported
            subscriptions::heartbeats_keep_coming
            subscriptions::heartbeat_follows_the_changes_before_it
            subscriptions::dropped_waits_lose_no_change
            subscriptions::close_ends_the_subscription
            model::random_calls_agree_with_a_map
        }
    };
    (@tests ($subject:expr, $declared:tt) $($group:ident::$name:ident)*) => {$(
        #[test]
        fn $name() {
            let declared = $crate::__conformance! { @declared $declared };
            $crate::conformance::__test(::core::stringify!($name), declared, async || $subject);
        }
    )*};
    (@declared [$($declared:ident)*]) => {
        $crate::conformance::Declared::nothing()$(.$declared())*
    };
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

/// Returns all checks, in the order of the [table](mod@crate::conformance#what-is-checked).
#[must_use]
pub fn checks() -> &'static [Check] {
    CHECKS
}

impl Check {
    /// Returns the name, which is also the name of the test.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the check, then closes the backend. If the backend panics, the check has failed.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime with time enabled. Prefer a runtime with several threads: races need them.
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

/// The outcome of a check.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The backend meets this part of the contract.
    Passed,
    /// The check needs something that the test does not [declare](Declared); the reason.
    NotApplicable(&'static str),
    /// The backend broke the contract, returned an error, panicked or did not answer. The message says which.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::NotApplicable(reason) => write!(f, "does not apply: {reason}"),
            Self::Failed(message) => write!(f, "FAILED: {message}"),
        }
    }
}

/// Runs one test of [`conformance!`](macro@crate::conformance).
#[doc(hidden)]
#[track_caller]
pub fn __test<S: Into<Subject>>(name: &str, declared: Declared, subject: impl AsyncFn() -> S) {
    let Some(check) = CHECKS.iter().find(|check| check.name == name) else {
        panic!("there is no check {name:?}");
    };
    // More threads than a small machine has cores, to provoke races.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(async { check.run(subject().await.into().with_declared(declared)).await }),
        Err(error) => panic!("no runtime: {error}"),
    };
    match outcome {
        Outcome::Failed(_) => panic!("{name}: {outcome}"),
        _ => println!("{name}: {outcome}"),
    }
}
