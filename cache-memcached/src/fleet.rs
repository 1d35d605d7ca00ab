//! The servers, and the choice of the server for a key.

use std::time::Duration;

use cache_core::{Error, ErrorKind, Ttl};
use futures_util::future::join_all;

use crate::error::error;
use crate::ketama::Ring;
use crate::server::Server;

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

/// The server that a call for a key goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) server: &'a Server,
    pub(crate) index: usize,
    stands_in: bool,
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
    servers: Vec<Server>,
    ring: Ring,
    when_down: WhenDown,
}

impl Fleet {
    pub(crate) fn new(servers: Vec<Server>, when_down: WhenDown) -> Self {
        let names: Vec<&str> = servers.iter().map(Server::name).collect();
        Self {
            ring: Ring::new(&names),
            servers,
            when_down,
        }
    }

    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Chooses the server for `key`.
    pub(crate) async fn target(&self, key: &str) -> Result<Target<'_>, Error> {
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

    fn at(&self, index: usize, owner: usize) -> Target<'_> {
        Target {
            server: &self.servers[index],
            index,
            stands_in: index != owner,
        }
    }

    /// Runs a call on the target.
    pub(crate) async fn call<T>(
        &self,
        target: Target<'_>,
        work: impl Future<Output = Result<T, crate::error::Fault>>,
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
            None => Err(error(ErrorKind::Configuration, "there is no server")),
        }
    }

    pub(crate) fn close(&self) {
        for server in &self.servers {
            server.close();
        }
    }
}
