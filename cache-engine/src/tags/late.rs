//! Late tags, which are known only after the load: determines whether they were invalidated during the load.
//!
//! The records are a [`Sequence`] and its [`Page`]s. They are written when the first load begins that may get late
//! tags. While there is no sequence there is no such load, and invalidations write nothing but the records of their
//! tags.

use cache_core::{Error, Key, Record, SetOptions, SetOutcome, Value, Version};
use futures_util::future::try_join_all;

use crate::tags::attempts::Attempts;
use crate::tags::invalidate::is_refusal;
use crate::tags::lifetime::{is_ending_late, kept_late};
use crate::tags::records::TagRecords;
use crate::tags::sequence::{Began, LateRecord, NO_TIME, PAGES, Page, Sequence, Slots, slots};
use crate::tags::version::random;

/// The number of pages that are written with one call when a sequence begins. A store may write them one by one, and
/// has to finish within the time limit.
const BATCH: usize = 16;

type Entry = (Key, Value, SetOptions);

impl TagRecords {
    /// Returns the key of the sequence.
    pub(super) fn sequence(&self) -> Key {
        self.own("tag-sequence").key("")
    }

    fn page(&self, number: usize) -> Key {
        self.own("tag-page").key(number.to_string())
    }

    /// Returns the keys of the sequence and of the pages of `slots`.
    pub(super) fn late_keys(&self, slots: &Slots) -> Vec<Key> {
        let pages = slots.keys().map(|page| self.page(*page));
        std::iter::once(self.sequence()).chain(pages).collect()
    }

    /// Returns when a load that is about to begin does so, by the sequence whose record was `found`. Returns `None` if
    /// that cannot be determined; the failure has already emitted an event.
    pub(super) async fn begin_late(&self, found: Option<Record>) -> Option<Began> {
        let key = self.sequence();
        match found.as_ref().zip(decode::<Sequence>(found.as_ref(), &key)) {
            Some((record, sequence)) => self.advance(record, sequence).await.ok(),
            None => Box::pin(self.begin_sequence()).await.ok(),
        }
    }

    /// Returns a number that no invalidation has used so far.
    async fn advance(&self, record: &Record, sequence: Sequence) -> Result<Began, Error> {
        if !sequence.used && !is_ending_late(record.remaining) {
            return Ok(sequence.began());
        }
        let next = sequence.next();
        let entry = self.late_entry(self.sequence(), &next, kept_late().if_version(record.version))?;
        Ok(match self.store.set(&entry.0, entry.1, entry.2).await? {
            SetOutcome::Stored(_) => next.began(),
            // A used number is replaced only by the next one, so another load has already done that.
            SetOutcome::Refused if sequence.used => next.began(),
            SetOutcome::Refused => sequence.began(),
        })
    }

    /// Begins a sequence, or uses the one that another process has just begun.
    async fn begin_sequence(&self) -> Result<Began, Error> {
        // One task at a time in this process, so that two do not overwrite each other's pages.
        let _beginning = self.beginning.lock().await;
        let key = self.sequence();
        let mut attempts = Attempts::default();
        loop {
            attempts.begin()?;
            let found = self.store.get(&key).await?;
            let options = match found.as_ref().zip(decode::<Sequence>(found.as_ref(), &key)) {
                Some((record, sequence)) => return self.advance(record, sequence).await,
                None => found.map_or(kept_late().if_absent(), |other| kept_late().if_version(other.version)),
            };
            let sequence = Sequence::begun(random());
            // Written before the sequence itself: until that exists, no invalidation can have used one of its numbers.
            let pages = (0..PAGES)
                .map(|page| self.late_entry(self.page(page), &Page::begun(sequence.id), kept_late()))
                .collect::<Result<Vec<Entry>, Error>>()?;
            try_join_all(pages.chunks(BATCH).map(|pages| self.store.set_many(pages.to_vec()))).await?;
            let (key, value, options) = self.late_entry(key.clone(), &sequence, options)?;
            if let SetOutcome::Stored(_) = self.store.set(&key, value, options).await? {
                return Ok(sequence.began());
            }
        }
    }

