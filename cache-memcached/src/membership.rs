//! Which servers there are, and since when. It decides which records may be read after the list of servers has changed.
//!
//! # The hazard
//!
//! A key moves when the list changes, and its record stays behind. If the key moves back later, the record is found
//! again, although the key may have been invalidated meanwhile, on the server that it belonged to then. This happens on
//! a server that leaves and returns, and on a server that stays, when a server that had joined leaves again.
//!
//! # The rule
//!
//! Each change of the list has an *epoch*, a number that grows. Each record holds the epoch in which it was written. A
//! record of a key on its owner is read only if it was written
//!
//! - since the owner joined, and
//! - since each removed server left that would own the key if it were still there.
//!
//! So it was written since the owner last became the owner of the key. Whatever else is found counts as absent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// How many removed servers are remembered one by one. For servers that left before, one epoch stands for all keys.
const MOST_REMOVED: usize = 64;

const TITLE: &str = "larder servers 1";

/// The identity of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) epoch: u64,
    /// Tells memberships apart that two processes made at the same time.
    pub(crate) nonce: u64,
}

impl Stamp {
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.epoch) << 64 | u128::from(self.nonce)).to_be_bytes()
    }
}

/// The names of the servers in a list of the provider's, and the list's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) names: BTreeSet<String>,
    pub(crate) version: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) stamp: Stamp,
    /// The version that the provider of the list gave it.
    pub(crate) version: Option<u64>,
    /// The servers, and the epoch in which each joined.
    pub(crate) members: BTreeMap<String, u64>,
    /// The servers that are gone, and the epoch in which each left.
    pub(crate) removed: BTreeMap<String, u64>,
    /// No record from before this epoch is read.
    pub(crate) floor: u64,
}

impl Membership {
    /// Returns the membership that follows `latest` with the servers of `list`.
    ///
    /// `latest` are memberships of one epoch, made at the same time. There are none at the very beginning. `now` is a
    /// time in milliseconds: should all servers have lost what they knew, the epochs that follow are still greater than
    /// the ones before.
    pub(crate) fn after(latest: &[Self], list: &Names, now: u64, nonce: u64) -> Self {
        let last = latest.iter().map(|membership| membership.stamp.epoch).max();
        let epoch = last.map_or(now, |last| now.max(last.saturating_add(1)));
        let since = |name: &String| {
            let joined: Option<Vec<u64>> = latest.iter().map(|one| one.members.get(name).copied()).collect();
            joined.and_then(|joined| joined.into_iter().max()).unwrap_or(epoch)
        };
        let members = list.names.iter().map(|name| (name.clone(), since(name))).collect();
        let mut removed: BTreeMap<String, u64> = BTreeMap::new();
        for membership in latest {
            let left = membership.members.keys().map(|name| (name, epoch));
            let gone = membership.removed.iter().map(|(name, at)| (name, *at));
            for (name, at) in left.chain(gone) {
                if !list.names.contains(name) {
                    let known = removed.entry(name.clone()).or_insert(at);
                    *known = at.max(*known);
                }
            }
        }
        let mut floor = latest.iter().map(|membership| membership.floor).max().unwrap_or(0);
        while removed.len() > MOST_REMOVED {
            let oldest = removed.iter().min_by_key(|(_, at)| **at).map(|(name, _)| name.clone());
            let Some(at) = oldest.and_then(|name| removed.remove(&name)) else {
                break;
            };
            floor = floor.max(at);
        }
        Self {
            stamp: Stamp { epoch, nonce },
            version: list.version,
            members,
            removed,
            floor,
        }
    }

    /// Returns whether these are the servers of the list.
    pub(crate) fn is_of(&self, list: &Names) -> bool {
        self.members.keys().eq(list.names.iter())
    }

