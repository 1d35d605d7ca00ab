//! Telling of changes, by Redis's client tracking in broadcasting mode.
//!
//! A stream has a connection of its own to each master and asks for the keys that start with the scope's text. A server
//! says that a key was changed before it answers whoever changed it, and before it answers what is asked on the same
//! connection from then on. So whatever was changed before a question was sent has been heard of when the answer to it
//! arrives, and the moment of the question is one up to which everything has been told.
//!
//! Whatever is wrong with one connection is wrong with the stream: it is said to be lost, all connections are made anew,
//! and anything may have changed.

mod cluster;
mod outbox;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use cache_core::{Error, ErrorKind, Invalidations, Key, Notice, Scope};
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::{Config, ServerConfig};
use futures_util::future::join_all;
use tokio::sync::watch;

use self::cluster::{Info, Nodes};
use self::outbox::{Outbox, Sender, Stream};
use self::wire::{Address, Heard, Wire, within};
use crate::error::error;
use crate::lane::Lane;

/// Between two attempts to come back, doubled from the first to the second.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// How often the nodes of a Cluster are asked until they agree on who its masters are, and the pause between.
const ROUNDS: usize = 10;
const ROUND_AFTER: Duration = Duration::from_millis(50);

/// The shortest time between two questions.
const SHORTEST_BEAT: Duration = Duration::from_millis(2);

/// What a stream needs to connect, again and again.
pub(crate) struct Tracking {
    pub(crate) lane: Arc<Lane>,
    pub(crate) scope: Scope,
    pub(crate) beat: Duration,
    pub(crate) command_timeout: Duration,
}

