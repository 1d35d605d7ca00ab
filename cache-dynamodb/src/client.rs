//! The settings of an SDK client.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;

#[derive(Clone)]
pub(crate) struct ClientSettings {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) profile: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) max_attempts: u32,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            credentials: None,
            profile: None,
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(1),
            operation_timeout: Duration::from_secs(3),
            max_attempts: 3,
        }
    }
}

impl ClientSettings {
    /// Returns `client` with these time limits in place of those that it lacks. By default the SDK waits for an answer
    /// without a limit.
    pub(crate) fn bound(&self, client: &Client) -> Client {
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
