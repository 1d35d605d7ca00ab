//! The agreement of all processes on one [membership](crate::membership).
//!
//! Each server holds the membership that it belongs to, and its stamp under a key of its own. Every call compares the
//! stamp on the server with that of the fleet which it uses. So a process uses a new membership only after all servers,
//! the old ones too, have been told: from then on no call with the old one succeeds.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{Error, ErrorKind};
use futures_util::future::join_all;

use crate::error::{Fault, error};
use crate::fleet::STAMP_KEY;
use crate::lifetime::NEVER;
use crate::membership::{Membership, Names};
use crate::server::Server;

/// The key of the membership on each server. No key of the user's is written like this.
const MEMBERSHIP_KEY: &str = "%~larder-servers";

/// How often memberships that other processes make at the same time are taken into account.
const ATTEMPTS: usize = 12;

/// What a process wants the servers to be.
pub(crate) struct Proposal<'a> {
    pub(crate) list: &'a Names,
    /// The servers of the list.
    pub(crate) servers: &'a [Arc<Server>],
    /// Servers that were in use, and are no longer.
    pub(crate) leaving: &'a [Arc<Server>],
    /// The membership that this process used last.
    pub(crate) current: Option<&'a Membership>,
    /// Whether to put the list through though it may be older than that of other processes.
    pub(crate) insists: bool,
    /// Reaches a server that only other processes know.
    pub(crate) reach: &'a (dyn Fn(&str) -> Result<Arc<Server>, Error> + Sync),
}

/// The outcome of a proposal.
#[derive(Debug)]
pub(crate) enum Agreement {
    Reached(Membership),
    /// Other processes use another list, which may be newer.
    Behind(Membership),
}

impl Proposal<'_> {
    /// Agrees on the membership with the processes that use these servers. `now` is a time in milliseconds, and `nonce`
    /// returns random numbers.
    ///
    /// # Errors
    /// Fails unless more than half of the servers of the list answer: the others may be servers that were away, and know
    /// nothing of what has happened since.
    pub(crate) async fn agree(&self, now: u64, nonce: impl Fn() -> u64) -> Result<Agreement, Error> {
        // Servers that are no longer to be used: those of this process, and those of memberships that are found.
        let mut leaving = self.leaving.to_vec();
        for _ in 0..ATTEMPTS {
            let found = join_all(self.servers.iter().map(|server| server.call(read(server)))).await;
            self.need_most(&found)?;
            // Those that leave are asked even if they count as down: other processes may still use them.
            let left = join_all(leaving.iter().map(|server| server.call_anyway(read(server)))).await;
            let known = found.into_iter().chain(left).filter_map(|answer| answer.ok().flatten());
            let latest = latest(known.chain(self.current.cloned()).collect());
            let membership = match &latest[..] {
                [latest] if latest.is_of(self.list) => latest.clone(),
                others => match others.iter().find(|other| !self.follows(other)) {
                    Some(newer) => return Ok(Agreement::Behind(newer.clone())),
                    None => Membership::after(others, self.list, now, nonce()),
                },
            };
            let before = leaving.len();
            for name in latest.iter().flat_map(|membership| membership.members.keys()) {
                let is_known = |server: &Arc<Server>| server.name() == name;
                if !self.list.names.contains(name) && !leaving.iter().any(is_known) {
                    leaving.extend((self.reach)(name).ok());
                }
            }
            if leaving.len() > before {
                // They may know a later membership.
                continue;
            }
            let telling = self.servers.iter();
            let told = join_all(telling.map(|server| server.call(tell(server, &membership)))).await;
            // One that cannot be reached may be gone for good.
            let leave = leaving.iter();
            let left = join_all(leave.map(|server| server.call_anyway(tell(server, &membership)))).await;
            if told.iter().chain(&left).any(|told| matches!(told, Ok(false))) {
                // Another process is at it, too. Let one of them be first.
                tokio::time::sleep(Duration::from_millis(nonce() % 64)).await;
                continue;
            }
            self.need_most(&told)?;
            return Ok(Agreement::Reached(membership));
        }
        Err(error(
            ErrorKind::Conflict,
            "other processes keep changing the list of servers",
        ))
    }

    /// Returns whether the list replaces that of a membership.
    fn follows(&self, other: &Membership) -> bool {
        self.insists
            || match (self.list.version, other.version) {
                (Some(own), Some(theirs)) => own > theirs,
                // The provider has changed its list under this process, so this is the newer one.
                _ => self.current.is_some_and(|current| current.stamp == other.stamp),
            }
    }

    fn need_most<T>(&self, answers: &[Result<T, Error>]) -> Result<(), Error> {
        let good = answers.iter().filter(|answer| answer.is_ok()).count();
        if good * 2 > answers.len() {
            return Ok(());
        }
        let all = answers.len();
        let failed = answers.iter().find_map(|answer| answer.as_ref().err());
        let failed = failed.map(ToString::to_string).unwrap_or_default();
        Err(error(
            ErrorKind::Unavailable,
            format!("{good} of {all} servers answer, and more than half must before they are used: {failed}"),
        ))
    }
}

