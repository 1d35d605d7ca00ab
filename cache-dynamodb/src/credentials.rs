//! Fetching credentials, which may take longer than a call may take.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

type Fetch = Shared<BoxFuture<'static, Result<Credentials, Arc<CredentialsError>>>>;

/// Fetches credentials in a task of its own, which all calls that need them wait for.
///
/// Otherwise a call that times out would cancel the fetch, and the next call would start again. If a fetch takes longer
/// than a call may take, no call would ever succeed.
#[derive(Debug)]
pub(crate) struct Detached {
    provider: SharedCredentialsProvider,
    under_way: Mutex<Option<Fetch>>,
}

impl Detached {
    pub(crate) fn new(provider: SharedCredentialsProvider) -> Self {
        Self {
            provider,
            under_way: Mutex::new(None),
        }
    }

    fn fetch(&self) -> Fetch {
        let mut under_way = self.under_way.lock();
        match &*under_way {
            // A finished fetch is not reused, since the client itself caches credentials.
            Some(fetch) if fetch.peek().is_none() => fetch.clone(),
            _ => {
                let provider = self.provider.clone();
                let task = tokio::spawn(async move { provider.provide_credentials().await });
                let fetch = async move {
                    match task.await {
                        Ok(fetched) => fetched.map_err(Arc::new),
                        Err(ended) => Err(Arc::new(CredentialsError::unhandled(ended))),
                    }
                };
                under_way.insert(fetch.boxed().shared()).clone()
            }
        }
    }
}

impl ProvideCredentials for Detached {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let fetch = self.fetch();
        future::ProvideCredentials::new(async move { fetch.await.map_err(CredentialsError::provider_error) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    /// A provider that takes a second, and counts its calls.
    #[derive(Debug, Default)]
    struct Slow(Arc<AtomicUsize>);

    impl ProvideCredentials for Slow {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.0.fetch_add(1, Ordering::SeqCst);
            future::ProvideCredentials::new(async {
                sleep(Duration::from_secs(1)).await;
                Ok(Credentials::new("id", "secret", None, None, "test"))
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fetching_outlives_the_calls_that_wait_for_it() {
        let slow = Slow::default();
        let fetched = Arc::clone(&slow.0);
        let detached = Detached::new(SharedCredentialsProvider::new(slow));
        let call = || timeout(Duration::from_millis(600), detached.provide_credentials());
        assert!(call().await.is_err());
        assert_eq!(call().await.unwrap().unwrap().access_key_id(), "id");
        assert_eq!(fetched.load(Ordering::SeqCst), 1);
        // The next call fetches them again.
        assert!(call().await.is_err());
        assert_eq!(fetched.load(Ordering::SeqCst), 2);
    }
}
