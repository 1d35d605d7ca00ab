//! The plan of a history, made from its seed.

use std::time::Duration;

use fastrand::Rng;

use crate::histories::store::Store;
use crate::worker::{Answer, Borne, Near};

/// The number of processes, or of caches in one process, in a history.
pub(super) const NODES: usize = 3;
/// The number of tags in a history with tags.
pub(super) const TAGS: usize = 2;
const CALLERS: usize = 6;
const STEPS: usize = 4;

/// The clock offsets of nodes in milliseconds. Two clocks differ by at most five minutes.
const SKEWS: [i64; 7] = [-150_000, -31_000, -2_000, 0, 2_000, 31_000, 150_000];

/// The number of histories that share crashes.
pub(super) const GROUP: u64 = 64;

/// The kind of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Kind {
    /// Keys are invalidated.
    Key,
    /// Tags are invalidated.
    Tag,
    /// The namespace is cleared, and everything below the prefix.
    Clear,
    /// A process is killed during its work, and another one replaces it.
    Crash,
    /// The clocks of the processes differ by up to five minutes.
    Skew,
    /// The processes have near copies and cache tags. They may return a value that another process has invalidated
    /// until the configured bound.
    Near,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Key, Self::Tag, Self::Clear, Self::Crash, Self::Skew, Self::Near];

    /// Returns the name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Tag => "tag",
            Self::Clear => "clear",
            Self::Crash => "crash",
            Self::Skew => "skew",
            Self::Near => "near",
        }
    }

    /// Returns whether a store has histories of this kind. The memory store ends with its process, so a crash leaves
    /// nothing to check, and it needs no near copies.
    #[must_use]
    pub fn is_for(self, store: Store) -> bool {
        store.is_shared() || !matches!(self, Self::Crash | Self::Near)
    }

    fn has_tags(self) -> bool {
        !matches!(self, Self::Key | Self::Clear)
    }
}

/// The plan of a history.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) kind: Kind,
    pub(super) seed: u64,
    pub(super) keys: usize,
    /// The tags of each key.
    pub(super) tags: Vec<Vec<KeyTag>>,
    pub(super) policy: Policy,
    /// How many milliseconds each node's clock is ahead.
    pub(super) skews: [i64; NODES],
    pub(super) callers: Vec<Vec<Step>>,
}

/// A tag of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyTag {
    pub(super) tag: usize,
    /// Whether it is known before the load begins.
    pub(super) declared: bool,
}

/// The windows of all entries of a history, and the time of its leases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) ttl: Duration,
    pub(super) stale_while_revalidate: Duration,
    pub(super) stale_if_error: Duration,
    pub(super) negative_ttl: Duration,
    pub(super) lease_time: Duration,
    pub(super) tag_namespaces: bool,
    pub(super) tag_cache_ttl: Duration,
    pub(super) near: Option<Near>,
}

impl Policy {
    /// Returns how long a value may be returned after another process has invalidated it.
    pub(super) fn bound(&self) -> Duration {
        // No copy is older than its maximum age, with or without change notifications.
        let near = self
            .near
            .map_or(Duration::ZERO, |near| near.max_age.unwrap_or(near.bound));
        near + self.tag_cache_ttl
    }
}

/// One call of a caller.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// How long the caller pauses before it.
    pub(super) pause: Duration,
    pub(super) node: usize,
    pub(super) act: Act,
    /// The behaviour of the load, if there is one.
    pub(super) load: Load,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    Get(Vec<usize>),
    GetOrLoad(usize, Borne, Option<Duration>),
    Refresh(usize),
    Set(usize),
    Invalidate(usize, Strength),
    InvalidateTag(usize, Strength),
    Clear(Strength),
    ClearAll(Strength),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    Hard,
    Soft,
}

/// What a load does after it has read the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) hold: Hold,
    pub(super) brings: Brings,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Hold {
    /// Return at once.
    No,
    For(Duration),
    /// Wait until an invalidation has returned, or for a while if there is none, and then this long.
    PastInvalidation(Duration),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Brings {
    Value,
    Unstored,
    Absent,
    Error,
    Panic,
}

impl Brings {
    pub(super) fn answer(self, value: u64) -> Answer {
        match self {
            Self::Value => Answer::Value(value),
            Self::Unstored => Answer::Unstored(value),
            Self::Absent => Answer::Absent,
            Self::Error => Answer::Error,
            Self::Panic => Answer::Panic,
        }
    }
}

/// A process that is killed when its group has reached this progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crash {
    pub(super) node: usize,
    pub(super) after: f64,
}

impl Plan {
    /// Makes the plan of `seed`.
    #[must_use]
    pub fn new(kind: Kind, store: Store, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ (kind as u64) << 56);
        let keys = rng.usize(1..=2);
        let tags = (0..keys)
            .map(|_| if kind.has_tags() { tags(&mut rng) } else { Vec::new() })
            .collect();
        let policy = policy(kind, store, &mut rng);
        let skews = match kind {
            Kind::Skew => std::array::from_fn(|_| SKEWS[rng.usize(..SKEWS.len())]),
            _ => [0; NODES],
        };
        let callers = (0..CALLERS)
            .map(|_| (0..STEPS).map(|_| step(kind, keys, &policy, &mut rng)).collect())
            .collect();
        Self {
            kind,
            seed,
            keys,
            tags,
            policy,
            skews,
            callers,
        }
    }

    pub(super) fn steps(&self) -> usize {
        self.callers.iter().map(Vec::len).sum()
    }

    /// Returns the keys that carry a tag.
    pub(super) fn carriers(&self, tag: usize) -> Vec<usize> {
        let carries = |key: &usize| self.tags[*key].iter().any(|own| own.tag == tag);
        (0..self.keys).filter(carries).collect()
    }

    /// Returns the crashes of the group of `seed`. They also apply to a history that is played alone.
    pub(super) fn crashes(kind: Kind, seed: u64) -> Vec<Crash> {
        if kind != Kind::Crash {
            return Vec::new();
        }
        let mut rng = Rng::with_seed(!(seed / GROUP));
        let mut crashes: Vec<Crash> = (0..rng.usize(1..=3))
            .map(|_| Crash {
                node: rng.usize(..NODES),
                after: 0.05 + rng.f64() * 0.8,
            })
            .collect();
        crashes.sort_by(|one, other| one.after.total_cmp(&other.after));
        crashes
    }
}

