//! Sets up a backend.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use cache_core::{Clock, Error, SystemClock};

use crate::backend::DynamoBackend;
use crate::client::ClientSettings;
#[cfg(feature = "aws-config")]
use crate::environment;
use crate::error::configuration;
use crate::store::Store;
use crate::url::{self, Target};

impl DynamoBackend {
    /// Uses a ready client of the [AWS SDK](https://docs.rs/aws-sdk-dynamodb/1), with strongly consistent reads.
    ///
    /// Does not check the table. If the client sets no time limit for an operation or an attempt, the defaults of the
    /// [builder](DynamoBackendBuilder) apply. Its number of attempts is not changed. This and
    /// [`DynamoBackendBuilder::client`] are the only places where a type of the SDK's is public, so they follow its
    /// major version.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        let client = ClientSettings::default().bound(&client);
        Self::over(Store::new(client, table.into(), true, Arc::new(SystemClock)))
    }

    /// Uses the table of a URL, with the defaults of the [builder](Self::builder). See the [crate's front
    /// page](crate#urls) for its form.
    ///
    /// # Errors
    /// Fails as [`DynamoBackendBuilder::connect`] does.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder().url(url).connect().await
    }

    /// Returns a builder, for all settings.
    pub fn builder() -> DynamoBackendBuilder {
        DynamoBackendBuilder::new()
    }
}

/// Sets up a [`DynamoBackend`].
///
/// Without the feature `aws-config`, set the [client](Self::client).
///
/// ```no_run
/// use std::time::Duration;
///
/// use cache_dynamodb::DynamoBackend;
///
/// # async fn example() -> Result<(), cache_core::Error> {
/// let dynamo = DynamoBackend::builder()
///     .table("cache")
///     .region("eu-central-1")
///     .create_table_if_missing(true)
///     .operation_timeout(Duration::from_millis(500))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct DynamoBackendBuilder {
    target: Result<Target, Error>,
    client: Option<Client>,
    settings: ClientSettings,
    clock: Arc<dyn Clock>,
}

impl DynamoBackendBuilder {
    fn new() -> Self {
        Self {
            target: Ok(Target::default()),
            client: None,
            settings: ClientSettings::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets table, region, endpoint and the kind of reads from a URL. See the [crate's front page](crate#urls) for its
    /// form.
    ///
    /// It replaces what was set of these before. [`connect`](Self::connect) fails if the URL cannot be read.
    pub fn url(mut self, url: &str) -> Self {
        self.target = url::parse(url);
        self
    }

    fn target(mut self, change: impl FnOnce(&mut Target)) -> Self {
        if let Ok(target) = &mut self.target {
            change(target);
        }
        self
    }

    /// Sets the table, by its name or its ARN. Required.
    pub fn table(self, table: impl Into<String>) -> Self {
        let table = table.into();
        self.target(|target| target.table = table)
    }

    /// Uses a ready client, with its region, endpoint, credentials, connections and retries. Time limits that it does
    /// not set are those of this builder.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Sets the region. Default: from the environment.
    pub fn region(self, region: impl Into<String>) -> Self {
        let region = region.into();
        self.target(|target| target.region = Some(region))
    }

    /// Sets the URL of the service, for DynamoDB Local and VPC endpoints. Default: that of the region.
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.target(|target| target.endpoint = Some(url))
    }

    /// Sets the profile of the AWS configuration files. Default: from the environment.
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.settings.profile = Some(name.into());
        self
    }

    /// Sets fixed credentials, for DynamoDB Local and tests. Default: those of the environment, which it renews; use them
    /// in production.
    pub fn static_credentials(
        mut self,
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
    ) -> Self {
        self.settings.credentials = Some(Credentials::new(
            access_key_id,
            secret_access_key,
            None,
            None,
            "cache-dynamodb",
        ));
        self
    }

    /// Sets whether reads see every write that ended before them. Default: `true`.
    ///
    /// If `false`, reads cost half. See the [crate's front page](crate#eventual-reads) for what they may miss.
    pub fn consistent_reads(self, consistent: bool) -> Self {
        self.target(|target| target.consistent_reads = consistent)
    }

    /// Sets whether [`connect`](Self::connect) creates the table if it does not exist, as
    /// [`DynamoBackend::create_table_if_missing`] does. Default: `false`.
    pub fn create_table_if_missing(self, create: bool) -> Self {
        self.target(|target| target.create_table_if_missing = create)
    }

    /// Sets the clock by which lifetimes end. Default: the system's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets how long opening a connection may take. Default: 1 s. Must not be zero.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Sets how long one attempt of a request may take. Default: 1 s. Must not be zero. Raise it for large batches of large
    /// values.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.settings.attempt_timeout = timeout;
        self
    }

