//! The servers, and which of them is asked for a key.

use std::time::Duration;

use cache_core::{Error, ErrorKind, Ttl};
use futures_util::future::join_all;

use crate::error::error;
use crate::ketama::Ring;
use crate::server::Server;

/// What happens to the keys of a server that does not answer.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenDown {
    /// Its keys fail with [`Unavailable`](ErrorKind::Unavailable), at once and without asking it, until it answers
    /// again. The keys of the other servers are not concerned.
    ///
    /// Nothing old can come back: what could not be invalidated was reported as an error.
    #[default]
    Fail,
    /// Its keys go to the next server of the ring until it answers again.
    ///
    /// The server is **emptied** (`flush_all`, of all that it holds, whoever wrote it) before it is used again, since
    /// what was invalidated meanwhile was invalidated elsewhere. What stands in for its records lives for
    /// [`STAND_IN_MILLIS`](crate::STAND_IN_MILLIS) at most; a server that goes away again within that time
    /// [fails](Self::Fail) instead, so that nothing is found that was left from the time before.
    ///
    /// Each process judges for itself who is away. Where a server is reached by some and not by others, those who reach
    /// it do not see what the others invalidate until the others have emptied it. Choose this only where a
    /// value that is old for so long does no harm.
    Skip,
}

/// How long a record lives at most that stands in for one of a server that is skipped, in milliseconds.
pub const STAND_IN_MILLIS: u64 = 10_000;

const STAND_IN: Duration = Duration::from_millis(STAND_IN_MILLIS);

/// The server to ask for a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) server: &'a Server,
    pub(crate) index: usize,
    stands_in: bool,
}

impl Target<'_> {
    /// How long a record may live here.
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

    /// The server to ask for `key`.
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
        // Its own error says the most.
        Ok(self.at(owner, owner))
    }

    fn at(&self, index: usize, owner: usize) -> Target<'_> {
        Target {
            server: &self.servers[index],
            index,
            stands_in: index != owner,
        }
    }

    /// Runs a call on a server that was chosen.
    pub(crate) async fn call<T>(
        &self,
        target: Target<'_>,
        work: impl Future<Output = Result<T, crate::error::Fault>>,
    ) -> Result<T, Error> {
        match self.when_down {
            WhenDown::Fail => target.server.call(work).await,
            // It comes back empty, or not at all.
            WhenDown::Skip => target.server.call_if_up(work).await,
        }
    }

    /// Asks all servers at once. One that does not answer is an error, unless it is skipped and another one answers.
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
