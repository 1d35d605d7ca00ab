//! What is explored: small parts of the protocol, each with everything that affects it.

use crate::config::{Budget, Kind};
use crate::config::{Config, Start, Tagging};

const BY_KEY: &[Kind] = &[Kind::Key, Kind::KeySoft, Kind::Clear, Kind::Set];
const BY_TAG: &[Kind] = &[Kind::Tag, Kind::TagSoft];
const LATE: &[Kind] = &[Kind::Tag, Kind::TagSoft, Kind::TagRemoved];
const NO_FAULT: Budget = Config::PLAIN.budget;
const ONE_PROCESS: Config = Config {
    readers: &[0, 0],
    invalidations: 1,
    ..Config::PLAIN
};
const TWO_PROCESSES: Config = Config {
    readers: &[0, 1],
    ..ONE_PROCESS
};
/// The leader, a reader in its process that may wait for it, and a reader in another process.
const THREE_READERS: Config = Config {
    readers: &[0, 0, 1],
    ..ONE_PROCESS
};

/// Returns scenarios that take a few seconds, even without optimisation.
#[must_use]
pub fn small() -> Vec<Config> {
    vec![
        Config {
            name: "a missing key, two invalidations",
            kinds: &[Kind::Key, Kind::KeySoft],
            invalidations: 2,
            ..ONE_PROCESS
        },
        Config {
            name: "a leader that goes away",
            kinds: &[Kind::Key],
            limbo: true,
            budget: Budget {
                departures: 1,
                renewals: 1,
                ..NO_FAULT
            },
            ..ONE_PROCESS
        },
        Config {
            name: "a tag that is declared",
            kinds: BY_TAG,
            starts: &[Start::Empty, Start::Fresh],
            tagging: Tagging::Declared,
            ..ONE_PROCESS
        },
        Config {
            name: "a tag that is known late",
            kinds: &[Kind::Tag],
            starts: &[Start::Tags],
            tagging: Tagging::Late,
            expiry: false,
            ..ONE_PROCESS
        },
        Config {
            name: "near copies",
            kinds: &[Kind::Key, Kind::KeySoft],
            near: true,
            starts: &[Start::Fresh],
            ..TWO_PROCESSES
        },
        Config {
            name: "near copies in front of a store that tells of nothing",
            kinds: &[Kind::Key, Kind::Set],
            near: true,
            told: false,
            ..ONE_PROCESS
        },
    ]
}

/// Returns scenarios that take about a minute on one core.
#[must_use]
pub fn large() -> Vec<Config> {
    let mut all = by_key();
    all.extend(stale());
    all.extend(by_tag());
    all.extend(near());
    all
}

fn by_key() -> Vec<Config> {
    vec![
        Config {
            name: "a missing key, three readers",
            kinds: BY_KEY,
            unstored: true,
            ..THREE_READERS
        },
        Config {
            name: "a missing key, two invalidations",
            kinds: BY_KEY,
            invalidations: 2,
            starts: &[Start::Empty, Start::Fresh],
            ..ONE_PROCESS
        },
        Config {
            name: "a missing key, two invalidations, two processes",
            kinds: BY_KEY,
            invalidations: 2,
            ..TWO_PROCESSES
        },
        Config {
            name: "a process that crashes",
            kinds: BY_KEY,
            limbo: true,
            budget: Budget {
                crashes: 1,
                renewals: 1,
                failures: 1,
                ..NO_FAULT
            },
            ..TWO_PROCESSES
        },
        Config {
            name: "a leader that goes away",
            kinds: BY_KEY,
            limbo: true,
            budget: Budget {
                departures: 1,
                renewals: 1,
                failures: 1,
                ..NO_FAULT
            },
            ..ONE_PROCESS
        },
        Config {
            name: "a leader that goes away, three readers",
            kinds: &[Kind::Key],
            limbo: true,
            budget: Budget {
                departures: 1,
                ..NO_FAULT
            },
            ..THREE_READERS
        },
    ]
}

