//! The servers, and the choice of the server for a key.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Ttl};
use futures_util::future::join_all;

use crate::error::{Fault, error};
use crate::ketama::Ring;
use crate::key::StoreKey;
use crate::membership::Membership;
use crate::protocol::Item;
use crate::record::{self, Stored};
use crate::server::Server;
use crate::session::Session;

/// Selects what happens to the keys of a server that is down.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenDown {
    /// Calls for its keys fail at once with [`Unavailable`](ErrorKind::Unavailable) until a probe finds the server
    /// back. The keys of other servers are not affected.
    ///
    /// No outdated value can come back: an invalidation that could not be carried out was reported as an error.
    #[default]
    Fail,
    /// Its keys move to the next server of the ring until the server is back.
    ///
    /// Before the server is used again, it is **emptied** (`flush_all`, which removes the records of all applications),
    /// since invalidations went to other servers meanwhile. Stand-ins for its records live for at most
    /// [`STAND_IN_MILLIS`](crate::STAND_IN_MILLIS). If the server goes down again within that time, calls for its keys
    /// [fail](Self::Fail) instead, so that stand-ins from the previous outage are never read.
    ///
    /// Each process decides for itself which servers are down. If some processes reach a server and others do not,
    /// those that reach it miss the others' invalidations until the others reach the server and empty it. Choose this
    /// only if a value may be outdated for that long.
    Skip,
}

/// The longest lifetime of a stand-in for a record of a server that is [skipped](WhenDown::Skip), in milliseconds.
pub const STAND_IN_MILLIS: u64 = 10_000;

const STAND_IN: Duration = Duration::from_millis(STAND_IN_MILLIS);

/// The key under which each server holds the [stamp](crate::membership::Stamp) of its fleet, where the list of servers
/// may change. No key of the user's is [written](StoreKey) like this.
pub(crate) const STAMP_KEY: &str = "%~larder-stamp";

/// The server that a call for a key goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) server: &'a Server,
    pub(crate) index: usize,
    stands_in: bool,
    /// The epoch since which the server has owned the key.
    since: u64,
}

impl Target<'_> {
    /// Limits the lifetime of a record that is written here.
    pub(crate) fn limit(&self, ttl: Ttl) -> Ttl {
        if !self.stands_in {
            return ttl;
        }
        Ttl::from_millis(
            ttl.as_millis()
                .map_or(STAND_IN_MILLIS, |millis| millis.min(STAND_IN_MILLIS)),
        )
    }
}

#[derive(Debug)]
pub(crate) struct Fleet {
    servers: Vec<Arc<Server>>,
    ring: Ring,
    when_down: WhenDown,
    changing: Option<Changing>,
}

/// What a fleet whose servers may change knows of them.
#[derive(Debug)]
struct Changing {
    membership: Membership,
    /// For each name in the ring, the epoch in which the server joined, or left if it is gone.
    epochs: Vec<u64>,
    /// Whether a server belongs to another fleet by now, or does not know yet that it belongs to this one.
    is_outdated: AtomicBool,
}

impl Fleet {
    pub(crate) fn new(servers: Vec<Arc<Server>>, when_down: WhenDown) -> Self {
        let names: Vec<&str> = servers.iter().map(|server| server.name()).collect();
        Self {
            ring: Ring::new(&names),
            servers,
            when_down,
            changing: None,
        }
    }

    /// A fleet whose servers may change. `servers` are the members, in any order.
    pub(crate) fn changing(servers: Vec<Arc<Server>>, membership: Membership) -> Self {
        let members = servers.iter().map(|server| server.name());
        let joined = servers.iter().map(|server| {
            let since = membership.members.get(server.name());
            since.copied().unwrap_or(membership.stamp.epoch)
        });
        // The removed servers keep their points in the ring, since they tell which keys were theirs.
        let names: Vec<&str> = members.chain(membership.removed.keys().map(String::as_str)).collect();
        let ring = Ring::new(&names);
        let epochs = joined.chain(membership.removed.values().copied()).collect();
        Self {
            ring,
            servers,
            when_down: WhenDown::Fail,
            changing: Some(Changing {
                membership,
                epochs,
                is_outdated: AtomicBool::new(false),
            }),
        }
    }

    pub(crate) fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    pub(crate) fn membership(&self) -> Option<&Membership> {
        self.changing.as_ref().map(|changing| &changing.membership)
    }

    /// Returns whether a call has failed because of a change of the servers.
    pub(crate) fn is_outdated(&self) -> bool {
        let changing = self.changing.as_ref();
        changing.is_some_and(|changing| changing.is_outdated.load(Ordering::Acquire))
    }

