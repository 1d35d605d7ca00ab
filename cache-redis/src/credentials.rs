//! Credentials that change while the backend is in use.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use cache_core::{Error, ErrorKind, async_trait};
use fred::error::{Error as FredError, ErrorKind as FredErrorKind};
use fred::types::config::{CredentialProvider, Server};

use crate::error::error;

/// How long a provider may take.
const LIMIT: Duration = Duration::from_secs(10);

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

/// What a user's provider is to fred.
pub(crate) struct Provider(Box<dyn Fn() -> Fetched + Send + Sync>);

impl Provider {
    pub(crate) fn new<F, R>(fetch: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Credentials, Error>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(fetch())))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

/// fred's own refresh is not used: its task keeps a client that was replaced.
#[async_trait]
impl CredentialProvider for Provider {
    async fn fetch(&self, _: Option<&Server>) -> Result<(Option<String>, Option<String>), FredError> {
        let fetched = match tokio::time::timeout(LIMIT, (self.0)()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(error(ErrorKind::Timeout, format!("no answer within {LIMIT:?}"))),
        };
        match fetched {
            Ok(Credentials { username, password }) => Ok((username, Some(password))),
            Err(error) => {
                // Not of the kind `Auth`: the server has refused nothing, and another attempt may succeed.
                let message = format!("the provider of credentials failed: {error}");
                Err(FredError::new(FredErrorKind::IO, message))
            }
        }
    }
}

/// Fetches the credentials for a connection, as the arguments of `AUTH`.
pub(crate) async fn fetch(provider: &dyn CredentialProvider) -> Result<[String; 2], FredError> {
    let (username, password) = provider.fetch(None).await?;
    Ok([
        username.unwrap_or_else(|| "default".to_owned()),
        password.unwrap_or_default(),
    ])
}
