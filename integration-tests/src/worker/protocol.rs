//! What a worker is told and what it says.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One cache of one worker.
pub type CacheId = u64;

/// What a worker is told, a line of JSON each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// Makes a cache. What it is asked to do later comes after that.
    Open {
        /// Its name from now on.
        cache: CacheId,
        /// How it is built.
        settings: Settings,
    },
    /// Does something with a cache; answered by [`Report::Done`].
    Do {
        /// Which cache.
        cache: CacheId,
        /// A number that no other call of this worker has.
        call: u64,
        /// What is to be done.
        action: Action,
    },
    /// What a load brings that has asked by [`Report::Load`].
    Answer {
        /// The number that it asked by.
        load: u64,
        /// What it brings.
        answer: Answer,
    },
    /// Waits until the cache has nothing to do any more, deletes these keys, and forgets the cache; answered by
    /// [`Report::Done`].
    Close {
        /// Which cache.
        cache: CacheId,
        /// As in [`Do`](Self::Do).
        call: u64,
        /// What is to be tidied away.
        keys: Vec<String>,
    },
}

/// What a worker says, a line of JSON each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Report {
    /// It has started.
    Ready,
    /// A call has ended.
    Done {
        /// Its number.
        call: u64,
        /// What became of it.
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

/// How a cache is built.
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
    /// How long it is remembered that there is no value, or that the load failed; zero is not at all.
    pub negative_ttl: Duration,
    /// How long a lease lasts.
    pub lease_time: Duration,
    /// The policy's [`coalesce_across_processes`](cache_engine::Policy::coalesce_across_processes).
    pub coalesce_across_processes: bool,
    /// By how many milliseconds its clock, and its backend's, is ahead of the others.
    pub clock_ahead: i64,
    /// The tags of its keys.
    pub tags: BTreeMap<String, Vec<Tag>>,
    /// Whether namespaces are cleared by a tag in any case.
    pub tag_namespaces: bool,
    /// For how long tags are remembered; zero is not at all.
    pub tag_cache_ttl: Duration,
    /// Whether there are copies in the worker's own memory, and of which age at most, whatever the store tells.
    pub near: Option<Near>,
    /// How it caches.
    pub way: Way,
}

/// A tag of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The tag.
    pub name: String,
    /// It is known before the load begins. Others are added by the load.
    pub declared: bool,
}

/// How copies are kept in a worker's own memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Near {
    /// The builder's [`near_max_age`](cache_engine::CacheBuilder::near_max_age).
    pub max_age: Option<Duration>,
    /// The builder's [`near_max_silence`](cache_engine::CacheBuilder::near_max_silence).
    pub bound: Duration,
}

impl Settings {
    /// Fresh for an hour, nothing else, and no limit that a slow machine would meet.
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

/// How a worker caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum)]
pub enum Way {
    /// By the engine, as it is.
    #[default]
    Real,
    /// By the engine over a store whose conditional writes write whatever the condition: fills are plain sets.
    PlainSets,
    /// By the engine behind a single flight whose followers are given what their leader was, whenever they came.
    NaiveFlight,
    /// By the engine, but for tags: a value bears the time of its load, a tag that of its invalidation, each by the clock
    /// of its process, and a value that is not the younger one is not used.
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

/// What is to be done with a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// [`Cache::get_many`](cache_engine::Cache::get_many), or `get` of a single key.
    Get {
        /// The keys.
        keys: Vec<String>,
    },
    /// Looks a key up, and loads what is missing.
    GetOrLoad {
        /// The key.
        key: String,
        /// How its load is run.
        borne: Borne,
        /// After how long the caller goes away, if at all.
        patience: Option<Duration>,
    },
    /// So many callers look a key up at once, as by [`GetOrLoad`](Self::GetOrLoad), each with a load of its own at hand.
    Crowd {
        /// The key.
        key: String,
        /// How many.
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
        /// Softly.
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

/// What a load brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A value.
    Value(u64),
    /// A value that is not to be stored.
    Unstored(u64),
    /// There is none.
    Absent,
    /// An error.
    Error,
    /// A panic.
    Panic,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// What was read, one for each key.
    Read(Vec<Option<Seen>>),
    /// What each of a crowd was given, and when: in microseconds since the Unix epoch by the machine's clock.
    Crowd(Vec<Option<u64>>, Vec<u64>),
    /// It was done.
    Done,
    /// There is no value: the load failed.
    NoValue,
    /// The caller went away before.
    GaveUp,
    /// The store failed, with this message.
    Failed(String),
}

/// A value that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The value.
    pub value: u64,
    /// It was said to be fresh, and not only to be usable.
    pub fresh: bool,
}
