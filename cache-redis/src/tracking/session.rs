//! The connections of a subscription while nothing is wrong with them.

use std::collections::{BTreeMap, VecDeque};
use std::task::Poll;

use cache_core::{Change, Error, ErrorKind, Key, Scope};
use futures_util::future::join_all;

use crate::error::error;
use crate::tracking::cluster::{Info, Nodes};
use crate::tracking::marker::{Command, Marker, markers_of};
use crate::tracking::outbox::Outbox;
use crate::tracking::wire::{Address, Heard, Wire};

/// One connection to each master.
pub(super) struct Session {
    links: Vec<Link>,
    /// The names of a Cluster's masters, in order.
    cluster: Option<Vec<String>>,
    /// The connection that is polled first, and the node that is asked about the others.
    turn: usize,
    /// Only for a single server, since a Cluster has one database.
    marker: Option<Marker>,
    /// The prefix of the keys of all markers.
    markers: String,
}

struct Link {
    wire: Wire,
    asked: VecDeque<Question>,
    /// The node's last answer to `CLUSTER INFO`.
    info: Option<Info>,
}

/// The commands of a heartbeat. The answers show that the server is still the right one to subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Role,
    Info,
    Nodes,
    /// Writes the marker.
    Write,
    /// Reads the marker.
    Look,
    /// Authenticates again.
    Auth,
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
        let words: &[&str] = match question {
            Question::Role => &["INFO", "replication"],
            Question::Info => &["CLUSTER", "INFO"],
            Question::Nodes => &["CLUSTER", "NODES"],
            Question::Write | Question::Look | Question::Auth => &[],
        };
        self.send(question, words).await
    }

    async fn send<W: AsRef<str>>(&mut self, question: Question, words: &[W]) -> Result<(), Error> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        self.asked.push_back(question);
        self.wire.send(&words).await
    }

    /// Asks a single server whether it is a master, and whether its database is still the same.
    async fn ask_alone(&mut self, marker: Option<&mut Marker>) -> Result<(), Error> {
        self.ask(Question::Role).await?;
        match marker.and_then(Marker::command) {
            Some(Command::Write(words)) => self.send(Question::Write, &words).await,
            Some(Command::Look(words)) => self.send(Question::Look, &words).await,
            None => Ok(()),
        }
    }
}

impl Session {
    /// Makes a session with one server, whose database contains the marker.
    pub(super) fn alone(wire: Wire, scope: &Scope, marker: Marker) -> Self {
        Self {
            links: vec![Link::new(wire, None)],
            cluster: None,
            turn: 0,
            marker: Some(marker),
            markers: markers_of(scope),
        }
    }

    /// Makes a session with the masters of a Cluster, by their names, and each one's answer to `CLUSTER INFO`.
    pub(super) fn with_cluster(
        wires: BTreeMap<String, Wire>,
        scope: &Scope,
        mut infos: BTreeMap<String, Info>,
    ) -> Self {
        let masters = wires.keys().cloned().collect();
        let links = wires.into_iter().map(|(id, wire)| Link::new(wire, infos.remove(&id)));
        Self {
            links: links.collect(),
            cluster: Some(masters),
            turn: 0,
            marker: None,
            markers: markers_of(scope),
        }
    }

    /// Returns the address of the server if there is only one.
    pub(super) fn address(&self) -> Option<&Address> {
        match &self.links[..] {
            [link] => Some(link.wire.address()),
            _ => None,
        }
    }

    /// Sends every server the commands of a heartbeat.
    pub(super) async fn ask(&mut self) -> Result<(), Error> {
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn % self.links.len().max(1);
        if self.cluster.is_none() {
            let Some(link) = self.links.first_mut() else {
                return Ok(());
            };
            return link.ask_alone(self.marker.as_mut()).await;
        }
        let asks = self.links.iter_mut().enumerate().map(|(index, link)| async move {
            link.ask(Question::Info).await?;
            if index == turn {
                link.ask(Question::Nodes).await?;
            }
            Ok(())
        });
        join_all(asks).await.into_iter().collect()
    }

    /// Authenticates all connections again.
    pub(super) async fn authenticate(&mut self, [username, password]: &[String; 2]) -> Result<(), Error> {
        for link in &mut self.links {
            link.send(Question::Auth, &["AUTH", username, password]).await?;
        }
        Ok(())
    }

    /// Returns whether a server has not answered yet.
    pub(super) fn asks(&self) -> bool {
        self.links.iter().any(|link| !link.asked.is_empty())
    }

    /// Receives one message from any server. Cancel safe.
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
                    if key.starts_with(self.markers.as_bytes()) {
                        continue;
                    }
                    // A key that does not parse is not in the scope.
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
            Heard::Answer(answer) => self.check(index, &answer, outbox),
            Heard::Refused(error) => self.refused(index, error, outbox),
        }
    }

    /// Fails if the answer shows that this server is no longer the right one.
    fn check(&mut self, index: usize, answer: &str, outbox: &Outbox) -> Result<(), Error> {
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
            Some(Question::Look) => {
                if self.marker.as_mut().is_some_and(|marker| !marker.was_found(answer)) {
                    outbox.put(Change::Everything);
                }
                Ok(())
            }
            Some(Question::Write) => {
                if let Some(marker) = &mut self.marker {
                    marker.was_written();
                    outbox.put(Change::Everything);
                }
                Ok(())
            }
            Some(Question::Auth) | None => Ok(()),
        }
    }

    /// Handles an error answer. If it concerns the marker, the subscription goes on without one.
    fn refused(&mut self, index: usize, error: Error, outbox: &Outbox) -> Result<(), Error> {
        let question = self.links[index].asked.pop_front();
        match (question, &mut self.marker) {
            (Some(question @ (Question::Write | Question::Look)), Some(marker)) => {
                marker.was_refused(&error);
                if question == Question::Look {
                    outbox.put(Change::Everything);
                }
                Ok(())
            }
            // The connection is still that of the credentials from before.
            (Some(Question::Auth), _) => Ok(()),
            _ => Err(error),
        }
    }
}

/// Fails unless `INFO replication` says that the server is a master. A replica reports changes late, and after a
/// failover it may never report those of the new master.
pub(super) fn master(info: &str) -> Result<(), Error> {
    if info.lines().any(|line| line.trim() == "role:master") {
        return Ok(());
    }
    let message = "the server is a replica, which cannot report all changes: connect to the master";
    Err(error(ErrorKind::Unavailable, message))
}