impl Tracking {
    /// A stream that stands. It ends when `closed` is true or gone.
    pub(crate) async fn start(self, mut closed: watch::Receiver<bool>) -> Result<Box<dyn Invalidations>, Error> {
        let session = self.open().await?;
        let outbox = Arc::new(Outbox::default());
        let sender = Sender(outbox.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                // An error says that there is no handle any more.
                _ = closed.wait_for(|closed| *closed) => {}
                () = self.run(session, &sender.0) => {}
            }
        });
        Ok(Box::new(Stream { outbox, task }))
    }

    async fn run(&self, mut session: Session, outbox: &Outbox) {
        loop {
            let lost = self.listen(&mut session, outbox).await;
            drop(session);
            outbox.put(Notice::Lost(lost.with_operation("invalidations")));
            let mut pause = RETRY_AFTER.0;
            session = loop {
                tokio::time::sleep(pause).await;
                match self.open().await {
                    Ok(session) => break session,
                    Err(_) => pause = (pause * 2).min(RETRY_AFTER.1),
                }
            };
            outbox.put(Notice::Everything);
        }
    }

    /// Passes on what the servers say, until something is wrong.
    async fn listen(&self, session: &mut Session, outbox: &Outbox) -> Error {
        // Twice as often as asked for, so that an answer that takes its time is no gap.
        let pause = (self.beat / 2).max(SHORTEST_BEAT);
        let mut asked = Instant::now();
        loop {
            if let Some(moved) = self.moved(session) {
                return moved;
            }
            let question = session.ask();
            if let Err(error) = within(self.command_timeout, "nothing could be sent", question).await {
                return error;
            }
            let answers = async {
                while session.asks() {
                    session.hear(&self.scope, outbox).await?;
                }
                Ok(())
            };
            if let Err(error) = within(self.command_timeout, "no answer", answers).await {
                return error;
            }
            outbox.put(Notice::UpToDate(asked));
            let until = tokio::time::sleep_until((asked + pause).into());
            tokio::pin!(until);
            loop {
                tokio::select! {
                    // First, or it would never be its turn while there is always something to hear.
                    biased;
                    () = &mut until => break,
                    heard = session.hear(&self.scope, outbox) => if let Err(error) = heard {
                        return error;
                    },
                }
            }
            asked = Instant::now();
        }
    }

    /// Connections to all masters, on which they tell of changes.
    async fn open(&self) -> Result<Session, Error> {
        let client = self.lane.client();
        let config = client.client_config();
        let alone = match &config.server {
            ServerConfig::Clustered { hosts, .. } => {
                let known = client.cached_cluster_state().map(|state| state.unique_primary_nodes());
                let known = known.filter(|known| !known.is_empty()).unwrap_or_else(|| hosts.clone());
                return self
                    .open_cluster(&config, known.into_iter().map(Address::from).collect())
                    .await;
            }
            ServerConfig::Sentinel { .. } => self.current_master()?,
            ServerConfig::Centralized { server } => server.clone().into(),
            ServerConfig::Unix { path } => Address::Unix(path.clone()),
        };
        let mut wire = self.connect(&alone, &config).await?;
        let role = within(self.command_timeout, "no answer", wire.ask(&["INFO", "replication"]));
        master(&role.await?)?;
        Ok(Session {
            links: vec![Link::new(wire, None)],
            cluster: None,
            turn: 0,
        })
    }

    async fn open_cluster(&self, config: &Config, mut candidates: Vec<Address>) -> Result<Session, Error> {
        let mut wires: BTreeMap<String, Wire> = BTreeMap::new();
        let mut last = error(
            ErrorKind::Unavailable,
            "the masters of the Cluster do not agree on who they are",
        );
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(ROUND_AFTER).await;
            }
            let connected = join_all(candidates.iter().map(|address| self.connect(address, config))).await;
            let all = std::mem::take(&mut wires).into_values();
            let mut all: Vec<Wire> = all.collect();
            for connected in connected {
                match connected {
                    Ok(wire) => all.push(wire),
                    Err(error) => last = error,
                }
            }
            let views = join_all(all.into_iter().map(|wire| self.view(wire))).await;
            let mut seen: Vec<(Nodes, Info)> = Vec::new();
            for view in views {
                match view {
                    Ok((wire, nodes, info)) if nodes.is_master() => {
                        wires.insert(nodes.own.clone(), wire);
                        seen.push((nodes, info));
                    }
                    // A replica knows its Cluster.
                    Ok((_, nodes, info)) => seen.push((nodes, info)),
                    Err(error) => last = error,
                }
            }
            candidates = seen
                .iter()
                .flat_map(|(nodes, _)| &nodes.masters)
                .filter(|(id, _)| !wires.contains_key(*id))
                .map(|(_, address)| address.clone())
                .collect();
            candidates.sort_by_key(ToString::to_string);
            candidates.dedup();
            let Some((first, first_info)) = seen.first() else {
                candidates = wires.values().map(|wire| wire.address().clone()).collect();
                candidates.extend(config.server.hosts().into_iter().map(Address::from));
                continue;
            };
            if let Some(missing) = seen.iter().find_map(|(nodes, _)| nodes.missing.as_ref()) {
                last = error(
                    ErrorKind::Unavailable,
                    format!("{missing}, a master of the Cluster, is down"),
                );
                continue;
            }
            let agreed = seen
                .iter()
                .all(|(nodes, info)| nodes.same_masters(first) && info.epoch == first_info.epoch && info.serves);
            if agreed && candidates.is_empty() && wires.keys().eq(first.masters.keys()) {
                let mut infos: BTreeMap<String, Info> =
                    seen.into_iter().map(|(nodes, info)| (nodes.own, info)).collect();
                let masters: Vec<String> = wires.keys().cloned().collect();
                let links = wires.into_iter().map(|(id, wire)| Link::new(wire, infos.remove(&id)));
                return Ok(Session {
                    links: links.collect(),
                    cluster: Some(masters),
                    turn: 0,
                });
            }
        }
        Err(last)
    }

    async fn view(&self, mut wire: Wire) -> Result<(Wire, Nodes, Info), Error> {
        let ask = async {
            let nodes = Nodes::parse(&wire.ask(&["CLUSTER", "NODES"]).await?);
            let info = Info::parse(&wire.ask(&["CLUSTER", "INFO"]).await?);
            Ok((nodes, info))
        };
        let (nodes, info) = within(self.command_timeout, "no answer", ask).await?;
        Ok((wire, nodes, info))
    }

    /// A connection on which changes are told of.
    async fn connect(&self, address: &Address, config: &Config) -> Result<Wire, Error> {
        let client = self.lane.client();
        let limits = client.connection_config();
        let (to_connect, to_greet) = (limits.connection_timeout, limits.internal_command_timeout);
        let mut wire = Wire::connect(address, config, to_connect, to_greet).await?;
        // Without NOLOOP: when another client's write of a key is followed by one of this connection's own before the
        // server gets to tell, it would tell nobody of either.
        let track = ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self.scope.as_str()];
        within(self.command_timeout, "no answer", wire.ask(&track)).await?;
        Ok(wire)
    }

    /// The master that the Sentinels have named to the client.
    fn current_master(&self) -> Result<Address, Error> {
        let client = self.lane.client();
        let connected = client.is_connected().then(|| client.active_connections());
        connected
            .and_then(|servers| servers.into_iter().next())
            .map(Address::from)
            .ok_or_else(|| error(ErrorKind::Unavailable, "no master is known"))
    }

    /// Whether the client has left the master that is listened to.
    fn moved(&self, session: &Session) -> Option<Error> {
        if !self.lane.client().client_config().server.is_sentinel() {
            return None;
        }
        // While the client has none, the connection to the old one is as good as any.
        let now = self.current_master().ok()?;
        let listened_to = session.links.first()?.wire.address();
        (now != *listened_to).then(|| error(ErrorKind::Unavailable, format!("{now} is the master now")))
    }
}

/// The connections of a stream while all is well.
struct Session {
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
    /// Asks every server for a sign of life.
    async fn ask(&mut self) -> Result<(), Error> {
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
    fn asks(&self) -> bool {
        self.links.iter().any(|link| !link.asked.is_empty())
    }

    /// Hears one thing from any server. Dropping the future loses nothing.
    async fn hear(&mut self, scope: &Scope, outbox: &Outbox) -> Result<(), Error> {
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
                        outbox.put(Notice::Changed(key));
                    }
                }
                Ok(())
            }
            Heard::Flushed => {
                outbox.put(Notice::Everything);
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
fn master(info: &str) -> Result<(), Error> {
    if info.lines().any(|line| line.trim() == "role:master") {
        return Ok(());
    }
    let message = "the server is a replica, which cannot say that all changes have been told of";
    Err(error(ErrorKind::Unavailable, message))
}
