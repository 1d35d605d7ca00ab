//! The messages to and from a worker.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One cache of one worker.
pub type CacheId = u64;

/// A message to a worker, one line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// Opens a cache, before later orders for it.
    Open {
        /// Its id.
        cache: CacheId,
        /// How it is built.
        settings: Settings,
    },
    /// Starts an action on a cache. Answered by [`Report::Done`].
    Do {
        /// The cache.
        cache: CacheId,
        /// A number that is unique among the calls of this worker.
        call: u64,
        /// The action.
        action: Action,
    },
    /// Answers a load, which was announced by [`Report::Load`].
    Answer {
        /// The number of the load.
        load: u64,
        /// Its result.
        answer: Answer,
    },
    /// Waits until the work of a cache has ended, deletes keys, and closes the cache. Answered by [`Report::Done`].
    Close {
        /// The cache.
        cache: CacheId,
        /// As in [`Do`](Self::Do).
        call: u64,
        /// The keys to delete.
        keys: Vec<String>,
    },
}

/// A message from a worker, one line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Report {
    /// The worker has started.
    Ready,
    /// A call has ended.
    Done {
        /// Its number.
        call: u64,
        /// Its outcome.
        outcome: Outcome,
    },
    /// A load has begun and waits for its [`Order::Answer`].
    Load {
        /// The call whose loader it is.
        call: u64,
        /// The number to answer by.
        load: u64,
    },
}

/// The settings of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The prefix of its keys.
    pub prefix: String,
    /// The namespace of its keys.
    pub namespace: String,
    /// The policy's [`ttl`](cache_engine::Policy::ttl).
    pub ttl: Duration,
    /// The policy's [`stale_while_revalidate`](cache_engine::Policy::stale_while_revalidate).
    pub stale_while_revalidate: Duration,
    /// The policy's [`stale_if_error`](cache_engine::Policy::stale_if_error).
    pub stale_if_error: Duration,
    /// How long an absent value or a failed load is cached; zero disables that.
    pub negative_ttl: Duration,
    /// How long a lease lasts.
    pub lease_time: Duration,
    /// The policy's [`coalesce_across_processes`](cache_engine::Policy::coalesce_across_processes).
    pub coalesce_across_processes: bool,
    /// How many milliseconds its clock, and its backend's, is ahead of the others.
    pub clock_ahead: i64,
    /// The tags of its keys.
    pub tags: BTreeMap<String, Vec<Tag>>,
    /// Whether namespaces are always cleared by a tag.
    pub tag_namespaces: bool,
    /// How long tag versions are cached; zero disables that.
    pub tag_cache_ttl: Duration,
    /// The near tier, if there is one.
    pub near: Option<Near>,
    /// The cache implementation.
    pub way: Way,
}

/// A tag of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The tag.
    pub name: String,
    /// Whether it is known before the load begins. Other tags are added by the load.
    pub declared: bool,
}

/// The settings of a near tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Near {
    /// The builder's [`near_max_age`](cache_engine::CacheBuilder::near_max_age).
    pub max_age: Option<Duration>,
    /// The builder's [`near_max_silence`](cache_engine::CacheBuilder::near_max_silence).
    pub bound: Duration,
}

impl Settings {
    /// Returns settings with a freshness of an hour, and time limits that a slow machine does not reach.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            namespace: "n".to_owned(),
            ttl: Duration::from_secs(3600),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            negative_ttl: Duration::ZERO,
            lease_time: Duration::from_secs(5),
            coalesce_across_processes: true,
            clock_ahead: 0,
            tags: BTreeMap::new(),
            tag_namespaces: false,
            tag_cache_ttl: Duration::ZERO,
            near: None,
            way: Way::Real,
        }
    }
}

/// The cache implementation of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum)]
pub enum Way {
    /// The engine.
    #[default]
    Real,
    /// The engine over a store that ignores the conditions of writes, so that fills are plain sets.
    PlainSets,
    /// The engine behind a single flight whose followers get the leader's value, whenever they joined.
    NaiveFlight,
    /// The engine over a store that returns the last known record of a tag that is gone.
    LostTags,
    /// The engine, with tags by time: a value has the time of its load, a tag the time of its invalidation, each by the
    /// clock of its process. A value that is not the younger one is not used.
    TimestampTags,
}

/// How a load is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Borne {
    /// By [`Cache::get_or_load_with`](cache_engine::Cache::get_or_load_with), in a task of its own.
    Detached,
    /// By [`Cache::borrowing`](cache_engine::Cache::borrowing), in the task of its caller.
    ByCaller,
    /// By [`Adapter::lookup`](cache_engine::Adapter::lookup), step by step.
    InSteps,
}

/// An action on a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// [`Cache::get_many`](cache_engine::Cache::get_many), or `get` of a single key.
    Get {
        /// The keys.
        keys: Vec<String>,
    },
    /// Reads a key, and loads a missing value.
    GetOrLoad {
        /// The key.
        key: String,
        /// How its load is run.
        borne: Borne,
        /// After how long the caller drops the call, if at all.
        patience: Option<Duration>,
    },
    /// Several concurrent calls of [`GetOrLoad`](Self::GetOrLoad), each with its own loader.
    Crowd {
        /// The key.
        key: String,
        /// The number of callers.
        callers: usize,
    },
    /// [`Cache::refresh`](cache_engine::Cache::refresh).
    Refresh {
        /// The key.
        key: String,
    },
    /// [`Cache::set`](cache_engine::Cache::set).
    Set {
        /// The key.
        key: String,
        /// The value.
        value: u64,
    },
    /// [`Cache::invalidate`](cache_engine::Cache::invalidate).
    Invalidate {
        /// The key.
        key: String,
        /// Whether the invalidation is soft.
        soft: bool,
    },
    /// [`Cache::invalidate_tag`](cache_engine::Cache::invalidate_tag).
    InvalidateTag {
        /// The tag.
        tag: String,
        /// Softly.
        soft: bool,
    },
    /// [`Cache::clear`](cache_engine::Cache::clear) of its namespace.
    Clear {
        /// Softly.
        soft: bool,
    },
    /// [`Cache::clear_all`](cache_engine::Cache::clear_all).
    ClearAll {
        /// Softly.
        soft: bool,
    },
}

/// The result of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A value.
    Value(u64),
    /// A value that must not be stored.
    Unstored(u64),
    /// There is no value.
    Absent,
    /// An error.
    Error,
    /// A panic.
    Panic,
}

/// The outcome of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The values that were read, one for each key.
    Read(Vec<Option<Seen>>),
    /// The value that each caller of a crowd got, and when: in microseconds since the Unix epoch by the machine's
    /// clock.
    Crowd(Vec<Option<u64>>, Vec<u64>),
    /// The call succeeded.
    Done,
    /// There is no value: the load failed.
    NoValue,
    /// The caller dropped the call.
    GaveUp,
    /// The store failed, with this message.
    Failed(String),
}

/// A value that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The value.
    pub value: u64,
    /// Whether it was reported as fresh, and not only as usable.
    pub fresh: bool,
}
