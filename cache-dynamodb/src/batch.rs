//! Batches: many keys in few requests.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::types::{KeysAndAttributes, PutRequest, WriteRequest};
use bytes::Bytes;
use cache_core::{Error, ErrorKind, Key, Record, SetMode, SetOptions, SetOutcome, Value, Version, jittered};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::error::{error, from_sdk, throttled};
use crate::item::{self, Item, KEY};
use crate::store::Store;

/// The most keys of one `BatchGetItem`.
pub(crate) const READ_KEYS: usize = 100;

/// The most items of one `BatchWriteItem`.
const WRITE_ITEMS: usize = 25;

/// The most requests of one call that are in flight at a time.
const CONCURRENT: usize = 16;

/// A batch fails after this many answers in a row that bring no progress.
const ATTEMPTS: u32 = 6;

/// The pause after the first such answer, and the longest pause, up to which it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// Counts the answers without progress, and pauses after each.
struct Patience {
    left: usize,
    in_vain: u32,
}

impl Patience {
    fn new(left: usize) -> Self {
        Self { left, in_vain: 0 }
    }

    /// Pauses after an answer that left `left` items unprocessed, or fails.
    async fn wait(&mut self, left: usize) -> Result<(), Error> {
        self.in_vain = if left < self.left { 0 } else { self.in_vain + 1 };
        self.left = left;
        if self.in_vain >= ATTEMPTS {
            return Err(throttled(left));
        }
        tokio::time::sleep(jittered(pause(self.in_vain), 0.5)).await;
        Ok(())
    }
}

/// Returns the longest pause after `in_vain` answers in a row without progress.
fn pause(in_vain: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << in_vain.min(10)).min(LONGEST_PAUSE)
}

impl Store {
    pub(crate) async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Error> {
        self.client()?;
        let stored: Vec<String> = keys.iter().map(|key| crate::key::stored(key).into_owned()).collect();
        // DynamoDB refuses a request that names a key twice.
        let mut seen = HashSet::new();
        let distinct: Vec<&String> = stored.iter().filter(|key| seen.insert(key.as_str())).collect();
        let requests: Vec<_> = distinct.chunks(READ_KEYS).map(|keys| self.read(keys)).collect();
        let items: HashMap<String, Item> = stream::iter(requests)
            .buffer_unordered(CONCURRENT)
            .try_concat()
            .await?
            .into_iter()
            .filter_map(|item| Some((item.get(KEY)?.as_s().ok()?.clone(), item)))
            .collect();
        let now = self.clock.now();
        let mut records: HashMap<&str, Option<Record>> = HashMap::with_capacity(items.len());
        let mut items = items;
        let answers = keys.iter().zip(&stored).map(|(key, stored)| {
            let record = records
                .entry(stored)
                .or_insert_with(|| item::decode(items.remove(stored)?, key, now));
            record.clone()
        });
        Ok(answers.collect())
    }

    /// Reads the items under at most [`READ_KEYS`] keys.
    async fn read(&self, keys: &[&String]) -> Result<Vec<Item>, Error> {
        let mut items = Vec::with_capacity(keys.len());
        let mut patience = Patience::new(keys.len());
        let mut keys = keys
            .iter()
            .map(|key| {
                HashMap::from([(
                    KEY.to_owned(),
                    aws_sdk_dynamodb::types::AttributeValue::S((*key).clone()),
                )])
            })
            .collect();
        loop {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(self.consistent_reads)
                .build()
                .map_err(|incomplete| error(ErrorKind::Other, incomplete.to_string()))?;
            let answer = self
                .client()?
                .batch_get_item()
                .request_items(&self.table, wanted)
                .send()
                .await
                .map_err(|sdk| from_sdk(&sdk, &self.table))?;
            items.extend(answer.responses.into_iter().flatten().flat_map(|(_, items)| items));
            keys = answer
                .unprocessed_keys
                .into_iter()
                .flatten()
                .flat_map(|(_, keys)| keys.keys)
                .collect();
            if keys.is_empty() {
                return Ok(items);
            }
            patience.wait(keys.len()).await?;
        }
    }

    pub(crate) async fn set_many(&self, entries: Vec<(Key, Value, SetOptions)>) -> Result<Vec<SetOutcome>, Error> {
        self.client()?;
        let mut writes = Vec::with_capacity(entries.len());
        for (key, value, options) in entries {
            let value = self.checked(&key, value, options.mode).await?;
            writes.push((key, value, options));
        }
        let waves = waves(writes.iter().map(|(key, ..)| key));
        let mut outcomes = vec![SetOutcome::Refused; writes.len()];
        for wave in waves {
            let (plain, conditional): (Vec<usize>, Vec<usize>) = wave
                .into_iter()
                .partition(|&place| writes[place].2.mode == SetMode::Always);
            let (plain, conditional) = futures_util::future::try_join(
                self.write_all(&writes, &plain),
                stream::iter(conditional.into_iter().map(|place| self.write_one(&writes, place)))
                    .buffer_unordered(CONCURRENT)
                    .try_collect::<Vec<_>>(),
            )
            .await?;
            for (place, version) in plain {
                outcomes[place] = SetOutcome::Stored(version);
            }
            for (place, outcome) in conditional {
                outcomes[place] = outcome;
            }
        }
        Ok(outcomes)
    }

