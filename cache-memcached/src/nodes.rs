//! The list of servers that a provider returns.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{Error, ErrorKind};

use crate::error::{configuration, error};
use crate::membership::Names;
use crate::stream::address;

/// How long a provider may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The servers of a fleet at one time; see [`MemcachedBackendBuilder::nodes`](crate::MemcachedBackendBuilder::nodes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeList {
    servers: Vec<String>,
    version: Option<u64>,
}

impl NodeList {
    /// Makes a list of servers: `host:port`, or `host` for port 11211. The order does not matter.
    ///
    /// The text decides which keys a server has, so all processes must write it alike.
    pub fn new<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            version: None,
        }
    }

    /// Sets a number that grows with each change of the list. Default: none.
    ///
    /// It tells a process which of two lists is newer, so that a change is adopted at once wherever it is seen first.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    pub(crate) fn names(&self) -> Result<Names, Error> {
        let mut names = BTreeSet::new();
        for server in &self.servers {
            let address = address(server).map_err(configuration)?;
            if !names.insert(address.name()) {
                return Err(configuration(format!("the server {} is named twice", address.name())));
            }
        }
        if names.is_empty() {
            return Err(error(ErrorKind::Unavailable, "the list of servers is empty"));
        }
        Ok(Names {
            names,
            version: self.version,
        })
    }
}

type Listed = Pin<Box<dyn Future<Output = Result<NodeList, Error>> + Send>>;

/// What names the servers.
#[derive(Clone)]
pub(crate) struct Provider(Arc<dyn Fn() -> Listed + Send + Sync>);

impl Provider {
    pub(crate) fn new<F, R>(provider: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<NodeList, Error>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(provider())))
    }

    pub(crate) async fn names(&self) -> Result<Names, Error> {
        match tokio::time::timeout(LIMIT, (self.0)()).await {
            Ok(list) => list?.names(),
            Err(_) => Err(error(
                ErrorKind::Timeout,
                format!("the provider of the list of servers did not answer within {LIMIT:?}"),
            )),
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}
