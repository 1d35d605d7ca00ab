//! The operations on one item.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure, error::ConditionalCheckFailedException,
};
use bytes::Bytes;
use cache_core::{
    Clock, Error, ErrorKind, Key, Record, SetMode, SetOptions, SetOutcome, Timestamp, Value, Version, VersionSource,
};
use parking_lot::RwLock;

use crate::condition::Condition;
use crate::error::{closed, error, from_sdk};
use crate::item::{self, Item, KEY, Lifetime};

/// What the clones of a backend share.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) table: String,
    pub(crate) consistent_reads: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) versions: VersionSource,
    /// `None` after `close`.
    client: RwLock<Option<Client>>,
}

/// The outcome of a conditional write.
enum Conditional {
    Done,
    /// The condition did not hold, for this item.
    Failed(Option<Item>),
}

impl Store {
    pub(crate) fn new(client: Client, table: String, consistent_reads: bool, clock: Arc<dyn Clock>) -> Self {
        Self {
            table,
            consistent_reads,
            clock,
            versions: VersionSource::new(),
            client: RwLock::new(Some(client)),
        }
    }

    pub(crate) fn client(&self) -> Result<Client, Error> {
        self.client.read().clone().ok_or_else(closed)
    }

    pub(crate) fn close(&self) {
        self.client.write().take();
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Record>, Error> {
        let answer = self
            .client()?
            .get_item()
            .table_name(&self.table)
            .key(KEY, item::key_attribute(key))
            .consistent_read(self.consistent_reads)
            .send()
            .await
            .map_err(|sdk| from_sdk(&sdk, &self.table))?;
        Ok(answer.item.and_then(|item| item::decode(item, key, self.clock.now())))
    }

    /// Reads a key that no record has.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        let answer = self
            .client()?
            .get_item()
            .table_name(&self.table)
            .key(KEY, AttributeValue::S("ping".to_owned()))
            .consistent_read(false)
            .send()
            .await;
        answer.map(drop).map_err(|sdk| from_sdk(&sdk, &self.table))
    }

    pub(crate) async fn set(&self, key: &Key, value: Value, options: SetOptions) -> Result<SetOutcome, Error> {
        let value = self.checked(key, value, options.mode).await?;
        let version = self.versions.next();
        let now = self.clock.now();
        let deadline = options.ttl.as_duration().map(|ttl| now + ttl);
        let condition = match options.mode {
            SetMode::Always => {
                self.put(item::encode(key, value, version, deadline), None).await?;
                return Ok(SetOutcome::Stored(version));
            }
            SetMode::IfAbsent => Condition::absent(now),
            SetMode::IfVersion(expected) => Condition::version(expected, now),
        };
        let attempt = item::encode(key, value.clone(), version, deadline);
        let mut outcome = self.put(attempt, Some(condition)).await?;
        if let SetMode::IfVersion(expected) = options.mode
            && let Some(condition) = foreign(&outcome, expected, now)
        {
            let attempt = item::encode(key, value, version, deadline);
            outcome = self.put(attempt, Some(condition)).await?;
        }
        Ok(match outcome {
            Conditional::Done => SetOutcome::Stored(version),
            // The SDK repeats a write whose answer was lost. The second attempt then finds the item of the first.
            Conditional::Failed(Some(item)) if item::own_version(&item) == Some(version) => SetOutcome::Stored(version),
            Conditional::Failed(_) => SetOutcome::Refused,
        })
    }

    /// Returns the bytes of a value if they fit. Otherwise removes the record that they were to replace, so that it is
    /// not read as the new value.
    pub(crate) async fn checked(&self, key: &Key, value: Value, mode: SetMode) -> Result<Bytes, Error> {
        let Value::Bytes(value) = value else {
            let message = "DynamoDB takes bytes, and no objects of this process";
            return Err(error(ErrorKind::Rejected, message));
        };
        // On a closed handle, that is the error, whatever the value.
        self.client()?;
        let most = item::max_value_bytes(key);
        if value.len() <= most {
            return Ok(value);
        }
        if mode == SetMode::Always {
            self.delete(key).await?;
        }
        let message = format!("{} bytes, and {most} is the most under this key", value.len());
        Err(error(ErrorKind::TooLarge, message))
    }

