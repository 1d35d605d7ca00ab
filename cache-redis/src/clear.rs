//! Clearing a scope: `SCAN` on every master, and `UNLINK` of the keys that it finds.

use std::sync::Arc;

use cache_core::{Error, ErrorKind, Scope};
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::Server;
use fred::types::{Resp3Frame, Value};

use crate::connection::{Connection, Route};
use crate::error::{error, from_fred, unexpected};
use crate::lane::Lane;

/// How many keys the server visits in one step. That takes it about 100 microseconds.
const STEP: i64 = 1_000;

/// How many keys one command removes.
const REMOVED_AT_ONCE: usize = 500;

/// How often a Cluster is scanned if its masters change meanwhile.
const ROUNDS: usize = 5;

/// Removes every key that starts with the scope's text, and returns how many there were.
pub(crate) async fn clear(connection: &Connection, scope: &Scope) -> Result<u64, Error> {
    let lane = connection.lane().await?;
    let scan = Scan {
        connection,
        lane,
        prefix: scope.as_str(),
        pattern: pattern(scope.as_str()),
    };
    if !connection.is_clustered() {
        return scan.node(None).await;
    }
    let mut removed = 0;
    let mut masters = masters(lane).await?;
    for _ in 0..ROUNDS {
        for master in &masters {
            removed += scan.node(Some(master)).await?;
        }
        // A new master may have keys that no master had when it was scanned.
        let after = self::masters(lane).await?;
        if after == masters {
            return Ok(removed);
        }
        masters = after;
    }
    Err(error(
        ErrorKind::Unavailable,
        "the masters of the Cluster changed again and again meanwhile",
    ))
}

/// Returns the current masters of the Cluster.
async fn masters(lane: &Arc<Lane>) -> Result<Vec<Server>, Error> {
    let client = lane.client();
    if !client.is_connected() {
        return Err(error(ErrorKind::Unavailable, "not connected"));
    }
    client.sync_cluster().await.map_err(|error| from_fred(&error))?;
    let masters = client.cached_cluster_state().map(|state| state.unique_primary_nodes());
    masters
        .filter(|masters| !masters.is_empty())
        .ok_or_else(|| error(ErrorKind::Unavailable, "the masters of the Cluster are not known"))
}

struct Scan<'a> {
    connection: &'a Connection,
    lane: &'a Arc<Lane>,
    prefix: &'a str,
    pattern: String,
}

impl Scan<'_> {
    async fn node(&self, node: Option<&Server>) -> Result<u64, Error> {
        let mut removed = 0;
        let mut cursor = Value::from_static_str("0");
        loop {
            let route = node.map_or(Route::Any, |node| Route::Node(node.clone()));
            let arguments = vec![
                cursor,
                Value::from_static_str("MATCH"),
                Value::from(self.pattern.as_str()),
                Value::from_static_str("COUNT"),
                Value::Integer(STEP),
            ];
            let (next, keys) = page(self.connection.call(self.lane, "SCAN", route, arguments).await?)?;
            let own: Vec<Value> = keys
                .into_iter()
                // The pattern selects the same keys, but a removal does not rely on it.
                .filter(|key| key.starts_with(self.prefix.as_bytes()))
                .map(Value::Bytes)
                .collect();
            removed += self.remove(own).await?;
            if &next[..] == b"0" {
                return Ok(removed);
            }
            cursor = Value::Bytes(next);
        }
    }

    async fn remove(&self, keys: Vec<Value>) -> Result<u64, Error> {
        let mut removed = 0;
        for keys in keys.chunks(REMOVED_AT_ONCE) {
            removed += unlink(self.connection, self.lane, keys.to_vec()).await?;
        }
        Ok(removed)
    }
}

/// Removes at most a few hundred keys, and returns how many there were. In a Cluster each goes to its own owner.
pub(crate) async fn unlink(connection: &Connection, lane: &Arc<Lane>, keys: Vec<Value>) -> Result<u64, Error> {
    let remove = async |keys| integer(&connection.call(lane, "UNLINK", Route::Key(0), keys).await?);
    if keys.is_empty() {
        Ok(0)
    } else if connection.is_clustered() {
        let each = keys.into_iter().map(|key| remove(vec![key]));
        Ok(futures_util::future::try_join_all(each).await?.into_iter().sum())
    } else {
        remove(keys).await
    }
}

/// Reads an answer that is a count.
pub(crate) fn integer(frame: &Resp3Frame) -> Result<u64, Error> {
    match frame {
        Resp3Frame::Number { data, .. } => Ok(u64::try_from(*data).unwrap_or(0)),
        _ => Err(unexpected("a count")),
    }
}

/// Reads an answer of `SCAN`: the next cursor and the keys.
fn page(frame: Resp3Frame) -> Result<(bytes::Bytes, Vec<bytes::Bytes>), Error> {
    let Resp3Frame::Array { mut data, .. } = frame else {
        return Err(unexpected("SCAN"));
    };
    match (data.pop(), data.pop()) {
        (Some(Resp3Frame::Array { data: keys, .. }), Some(Resp3Frame::BlobString { data: cursor, .. })) => {
            let keys = keys.into_iter().filter_map(|key| match key {
                Resp3Frame::BlobString { data, .. } => Some(data),
                _ => None,
            });
            Ok((cursor, keys.collect()))
        }
        _ => Err(unexpected("SCAN")),
    }
}

/// Returns the pattern of all keys that start with `prefix`, whose characters are all literal.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_a_wildcard() {
        assert_eq!(pattern("p:n:"), "p:n:*");
        assert_eq!(pattern("a*b?[c]\\:"), "a\\*b\\?\\[c\\]\\\\:*");
        assert_eq!(pattern("{ä}^-:"), "{ä}\\^\\-:*");
    }
}
