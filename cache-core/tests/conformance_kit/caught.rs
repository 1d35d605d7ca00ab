//! Each fault is detected by the checks for it, and each check detects a fault.

use std::collections::HashSet;
use std::time::Duration;

use cache_core::ManualClock;
use cache_core::conformance::{self, Declared, Outcome, Subject};

use crate::broken::{Broken, Fault};
use crate::reference::Reference;

fn subject(fault: Fault) -> Subject {
    let clock = ManualClock::new();
    Subject::new(Broken::new(Reference::with_clock(clock.clone()), fault))
        .with_clock(clock)
        .with_declared(declared(fault))
}

/// Returns what the test of the broken backend lists.
fn declared(fault: Fault) -> Declared {
    let declared = Declared::nothing().shared_objects().value_bytes();
    match fault {
        // The test says as much as the backend does, and both say too little.
        Fault::ClearUndeclared => declared.subscribe(),
        Fault::SubscriptionUndeclared => declared.clear(),
        _ => declared.clear().subscribe(),
    }
}

fn is_caught(fault: Fault, by: &[&str]) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    for name in by {
        let check = conformance::checks().iter().find(|check| check.name() == *name);
        let check = check.unwrap_or_else(|| panic!("there is no check {name}"));
        let outcome = runtime.block_on(check.run(subject(fault)));
        assert!(
            matches!(outcome, Outcome::Failed(_)),
            "{name} does not catch {fault:?}: {outcome:?}"
        );
        println!("{name}: {outcome:?}");
    }
}

/// Where no clock can be moved, faults of the lifetime are caught by waiting.
#[test]
fn lifetimes_are_followed_in_real_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let cases = [
        (Fault::DeadlineUnchecked, "lifetime_of_500_ms_ends_and_not_early"),
        (Fault::DeadlineUnchecked, "expired_record_is_absent_to_every_call"),
        (Fault::TtlTruncated, "lifetime_of_1500_ms_ends_and_not_early"),
        (Fault::TtlEarly, "lifetime_of_1_s_ends_and_not_early"),
        (Fault::TtlAbsolute, "lifetime_of_31_days_is_kept"),
        (Fault::OverwriteKeepsTtl, "overwrite_replaces_the_lifetime"),
        (Fault::RemainingStands, "remaining_lifetime_counts_down"),
    ];
    let mut running = tokio::task::JoinSet::new();
    for (fault, name) in cases {
        let check = conformance::checks().iter().find(|check| check.name() == name).unwrap();
        let subject = Subject::new(Broken::new(Reference::new(), fault)).with_slack(Duration::from_millis(200));
        running.spawn_on(async move { (fault, name, check.run(subject).await) }, runtime.handle());
    }
    runtime.block_on(async {
        while let Some(done) = running.join_next().await {
            let (fault, name, outcome) = done.unwrap();
            assert!(
                matches!(outcome, Outcome::Failed(_)),
                "{name} does not catch {fault:?}: {outcome:?}"
            );
        }
    });
}

/// A backend that does not answer, or panics, fails the check and not the kit.
#[test]
fn silence_and_panics_are_failures() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let check = conformance::checks()
        .iter()
        .find(|check| check.name() == "ping_answers")
        .unwrap();
    let silent = subject(Fault::Silent).with_timeout(Duration::from_millis(50));
    for subject in [silent, subject(Fault::Panics)] {
        let outcome = runtime.block_on(check.run(subject));
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }
}

/// A check whose object the backend does not declare, though its test says so, runs and never passes as one that does
/// not apply.
#[test]
fn what_the_test_says_is_declared_is_checked() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let forgetful = [
        Fault::ClearForgotten,
        Fault::SharedForgotten,
        Fault::SubscriptionForgotten,
        Fault::LimitForgotten,
    ];
    for fault in forgetful {
        let mut undeclared = 0;
        for check in conformance::checks() {
            let outcome = runtime.block_on(check.run(subject(fault)));
            if check.name().ends_with("_are_refused_where_not_declared")
                || check.name().ends_with("_is_refused_where_not_declared")
            {
                undeclared += usize::from(matches!(outcome, Outcome::NotApplicable(_)));
            } else {
                assert!(
                    !matches!(outcome, Outcome::NotApplicable(_)),
                    "{fault:?}, {}: {outcome}",
                    check.name()
                );
            }
        }
        assert_eq!(undeclared, 2, "{fault:?}");
    }
}

