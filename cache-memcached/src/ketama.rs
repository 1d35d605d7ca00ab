//! The hash ring that assigns keys to servers: consistent hashing as in libketama.
//!
//! Each server has 160 points on a ring: the MD5 of `name-0` to `name-39`, four numbers each. A key belongs to the
//! server of the first point at or after the key's own hash. So adding or removing a server moves only the keys that it
//! gets or had, and all clients with the same server names, in any order, agree on the server of a key.

use md5::{Digest, Md5};

const DIGESTS: usize = 40;
const POINTS: usize = 4;

#[derive(Debug)]
pub(crate) struct Ring {
    /// The points in rising order, with the index of the server.
    points: Vec<(u32, usize)>,
    servers: usize,
}

impl Ring {
    pub(crate) fn new<N: AsRef<str>>(names: &[N]) -> Self {
        let mut points: Vec<(u32, usize)> = names
            .iter()
            .enumerate()
            .flat_map(|(server, name)| {
                (0..DIGESTS).flat_map(move |index| {
                    let digest = md5(format!("{}-{index}", name.as_ref()).as_bytes());
                    (0..POINTS).map(move |point| (number(&digest[4 * point..]), server))
                })
            })
            .collect();
        // If two servers share a point, the name decides, so that the order of the servers does not matter.
        points.sort_by(|(a, first), (b, second)| {
            a.cmp(b)
                .then_with(|| names[*first].as_ref().cmp(names[*second].as_ref()))
        });
        Self {
            points,
            servers: names.len(),
        }
    }

    /// Returns the index of the server that owns a key.
    pub(crate) fn owner(&self, key: &str) -> usize {
        match self.servers {
            1 => 0,
            _ => self.walk(key).next().unwrap_or(0),
        }
    }

    /// Returns the owner of a key, then the server that would own it without the first, and so on, each server once.
    pub(crate) fn walk(&self, key: &str) -> impl Iterator<Item = usize> + use<'_> {
        let place = number(&md5(key.as_bytes()));
        let first = self.points.partition_point(|(point, _)| *point < place);
        let mut seen = vec![false; self.servers];
        self.points[first..]
            .iter()
            .chain(&self.points[..first])
            .map(|(_, server)| *server)
            .filter(move |server| !std::mem::replace(&mut seen[*server], true))
    }
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

fn number(bytes: &[u8]) -> u32 {
    bytes[..4]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fleet(servers: usize) -> Vec<String> {
        (1..=servers).map(|server| format!("10.0.1.{server}:11211")).collect()
    }

    #[test]
    fn agrees_with_libketama() {
        let ring = Ring::new(&fleet(3));
        assert_eq!(ring.points.len(), 480);
        assert_eq!(ring.points[..3], [(4_826_654, 1), (10_171_922, 0), (24_617_692, 2)]);
        for (key, server) in [
            ("foo", 1),
            ("bar", 0),
            ("shop:users:42", 1),
            ("shop:users:43", 2),
            ("x", 1),
            ("a", 2),
            ("b", 2),
            ("c", 0),
            ("d", 0),
        ] {
            assert_eq!(ring.owner(key), server, "{key}");
        }
    }

    #[test]
    fn the_servers_share_evenly() {
        let ring = Ring::new(&fleet(5));
        let mut keys = [0; 5];
        for key in 0..10_000 {
            keys[ring.owner(&format!("shop:users:{key}"))] += 1;
        }
        assert!(keys.iter().all(|keys| (1400..2700).contains(keys)), "{keys:?}");
    }

    proptest! {
        #[test]
        fn a_server_that_is_removed_moves_its_own_keys_only(
            servers in 2_usize..8, removed: proptest::sample::Index, key in "[a-z:0-9]{1,20}",
        ) {
            let before = fleet(servers);
            let removed = before[removed.index(servers)].clone();
            let after: Vec<String> = before.iter().filter(|name| **name != removed).cloned().collect();
            let (ring, smaller) = (Ring::new(&before), Ring::new(&after));
            let (old, new) = (&before[ring.owner(&key)], &after[smaller.owner(&key)]);
            if *old == removed {
                // A key of the removed server moves to the server that stands in for it while it is down.
                prop_assert_eq!(Some(new), ring.walk(&key).nth(1).map(|server| &before[server]));
            } else {
                prop_assert_eq!(old, new);
            }
        }

        #[test]
        fn the_order_of_the_list_does_not_matter(
            servers in Just(fleet(6)).prop_shuffle(), key in "[a-z:0-9]{1,20}",
        ) {
            let sorted = fleet(6);
            prop_assert_eq!(&servers[Ring::new(&servers).owner(&key)], &sorted[Ring::new(&sorted).owner(&key)]);
        }

        #[test]
        fn every_server_stands_in_once(servers in 1_usize..6, key in "[a-z:0-9]{1,20}") {
            let mut all: Vec<usize> = Ring::new(&fleet(servers)).walk(&key).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..servers).collect::<Vec<_>>());
        }
    }
}