fn stale() -> Vec<Config> {
    vec![
        Config {
            name: "a stale value while it is refreshed",
            kinds: BY_KEY,
            limbo: true,
            starts: &[Start::Fresh, Start::Old],
            budget: Budget {
                ages: 1,
                failures: 1,
                crashes: 1,
                ..NO_FAULT
            },
            ..ONE_PROCESS
        },
        Config {
            name: "a stale value if the load fails",
            kinds: BY_KEY,
            starts: &[Start::Old],
            while_revalidate: false,
            budget: Budget {
                failures: 1,
                departures: 1,
                ..NO_FAULT
            },
            ..ONE_PROCESS
        },
        Config {
            name: "a stale value if the load fails, two processes",
            kinds: BY_KEY,
            starts: &[Start::Old],
            while_revalidate: false,
            budget: Budget {
                failures: 1,
                crashes: 1,
                ..NO_FAULT
            },
            ..TWO_PROCESSES
        },
    ]
}

fn by_tag() -> Vec<Config> {
    let failing = Config {
        kinds: BY_TAG,
        starts: &[Start::Old],
        while_revalidate: false,
        budget: Budget {
            failures: 1,
            ..NO_FAULT
        },
        ..ONE_PROCESS
    };
    vec![
        Config {
            name: "a tag that is declared, three readers",
            kinds: BY_TAG,
            starts: &[Start::Tags],
            tagging: Tagging::Declared,
            ..THREE_READERS
        },
        Config {
            name: "a tag that is declared, two invalidations",
            kinds: &[Kind::Tag, Kind::TagSoft, Kind::Key, Kind::Set],
            invalidations: 2,
            starts: &[Start::Empty, Start::Fresh],
            tagging: Tagging::Declared,
            ..ONE_PROCESS
        },
        Config {
            name: "a tag that is declared, and lost",
            kinds: BY_TAG,
            starts: &[Start::Tags, Start::Fresh],
            tagging: Tagging::Declared,
            limbo: true,
            budget: Budget {
                losses: 1,
                crashes: 1,
                ..NO_FAULT
            },
            ..ONE_PROCESS
        },
        Config {
            name: "a tag that is declared, and a load that fails",
            tagging: Tagging::Declared,
            budget: Budget {
                failures: 1,
                departures: 1,
                ..NO_FAULT
            },
            ..failing.clone()
        },
        Config {
            name: "a tag that the loader adds, two invalidations, and a load that fails",
            invalidations: 2,
            tagging: Tagging::Added,
            ..failing.clone()
        },
        Config {
            name: "a tag that is known late, two invalidations",
            kinds: BY_TAG,
            invalidations: 2,
            starts: &[Start::Empty, Start::Fresh],
            tagging: Tagging::Late,
            ..ONE_PROCESS
        },
        Config {
            name: "a tag that is known late, two invalidations, the page read first",
            kinds: &[Kind::Tag],
            invalidations: 2,
            starts: &[Start::Tags],
            tagging: Tagging::Late,
            page_first: true,
            ..ONE_PROCESS
        },
        Config {
            name: "a tag that is known late, two processes",
            kinds: &[Kind::Tag],
            starts: &[Start::Empty],
            tagging: Tagging::Late,
            ..TWO_PROCESSES
        },
        Config {
            name: "a tag that is known late, a full store, and records that are lost",
            kinds: LATE,
            starts: &[Start::Tags],
            tagging: Tagging::Late,
            budget: Budget { losses: 1, ..NO_FAULT },
            ..ONE_PROCESS
        },
        Config {
            name: "a tag that is known late, and two records that are lost",
            kinds: &[Kind::Tag],
            starts: &[Start::Tags],
            tagging: Tagging::Late,
            expiry: false,
            budget: Budget { losses: 2, ..NO_FAULT },
            ..ONE_PROCESS
        },
        Config {
            name: "a tag that is known late, one reader, two invalidations, and two records that are lost",
            kinds: &[Kind::Tag],
            readers: &[0],
            invalidations: 2,
            starts: &[Start::Tags],
            tagging: Tagging::Late,
            expiry: false,
            budget: Budget { losses: 2, ..NO_FAULT },
            ..ONE_PROCESS
        },
        Config {
            name: "a tag that is known late, two invalidations, and two pages that are lost",
            kinds: &[Kind::Tag],
            invalidations: 2,
            starts: &[Start::Tags],
            tagging: Tagging::Late,
            expiry: false,
            budget: Budget { pages: 2, ..NO_FAULT },
            ..ONE_PROCESS
        },
        Config {
            name: "a tag that is known late, and a load that fails, and records that are lost",
            tagging: Tagging::Late,
            budget: Budget {
                failures: 1,
                losses: 1,
                ..NO_FAULT
            },
            ..failing
        },
    ]
}

