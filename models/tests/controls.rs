//! A model that can find no fault proves nothing: each of these leaves out a rule, and finds what the rule is for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use cache_model::{
    Budget, COMES_TO_REST, Config, Flaw, Kind, NEAR_IS_IN_STEP, NO_OLD_VALUE, NO_OVERTAKEN_HOLDER, NO_RESURRECTION,
    ONE_HOLDER, Protocol, Start, Tagging, explore, print_trace,
};

const NO_FAULT: Budget = Config::PLAIN.budget;
const ONE_PROCESS: Config = Config {
    readers: &[0, 0],
    invalidations: 1,
    ..Config::PLAIN
};

/// Asserts that a counterexample to `property` is found without `flaw`'s rule, and nothing with it.
#[track_caller]
fn finds(flaw: Flaw, property: &'static str, config: Config) {
    let sound = explore(Protocol::new(config.clone()));
    assert!(sound.violations.is_empty(), "with all rules: {:#?}", sound.violations);
    let flawed = explore(Protocol::new(config.without(flaw)));
    let found = flawed.violations.iter().find(|(violated, _)| *violated == property);
    let (_, trace) = found.unwrap_or_else(|| panic!("no counterexample without {flaw:?}"));
    println!("{flaw:?}: {property}");
    print_trace(trace);
}

#[test]
fn fills_that_replace_whatever_there_is_bring_old_values_back() {
    let config = Config {
        kinds: &[Kind::Key],
        ..ONE_PROCESS
    };
    finds(Flaw::PlainFill, NO_OLD_VALUE, config.clone());
    finds(Flaw::PlainFill, NO_RESURRECTION, config);
}

#[test]
fn leases_that_replace_whatever_there_is_let_two_load() {
    finds(
        Flaw::PlainLease,
        ONE_HOLDER,
        Config {
            readers: &[0, 1],
            kinds: &[Kind::Key],
            ..ONE_PROCESS
        },
    );
}

#[test]
fn a_soft_invalidation_that_replaces_whatever_there_is_undoes_a_hard_one() {
    let config = Config {
        kinds: &[Kind::Tag, Kind::TagSoft],
        invalidations: 2,
        starts: &[Start::Fresh],
        tagging: Tagging::Declared,
        ..ONE_PROCESS
    };
    finds(Flaw::PlainSoft, NO_RESURRECTION, config);
}

#[test]
fn without_looking_again_those_who_wait_are_given_old_values() {
    let config = Config {
        kinds: &[Kind::Key],
        readers: &[0, 0, 1],
        ..ONE_PROCESS
    };
    finds(Flaw::NoLookAgain, NO_OLD_VALUE, config);
}

#[test]
fn without_a_seal_those_who_come_after_the_fill_are_given_old_values() {
    let config = Config {
        kinds: &[Kind::Key],
        readers: &[0, 0, 1],
        ..ONE_PROCESS
    };
    finds(Flaw::NoSeal, NO_OLD_VALUE, config);
}

#[test]
fn tags_captured_after_the_load_hide_what_happened_during_it() {
    for tagging in [Tagging::Declared, Tagging::Added] {
        let config = Config {
            kinds: &[Kind::Tag],
            starts: &[Start::Tags],
            tagging,
            ..ONE_PROCESS
        };
        finds(Flaw::TagAfterLoad, NO_OLD_VALUE, config);
    }
}

const LATE: Config = Config {
    kinds: &[Kind::Tag],
    starts: &[Start::Tags],
    tagging: Tagging::Late,
    ..ONE_PROCESS
};

#[test]
fn an_invalidation_is_noted_before_the_tag_and_looked_for_after_it() {
    for flaw in [Flaw::TagBeforeNote, Flaw::PageBeforeLateTag] {
        for kind in [&[Kind::Tag], &[Kind::TagSoft]] {
            let config = Config { kinds: kind, ..LATE };
            finds(flaw, NO_OLD_VALUE, config);
        }
    }
}

#[test]
fn a_load_begins_with_a_number_that_is_in_the_store() {
    let config = Config {
        invalidations: 2,
        ..LATE
    };
    finds(Flaw::NotMovedOn, NO_OLD_VALUE, config);
}

#[test]
fn a_note_does_not_replace_a_later_one() {
    let config = Config {
        invalidations: 2,
        ..LATE
    };
    finds(Flaw::PlainNote, NO_OLD_VALUE, config);
}

#[test]
fn what_is_lost_says_nothing() {
    let config = Config {
        budget: Budget { losses: 1, ..NO_FAULT },
        ..LATE
    };
    finds(Flaw::SequenceNotCompared, NO_OLD_VALUE, config.clone());
    finds(Flaw::LostPageUnchanged, NO_OLD_VALUE, config);
}

#[test]
fn in_a_full_store_the_sequence_is_removed_with_the_tag() {
    let config = Config {
        kinds: &[Kind::TagRemoved],
        ..LATE
    };
    finds(Flaw::SequenceNotRemoved, NO_OLD_VALUE, config);
}

