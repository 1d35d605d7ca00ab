//! Makes a client from the environment.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_smithy_http_client::Builder as HttpClient;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use cache_core::Error;

use crate::client::ClientSettings;
use crate::credentials::Detached;
use crate::error::configuration;
use crate::url::Target;

/// The longest pause before the first retry, and before any retry. The SDK's defaults are seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn client(settings: &ClientSettings, target: &Target) -> Result<Client, Error> {
    let http = HttpClient::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http);
    if let Some(region) = &target.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(credentials) = &settings.credentials {
        loader = loader.credentials_provider(credentials.clone());
    }
    let environment = loader.load().await;
    if environment.region().is_none() {
        return Err(configuration(
            "there is no region: set `region` in the URL or the builder, AWS_REGION, or a profile's region (DynamoDB Local \
             takes any)",
        ));
    }
    let retries = RetryConfig::standard()
        .with_max_attempts(settings.max_attempts)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(LONGEST_PAUSE);
    // The time limits apply to requests to DynamoDB, not to those that fetch credentials.
    let mut config = Builder::from(&environment)
        .timeout_config(settings.timeouts())
        .retry_config(retries);
    if let Some(endpoint) = &target.endpoint {
        config = config.endpoint_url(endpoint);
    }
    if let Some(credentials) = environment.credentials_provider() {
        config = config.credentials_provider(Detached::new(credentials));
    }
    Ok(Client::from_conf(config.build()))
}
