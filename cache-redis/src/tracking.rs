//! Change subscriptions, by Redis's client tracking in broadcasting mode.
//!
//! A subscription has a connection of its own to each master, and tracks the keys that start with the scope's text. A
//! server reports a change before it answers the client that made it, and before it answers later commands on the
//! subscription's connection. So when a command is answered, every change made before the command was sent has been
//! received. The heartbeat carries the time at which the command was sent.
//!
//! If any connection fails, the subscription is lost: it reports that, opens all connections again, and then reports
//! that everything may have changed.

mod cluster;
mod marker;
mod outbox;
mod refresh;
mod session;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_core::{Change, Error, ErrorKind, Scope, Subscription};
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::{Config, ServerConfig};
use futures_util::future::join_all;
use tokio::sync::watch;

use crate::error::error;
use crate::lane::Lane;
use crate::tracking::cluster::{Info, Nodes};
use crate::tracking::marker::{Command, Marker};
use crate::tracking::outbox::{Outbox, Sender, Tracked};
use crate::tracking::refresh::Refresh;
use crate::tracking::session::{Session, master};
use crate::tracking::wire::{Address, Wire, within};

/// The pause between two attempts to reconnect, which doubles from the first value to the second.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// The pause after a change of the Cluster. By then an election has ended, and the other nodes know the result.
const SETTLED_AFTER: Duration = Duration::from_millis(200);

/// How often the nodes of a Cluster are asked until they agree on its masters, and the pause between.
const ROUNDS: usize = 10;
const ROUND_AFTER: Duration = Duration::from_millis(50);

/// The shortest time between two heartbeat commands.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(2);

/// The limit for longer times between them, which could not be added to a time.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a subscription needs to connect and reconnect.
pub(crate) struct Tracking {
    pub(crate) lane: Arc<Lane>,
    pub(crate) scope: Scope,
    pub(crate) heartbeat: Duration,
    pub(crate) operation_timeout: Duration,
}