    /// Records that the tags in `slots` are about to be invalidated, in the sequence and the pages that were `found`.
    /// Must be called before the records of the tags are replaced.
    pub(super) async fn note_invalidated(&self, slots: &Slots, found: Vec<Option<Record>>) -> Result<(), Error> {
        let key = self.sequence();
        let mut found = found.into_iter();
        let record = found.next().flatten();
        let Some((record, sequence)) = record.as_ref().zip(decode::<Sequence>(record.as_ref(), &key)) else {
            return Ok(());
        };
        let mut writes: Vec<Entry> = Vec::new();
        for ((page, slots), found) in slots.iter().zip(found) {
            writes.extend(self.with_invalidated(*page, slots, found, sequence)?);
        }
        if !sequence.used {
            // If another process has written the sequence meanwhile, the number is used, or is no longer the last one.
            writes.push(self.late_entry(key.clone(), &sequence.used(), kept_late().if_version(record.version))?);
        }
        while !writes.is_empty() {
            let keys: Vec<Key> = writes.iter().map(|(key, ..)| key.clone()).collect();
            let outcomes = match self.store.set_many(writes).await {
                Ok(outcomes) => outcomes,
                Err(error) if is_refusal(&error) => {
                    // A full store. Without the sequence, no load that is under way can store a value with late tags.
                    self.store.delete(&key).await?;
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            let refused: Vec<Key> = keys
                .into_iter()
                .zip(outcomes)
                .filter(|(page, outcome)| *outcome == SetOutcome::Refused && *page != key)
                .map(|(page, _)| page)
                .collect();
            writes = Vec::new();
            if refused.is_empty() {
                break;
            }
            let records = self.store.get_many(&refused).await?;
            for (page, slots) in slots {
                if let Some(at) = refused.iter().position(|key| *key == self.page(*page)) {
                    writes.extend(self.with_invalidated(*page, slots, records[at].clone(), sequence)?);
                }
            }
        }
        Ok(())
    }

    /// Returns what to write to the page to record an invalidation, if anything.
    fn with_invalidated(
        &self,
        page: usize,
        slots: &[usize],
        found: Option<Record>,
        sequence: Sequence,
    ) -> Result<Option<Entry>, Error> {
        let key = self.page(page);
        let Some(record) = found else {
            return self
                .late_entry(key, &Page::unknown(sequence.id), kept_late().if_absent())
                .map(Some);
        };
        let noted = match Page::decode(&record, &key).filter(|page| page.id == sequence.id) {
            Some(page) => page.invalidated(slots, sequence.number),
            None => Some(Page::unknown(sequence.id)),
        };
        noted
            .map(|page| self.late_entry(key, &page, kept_late().if_version(record.version)))
            .transpose()
    }

    /// Returns whether none of the tags that entries carry as `names` was invalidated since a load began. Read the
    /// records of the tags first, since an invalidation is recorded here before it replaces them.
    pub(super) async fn unchanged_since<N: AsRef<str>>(&self, began: Began, names: &[N]) -> Result<bool, Error> {
        let slots = slots(names.iter().map(AsRef::as_ref));
        let keys = self.late_keys(&slots);
        let records = self.store.get_many(&keys).await?;
        let sequence = decode::<Sequence>(records[0].as_ref(), &keys[0]);
        if sequence.is_none_or(|sequence| sequence.id != began.id) {
            return Ok(false);
        }
        let (mut unchanged, mut prolong, mut unknown) = (true, Vec::new(), Vec::new());
        for ((key, record), slots) in keys.into_iter().zip(records).skip(1).zip(slots.values()) {
            let page = decode::<Page>(record.as_ref(), &key).filter(|page| page.id == began.id);
            unchanged &= page.is_some_and(|page| page.is_unchanged_since(began, slots));
            match (page, record) {
                (Some(page), Some(record)) if page.is_known() => {
                    if is_ending_late(record.remaining) {
                        prolong.push(self.late_entry(key, &page, kept_late().if_version(record.version))?);
                    }
                }
                (page, record) => unknown.push((key, page, record.map(|record| record.version))),
            }
        }
        // Failures have already emitted events.
        if !prolong.is_empty() {
            drop(self.store.set_many(prolong).await);
        }
        if !unknown.is_empty() {
            drop(Box::pin(self.find_out(began.id, unknown)).await);
        }
        Ok(unchanged)
    }

    /// Determines from which number on lost pages are reliable again, so that the next load can use them.
    async fn find_out(&self, id: u64, pages: Vec<(Key, Option<Page>, Option<Version>)>) -> Result<(), Error> {
        let mut unknown = Vec::new();
        let mut writes = Vec::new();
        for (key, page, version) in pages {
            match (page, version) {
                (Some(page), Some(version)) => unknown.push((key, page, version)),
                (_, version) => {
                    let options = version.map_or(kept_late().if_absent(), |version| kept_late().if_version(version));
                    writes.push(self.late_entry(key, &Page::unknown(id), options)?);
                }
            }
        }
        if !writes.is_empty() {
            let keys: Vec<Key> = writes.iter().map(|(key, ..)| key.clone()).collect();
            for (key, outcome) in keys.into_iter().zip(self.store.set_many(writes).await?) {
                if let SetOutcome::Stored(version) = outcome {
                    unknown.push((key, Page::unknown(id), version));
                }
            }
        }
        // Read while the pages exist: no earlier invalidation has used a higher number, and a new one replaces the
        // page.
        let key = self.sequence();
        let record = self.store.get(&key).await?;
        let Some((record, sequence)) = record.as_ref().zip(decode::<Sequence>(record.as_ref(), &key)) else {
            return Ok(());
        };
        if sequence.id != id {
            return Ok(());
        }
        let mut writes = Vec::new();
        for (key, page, version) in unknown {
            let page = page.known(sequence.number);
            writes.push(self.late_entry(key, &page, kept_late().if_version(version))?);
        }
        if !sequence.used {
            writes.push(self.late_entry(key, &sequence.used(), kept_late().if_version(record.version))?);
        }
        self.store.set_many(writes).await.map(drop)
    }

    fn late_entry<R: LateRecord>(&self, key: Key, record: &R, options: SetOptions) -> Result<Entry, Error> {
        let value = self.encode_as(&key, record.clone(), NO_TIME, R::to_bytes)?;
        Ok((key, value, options))
    }
}

fn decode<R: LateRecord>(record: Option<&Record>, key: &Key) -> Option<R> {
    record.and_then(|record| R::decode(record, key))
}
