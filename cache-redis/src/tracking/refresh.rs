//! The credentials of a subscription's connections, fetched again without a pause of its heartbeats.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fred::error::Error as FredError;
use fred::interfaces::ClientLike;
use fred::types::config::CredentialProvider;
use tokio::task::JoinHandle;

use crate::credentials::fetch;
use crate::lane::Lane;

/// Fetches credentials in the background when they are due.
pub(super) struct Refresh {
    /// `None` if connections are not authenticated again.
    source: Option<(Duration, Arc<dyn CredentialProvider>)>,
    last: Instant,
    fetching: Option<Fetching>,
}

struct Fetching(JoinHandle<Result<[String; 2], FredError>>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Refresh {
    pub(super) fn new(lane: &Lane) -> Self {
        let provider = lane.client().client_config().credential_provider.clone();
        Self {
            source: lane.refresh().zip(provider),
            last: Instant::now(),
            fetching: None,
        }
    }

    /// Returns new credentials, if they are due and were fetched. Does not wait for the provider.
    pub(super) async fn due(&mut self) -> Option<[String; 2]> {
        let (interval, provider) = self.source.as_ref()?;
        if let Some(fetching) = self.fetching.take_if(|fetching| fetching.0.is_finished()) {
            self.last = Instant::now();
            let mut fetching = fetching;
            // Without new ones, the connections are still those of the ones from before.
            return (&mut fetching.0).await.ok()?.ok();
        }
        if self.fetching.is_none() && self.last.elapsed() >= *interval {
            let provider = provider.clone();
            self.fetching = Some(Fetching(tokio::spawn(async move { fetch(&*provider, None).await })));
        }
        None
    }
}