/// Reads what the servers know of their membership, so that they do not evict it as unused, and completes it where it was
/// evicted: a process that starts needs it.
pub(crate) async fn remind(servers: &[Arc<Server>], membership: &Membership) {
    let stamp = membership.stamp.to_bytes();
    join_all(servers.iter().map(|server| {
        let remind = async {
            let mut session = server.session().await?;
            let is_of = session
                .gets(STAMP_KEY)
                .await?
                .is_some_and(|known| known.bytes[..] == stamp);
            if is_of && session.gets(MEMBERSHIP_KEY).await?.is_none() {
                session.add(MEMBERSHIP_KEY, &membership.encode(), NEVER).await?;
            }
            Ok(())
        };
        // What fails here is found by the next call.
        async move { drop(server.call(remind).await) }
    }))
    .await;
}

/// Returns the memberships of the last epoch, each once.
fn latest(mut known: Vec<Membership>) -> Vec<Membership> {
    let last = known.iter().map(|membership| membership.stamp.epoch).max();
    known.retain(|membership| Some(membership.stamp.epoch) == last);
    known.sort_by_key(|membership| membership.stamp);
    known.dedup_by_key(|membership| membership.stamp);
    known
}

/// Reads the membership that a server holds.
async fn read(server: &Server) -> Result<Option<Membership>, Fault> {
    let found = server.session().await?.gets(MEMBERSHIP_KEY).await?;
    Ok(found.and_then(|found| Membership::decode(&found.bytes)))
}

/// Tells a server that it belongs to this membership. Returns `false` if it has been told of another one that is as new.
async fn tell(server: &Server, membership: &Membership) -> Result<bool, Fault> {
    let stamp = membership.stamp.to_bytes();
    let mut session = server.session().await?;
    // Read first: if another process tells this server of another membership meanwhile, one of the two fails to write
    // the stamp.
    let old = session.gets(STAMP_KEY).await?;
    let bytes = membership.encode();
    let is_told = match session.gets(MEMBERSHIP_KEY).await? {
        None => session.add(MEMBERSHIP_KEY, &bytes, NEVER).await?,
        Some(found) => match Membership::decode(&found.bytes) {
            Some(there) if there.stamp == membership.stamp => true,
            Some(there) if there.stamp.epoch >= membership.stamp.epoch => false,
            _ => session.swap(MEMBERSHIP_KEY, &bytes, found.token, NEVER).await?,
        },
    };
    if !is_told {
        return Ok(false);
    }
    match old {
        Some(old) if old.bytes[..] == stamp => Ok(true),
        Some(old) => session.swap(STAMP_KEY, &stamp, old.token, NEVER).await,
        None => session.add(STAMP_KEY, &stamp, NEVER).await,
    }
}
