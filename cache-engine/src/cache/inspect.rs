//! Shows what is stored under a key, and why it is not used.

use std::borrow::Borrow;
use std::time::Duration;

use cache_core::{Error, FreshnessWindows, Key, Record, Timestamp};

use crate::cache::handle::Cache;
use crate::cache::key::IntoKey;
use crate::near::copy;
use crate::stats::snapshot::CacheTier;
use crate::store::record::{self, Freshness, Summary};
use crate::tags::records::Verdict;

/// What a cache knows about a key. Returned by [`Cache::inspect`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The key.
    pub key: Key,
    /// The copy in the near tier, if there is one.
    pub near: Option<InspectedEntry>,
    /// What the store has, if anything.
    pub store: Option<InspectedEntry>,
    /// Why an HTTP layer did not store the last responses for this key, the last one first: the reason, and how long ago
    /// that was. The last 1,024 refusals of the whole cache are remembered.
    pub refused: Vec<(&'static str, Duration)>,
}

/// A record, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectedEntry {
    /// Where the record is.
    pub tier: CacheTier,
    /// What it holds.
    pub content: InspectedContent,
    /// What it can be used for now.
    pub state: InspectedState,
    /// When it was created.
    pub created: Timestamp,
    /// Its age.
    pub age: Duration,
    /// How long it is fresh, and how long it may be used after that, counted from its creation.
    pub windows: FreshnessWindows,
    /// The names of its tags.
    pub tags: Vec<String>,
    /// What it takes in bytes: in a store elsewhere the record, in this process an estimate of its memory.
    pub size: usize,
    /// How long the store keeps it. `None` if it is kept until it is evicted.
    pub remaining: Option<Duration>,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InspectedContent {
    /// A value, encoded by the coder of this name. In this process values are stored as they are, without a coder.
    Value {
        /// The name of the coder.
        coder: Option<String>,
    },
    /// The result that there is no value.
    Absent,
    /// The failure of a load, with its message.
    Failure {
        /// The message.
        message: String,
    },
    /// The lease of a load that is running.
    Lease,
    /// Something that is no entry of this cache: a damaged record, one of a newer version, or one of another key. It
    /// counts as a miss.
    Unreadable {
        /// What is wrong with it.
        error: String,
    },
}

/// What a record can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InspectedState {
    /// It is returned.
    Fresh,
    /// It is returned, while one load brings a new value.
    StaleWhileRevalidate,
    /// It is returned if the load of a new value fails.
    StaleIfError,
    /// It is not used: it is too old.
    Expired,
    /// It is not used: one of its tags, its namespace or its key was invalidated.
    Invalidated,
    /// It is not a value: a lease, or unreadable.
    NotUsable,
}

impl InspectedState {
    /// Returns the state in lower case with hyphens, for example `"stale-if-error"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::StaleWhileRevalidate => "stale-while-revalidate",
            Self::StaleIfError => "stale-if-error",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::NotUsable => "not-usable",
        }
    }
}

impl InspectedEntry {
    /// Returns how much longer it is fresh: zero if it is not [fresh](InspectedState::Fresh) now, and `None` if it is fresh
    /// for ever.
    #[must_use]
    pub fn fresh_for(&self) -> Option<Duration> {
        match self.state {
            InspectedState::Fresh => Some(self.windows.fresh?.saturating_sub(self.age)),
            _ => Some(Duration::ZERO),
        }
    }
}

impl<C> Cache<C> {
    /// Returns what is stored under a key in each tier, what can be used of it, and why the last responses for it were
    /// refused. For operators: it reads the store even where a near copy would answer, counts as no request, decodes no
    /// value, and changes nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cache_engine::{Cache, InspectedState};
    /// use cache_memory::MemoryBackend;
    ///
    /// let cache = Cache::builder(MemoryBackend::default()).build();
    /// let users = cache.with_namespace("users").with_tags(["staff"]);
    /// users.set("42", "Ada".to_owned()).await?;
    /// cache.invalidate_tag("staff").await?;
    ///
    /// let entry = users.inspect("42").await?.store.ok_or("nothing is stored")?;
    /// assert_eq!((entry.state, &*entry.tags), (InspectedState::Invalidated, &["staff".to_owned()][..]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The store did not answer.
    pub async fn inspect(&self, key: impl IntoKey) -> Result<Inspection, Error> {
        let key = key.into_key(&self.namespace);
        let key: &Key = key.borrow();
        let shared = &self.engine.shared;
        let near = match shared.tier.near.as_ref().and_then(|near| near.get(key)) {
            Some(record) => match copy::summary(&record, key) {
                Some(summary) => Some(self.entry(CacheTier::Near, &record, Ok(summary), key).await?),
                None => None,
            },
            None => None,
        };
        let store = match shared.tier.store.get(key).await? {
            Some(record) => {
                let summary = record::summary(&record, key);
                Some(self.entry(CacheTier::Store, &record, summary, key).await?)
            }
            None => None,
        };
        let refused = shared.events.stats().refusals.of(key);
        Ok(Inspection {
            key: key.clone(),
            near,
            store,
            refused: refused.into_iter().map(|(reason, at)| (reason, at.elapsed())).collect(),
        })
    }

    async fn entry(
        &self,
        tier: CacheTier,
        record: &Record,
        summary: Result<Summary, Error>,
        key: &Key,
    ) -> Result<InspectedEntry, Error> {
        let storage = &self.engine.shared.tier;
        let now = storage.now();
        let (size, remaining) = (record.value.weight(), record.remaining);
        let Summary {
            content,
            created,
            windows,
            tags,
            lifetime,
        } = match summary {
            Ok(summary) => summary,
            Err(error) => {
                return Ok(InspectedEntry {
                    tier,
                    content: InspectedContent::Unreadable {
                        error: error.to_string(),
                    },
                    state: InspectedState::NotUsable,
                    created: now,
                    age: Duration::ZERO,
                    windows: FreshnessWindows::new(Duration::ZERO),
                    tags: Vec::new(),
                    size,
                    remaining,
                });
            }
        };
        let created = record::created_at(created, lifetime, remaining, now);
        let content = match content {
            record::Kind::Value(coder) => InspectedContent::Value { coder },
            record::Kind::Absent => InspectedContent::Absent,
            record::Kind::Failure(message) => InspectedContent::Failure { message },
            record::Kind::Lease => InspectedContent::Lease,
        };
        let pending = storage.pending.verdict(key, &tags);
        let verdict = storage.tags.judge_now(&key.namespace(), &tags).await?;
        let verdict = pending.map_or(verdict, |pending| verdict.or(pending));
        let mut left = windows;
        if let Verdict::Stale(since) = verdict {
            record::end_freshness(&mut left, created, since, now);
        }
        let is_value = matches!(content, InspectedContent::Value { .. });
        let state = match Freshness::of(created, &left, now) {
            _ if content == InspectedContent::Lease => InspectedState::NotUsable,
            _ if verdict == Verdict::Gone => InspectedState::Invalidated,
            Freshness::Fresh => InspectedState::Fresh,
            // Without a value, nothing can be used while it is stale.
            Freshness::StaleWhileRevalidate if is_value => InspectedState::StaleWhileRevalidate,
            Freshness::StaleIfError if is_value => InspectedState::StaleIfError,
            _ if verdict != Verdict::Current => InspectedState::Invalidated,
            _ => InspectedState::Expired,
        };
        Ok(InspectedEntry {
            tier,
            content,
            state,
            created,
            age: now.saturating_since(created),
            windows,
            tags: tags.iter().map(|(name, _)| name.to_owned()).collect(),
            size,
            remaining,
        })
    }
}
