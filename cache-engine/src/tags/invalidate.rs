//! Invalidates tags, and ends epochs.

use cache_core::{Error, ErrorKind, Key, Namespace, Record, SetOptions, SetOutcome};

use crate::tags::attempts::Attempts;
use crate::tags::lifetime::{at_least_kept, kept};
use crate::tags::name::{EPOCH_OF_ALL, EPOCHS, TAG, carried};
use crate::tags::records::TagRecords;
use crate::tags::sequence::slots;
use crate::tags::version::{TagVersion, decode};

impl TagRecords {
    /// Invalidates tags. From now on, every entry that carries one of them is unusable, or stale if `soft`.
    pub(crate) async fn invalidate<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
        soft: bool,
    ) -> Result<(), Error> {
        let names: Vec<Box<str>> = names.into_iter().map(|name| carried(name.as_ref()).into()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = names.iter().map(|name| self.own(TAG).key(&**name)).collect();
        let slots = slots(&names);
        let mut read = self.late_keys(&slots);
        let of_late = read.len();
        if soft {
            read.extend(keys.iter().cloned());
        }
        let mut found = self.store.get_many(&read).await?;
        let records = found.split_off(of_late);
        // Has to come before any of the tags is replaced.
        self.note_invalidated(&slots, found).await?;
        if soft {
            self.soften(keys, records).await
        } else {
            self.end_many(keys).await
        }
    }

    /// Ends the epoch of a namespace, or of everything below the prefix. Every entry that carries it is unusable, or
    /// stale if `soft`.
    pub(crate) async fn end_epoch(&self, namespace: Option<&Namespace>, soft: bool) -> Result<(), Error> {
        let key = match namespace {
            Some(namespace) => self.key(EPOCHS[0], namespace),
            None => self.own(EPOCH_OF_ALL).key(""),
        };
        if soft {
            let record = self.store.get(&key).await?;
            self.soften(vec![key], vec![record]).await
        } else {
            self.end(&key).await
        }
    }

    async fn end(&self, key: &Key) -> Result<(), Error> {
        let state = TagVersion::begun(self.clock.now());
        let started = self.cache.begin_read();
        // Written unconditionally, so it is never refused by a condition.
        match self.write(key, state, kept()).await {
            Ok(_) => self.cache.replace(key, state, started),
            Err(error) if is_refusal(&error) => self.remove(key).await?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Removes the record of a tag, which invalidates as a new version does. Used if a full store accepts no writes.
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.store.delete(key).await?;
        self.cache.forget(key);
        Ok(())
    }

    async fn end_many(&self, keys: Vec<Key>) -> Result<(), Error> {
        if let [key] = &keys[..] {
            return self.end(key).await;
        }
        let states: Vec<TagVersion> = keys.iter().map(|_| TagVersion::begun(self.clock.now())).collect();
        let entries = keys.iter().zip(&states);
        let entries = entries.map(|(key, state)| Ok((key.clone(), self.encode(key, *state)?, kept())));
        let started = self.cache.begin_read();
        match self.store.set_many(entries.collect::<Result<_, Error>>()?).await {
            Ok(_) => {}
            Err(error) if is_refusal(&error) => {
                for key in &keys {
                    self.remove(key).await?;
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        for (key, state) in keys.iter().zip(states) {
            self.cache.replace(key, state, started);
        }
        Ok(())
    }

    /// Replaces the soft versions in the records of `keys`. A tag without a record has no usable entries, but it may
    /// have loads that are about to create its record.
    async fn soften(&self, mut keys: Vec<Key>, mut records: Vec<Option<Record>>) -> Result<(), Error> {
        let mut attempts = Attempts::default();
        loop {
            attempts.begin()?;
            let mut entries = Vec::with_capacity(keys.len());
            let mut states = Vec::with_capacity(keys.len());
            for (key, record) in keys.iter().zip(&records) {
                let now = self.clock.now();
                let (state, options) = match record {
                    None => (TagVersion::begun(now), kept().if_absent()),
                    Some(record) => (
                        decode(record, key).map_or_else(|| TagVersion::begun(now), |state| state.softened(now)),
                        // The entries of the tag are still usable, so its record is retained for at least as long as
                        // before.
                        SetOptions::new(at_least_kept(record.remaining)).if_version(record.version),
                    ),
                };
                entries.push((key.clone(), self.encode(key, state)?, options));
                states.push(state);
            }
            let started = self.cache.begin_read();
            let outcomes = match self.store.set_many(entries).await {
                Ok(outcomes) => outcomes,
                Err(error) if is_refusal(&error) => {
                    // Harder than requested, but safe.
                    for key in &keys {
                        self.remove(key).await?;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            let mut refused = Vec::new();
            for ((key, state), outcome) in keys.into_iter().zip(states).zip(outcomes) {
                match outcome {
                    SetOutcome::Stored(_) => self.cache.replace(&key, state, started),
                    // Another caller invalidated the tag just now, perhaps hard. Reads its record and tries again.
                    SetOutcome::Refused => refused.push(key),
                }
            }
            if refused.is_empty() {
                return Ok(());
            }
            records = self.store.get_many(&refused).await?;
            keys = refused;
        }
    }
}

/// Returns whether the store answered but refused the write, for example because it is full.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Rejected | ErrorKind::TooLarge | ErrorKind::Other
    )
}
