//! Creating the table.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use cache_core::{Error, ErrorKind};
use tokio::time::{Instant, sleep};

use crate::error::{configuration, error, from_sdk};
use crate::item::{KEY, TTL};
use crate::store::Store;

/// How long creating a table may take. DynamoDB usually takes some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The state of the table.
enum Found {
    Nothing,
    Active,
    /// It is being created or removed.
    InBetween,
}

impl Store {
    /// Creates the table, waits until it is ready, and enables its TTL. Returns whether this call created it.
    pub(crate) async fn create_table_if_missing(&self) -> Result<bool, Error> {
        let client = self.client()?;
        let mut pauses = Pauses::new();
        let mut created = false;
        loop {
            match self.find_table(&client).await? {
                Found::Active => break,
                Found::Nothing => created |= self.create_table(&client).await?,
                Found::InBetween => {}
            }
            pauses.next("the table is not active").await?;
        }
        while !self.switch_on_ttl(&client).await? {
            pauses.next("the TTL of the table cannot be switched on").await?;
        }
        Ok(created)
    }

    async fn find_table(&self, client: &Client) -> Result<Found, Error> {
        let table = match client.describe_table().table_name(&self.table).send().await {
            Ok(answer) => answer.table,
            Err(sdk)
                if sdk
                    .as_service_error()
                    .is_some_and(DescribeTableError::is_resource_not_found_exception) =>
            {
                return Ok(Found::Nothing);
            }
            Err(sdk) => return Err(from_sdk(&sdk, &self.table)),
        };
        let Some(table) = table else {
            return Ok(Found::InBetween);
        };
        match table.table_status() {
            // A table that is being updated can be used.
            Some(TableStatus::Active | TableStatus::Updating) => {
                self.check_key(&table)?;
                Ok(Found::Active)
            }
            Some(TableStatus::Creating | TableStatus::Deleting) => Ok(Found::InBetween),
            status => Err(error(
                ErrorKind::Unavailable,
                format!(
                    "the table {:?} is {}",
                    self.table,
                    status.map_or("in an unknown state", TableStatus::as_str)
                ),
            )),
        }
    }

    /// Fails if the table has another key, and so belongs to another application.
    fn check_key(&self, table: &TableDescription) -> Result<(), Error> {
        let is_string = table.attribute_definitions().iter().any(|attribute| {
            attribute.attribute_name() == KEY && *attribute.attribute_type() == ScalarAttributeType::S
        });
        match table.key_schema() {
            [only] if only.attribute_name() == KEY && *only.key_type() == KeyType::Hash && is_string => Ok(()),
            _ => Err(configuration(format!(
                "the table {:?} has another key: it must have the partition key `{KEY}`, a string, and no sort key",
                self.table
            ))),
        }
    }

    /// Requests a new table. Returns `false` if another process did so first.
    async fn create_table(&self, client: &Client) -> Result<bool, Error> {
        let incomplete = |missing: aws_sdk_dynamodb::error::BuildError| error(ErrorKind::Other, missing.to_string());
        let key = KeySchemaElement::builder()
            .attribute_name(KEY)
            .key_type(KeyType::Hash)
            .build()
            .map_err(incomplete)?;
        let attribute = AttributeDefinition::builder()
            .attribute_name(KEY)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .map_err(incomplete)?;
        let answer = client
            .create_table()
            .table_name(&self.table)
            .key_schema(key)
            .attribute_definitions(attribute)
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(sdk)
                if sdk
                    .as_service_error()
                    .is_some_and(CreateTableError::is_resource_in_use_exception) =>
            {
                Ok(false)
            }
            Err(sdk) => Err(from_sdk(&sdk, &self.table)),
        }
    }

    /// Enables the TTL. Returns `false` if the table is not ready for it yet.
    async fn switch_on_ttl(&self, client: &Client) -> Result<bool, Error> {
        let answer = client
            .describe_time_to_live()
            .table_name(&self.table)
            .send()
            .await
            .map_err(|sdk| from_sdk(&sdk, &self.table))?;
        if let Some(ttl) = answer.time_to_live_description
            && let Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) = ttl.time_to_live_status()
        {
            return match ttl.attribute_name() {
                Some(TTL) => Ok(true),
                other => Err(configuration(format!(
                    "the TTL of the table {:?} goes by the attribute {other:?}, and must go by `{TTL}`",
                    self.table
                ))),
            };
        }
        let ttl = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(TTL)
            .build()
            .map_err(|missing| error(ErrorKind::Other, missing.to_string()))?;
        let answer = client
            .update_time_to_live()
            .table_name(&self.table)
            .time_to_live_specification(ttl)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(sdk) => {
                let error = from_sdk(&sdk, &self.table);
                let is_race = error.is_retryable() && error.kind() == ErrorKind::Rejected
                    // Another process enabled a TTL first. Its attribute is checked next.
                    || error.message().contains("already enabled");
                if is_race { Ok(false) } else { Err(error) }
            }
        }
    }
}

/// The growing pauses between two checks of the table, until the time is over.
struct Pauses {
    deadline: Instant,
    next: Duration,
}

impl Pauses {
    fn new() -> Self {
        Self {
            deadline: Instant::now() + PATIENCE,
            next: FIRST_PAUSE,
        }
    }

    async fn next(&mut self, why: &str) -> Result<(), Error> {
        if Instant::now() + self.next > self.deadline {
            return Err(error(ErrorKind::Timeout, format!("{why} after {PATIENCE:?}")));
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_table_ends() {
        let begun = Instant::now();
        let mut pauses = Pauses::new();
        let error = loop {
            if let Err(error) = pauses.next("nothing").await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(begun.elapsed() > PATIENCE - LONGEST_PAUSE * 2 && begun.elapsed() <= PATIENCE);
    }
}