/// Chooses some of the tags, each declared or added by the load.
fn tags(rng: &mut Rng) -> Vec<KeyTag> {
    let mut tags = Vec::new();
    for tag in 0..TAGS {
        match rng.u8(0..4) {
            0 => {}
            way => tags.push(KeyTag {
                tag,
                declared: way == 1,
            }),
        }
    }
    tags
}

fn policy(kind: Kind, store: Store, rng: &mut Rng) -> Policy {
    const HOUR: Duration = Duration::from_secs(3600);
    let short = Duration::from_millis(rng.u64(5..60));
    let (ttl, stale_while_revalidate, stale_if_error) = match rng.u8(0..6) {
        0 => (short, Duration::ZERO, Duration::ZERO),
        1 => (short, HOUR, Duration::ZERO),
        2 => (short, Duration::ZERO, HOUR),
        _ => (HOUR, Duration::ZERO, Duration::ZERO),
    };
    Policy {
        ttl,
        stale_while_revalidate,
        stale_if_error,
        negative_ttl: Duration::from_millis(if rng.u8(0..4) == 0 { rng.u64(1..60) } else { 0 }),
        // Short enough that a killed process is soon replaced, and that some loads outlast their lease.
        lease_time: Duration::from_millis(if kind == Kind::Crash { rng.u64(60..400) } else { 5000 }),
        tag_namespaces: kind != Kind::Key && rng.u8(0..3) == 0,
        tag_cache_ttl: Duration::from_millis(if kind == Kind::Near && rng.bool() {
            rng.u64(1..40)
        } else {
            0
        }),
        near: (kind == Kind::Near).then(|| Near {
            // If the store reports changes, this bounds the age of copies while the subscription is lost.
            max_age: (!store.tells_of_changes() || rng.bool()).then(|| Duration::from_millis(rng.u64(1..60))),
            bound: Duration::from_millis(rng.u64(40..400)),
        }),
    }
}

fn step(kind: Kind, keys: usize, policy: &Policy, rng: &mut Rng) -> Step {
    let pause = match rng.u8(0..4) {
        0 | 1 => Duration::ZERO,
        2 => Duration::from_micros(rng.u64(0..3_000)),
        _ => Duration::from_micros(rng.u64(0..20_000)),
    };
    Step {
        pause,
        node: rng.usize(..NODES),
        act: act(kind, keys, policy, rng),
        load: load(rng),
    }
}

fn act(kind: Kind, keys: usize, policy: &Policy, rng: &mut Rng) -> Act {
    let key = rng.usize(..keys);
    match rng.u8(0..100) {
        0..12 => Act::Get(vec![key]),
        12..17 => Act::Get((0..keys).collect()),
        17..37 => Act::GetOrLoad(key, Borne::Detached, None),
        37..45 => Act::GetOrLoad(key, Borne::ByCaller, None),
        45..53 => Act::GetOrLoad(key, Borne::InSteps, None),
        53..60 => {
            let borne = [Borne::Detached, Borne::ByCaller, Borne::InSteps][rng.usize(..3)];
            Act::GetOrLoad(key, borne, Some(Duration::from_micros(rng.u64(0..20_000))))
        }
        60..65 => Act::Refresh(key),
        65..70 => Act::Set(key),
        _ => invalidation(kind, key, policy, rng),
    }
}

fn invalidation(kind: Kind, key: usize, policy: &Policy, rng: &mut Rng) -> Act {
    let strength = if rng.u8(0..3) == 0 {
        Strength::Soft
    } else {
        Strength::Hard
    };
    // A store that enumerates its records removes them.
    let clearing = if policy.tag_namespaces {
        strength
    } else {
        Strength::Hard
    };
    match (kind, rng.u8(0..8)) {
        (Kind::Tag, 0..6) | (Kind::Crash | Kind::Skew | Kind::Near, 0..3) => {
            Act::InvalidateTag(rng.usize(..TAGS), strength)
        }
        (Kind::Clear, 0..4) | (Kind::Crash | Kind::Skew | Kind::Near, 3) => Act::Clear(clearing),
        (Kind::Clear, 4 | 5) | (Kind::Crash | Kind::Skew | Kind::Near, 4) => Act::ClearAll(clearing),
        _ => Act::Invalidate(key, strength),
    }
}

fn load(rng: &mut Rng) -> Load {
    let hold = match rng.u8(0..10) {
        0..3 => Hold::No,
        3..6 => Hold::For(Duration::from_micros(rng.u64(0..20_000))),
        _ => Hold::PastInvalidation(Duration::from_micros(rng.u64(0..10_000))),
    };
    let brings = match rng.u8(0..40) {
        0 => Brings::Unstored,
        1 => Brings::Absent,
        2 | 3 => Brings::Error,
        4 => Brings::Panic,
        _ => Brings::Value,
    };
    Load { hold, brings }
}
