//! The connections of a stream while all is well.

use std::collections::{BTreeMap, VecDeque};
use std::task::Poll;

use cache_core::{Change, Error, ErrorKind, Key, Scope};
use futures_util::future::join_all;

use super::cluster::{Info, Nodes};
use super::outbox::Outbox;
use super::wire::{Address, Heard, Wire};
use crate::error::error;

/// One connection to each master.
pub(super) struct Session {
    links: Vec<Link>,
    /// The masters of a Cluster, by their names in order.
    cluster: Option<Vec<String>>,
    /// The connection that is looked at first, and the node that is asked about the others.
    turn: usize,
}

struct Link {
    wire: Wire,
    asked: VecDeque<Question>,
    /// What the node said of its Cluster.
    info: Option<Info>,
}

/// What a server is asked. The answer says that it is still the one to listen to.
#[derive(Debug, Clone, Copy)]
enum Question {
    Role,
    Info,
    Nodes,
}

impl Link {
    fn new(wire: Wire, info: Option<Info>) -> Self {
        Self {
            wire,
            asked: VecDeque::new(),
            info,
        }
    }

    async fn ask(&mut self, question: Question) -> Result<(), Error> {
        let words = match question {
            Question::Role => ["INFO", "replication"],
            Question::Info => ["CLUSTER", "INFO"],
            Question::Nodes => ["CLUSTER", "NODES"],
        };
        self.asked.push_back(question);
        self.wire.send(&words).await
    }
}

impl Session {
    /// With one server.
    pub(super) fn alone(wire: Wire) -> Self {
        Self {
            links: vec![Link::new(wire, None)],
            cluster: None,
            turn: 0,
        }
    }

    /// With the masters of a Cluster, by their names, and what each said of it.
    pub(super) fn with_cluster(wires: BTreeMap<String, Wire>, mut infos: BTreeMap<String, Info>) -> Self {
        let masters = wires.keys().cloned().collect();
        let links = wires.into_iter().map(|(id, wire)| Link::new(wire, infos.remove(&id)));
        Self {
            links: links.collect(),
            cluster: Some(masters),
            turn: 0,
        }
    }

    /// The server that is listened to, where there is but one.
    pub(super) fn address(&self) -> Option<&Address> {
        match &self.links[..] {
            [link] => Some(link.wire.address()),
            _ => None,
        }
    }

    /// Asks every server for a sign of life.
    pub(super) async fn ask(&mut self) -> Result<(), Error> {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn % self.links.len().max(1);
        let clustered = self.cluster.is_some();
        let asks = self.links.iter_mut().enumerate().map(|(index, link)| async move {
            if !clustered {
                return link.ask(Question::Role).await;
            }
            link.ask(Question::Info).await?;
            if index == turn {
                link.ask(Question::Nodes).await?;
            }
            Ok(())
        });
        join_all(asks).await.into_iter().collect()
    }

    /// Whether any server has not answered yet.
    pub(super) fn asks(&self) -> bool {
        self.links.iter().any(|link| !link.asked.is_empty())
    }

    /// Hears one thing from any server. Dropping the future loses nothing.
    pub(super) async fn hear(&mut self, scope: &Scope, outbox: &Outbox) -> Result<(), Error> {
        let count = self.links.len();
        let links = &mut self.links;
        let turn = self.turn;
        let (index, heard) = std::future::poll_fn(|context| {
            for step in 0..count {
                let index = turn.wrapping_add(step) % count;
                if let Poll::Ready(heard) = links[index].wire.poll_hear(context) {
                    return Poll::Ready((index, heard));
                }
            }
            Poll::Pending
        })
        .await;
        match heard? {
            Heard::Changed(keys) => {
                for key in keys {
                    // What is no key of the toolkit's is nobody's here.
                    let key = std::str::from_utf8(&key).ok().and_then(Key::parse);
                    if let Some(key) = key.filter(|key| scope.contains(key)) {
                        outbox.put(Change::Record(key));
                    }
                }
                Ok(())
            }
            Heard::Flushed => {
                outbox.put(Change::Everything);
                Ok(())
            }
            Heard::Answer(answer) => self.check(index, &answer),
        }
    }

    /// Whether a server is still the one to listen to.
    fn check(&mut self, index: usize, answer: &str) -> Result<(), Error> {
        let link = &mut self.links[index];
        let changed = || error(ErrorKind::Unavailable, "the Cluster has changed");
        match link.asked.pop_front() {
            Some(Question::Role) => master(answer),
            Some(Question::Info) => match link.info == Some(Info::parse(answer)) {
                true => Ok(()),
                false => Err(changed()),
            },
            Some(Question::Nodes) => {
                let nodes = Nodes::parse(answer);
                let same = self
                    .cluster
                    .as_ref()
                    .is_some_and(|masters| nodes.masters.keys().eq(masters));
                if same && nodes.missing.is_none() {
                    Ok(())
                } else {
                    Err(changed())
                }
            }
            None => Ok(()),
        }
    }
}

/// Fails unless `INFO replication` says that the server is a master: a replica hears of changes late, and of those that
/// a new master makes never.
pub(super) fn master(info: &str) -> Result<(), Error> {
    if info.lines().any(|line| line.trim() == "role:master") {
        return Ok(());
    }
    let message = "the server is a replica, which cannot say that all changes have been told of";
    Err(error(ErrorKind::Unavailable, message))
}