    async fn put(&self, item: Item, condition: Option<Condition>) -> Result<Conditional, Error> {
        let mut request = self.client()?.put_item().table_name(&self.table).set_item(Some(item));
        if let Some(condition) = condition {
            request = request
                .condition_expression(condition.expression)
                .set_expression_attribute_names(Some(condition.names))
                .set_expression_attribute_values(Some(condition.values))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        }
        match request.send().await {
            Ok(_) => Ok(Conditional::Done),
            Err(sdk) => match failed_condition(&sdk, |error| match error {
                PutItemError::ConditionalCheckFailedException(failed) => Some(failed),
                _ => None,
            }) {
                Some(item) => Ok(Conditional::Failed(item)),
                None => Err(from_sdk(&sdk, &self.table)),
            },
        }
    }

    /// Removes the item under `key`. Returns whether it was a record that had not expired.
    pub(crate) async fn delete(&self, key: &Key) -> Result<bool, Error> {
        // Removes an item that is expired by this clock too, since by the clock of another process it may not be. On
        // DynamoDB the condition changes nothing. Without one, DynamoDB Local returns the same item to several
        // concurrent deletes.
        let answer = self
            .delete_item(key, Condition::exists())?
            .return_values(ReturnValue::AllOld)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let now = self.clock.now();
                Ok(answer
                    .attributes
                    .is_some_and(|item| item::lifetime(&item, now) != Lifetime::Ended))
            }
            Err(sdk) => match failed_delete(&sdk) {
                Some(_) => Ok(false),
                None => Err(from_sdk(&sdk, &self.table)),
            },
        }
    }

    pub(crate) async fn delete_if(&self, key: &Key, version: Version) -> Result<bool, Error> {
        let now = self.clock.now();
        let mut outcome = self.conditional_delete(key, Condition::version(version, now)).await?;
        if let Some(condition) = foreign(&outcome, version, now) {
            outcome = self.conditional_delete(key, condition).await?;
        }
        Ok(matches!(outcome, Conditional::Done))
    }

    async fn conditional_delete(&self, key: &Key, condition: Condition) -> Result<Conditional, Error> {
        let answer = self
            .delete_item(key, condition)?
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Conditional::Done),
            Err(sdk) => match failed_delete(&sdk) {
                Some(item) => Ok(Conditional::Failed(item)),
                None => Err(from_sdk(&sdk, &self.table)),
            },
        }
    }

    fn delete_item(&self, key: &Key, condition: Condition) -> Result<DeleteItemFluentBuilder, Error> {
        Ok(self
            .client()?
            .delete_item()
            .table_name(&self.table)
            .key(KEY, item::key_attribute(key))
            .condition_expression(condition.expression)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(Some(condition.values).filter(|values| !values.is_empty())))
    }
}

/// Returns the item that the condition of a removal did not hold for, if that is the error.
fn failed_delete<R>(sdk: &SdkError<DeleteItemError, R>) -> Option<Option<Item>> {
    failed_condition(sdk, |error| match error {
        DeleteItemError::ConditionalCheckFailedException(failed) => Some(failed),
        _ => None,
    })
}

/// Returns the item that a condition did not hold for, if that is the error.
fn failed_condition<E, R>(
    sdk: &SdkError<E, R>,
    pick: impl FnOnce(&E) -> Option<&ConditionalCheckFailedException>,
) -> Option<Option<Item>> {
    let failed = sdk.as_service_error().and_then(pick)?;
    Some(failed.item.clone())
}

/// Returns the condition for a second attempt if the first failed because of a foreign item that was read with the
/// version `expected`.
fn foreign(outcome: &Conditional, expected: Version, now: Timestamp) -> Option<Condition> {
    let Conditional::Failed(Some(item)) = outcome else {
        return None;
    };
    let is_it = item::own_version(item).is_none()
        && item::version(item) == expected
        && item::lifetime(item, now) != Lifetime::Ended;
    is_it.then(|| Condition::unchanged(item))
}