/// The other way round: what the backend declares and its test does not say.
#[test]
fn what_the_backend_declares_must_be_said_by_its_test() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let check = conformance::checks()
        .iter()
        .find(|check| check.name() == "backend_declares_what_the_test_says")
        .unwrap();
    let all = Declared::nothing().clear().shared_objects().subscribe().value_bytes();
    let too_little = [
        ("clear", Declared::nothing().shared_objects().subscribe().value_bytes()),
        ("shared_objects", Declared::nothing().clear().subscribe().value_bytes()),
        ("subscribe", Declared::nothing().clear().shared_objects().value_bytes()),
        ("value_bytes", Declared::nothing().clear().shared_objects().subscribe()),
    ];
    let run = |declared| runtime.block_on(check.run(Subject::new(Reference::new()).with_declared(declared)));
    assert_eq!(run(all), Outcome::Passed);
    for (name, declared) in too_little {
        let outcome = run(declared).to_string();
        assert!(
            outcome.contains("FAILED") && outcome.contains(&format!("`{name}`")),
            "{outcome}"
        );
    }
}

/// A moment between the check and the write lets two writers win now and then. That is noticed, by chance: in nearly every
/// run on idle cores, and in about every second one beside many other programs.
#[test]
fn a_check_just_before_the_write_is_noticed() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    for name in ["if_absent_has_one_winner", "if_version_has_one_winner"] {
        let check = conformance::checks().iter().find(|check| check.name() == name).unwrap();
        let mut outcomes = (0..40).map(|_| runtime.block_on(check.run(subject(Fault::CheckThenWriteAtOnce))));
        assert!(outcomes.any(|outcome| matches!(outcome, Outcome::Failed(_))), "{name}");
    }
}

/// Without a fault, the wrapper that the faults are built into is as correct as what it wraps.
mod no_fault {
    use super::{Fault, subject};

    cache_core::conformance!(subject(Fault::None), declares: [clear, shared_objects, subscribe, value_bytes]);
}

macro_rules! faults {
    ($($test:ident: $fault:ident is caught by $($check:ident),+;)*) => {
        $(
            #[test]
            fn $test() {
                is_caught(Fault::$fault, &[$(stringify!($check)),+]);
            }
        )*

        #[test]
        fn every_check_catches_a_fault() {
            let catching: HashSet<&str> = [$($(stringify!($check)),+),*].into_iter().collect();
            for check in conformance::checks() {
                assert!(catching.contains(check.name()), "{} is not seen to fail for any fault", check.name());
            }
        }
    };
}