    /// Returns the epoch that is written into records, if there is one.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.changing.as_ref().map(|changing| changing.membership.stamp.epoch)
    }

    /// Chooses the server for `key`.
    pub(crate) async fn target(&self, key: &str) -> Result<Target<'_>, Error> {
        if let Some(changing) = &self.changing {
            return self.target_of_now(changing, key);
        }
        let owner = self.ring.owner(key);
        if self.when_down == WhenDown::Fail || self.servers[owner].rejoin().await {
            return Ok(self.at(owner, owner));
        }
        if !self.servers[owner].health().was_back_for_less_than(STAND_IN) {
            for index in self.ring.walk(key).skip(1) {
                if self.servers[index].rejoin().await {
                    return Ok(self.at(index, owner));
                }
            }
        }
        // No server can stand in, so the call fails with the error of the server that is down.
        Ok(self.at(owner, owner))
    }

    fn target_of_now(&self, changing: &Changing, key: &str) -> Result<Target<'_>, Error> {
        let mut since = changing.membership.floor;
        for index in self.ring.walk(key) {
            since = since.max(changing.epochs[index]);
            if index < self.servers.len() {
                return Ok(Target {
                    since,
                    ..self.at(index, index)
                });
            }
        }
        Err(no_server())
    }

    fn at(&self, index: usize, owner: usize) -> Target<'_> {
        Target {
            server: &self.servers[index],
            index,
            stands_in: index != owner,
            since: 0,
        }
    }

    /// Returns a session on the target for a write, after the server has confirmed that it belongs to this fleet.
    pub(crate) async fn session<'a>(&self, target: Target<'a>) -> Result<Session<'a>, Fault> {
        let mut session = target.server.session().await?;
        if let Some(changing) = &self.changing {
            let stamp = session.get([STAMP_KEY].into_iter()).await?.pop();
            changing.confirm(stamp.map(|item| item.value))?;
        }
        Ok(session)
    }

    /// Returns the values of `keys` on the target, each with the place of its key, without the keys that have none. The
    /// same answer confirms that the server belongs to this fleet. No key is there twice.
    pub(crate) async fn get(
        &self,
        target: Target<'_>,
        keys: impl ExactSizeIterator<Item = &str> + Clone,
    ) -> Result<Vec<Item>, Fault> {
        let mut session = target.server.session().await?;
        let Some(changing) = &self.changing else {
            return session.get(keys).await;
        };
        let after_keys = keys.len();
        let mut found = session.get(keys.chain([STAMP_KEY])).await?;
        let stamp = found.iter().position(|item| item.place == after_keys);
        changing.confirm(stamp.map(|at| found.swap_remove(at).value))?;
        Ok(found)
    }

    /// Decodes a record that the target holds. Returns `None`, which means absent, also for one that was left behind
    /// when its key moved.
    pub(crate) fn decode(&self, target: Target<'_>, key: &StoreKey<'_>, bytes: Bytes) -> Option<Stored> {
        let stored = record::decode(key, bytes)?;
        let Some(changing) = &self.changing else {
            return Some(stored);
        };
        let is_of_now = |epoch| (target.since..=changing.membership.stamp.epoch).contains(&epoch);
        stored.epoch.is_some_and(is_of_now).then_some(stored)
    }

    /// Runs a call on the target. It is pinned, so that it is not moved on its way.
    pub(crate) async fn call<T>(
        &self,
        target: Target<'_>,
        work: Pin<&mut impl Future<Output = Result<T, Fault>>>,
    ) -> Result<T, Error> {
        match self.when_down {
            WhenDown::Fail => target.server.call(work).await,
            // A probe would use the server without emptying it; `rejoin` does both.
            WhenDown::Skip => target.server.call_if_up(work).await,
        }
    }

    /// Pings all servers at once. Fails if a server does not answer, unless servers that are down are skipped and
    /// another one answers.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let answers = join_all(self.servers.iter().map(|server| async move {
            match self.when_down {
                WhenDown::Fail => server.ping().await,
                WhenDown::Skip => server.ping_and_rejoin().await,
            }
        }))
        .await;
        let one_answers = answers.iter().any(Result::is_ok);
        match answers.into_iter().find_map(Result::err) {
            Some(_) if one_answers && self.when_down == WhenDown::Skip => Ok(()),
            Some(error) => Err(error),
            None if one_answers => Ok(()),
            None => Err(no_server()),
        }
    }

    pub(crate) fn close(&self) {
        for server in &self.servers {
            server.close();
        }
    }
}

impl Changing {
    /// Compares the stamp that a server holds with that of this fleet.
    fn confirm(&self, found: Option<Bytes>) -> Result<(), Fault> {
        if found.is_some_and(|found| found[..] == self.membership.stamp.to_bytes()) {
            return Ok(());
        }
        self.is_outdated.store(true, Ordering::Release);
        Err(Fault::Moved)
    }
}

fn no_server() -> Error {
    error(ErrorKind::Configuration, "there is no server")
}