fn near() -> Vec<Config> {
    let near = Config {
        near: true,
        starts: &[Start::Fresh],
        ..ONE_PROCESS
    };
    let tagged = Config {
        kinds: &[Kind::Set, Kind::Tag, Kind::TagSoft],
        tagging: Tagging::Declared,
        ..near.clone()
    };
    vec![
        Config {
            name: "near copies, one reader, two invalidations",
            kinds: BY_KEY,
            readers: &[0],
            invalidations: 2,
            starts: &[Start::Empty, Start::Fresh],
            ..near.clone()
        },
        Config {
            name: "near copies, two readers",
            kinds: BY_KEY,
            starts: &[Start::Empty, Start::Fresh],
            ..near.clone()
        },
        Config {
            name: "near copies, two readers, two values written",
            kinds: &[Kind::Set],
            invalidations: 2,
            ..near.clone()
        },
        Config {
            name: "near copies, two processes",
            kinds: BY_KEY,
            readers: TWO_PROCESSES.readers,
            ..near.clone()
        },
        Config {
            name: "near copies, two processes, a missing key",
            kinds: &[Kind::Key, Kind::Set],
            readers: TWO_PROCESSES.readers,
            starts: &[Start::Empty],
            ..near.clone()
        },
        Config {
            name: "near copies, nothing told, one reader, two invalidations",
            kinds: BY_KEY,
            readers: &[0],
            invalidations: 2,
            starts: &[Start::Empty, Start::Fresh],
            told: false,
            ..near.clone()
        },
        Config {
            name: "near copies, nothing told, two readers, two invalidations",
            kinds: &[Kind::Key, Kind::Set],
            invalidations: 2,
            starts: &[Start::Empty, Start::Fresh],
            told: false,
            ..near.clone()
        },
        Config {
            name: "near copies, nothing told, two processes",
            kinds: BY_KEY,
            readers: TWO_PROCESSES.readers,
            starts: &[Start::Empty, Start::Fresh],
            told: false,
            ..near.clone()
        },
        Config {
            name: "near copies, a process that crashes",
            kinds: &[Kind::Key, Kind::Set],
            limbo: true,
            budget: Budget {
                crashes: 1,
                ages: 1,
                ..NO_FAULT
            },
            ..near
        },
        Config {
            name: "near copies with a tag",
            starts: &[Start::Tags, Start::Fresh],
            ..tagged.clone()
        },
        Config {
            name: "near copies with a tag, one reader, two invalidations",
            readers: &[0],
            invalidations: 2,
            ..tagged.clone()
        },
        Config {
            name: "near copies with a tag, two processes",
            kinds: BY_TAG,
            readers: TWO_PROCESSES.readers,
            ..tagged.clone()
        },
        Config {
            name: "near copies with a tag that is known late",
            kinds: BY_TAG,
            tagging: Tagging::Late,
            starts: &[Start::Tags],
            ..tagged
        },
    ]
}