impl Tracking {
    /// Connects, and returns the subscription. It ends when `closed` becomes true or loses its sender.
    pub(crate) async fn start(self, mut closed: watch::Receiver<bool>) -> Result<Box<dyn Subscription>, Error> {
        let session = self.open().await?;
        let outbox = Arc::new(Outbox::default());
        let sender = Sender(outbox.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                // An error means that the handle was dropped.
                _ = closed.wait_for(|closed| *closed) => {}
                () = self.run(session, &sender.0) => {}
            }
        });
        Ok(Box::new(Tracked { outbox, task }))
    }

    async fn run(&self, mut session: Session, outbox: &Outbox) {
        loop {
            let lost = self.listen(&mut session, outbox).await;
            drop(session);
            outbox.put(Change::Lost(lost.with_operation("subscribe")));
            let clustered = self.lane.client().client_config().server.is_clustered();
            let mut pause = if clustered { SETTLED_AFTER } else { RETRY_AFTER.0 };
            session = loop {
                tokio::time::sleep(pause).await;
                match self.open().await {
                    Ok(session) => break session,
                    Err(_) => pause = (pause * 2).min(RETRY_AFTER.1),
                }
            };
            outbox.put(Change::Everything);
        }
    }

    /// Reports changes and heartbeats until something fails, and returns the error.
    async fn listen(&self, session: &mut Session, outbox: &Outbox) -> Error {
        // Twice per requested interval, so that a slow answer leaves no gap.
        let pause = (self.heartbeat / 2).clamp(SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT);
        // Credentials are refreshed together with a heartbeat.
        let pause = self.lane.refresh().map_or(pause, |refresh| pause.min(refresh));
        let mut asked = Instant::now();
        let mut refresh = Refresh::new(&self.lane);
        loop {
            if let Some(moved) = self.moved(session) {
                return moved;
            }
            let credentials = refresh.due().await;
            let question = async {
                if let Some(credentials) = &credentials {
                    session.authenticate(credentials).await?;
                }
                session.ask().await
            };
            if let Err(error) = within(self.operation_timeout, "nothing could be sent", question).await {
                return error;
            }
            let answers = async {
                while session.asks() {
                    session.hear(&self.scope, outbox).await?;
                }
                Ok(())
            };
            if let Err(error) = within(self.operation_timeout, "no answer", answers).await {
                return error;
            }
            outbox.put(Change::Heartbeat(asked));
            let until = tokio::time::sleep_until((asked + pause).into());
            tokio::pin!(until);
            loop {
                tokio::select! {
                    // The timer comes first, so that a steady stream of changes does not starve it.
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

    /// Opens tracking connections to all masters.
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
        let role = within(self.operation_timeout, "no answer", wire.ask(&["INFO", "replication"]));
        master(&role.await?)?;
        let marker = self.marker(&mut wire).await?;
        Ok(Session::alone(wire, &self.scope, marker))
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
            let mut all: Vec<Wire> = std::mem::take(&mut wires).into_values().collect();
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
                    // A replica knows the Cluster's nodes too.
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
                candidates = config.server.hosts().into_iter().map(Address::from).collect();
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
            if agreed && candidates.is_empty() && !wires.is_empty() && wires.keys().eq(first.masters.keys()) {
                let infos = seen.into_iter().map(|(nodes, info)| (nodes.own, info)).collect();
                return Ok(Session::with_cluster(wires, &self.scope, infos));
            }
        }
        Err(last)
    }

    /// Writes a marker. If the server refuses the write, because it is full or the user lacks the permission, the
    /// subscription works without a marker.
    async fn marker(&self, wire: &mut Wire) -> Result<Marker, Error> {
        let mut marker = Marker::new(&self.scope);
        if let Some(Command::Write(words)) = marker.command() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match within(self.operation_timeout, "no answer", wire.ask(&words)).await {
                Ok(_) => marker.was_written(),
                Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) => return Err(error),
                Err(error) => marker.was_refused(&error),
            }
        }
        Ok(marker)
    }

    async fn view(&self, mut wire: Wire) -> Result<(Wire, Nodes, Info), Error> {
        let ask = async {
            let nodes = Nodes::parse(&wire.ask(&["CLUSTER", "NODES"]).await?);
            let info = Info::parse(&wire.ask(&["CLUSTER", "INFO"]).await?);
            Ok((nodes, info))
        };
        let (nodes, info) = within(self.operation_timeout, "no answer", ask).await?;
        Ok((wire, nodes, info))
    }

    /// Returns a connection on which the server reports changes.
    async fn connect(&self, address: &Address, config: &Config) -> Result<Wire, Error> {
        let client = self.lane.client();
        let limits = client.connection_config();
        let (to_connect, to_greet) = (limits.connection_timeout, limits.internal_command_timeout);
        let mut wire = Wire::connect(address, config, to_connect, to_greet).await?;
        let track = ["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self.scope.as_str()];
        within(self.operation_timeout, "no answer", wire.ask(&track)).await?;
        Ok(wire)
    }

    /// Returns the master that the Sentinels named to the client.
    fn current_master(&self) -> Result<Address, Error> {
        let client = self.lane.client();
        let connected = client.is_connected().then(|| client.active_connections());
        connected
            .and_then(|servers| servers.into_iter().next())
            .map(Address::from)
            .ok_or_else(|| error(ErrorKind::Unavailable, "no master is known"))
    }

    /// Returns an error if the client uses another master than the subscription.
    fn moved(&self, session: &Session) -> Option<Error> {
        if !self.lane.client().client_config().server.is_sentinel() {
            return None;
        }
        // While the client has no master, the subscription stays with the old one.
        let now = self.current_master().ok()?;
        (Some(&now) != session.address()).then(|| error(ErrorKind::Unavailable, format!("{now} is the master now")))
    }
}