    async fn write_one(&self, writes: &[(Key, Bytes, SetOptions)], place: usize) -> Result<(usize, SetOutcome), Error> {
        let (key, value, options) = &writes[place];
        let outcome = self.set(key, Value::Bytes(value.clone()), *options).await?;
        Ok((place, outcome))
    }

    /// Writes the entries without a condition, and returns the version of each.
    async fn write_all(
        &self,
        writes: &[(Key, Bytes, SetOptions)],
        places: &[usize],
    ) -> Result<Vec<(usize, Version)>, Error> {
        let requests: Vec<_> = places
            .chunks(WRITE_ITEMS)
            .map(|places| self.write(writes, places))
            .collect();
        stream::iter(requests).buffer_unordered(CONCURRENT).try_concat().await
    }

    /// Writes at most [`WRITE_ITEMS`] items, all under different keys.
    async fn write(
        &self,
        writes: &[(Key, Bytes, SetOptions)],
        places: &[usize],
    ) -> Result<Vec<(usize, Version)>, Error> {
        let now = self.clock.now();
        let mut versions = Vec::with_capacity(places.len());
        let mut requests = Vec::with_capacity(places.len());
        for &place in places {
            let (key, value, options) = &writes[place];
            let version = self.versions.next();
            let deadline = options.ttl.as_duration().map(|ttl| now + ttl);
            let put = PutRequest::builder()
                .set_item(Some(item::encode(key, value.clone(), version, deadline)))
                .build()
                .map_err(|incomplete| error(ErrorKind::Other, incomplete.to_string()))?;
            requests.push(WriteRequest::builder().put_request(put).build());
            versions.push((place, version));
        }
        let mut patience = Patience::new(requests.len());
        while !requests.is_empty() {
            let answer = self
                .client()?
                .batch_write_item()
                .request_items(&self.table, requests)
                .send()
                .await
                .map_err(|sdk| from_sdk(&sdk, &self.table))?;
            requests = answer
                .unprocessed_items
                .into_iter()
                .flatten()
                .flat_map(|(_, requests)| requests)
                .collect();
            if !requests.is_empty() {
                patience.wait(requests.len()).await?;
            }
        }
        Ok(versions)
    }

    /// `BatchWriteItem` does not report what it removed, so each key is a request of its own. The cost is the same.
    pub(crate) async fn delete_many(&self, keys: &[Key]) -> Result<u64, Error> {
        self.client()?;
        let mut seen = HashSet::new();
        let distinct = keys.iter().filter(|key| seen.insert(*key));
        let requests: Vec<_> = distinct.map(|key| self.delete(key)).collect();
        stream::iter(requests)
            .buffer_unordered(CONCURRENT)
            .try_fold(0, |removed, one| async move { Ok(removed + u64::from(one)) })
            .await
    }
}

/// Groups the places of a batch so that no group has a key twice. Writes of one key stay in order.
fn waves<'a>(keys: impl Iterator<Item = &'a Key>) -> Vec<Vec<usize>> {
    let mut times: HashMap<&Key, usize> = HashMap::new();
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for (place, key) in keys.enumerate() {
        let wave = times.entry(key).or_default();
        if *wave == waves.len() {
            waves.push(Vec::new());
        }
        waves[*wave].push(place);
        *wave += 1;
    }
    waves
}

#[cfg(test)]
mod tests {
    use cache_core::Prefix;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        assert_eq!(pause(0), FIRST_PAUSE);
        assert_eq!(pause(1), FIRST_PAUSE * 2);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_where_nothing_is_done_and_not_where_something_is() {
        let mut patience = Patience::new(10);
        for _ in 1..ATTEMPTS {
            patience.wait(10).await.unwrap();
        }
        let error = patience.wait(10).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Rejected, true));

        let mut patience = Patience::new(100);
        for left in (1..100).rev() {
            patience.wait(left).await.unwrap();
        }
    }

    proptest! {
        #[test]
        fn waves_have_each_place_once_each_key_once_and_keep_the_order(names in prop::collection::vec("[a-c]", 0..20)) {
            let namespace = Prefix::new("p").namespace("n");
            let keys: Vec<Key> = names.iter().map(|name| namespace.key(name)).collect();
            let waves = waves(keys.iter());
            let mut last: HashMap<&Key, usize> = HashMap::new();
            let mut places = 0;
            for wave in &waves {
                let distinct: HashSet<&Key> = wave.iter().map(|&place| &keys[place]).collect();
                prop_assert_eq!(distinct.len(), wave.len());
                for &place in wave {
                    places += 1;
                    if let Some(before) = last.insert(&keys[place], place) {
                        prop_assert!(before < place);
                    }
                }
            }
            prop_assert_eq!(places, keys.len());
        }
    }
}