faults! {
    clear_is_forgotten: ClearForgotten is caught by backend_declares_what_the_test_says;
    shared_objects_are_forgotten: SharedForgotten is caught by backend_declares_what_the_test_says;
    subscribe_is_forgotten: SubscriptionForgotten is caught by backend_declares_what_the_test_says;
    the_limit_is_forgotten: LimitForgotten is caught by
        backend_declares_what_the_test_says, too_large_value_is_refused;

    empty_values_are_taken_for_absent: EmptyIsAbsent is caught by empty_value_comes_back;
    values_pass_through_lossy_utf8: LossyUtf8 is caught by binary_value_comes_back;
    values_are_cut_at_64_kib: ValuesCut is caught by large_value_comes_back;
    overwrites_leave_the_tail_of_the_old_value: OldTail is caught by overwrite_replaces_the_value;
    too_large_values_are_dropped_in_silence: TooLargeDropped is caught by
        too_large_value_is_refused, too_large_value_in_a_batch_leaves_nothing_stale;
    too_large_values_leave_the_old_one: TooLargeKeepsOld is caught by
        too_large_value_leaves_nothing_stale, too_large_value_in_a_batch_leaves_nothing_stale;
    too_large_values_are_cut: TooLargeCut is caught by too_large_value_is_refused;

    control_characters_are_stripped_from_keys: ControlStripped is caught by
        keys_of_any_characters_come_back, keys_that_look_alike_are_apart;
    keys_are_case_folded: CaseFolded is caught by keys_that_look_alike_are_apart;
    keys_are_trimmed: KeysTrimmed is caught by keys_that_look_alike_are_apart, keys_of_any_characters_come_back;
    key_text_is_carried_out: KeysInjected is caught by key_text_is_never_a_command;
    keys_are_cut_at_250_bytes: KeysCut is caught by long_keys_come_back, long_keys_with_a_common_start_are_apart;
    long_keys_are_refused: LongKeysRefused is caught by long_keys_come_back;
    prefixes_are_left_out: PrefixLeftOut is caught by namespaces_and_prefixes_are_apart;

    ttl_is_ignored: TtlIgnored is caught by
        lifetime_of_1_ms_ends, lifetime_of_500_ms_ends_and_not_early, lifetime_of_1_s_ends_and_not_early,
        lifetime_of_1500_ms_ends_and_not_early, overwrite_replaces_the_lifetime, expired_record_is_absent_to_every_call;
    ttl_is_truncated_to_seconds: TtlTruncated is caught by
        lifetime_of_1_ms_ends, lifetime_of_500_ms_ends_and_not_early, lifetime_of_1500_ms_ends_and_not_early;
    ttl_ends_a_little_early: TtlEarly is caught by
        lifetime_of_500_ms_ends_and_not_early, lifetime_of_1_s_ends_and_not_early, lifetime_of_31_days_is_kept;
    long_ttl_is_taken_for_a_point_in_time: TtlAbsolute is caught by lifetime_of_31_days_is_kept;
    expired_records_are_served_until_swept: DeadlineUnchecked is caught by
        lifetime_of_1_ms_ends, lifetime_of_500_ms_ends_and_not_early, lifetime_of_31_days_is_kept,
        expired_record_is_absent_to_every_call;
    longest_ttl_overflows: TtlOverflows is caught by longest_lifetime_is_kept;
    no_lifetime_becomes_a_day: ForeverIsADay is caught by no_lifetime_means_no_end;
    remaining_lifetime_stands_still: RemainingStands is caught by remaining_lifetime_counts_down;
    overwrites_keep_the_old_lifetime: OverwriteKeepsTtl is caught by overwrite_replaces_the_lifetime;
    refused_writes_touch_the_lifetime: RefusedTouches is caught by refused_write_leaves_the_lifetime;
    expired_records_block_if_absent: ExpiredBlocks is caught by expired_record_is_absent_to_every_call;

    versions_stay_on_overwrite: VersionStays is caught by every_write_has_a_new_version;
    versions_are_hashes_of_values: VersionIsHash is caught by
        every_write_has_a_new_version, if_version_writes_only_over_that_version;
    versions_begin_again_after_delete: VersionBeginsAgain is caught by versions_do_not_repeat_after_removal;
    versions_are_those_of_the_past: VersionOfThePast is caught by version_is_that_of_the_record;
    versions_outlive_the_record: VersionOfTheDead is caught by version_is_that_of_the_record;
    reads_that_do_not_wait_are_of_the_past: NowOfThePast is caught by version_is_that_of_the_record;
    versions_are_times: VersionIsTime is caught by concurrent_writes_have_versions_of_their_own;

    if_absent_ignores_records: IfAbsentIgnores is caught by
        if_absent_writes_only_where_nothing_is, if_absent_has_one_winner;
    compare_and_set_always_wins: CasAlwaysWins is caught by
        if_version_writes_only_over_that_version, if_version_has_one_winner, compare_and_set_loses_no_update;
    compare_and_set_creates_records: CasCreates is caught by if_version_is_refused_after_delete, clear_fences_leases;
    modes_are_checked_before_the_write: CheckThenWrite is caught by
        if_absent_has_one_winner, if_version_has_one_winner, compare_and_set_loses_no_update;

    get_or_add_writes_over_records: GetOrAddOverwrites is caught by
        get_or_add_finds_or_adds, get_or_add_has_one_winner;
    get_or_add_looks_before_it_writes: GetOrAddLooksThenWrites is caught by get_or_add_has_one_winner;

    deletes_always_report_a_record: DeleteAlwaysTrue is caught by delete_reports_what_it_removed;
    deletes_look_before_they_remove: LookThenDelete is caught by concurrent_deletes_remove_once;
    delete_if_ignores_the_version: DeleteIfIgnores is caught by delete_if_removes_that_version_only;
    delete_if_looks_before_it_removes: LookThenDeleteIf is caught by concurrent_delete_ifs_remove_once;

    empty_batches_are_errors: EmptyBatchFails is caught by empty_batches_do_nothing;
    batch_answers_are_sorted_by_key: BatchSorted is caught by
        batch_read_keeps_the_order_of_its_keys, batches_may_have_any_size;
    batch_answers_leave_out_missing_keys: BatchLeavesOut is caught by batch_read_keeps_the_order_of_its_keys;
    batch_answers_lose_duplicates: BatchLosesDuplicates is caught by batch_read_answers_duplicates;
    batches_are_cut_at_the_limit: BatchCut is caught by batches_may_have_any_size;
    batch_writes_report_backwards: BatchBackwards is caught by batch_write_reports_in_order;
    batch_writes_check_all_then_write_all: BatchCheckThenWrite is caught by batch_write_with_duplicates_is_consistent;
    batch_deletes_count_keys: BatchCountsKeys is caught by batch_delete_counts_each_record_once;

    clear_is_an_empty_promise: ClearUndeclared is caught by clear_is_refused_where_not_declared;
    clear_has_no_boundary: ClearUnbounded is caught by clear_stops_at_the_boundary, clear_of_the_empty_namespace;
    clear_is_a_pattern: ClearGlob is caught by clear_takes_names_literally;
    clear_removes_everything: ClearAll is caught by clear_of_a_prefix, clear_stops_at_the_boundary;
    clear_stops_at_a_page: ClearPage is caught by clear_of_many_entries;
    clear_puts_back_a_snapshot: ClearSnapshot is caught by clear_leaves_what_is_written_elsewhere_meanwhile;

    dropped_calls_leave_their_answer: LeftOver is caught by
        dropped_calls_do_not_answer_later_ones, dropped_calls_under_load_do_not_mix_answers;

    pings_go_unanswered: PingFails is caught by ping_answers;
    close_is_ignored: CloseIgnored is caught by closed_backend_refuses_every_call;
    objects_shown_are_of_the_past: ViewOfThePast is caught by shared_objects_come_back_as_they_are;
    objects_are_shown_past_their_lifetime: ViewOfTheDead is caught by shown_objects_have_the_lifetime_of_their_record;
    objects_shown_have_no_end: ViewWithoutEnd is caught by shown_objects_have_the_lifetime_of_their_record;
    shared_objects_are_wrapped_anew: SharedAnew is caught by shared_objects_come_back_as_they_are;
    subscribe_is_an_empty_promise: SubscriptionUndeclared is caught by subscribe_is_refused_where_not_declared;
    subscriptions_report_nothing: SubscriptionSilent is caught by
        every_change_is_reported, cleared_records_are_reported, changes_elsewhere_are_not_reported,
        heartbeat_follows_the_changes_before_it, dropped_waits_lose_no_change;
    subscriptions_report_another_key: SubscriptionFolds is caught by every_change_is_reported;
    subscriptions_omit_deletes: SubscriptionOmitsDeletes is caught by every_change_is_reported;
    subscriptions_omit_clears: SubscriptionOmitsClears is caught by cleared_records_are_reported;
    subscriptions_report_all_below_the_prefix: SubscriptionUnbounded is caught by changes_elsewhere_are_not_reported;
    heartbeats_stand_still: SubscriptionOnce is caught by heartbeats_keep_coming;
    heartbeats_go_back_in_time: SubscriptionBackwards is caught by heartbeats_keep_coming;
    heartbeats_come_before_the_change: SubscriptionEarly is caught by
        every_change_is_reported, heartbeat_follows_the_changes_before_it;
    subscriptions_lose_what_a_dropped_wait_had_taken: SubscriptionLoses is caught by dropped_waits_lose_no_change;
    subscriptions_outlive_the_handle: SubscriptionOutlives is caught by close_ends_the_subscription;
    reads_are_stale_now_and_then: SometimesStale is caught by random_calls_agree_with_a_map;
}