    /// Sets how long a request may take with all its attempts. Default: 3 s. Must not be zero.
    ///
    /// A request that takes longer fails with [`Timeout`](cache_core::ErrorKind::Timeout). A batch may be several
    /// requests.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.settings.operation_timeout = timeout;
        self
    }

    /// Sets how often a request is tried if it fails for a reason that may pass: throttling, a broken connection, an error
    /// of the server. Default: 3 times. Must not be 0.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = attempts;
        self
    }

    /// Returns the backend. Unless it [creates the table](Self::create_table_if_missing), it sends nothing to DynamoDB: the
    /// first call finds out whether table and credentials are there. Finding the region may ask the machine's metadata
    /// service.
    ///
    /// # Errors
    /// Fails with [`Configuration`](cache_core::ErrorKind::Configuration) if a setting is wrong, and as
    /// [`create_table_if_missing`](DynamoBackend::create_table_if_missing) does.
    pub async fn connect(self) -> Result<DynamoBackend, Error> {
        let target = self.target.clone()?;
        check(&target)?;
        check_limits(&self.settings)?;
        let client = match &self.client {
            Some(_) if target.region.is_some() || target.endpoint.is_some() => {
                return Err(configuration(
                    "a ready `client` brings its own region and endpoint: set them there",
                ));
            }
            Some(client) => self.settings.bound(client),
            None => self.new_client(&target).await?,
        };
        let store = Store::new(client, target.table, target.consistent_reads, self.clock);
        let backend = DynamoBackend::over(store);
        if target.create_table_if_missing {
            backend.create_table_if_missing().await?;
        }
        Ok(backend)
    }

    #[cfg(feature = "aws-config")]
    async fn new_client(&self, target: &Target) -> Result<Client, Error> {
        environment::client(&self.settings, target).await
    }

    #[cfg(not(feature = "aws-config"))]
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    async fn new_client(&self, _: &Target) -> Result<Client, Error> {
        Err(configuration(
            "there is no client: set `client`, or enable the feature `aws-config` of cache-dynamodb",
        ))
    }
}

fn check_limits(settings: &ClientSettings) -> Result<(), Error> {
    for (name, is_zero) in [
        ("connect_timeout", settings.connect_timeout.is_zero()),
        ("attempt_timeout", settings.attempt_timeout.is_zero()),
        ("operation_timeout", settings.operation_timeout.is_zero()),
        ("max_attempts", settings.max_attempts == 0),
    ] {
        if is_zero {
            return Err(configuration(format!("`{name}` is 0 and must be more")));
        }
    }
    Ok(())
}

fn check(target: &Target) -> Result<(), Error> {
    let table = &target.table;
    let is_name = (3..=255).contains(&table.len())
        && table
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if table.is_empty() {
        return Err(configuration("there is no `table`: name it in the URL or the builder"));
    }
    if !is_name && !table.starts_with("arn:") {
        return Err(configuration(format!(
            "{table:?} cannot be the name of a table: 3 to 255 of A-Z a-z 0-9 _ . -"
        )));
    }
    match &target.endpoint {
        Some(endpoint) => url::check_endpoint(endpoint).map_err(configuration),
        None => Ok(()),
    }
}

impl fmt::Debug for DynamoBackendBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoBackendBuilder")
            .field("target", &self.target)
            .field("client", &self.client.as_ref().map(|_| "ready"))
            .field("static_credentials", &self.settings.credentials.as_ref().map(|_| "***"))
            .field("profile", &self.settings.profile)
            .field("clock", &self.clock)
            .field("connect_timeout", &self.settings.connect_timeout)
            .field("attempt_timeout", &self.settings.attempt_timeout)
            .field("operation_timeout", &self.settings.operation_timeout)
            .field("max_attempts", &self.settings.max_attempts)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
    use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Region};
    use cache_core::{Backend, ErrorKind};

    use super::*;

    fn ready(timeouts: Option<TimeoutConfig>) -> Client {
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"));
        config.set_timeout_config(timeouts);
        Client::from_conf(config.build())
    }

    #[tokio::test]
    async fn mistakes_are_refused_before_anything_is_sent() {
        let new = DynamoBackendBuilder::new;
        for (builder, part) in [
            (new(), "no `table`"),
            (new().table("a b"), "\"a b\""),
            (new().table("ab"), "3 to 255"),
            (new().url("redis://cache"), "redis://cache"),
            (new().table("cache").endpoint("localhost:8000"), "localhost:8000"),
            (new().table("cache").client(ready(None)).region("eu-west-1"), "region"),
            (
                new().table("cache").connect_timeout(Duration::ZERO),
                "`connect_timeout`",
            ),
            (
                new().table("cache").attempt_timeout(Duration::ZERO),
                "`attempt_timeout`",
            ),
            (
                new().table("cache").operation_timeout(Duration::ZERO),
                "`operation_timeout`",
            ),
            (new().table("cache").max_attempts(0), "`max_attempts`"),
        ] {
            let error = builder.connect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_ready_client_keeps_its_limits_and_gets_those_that_it_lacks() {
        let own = TimeoutConfig::builder()
            .operation_timeout(Duration::from_secs(9))
            .build();
        let client = DynamoBackendBuilder::new()
            .attempt_timeout(Duration::from_millis(70))
            .settings
            .bound(&ready(Some(own)));
        let timeouts = client.config().timeout_config().unwrap();
        assert_eq!(timeouts.operation_timeout(), Some(Duration::from_secs(9)));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(Duration::from_millis(70)));

        let client = ClientSettings::default().bound(&ready(None));
        let timeouts = client.config().timeout_config().unwrap();
        assert_eq!(timeouts.operation_timeout(), Some(Duration::from_secs(3)));
    }

    #[tokio::test]
    async fn metrics_and_traces_have_the_name_of_opentelemetry() {
        let builder = DynamoBackendBuilder::new().table("cache").client(ready(None));
        let backend = builder.connect().await.unwrap();
        assert_eq!((backend.name(), backend.system_name()), ("dynamodb", "aws.dynamodb"));
    }

    #[test]
    fn debug_has_no_secrets() {
        let builder = DynamoBackendBuilder::new()
            .table("cache")
            .static_credentials("AKIA", "hunter2");
        let debug = format!("{builder:?}");
        assert!(debug.contains("\"cache\"") && !debug.contains("hunter"), "{debug}");
    }

    #[cfg(not(feature = "aws-config"))]
    #[tokio::test]
    async fn without_the_feature_a_client_must_be_given() {
        let builder = DynamoBackendBuilder::new().table("cache");
        let error = builder.clone().connect().await.unwrap_err();
        assert!(error.to_string().contains("`aws-config`"), "{error}");
        builder.client(ready(None)).connect().await.unwrap();
    }
}
