//! Which server has a key: consistent hashing as libketama does it.
//!
//! Each server stands at 160 points of a circle: the MD5 of `name-0` to `name-39`, four numbers each. A key belongs to
//! the first point at or after its own. So a server that is added or removed moves no key but those it gets or had, and
//! every client that is told the same names, in any order, finds the same server.

use md5::{Digest, Md5};

const DIGESTS: usize = 40;
const POINTS: usize = 4;

#[derive(Debug)]
pub(crate) struct Ring {
    /// Points in rising order, and the server that stands there.
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
        // Two servers at one point: the name decides, which does not depend on the order in the list.
        points.sort_by(|(a, first), (b, second)| {
            a.cmp(b)
                .then_with(|| names[*first].as_ref().cmp(names[*second].as_ref()))
        });
        Self {
            points,
            servers: names.len(),
        }
    }

    /// The server of a key, by its place in the list.
    pub(crate) fn owner(&self, key: &str) -> usize {
        match self.servers {
            1 => 0,
            _ => self.walk(key).next().unwrap_or(0),
        }
    }

    /// The server of a key, and those that would have it without those before, each once.
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
                // It goes to the one that stands in while the server is away.
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
