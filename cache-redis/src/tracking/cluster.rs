//! The state of a Cluster as its nodes report it.

use std::collections::BTreeMap;

use crate::tracking::wire::Address;

/// The masters that a node knows, from its answer to `CLUSTER NODES`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Nodes {
    /// The node that answered.
    pub(super) own: String,
    /// The masters by their names, without failed ones that serve no slots.
    pub(super) masters: BTreeMap<String, Address>,
    /// A failed master that has not been replaced.
    pub(super) missing: Option<String>,
}

impl Nodes {
    pub(super) fn parse(text: &str) -> Self {
        let mut nodes = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [id, place, flags, ..] = fields[..] else {
                continue;
            };
            let has = |flag: &str| flags.split(',').any(|word| word == flag);
            if has("myself") {
                nodes.own = id.to_owned();
            }
            // The fields after the eighth are slots. Those in brackets are being moved.
            let serves = fields.iter().skip(8).any(|slots| !slots.starts_with('['));
            if !has("master") || has("handshake") {
                continue;
            }
            if has("fail") || has("noaddr") {
                if serves {
                    nodes.missing = Some(id.to_owned());
                }
                continue;
            }
            if let Some(address) = address(place) {
                nodes.masters.insert(id.to_owned(), address);
            }
        }
        nodes
    }

    pub(super) fn is_master(&self) -> bool {
        self.masters.contains_key(&self.own)
    }

    pub(super) fn same_masters(&self, other: &Self) -> bool {
        self.masters.keys().eq(other.masters.keys())
    }
}

/// `ip:port@bus[,hostname[,name=value…]]`.
fn address(place: &str) -> Option<Address> {
    let mut parts = place.split(',');
    let (host, port) = parts.next()?.split('@').next()?.rsplit_once(':')?;
    let hostname = parts.next().filter(|name| !name.is_empty() && !name.contains('='));
    Some(Address::Tcp {
        host: host.to_owned(),
        port: port.parse().ok()?,
        tls_name: hostname.map(str::to_owned),
    })
}

/// The fields of `CLUSTER INFO` that change when a replica is about to take over, slots move, or nodes are added or
/// removed.
///
/// A replica becomes a master by the votes of most masters, and a master that votes adopts the epoch of the election.
/// So while every master still has its old epoch, none has been replaced.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) epoch: u64,
    known_nodes: u64,
    pub(super) serves: bool,
}

impl Info {
    pub(super) fn parse(text: &str) -> Self {
        let mut info = Self::default();
        for line in text.lines() {
            match line.trim().split_once(':') {
                Some(("cluster_current_epoch", epoch)) => info.epoch = epoch.parse().unwrap_or_default(),
                Some(("cluster_known_nodes", nodes)) => info.known_nodes = nodes.parse().unwrap_or_default(),
                Some(("cluster_state", state)) => info.serves = state == "ok",
                _ => {}
            }
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(host: &str, port: u16, tls_name: Option<&str>) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port,
            tls_name: tls_name.map(str::to_owned),
        }
    }

    #[test]
    fn the_masters_are_those_that_take_writes_or_may_soon() {
        let nodes = Nodes::parse(
            "a 127.0.0.1:7001@17001,one.example,shard-id=5 myself,master - 0 0 1 connected 0-5460 [5461->-b]\n\
             b 127.0.0.1:7002@17002,,shard-id=6 master - 0 1 2 connected 5461-10922\n\
             c ::1:7003@17003 master - 0 1 3 connected\n\
             d 127.0.0.1:7004@17004 slave a 0 1 1 connected\n\
             e 127.0.0.1:7005@17005 master,fail - 1 1 0 disconnected\n\
             f :0@0 master,noaddr - 1 1 0 disconnected\n\
             g 127.0.0.1:7006@17006 handshake - 0 0 0 connected\n",
        );
        let masters = [
            ("a", tcp("127.0.0.1", 7001, Some("one.example"))),
            ("b", tcp("127.0.0.1", 7002, None)),
            ("c", tcp("::1", 7003, None)),
        ];
        assert_eq!(
            nodes,
            Nodes {
                own: "a".to_owned(),
                masters: masters.map(|(id, address)| (id.to_owned(), address)).into(),
                missing: None,
            }
        );
        let down = Nodes::parse("e 127.0.0.1:7005@17005 master,fail - 1 1 0 disconnected 10923-16383\n");
        assert_eq!(down.missing.as_deref(), Some("e"));
    }

    #[test]
    fn an_election_shows_in_the_number_of_the_vote() {
        let info = |epoch: u64, state: &str| {
            Info::parse(&format!(
                "cluster_state:{state}\r\ncluster_known_nodes:6\r\ncluster_current_epoch:{epoch}\r\ncluster_my_epoch:1\r\n"
            ))
        };
        assert_eq!(info(6, "ok"), info(6, "ok"));
        assert_ne!(info(6, "ok"), info(7, "ok"));
        assert!(info(6, "ok").serves && !info(6, "fail").serves);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "([a-z0-9:@,\\[\\]\\- ]{0,60}\n){0,4}", other: String) {
            for text in [text, other] {
                let _ = (Nodes::parse(&text), Info::parse(&text));
            }
        }
    }
}