    /// Returns the list of the servers.
    pub(crate) fn list(&self) -> Names {
        Names {
            names: self.members.keys().cloned().collect(),
            version: self.version,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = format!("{TITLE}\nstamp {} {}\n", self.stamp.epoch, self.stamp.nonce);
        // Writing to a string cannot fail.
        if let Some(version) = self.version {
            let _ = writeln!(text, "version {version}");
        }
        let _ = writeln!(text, "floor {}", self.floor);
        for (name, since) in &self.members {
            let _ = writeln!(text, "member {since} {name}");
        }
        for (name, at) in &self.removed {
            let _ = writeln!(text, "removed {at} {name}");
        }
        text.push_str("end\n");
        text.into_bytes()
    }

    /// Decodes what [`encode`](Self::encode) wrote. Returns `None`, which means absent, for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.strip_suffix("\nend\n")?.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let (epoch, nonce) = lines.next()?.strip_prefix("stamp ")?.split_once(' ')?;
        let mut membership = Self {
            stamp: Stamp {
                epoch: epoch.parse().ok()?,
                nonce: nonce.parse().ok()?,
            },
            version: None,
            members: BTreeMap::new(),
            removed: BTreeMap::new(),
            floor: 0,
        };
        for line in lines {
            let (word, rest) = line.split_once(' ')?;
            match word {
                "version" => membership.version = Some(rest.parse().ok()?),
                "floor" => membership.floor = rest.parse().ok()?,
                "member" | "removed" => {
                    let (epoch, name) = rest.split_once(' ')?;
                    let servers = match word {
                        "member" => &mut membership.members,
                        _ => &mut membership.removed,
                    };
                    servers.insert(name.to_owned(), epoch.parse().ok()?);
                }
                _ => return None,
            }
        }
        Some(membership)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ketama::Ring;

    fn list(names: &[&str]) -> Names {
        Names {
            names: names.iter().map(ToString::to_string).collect(),
            version: None,
        }
    }

    fn after(latest: &[Membership], names: &[&str]) -> Membership {
        Membership::after(latest, &list(names), 0, 7)
    }

    fn first(names: &[&str]) -> Membership {
        Membership::after(&[], &list(names), 1, 7)
    }

    #[test]
    fn who_stays_keeps_its_epoch_and_who_leaves_is_remembered() {
        let first = first(&["a:1", "b:1"]);
        let joined = after(std::slice::from_ref(&first), &["a:1", "b:1", "c:1"]);
        assert_eq!(
            joined.members,
            BTreeMap::from([("a:1".into(), 1), ("b:1".into(), 1), ("c:1".into(), 2)])
        );
        let left = after(&[joined], &["a:1", "b:1"]);
        assert_eq!(left.removed, BTreeMap::from([("c:1".into(), 3)]));
        let back = after(&[left], &["a:1", "b:1", "c:1"]);
        assert_eq!((back.members["c:1"], back.removed.len()), (4, 0));
    }

    #[test]
    fn two_that_were_made_at_the_same_time_become_one() {
        let first = first(&["a:1", "b:1"]);
        let one = after(std::slice::from_ref(&first), &["a:1", "c:1"]);
        let other = Membership::after(&[first], &list(&["a:1", "d:1"]), 0, 8);
        let both = after(&[one, other], &["a:1", "c:1"]);
        assert_eq!(both.members, BTreeMap::from([("a:1".into(), 1), ("c:1".into(), 3)]));
        assert_eq!(both.removed, BTreeMap::from([("b:1".into(), 2), ("d:1".into(), 3)]));
    }

    #[test]
    fn a_new_beginning_is_later_than_what_was_lost() {
        let lost = Membership::after(&[], &list(&["a:1"]), 1_000, 7);
        let lost = Membership::after(&[lost], &list(&["a:1", "b:1"]), 900, 7);
        assert_eq!(lost.stamp.epoch, 1_001, "a clock that is behind");
        assert!(Membership::after(&[], &list(&["a:1"]), 2_000, 7).stamp > lost.stamp);
    }

    #[test]
    fn the_removed_are_bounded() {
        let mut membership = first(&["a:1"]);
        for number in 0..MOST_REMOVED + 2 {
            membership = after(&[membership], &["a:1", &format!("b{number}:1")]);
        }
        assert_eq!((membership.removed.len(), membership.floor), (MOST_REMOVED, 3));
    }

    /// Servers that keep whatever is written to them, and one value of truth.
    struct World {
        /// By server: the value, and the epoch in which it was written.
        stored: HashMap<String, (u32, u64)>,
        truth: u32,
        fenced: bool,
    }

    impl World {
        fn owner(membership: &Membership, key: &str) -> (String, u64) {
            let names: Vec<&String> = membership.members.keys().chain(membership.removed.keys()).collect();
            let mut fence = membership.floor;
            for index in Ring::new(&names).walk(key) {
                match membership.members.get(names[index]) {
                    Some(since) => return (names[index].clone(), fence.max(*since)),
                    None => fence = fence.max(membership.removed[names[index]]),
                }
            }
            panic!("no member");
        }

        fn read(&self, membership: &Membership, key: &str) -> Option<u32> {
            let (owner, fence) = Self::owner(membership, key);
            let (value, epoch) = self.stored.get(&owner)?;
            (!self.fenced || *epoch >= fence).then_some(*value)
        }
    }

    /// The lists of servers over time, and after each the change of the value (invalidated, or read and stored).
    fn history() -> impl Strategy<Value = Vec<(BTreeSet<u8>, bool)>> {
        prop::collection::vec((prop::collection::btree_set(0_u8..5, 1..5), any::<bool>()), 1..12)
    }

    fn stale(history: &[(BTreeSet<u8>, bool)], key: &str, fenced: bool) -> bool {
        let mut world = World {
            stored: HashMap::new(),
            truth: 0,
            fenced,
        };
        let mut membership: Option<Membership> = None;
        for (servers, invalidates) in history {
            let list = Names {
                names: servers.iter().map(|server| format!("10.0.0.{server}:11211")).collect(),
                version: None,
            };
            let next = match &membership {
                Some(current) if current.is_of(&list) => current.clone(),
                current => Membership::after(current.as_slice(), &list, 1, 0),
            };
            let (owner, _) = World::owner(&next, key);
            if *invalidates {
                world.truth += 1;
                world.stored.remove(&owner);
            }
            match world.read(&next, key) {
                Some(value) if value != world.truth => return true,
                Some(_) => {}
                None => drop(world.stored.insert(owner, (world.truth, next.stamp.epoch))),
            }
            membership = Some(next);
        }
        false
    }

    proptest! {
        // Each case makes some dozens of rings.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_history_brings_an_old_value_back(history in history(), key in "[a-z]{1,4}") {
            prop_assert!(!stale(&history, &key, true));
        }

        #[test]
        fn comes_back(
            epoch: u64, nonce: u64, version: Option<u64>, floor: u64,
            members in prop::collection::btree_map("[a-z0-9.:\\[\\]-]{1,20}", any::<u64>(), 1..5),
            removed in prop::collection::btree_map("[a-z0-9.:\\[\\]-]{1,20}", any::<u64>(), 0..5),
        ) {
            let membership = Membership { stamp: Stamp { epoch, nonce }, version, members, removed, floor };
            prop_assert_eq!(Membership::decode(&membership.encode()), Some(membership));
        }

        #[test]
        fn what_is_something_else_is_absent(bytes: Vec<u8>, cut in 1_usize..40) {
            prop_assert_eq!(Membership::decode(&bytes), None);
            let mut encoded = first(&["a:1", "b:1"]).encode();
            encoded.truncate(encoded.len().saturating_sub(cut));
            prop_assert_eq!(Membership::decode(&encoded), None);
        }
    }

    /// The negative control: without the rule, such histories do bring old values back.
    #[test]
    fn without_the_rule_an_old_value_comes_back() {
        let with = |servers: &[u8], invalidates| (servers.iter().copied().collect(), invalidates);
        // A server that leaves and returns, and one that stays while another joins and leaves again.
        for history in [
            [with(&[0], false), with(&[1], true), with(&[0], false)],
            [with(&[0], false), with(&[0, 1], true), with(&[0], false)],
        ] {
            let is_stale = |key: u32| stale(&history, &key.to_string(), false);
            assert!((0..50).any(is_stale), "{history:?}");
            assert!(!(0..50).any(|key| stale(&history, &key.to_string(), true)));
        }
    }
}
