//! Credentials that change while the backend is in use.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_core::{Error, ErrorKind, async_trait};
use fred::error::{Error as FredError, ErrorKind as FredErrorKind};
use fred::types::config::{CredentialProvider, Server};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::error;

/// How long a provider may take.
const LIMIT: Duration = Duration::from_secs(10);

/// How old credentials for a new connection may be. Connections that are made together share them, and a store that is
/// away costs the provider at most one call in this time.
const RECENT: Duration = Duration::from_secs(1);

/// A password, or a token in its place, and the ACL user that it belongs to; see
/// [`RedisBackendBuilder::credentials`](crate::RedisBackendBuilder::credentials). Its `Debug` output has no secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: Option<String>,
    password: String,
}

impl Credentials {
    /// Creates the credentials of Redis's `default` user.
    pub fn new(password: impl Into<String>) -> Self {
        Self {
            username: None,
            password: password.into(),
        }
    }

    /// Sets the ACL user.
    #[must_use]
    pub fn with_username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"***")
            .finish()
    }
}

type Fetched = Pin<Box<dyn Future<Output = Result<Credentials, Error>> + Send>>;

/// What the provider returned, and when. `None` while it is asked.
type Answer = Option<(Instant, Result<Credentials, Error>)>;

/// A provider of the user's. One call of it serves all connections that are made at the same time.
///
/// fred's own refresh is not used: its task keeps a client that was replaced.
pub(crate) struct Provider {
    ask: Arc<dyn Fn() -> Fetched + Send + Sync>,
    last: Mutex<Option<watch::Receiver<Answer>>>,
}

impl Provider {
    pub(crate) fn new<F, R>(provider: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Credentials, Error>> + Send + 'static,
    {
        Self {
            ask: Arc::new(move || Box::pin(provider())),
            last: Mutex::new(None),
        }
    }

    /// Waits for the provider, so that connections that are made next need not.
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        self.credentials(RECENT).await.map(drop)
    }

    /// Returns credentials that are at most `age` old. An attempt to connect that gives up does not stop the provider, and
    /// the next one finds what it returned.
    async fn credentials(&self, age: Duration) -> Result<Credentials, Error> {
        loop {
            let mut answer = self.answer(age);
            // An error means that the runtime of the one who asked has ended.
            if let Ok(answer) = answer.wait_for(Option::is_some).await
                && let Some((_, credentials)) = &*answer
            {
                return credentials.clone();
            }
            self.last.lock().take();
        }
    }

    fn answer(&self, age: Duration) -> watch::Receiver<Answer> {
        let mut last = self.last.lock();
        let usable = last.as_ref().filter(|last| match &*last.borrow() {
            Some((when, _)) => when.elapsed() < age,
            None => last.has_changed().is_ok(),
        });
        if let Some(usable) = usable {
            return usable.clone();
        }
        let (sender, receiver) = watch::channel(None);
        let ask = self.ask.clone();
        tokio::spawn(async move {
            // Without an answer, those who wait would ask again at once.
            let asked = AssertUnwindSafe(async { ask().await }).catch_unwind();
            let answer = match tokio::time::timeout(LIMIT, asked).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(error(ErrorKind::Unavailable, "the provider of credentials panicked")),
                Err(_) => Err(error(ErrorKind::Timeout, format!("no answer within {LIMIT:?}"))),
            };
            sender.send_replace(Some((Instant::now(), answer)));
        });
        last.insert(receiver).clone()
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

/// fred names a server for a new connection.
#[async_trait]
impl CredentialProvider for Provider {
    async fn fetch(&self, server: Option<&Server>) -> Result<(Option<String>, Option<String>), FredError> {
        let age = server.map_or(Duration::ZERO, |_| RECENT);
        match self.credentials(age).await {
            Ok(Credentials { username, password }) => Ok((username, Some(password))),
            Err(error) => {
                // Not of the kind `Auth`: the server has refused nothing, and another attempt may succeed.
                let message = format!("the provider of credentials failed: {error}");
                Err(FredError::new(FredErrorKind::IO, message))
            }
        }
    }
}

/// Fetches credentials as the arguments of `AUTH`: for a new connection to `server`, or to authenticate again.
pub(crate) async fn fetch(
    provider: &dyn CredentialProvider,
    server: Option<&Server>,
) -> Result<[String; 2], FredError> {
    let (username, password) = provider.fetch(server).await?;
    Ok([
        username.unwrap_or_else(|| "default".to_owned()),
        password.unwrap_or_default(),
    ])
}
