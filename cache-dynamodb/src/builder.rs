//! How a backend is set up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use cache_core::{Clock, Error, SystemClock};

use crate::DynamoBackend;
use crate::error::configuration;
use crate::store::Store;
use crate::url::{self, Target};

/// Sets up a [`DynamoBackend`].
///
/// Without the feature `aws-config` the [client](Self::client) must be given.
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
    pub(crate) target: Result<Target, Error>,
    client: Option<Client>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) profile: Option<String>,
    clock: Arc<dyn Clock>,
    pub(crate) connect_timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) max_attempts: u32,
}

impl DynamoBackendBuilder {
    pub(crate) fn new() -> Self {
        Self {
            target: Ok(Target::default()),
            client: None,
            credentials: None,
            profile: None,
            clock: Arc::new(SystemClock),
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(1),
            operation_timeout: Duration::from_secs(3),
            max_attempts: 3,
        }
    }

    /// Everything that a URL says: table, region, endpoint, and how it is read. See the [crate's front
    /// page](crate#urls).
    ///
    /// It replaces what was said of these before. A URL that cannot be read is reported by [`connect`](Self::connect).
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

    /// The table, by its name or its ARN. It must be set.
    pub fn table(self, table: impl Into<String>) -> Self {
        let table = table.into();
        self.target(|target| target.table = table)
    }

    /// A client that is ready. It brings its own region, endpoint, credentials, connections and retries; time limits
    /// that it leaves open are those of this builder.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// The region; what the environment says unless set.
    pub fn region(self, region: impl Into<String>) -> Self {
        let region = region.into();
        self.target(|target| target.region = Some(region))
    }

    /// The URL of the service, for DynamoDB Local and for VPC endpoints; that of the region unless set.
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.target(|target| target.endpoint = Some(url))
    }

    /// The profile of the AWS configuration files; what the environment says unless set.
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// Fixed credentials, for DynamoDB Local and for tests. In production, leave them to the environment, which renews
    /// them.
    pub fn static_credentials(
        mut self,
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
    ) -> Self {
        self.credentials = Some(Credentials::new(
            access_key_id,
            secret_access_key,
            None,
            None,
            "cache-dynamodb",
        ));
        self
    }

    /// Whether reads see every write that ended before them; they do unless this is switched off. Reads that need not
    /// cost half. See the [crate's front page](crate#eventual-reads) for what they may miss.
    pub fn consistent_reads(self, consistent: bool) -> Self {
        self.target(|target| target.consistent_reads = consistent)
    }

    /// Whether [`connect`](Self::connect) makes the table if there is none, as
    /// [`DynamoBackend::create_table_if_missing`] does; off unless set.
    pub fn create_table_if_missing(self, create: bool) -> Self {
        self.target(|target| target.create_table_if_missing = create)
    }

    /// Where deadlines are read from; the system's clock unless set.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long making a connection may take; 1 second unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = positive(timeout);
        self
    }

    /// How long one attempt of a request may take; 1 second unless set. To be raised for large batches of large values.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = positive(timeout);
        self
    }

    /// How long a request may take with all its attempts; 3 seconds unless set. A request that takes longer ends with
    /// [`Timeout`](cache_core::ErrorKind::Timeout). A batch may be several requests.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = positive(timeout);
        self
    }

    /// How often a request is tried that failed for a reason that may pass: throttling, a broken connection, an error
    /// of the server; 3 times unless set, and at least once.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Makes the backend. It sends nothing, unless a table is to be [made](Self::create_table_if_missing): the first
    /// call finds out whether table and credentials are there. Finding the region may ask the machine's metadata
    /// service.
    ///
    /// # Errors
    /// [`Configuration`](cache_core::ErrorKind::Configuration); and as
    /// [`create_table_if_missing`](DynamoBackend::create_table_if_missing).
    pub async fn connect(self) -> Result<DynamoBackend, Error> {
        let target = self.target.clone()?;
        check(&target)?;
        let client = match &self.client {
            Some(_) if target.region.is_some() || target.endpoint.is_some() => {
                return Err(configuration(
                    "a client that is ready brings its own region and endpoint: set them there",
                ));
            }
            Some(client) => self.bounded(client),
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
        crate::connect::client(self, target).await
    }

    #[cfg(not(feature = "aws-config"))]
    #[allow(clippy::unused_async, reason = "with the feature it waits")]
    async fn new_client(&self, _: &Target) -> Result<Client, Error> {
        Err(configuration(
            "there is no client: give one, or switch on the feature `aws-config` of cache-dynamodb",
        ))
    }

    /// The client, with time limits where it has none: the SDK sets none for answers.
    pub(crate) fn bounded(&self, client: &Client) -> Client {
        let config = client.config();
        let mut timeouts = config.timeout_config().cloned().unwrap_or_else(|| self.timeouts());
        timeouts.take_defaults_from(&self.timeouts());
        Client::from_conf(config.to_builder().timeout_config(timeouts).build())
    }

    pub(crate) fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .operation_attempt_timeout(self.attempt_timeout)
            .operation_timeout(self.operation_timeout)
            .build()
    }
}

fn positive(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

fn check(target: &Target) -> Result<(), Error> {
    let table = &target.table;
    let is_name = (3..=255).contains(&table.len())
        && table
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if table.is_empty() {
        return Err(configuration("the table is missing"));
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
            .field("static_credentials", &self.credentials.as_ref().map(|_| "***"))
            .field("profile", &self.profile)
            .field("clock", &self.clock)
            .field("connect_timeout", &self.connect_timeout)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("operation_timeout", &self.operation_timeout)
            .field("max_attempts", &self.max_attempts)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Region};
    use cache_core::ErrorKind;

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
            (new(), "missing"),
            (new().table("a b"), "\"a b\""),
            (new().table("ab"), "3 to 255"),
            (new().url("redis://cache"), "redis://cache"),
            (new().table("cache").endpoint("localhost:8000"), "localhost:8000"),
            (new().table("cache").client(ready(None)).region("eu-west-1"), "region"),
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
            .bounded(&ready(Some(own)));
        let timeouts = client.config().timeout_config().unwrap();
        assert_eq!(timeouts.operation_timeout(), Some(Duration::from_secs(9)));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(Duration::from_millis(70)));

        let client = DynamoBackendBuilder::new().bounded(&ready(None));
        let timeouts = client.config().timeout_config().unwrap();
        assert_eq!(timeouts.operation_timeout(), Some(Duration::from_secs(3)));
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