#[test]
fn without_another_look_at_the_tag_those_who_wait_are_given_old_values() {
    for tagging in [Tagging::Declared, Tagging::Added, Tagging::Late] {
        let config = Config {
            kinds: &[Kind::Tag],
            starts: &[Start::Tags],
            tagging,
            ..ONE_PROCESS
        };
        finds(Flaw::NoRecheck, NO_OLD_VALUE, config);
    }
}

#[test]
fn whether_anybody_waits_is_decided_with_the_landing() {
    let config = Config {
        kinds: &[Kind::Tag],
        starts: &[Start::Tags],
        tagging: Tagging::Declared,
        ..ONE_PROCESS
    };
    finds(Flaw::UnwaitedLandsLater, NO_OLD_VALUE, config);
}

const NEAR: Config = Config {
    kinds: &[Kind::Key],
    starts: &[Start::Fresh],
    near: true,
    ..ONE_PROCESS
};

#[test]
fn near_copies_are_put_and_removed_in_one_step_with_the_mark() {
    for flaw in [Flaw::NearUnchecked, Flaw::NearTakenOutLater] {
        finds(flaw, NO_OLD_VALUE, NEAR);
        finds(flaw, NEAR_IS_IN_STEP, NEAR);
    }
    finds(Flaw::NearForgottenFirst, NO_OLD_VALUE, NEAR);
}

#[test]
fn an_own_write_moves_the_mark() {
    let config = Config {
        kinds: &[Kind::Set],
        ..NEAR
    };
    finds(Flaw::OwnDoesNotMoveTheMark, NO_OLD_VALUE, config);
}

#[test]
fn the_notice_of_an_own_write_may_be_that_of_another_one_too() {
    let config = Config {
        kinds: &[Kind::Set, Kind::Key],
        invalidations: 2,
        readers: &[0],
        ..NEAR
    };
    for flaw in [
        Flaw::OwnKeptThoughMoved,
        Flaw::OwnNoticeIgnored,
        Flaw::OwnComparedInItsPlace,
        Flaw::PutBackUnchecked,
    ] {
        finds(flaw, NEAR_IS_IN_STEP, config.clone());
    }
    let config = Config {
        kinds: &[Kind::Set],
        ..NEAR
    };
    finds(Flaw::OwnByLastWritten, NEAR_IS_IN_STEP, config);
}

#[test]
fn an_own_change_that_overtakes_an_answer_is_looked_for_where_nothing_is_told() {
    let config = Config {
        starts: &[Start::Empty],
        told: false,
        ..NEAR
    };
    finds(Flaw::OwnKeptThoughMoved, NO_OLD_VALUE, config.clone());
    // One before it moved the mark, and one after it is found to be the last.
    let twice = Config {
        invalidations: 2,
        ..config.clone()
    };
    finds(Flaw::PutBackUnchecked, NO_OLD_VALUE, twice);
    // Two values, whose answers come in the opposite order.
    let written = Config {
        kinds: &[Kind::Set],
        readers: &[0],
        invalidations: 2,
        ..config
    };
    finds(Flaw::OwnKeptThoughMoved, NO_OLD_VALUE, written);
}

#[test]
fn a_stale_copy_is_looked_at_again_when_the_load_has_failed() {
    let budget = Budget {
        failures: 1,
        ..NO_FAULT
    };
    for flaw in [Flaw::ErrorUnchecked, Flaw::ErrorRecheckedByLoad] {
        let config = Config {
            kinds: &[Kind::Tag],
            starts: &[Start::Old],
            tagging: Tagging::Late,
            while_revalidate: false,
            budget,
            ..ONE_PROCESS
        };
        finds(flaw, NO_RESURRECTION, config);
    }
}

#[test]
fn a_record_is_looked_at_again_once_there_is_a_lease_beside_it() {
    let config = Config {
        readers: &[0, 1],
        kinds: &[Kind::Key],
        starts: &[Start::Old],
        while_revalidate: false,
        ..ONE_PROCESS
    };
    finds(Flaw::NoSecondLook, ONE_HOLDER, config);
}

#[test]
fn a_lease_beside_a_record_is_taken_over_only_for_a_later_one() {
    let config = Config {
        readers: &[0, 1],
        kinds: &[Kind::KeySoft],
        starts: &[Start::Old],
        while_revalidate: false,
        ..ONE_PROCESS
    };
    finds(Flaw::OvertakenByEarlier, ONE_HOLDER, config.clone());
    finds(Flaw::NeverOvertaken, NO_OVERTAKEN_HOLDER, config);
}

#[test]
fn a_lease_without_a_time_limit_outlives_its_owner() {
    let budget = Budget { crashes: 1, ..NO_FAULT };
    finds(
        Flaw::LeaseForEver,
        COMES_TO_REST,
        Config {
            kinds: &[Kind::Key],
            budget,
            ..ONE_PROCESS
        },
    );
}

#[test]
fn a_leader_that_goes_away_passes_the_lead_on() {
    let budget = Budget {
        departures: 1,
        ..NO_FAULT
    };
    finds(
        Flaw::LeadNotPassedOn,
        COMES_TO_REST,
        Config {
            kinds: &[Kind::Key],
            budget,
            ..ONE_PROCESS
        },
    );
}
