//! What other entries contribute to a load that uses them: the tags that they carry, and the end of their freshness.
//!
//! A part's tags are joined with the versions that the part itself carries, and never with those that the tags have
//! when the outer load ends. So an invalidation after the part was read makes the outer entry outdated too, at whatever
//! time the outer load ends.

use std::sync::Arc;
use std::time::Duration;

use cache_core::{Error, ErrorKind, Tags, Timestamp, Ttl, Version};
use tokio::time::Instant;

use crate::tags::fault::Fault;
use crate::tags::lifetime::after;
use crate::tags::name::of_carried;
use crate::tags::records::TagRecords;
use crate::tags::version::hard;

/// The largest number of tags that a value gets from other entries.
///
/// A hit reads the versions of all tags of its entry, in one batch. A value that would get more tags is not stored,
/// because an invalidation of one that is left out would be missed.
pub(crate) const MOST: usize = 256;

/// What an entry contributes to a load that uses it.
#[derive(Debug)]
pub(crate) struct Part {
    /// The tags of the entry, with the versions that it carries.
    pub(crate) tags: Tags,
    /// Where the records of these tags are.
    pub(crate) records: Arc<TagRecords>,
    /// How long the entry is still fresh: zero if it is not, `None` for ever.
    pub(crate) fresh: Option<Duration>,
    /// How long the records of the tags last at least, beside the margin by which they outlive every entry. `None` is
    /// for ever.
    pub(crate) kept: Option<Duration>,
}

/// What all parts have contributed to a load.
#[derive(Debug, Default)]
pub(super) struct Parts {
    tags: Vec<(Box<str>, Version)>,
    /// When the first part ceases to be fresh.
    until: Until,
    /// How long the records of all the tags last. `None` is for ever.
    kept: Option<Timestamp>,
    /// Why the value must not be stored.
    fault: Option<Fault>,
}

/// An end of freshness: by the clock of the cache, and by a monotonic one, since the former may be set back during a
/// load. `None` is never.
#[derive(Debug, Default, Clone, Copy)]
struct Until {
    clock: Option<Timestamp>,
    monotonic: Option<Instant>,
}

impl Until {
    /// Returns the time `fresh` from now. `None` is never.
    fn after(fresh: Option<Duration>, now: Timestamp) -> Self {
        Self {
            clock: fresh.map(|fresh| after(now, fresh)),
            monotonic: fresh.and_then(|fresh| Instant::now().checked_add(fresh)),
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            clock: earlier(self.clock, other.clock),
            monotonic: earlier(self.monotonic, other.monotonic),
        }
    }

    /// Returns how long it is until then: zero if it has passed, `None` if it is never.
    fn left(self, now: impl FnOnce() -> Timestamp) -> Option<Duration> {
        let monotonic = self
            .monotonic
            .map(|until| until.saturating_duration_since(Instant::now()));
        let clock = self.clock.map(|until| until.saturating_since(now()));
        match (clock, monotonic) {
            // The clock's milliseconds are exact where it stands still or is moved by hand.
            (Some(clock), Some(monotonic)) if monotonic.saturating_add(ROUNDING) < clock => Some(monotonic),
            (clock, monotonic) => clock.or(monotonic),
        }
    }
}

/// By how much the two clocks may differ because one of them shows whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

/// Returns the earlier of two ends. `None` is never.
fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Parts {
    /// Returns whether a part has tags, or prevents the value from being stored.
    pub(super) fn have_tags(&self) -> bool {
        !self.tags.is_empty() || self.fault.is_some()
    }

    /// Adds what an entry contributes to a load of the cache with `records`.
    pub(super) fn add(&mut self, part: &Part, records: &TagRecords) {
        let now = records.clock.now();
        self.end_by(Until::after(part.fresh, now));
        // The epochs of a namespace are about its own entries.
        let mut tags = part
            .tags
            .iter()
            .filter(|(name, _)| of_carried(name).is_some())
            .peekable();
        if tags.peek().is_none() {
            return;
        }
        if !records.are(&part.records) {
            self.fault = Some(Fault::Uncarried(foreign()));
            return;
        }
        if let Some(kept) = part.kept.map(|kept| after(now, kept)) {
            self.kept = earlier(self.kept, Some(kept));
        }
        for (name, version) in tags {
            self.add_tag(name, version);
        }
    }

    /// Adds everything that `more` has.
    pub(super) fn extend(&mut self, more: Self) {
        self.end_by(more.until);
        self.kept = earlier(self.kept, more.kept);
        for (name, version) in more.tags {
            self.add_tag(&name, version);
        }
        self.fault = self.fault.take().or(more.fault);
    }

    /// Adds a reason for which the value must not be stored.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    fn add_tag(&mut self, name: &str, version: Version) {
        match self.tags.iter().find(|(known, _)| **known == *name) {
            Some((_, known)) if *known == version => {}
            // Softly invalidated between the two reads.
            Some((_, known)) if hard(*known) == hard(version) => self.end(),
            Some(_) => self.fault = Some(Fault::Fenced),
            None if self.tags.len() >= MOST => self.fault = Some(Fault::Uncarried(too_many())),
            None => self.tags.push((name.into(), version)),
        }
    }

    fn end(&mut self) {
        self.end_by(Until::after(Some(Duration::ZERO), Timestamp::from_millis(0)));
    }

    fn end_by(&mut self, until: Until) {
        self.until = self.until.min(until);
    }

    /// Returns how long a value with the tags `own` and these parts is fresh: zero if it is not, `None` for ever.
    pub(super) fn fresh_for(&self, own: &Tags, now: impl FnOnce() -> Timestamp) -> Option<Duration> {
        let is_softened = self.tags.iter().any(|(name, version)| {
            own.iter()
                .any(|(known, carried)| known == &**name && carried != *version)
        });
        if is_softened {
            return Some(Duration::ZERO);
        }
        self.until.left(now)
    }

    /// Returns the tags of a value with the tags `own` and these parts.
    ///
    /// If a tag is in both with different hard versions, it was invalidated between the two reads. One of them is
    /// outdated then, so the value is of no use to other callers.
    pub(super) fn joined_with(&self, own: Tags) -> Result<Tags, Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if self.tags.is_empty() {
            return Ok(own);
        }
        let mut new = Vec::with_capacity(self.tags.len());
        for (name, version) in &self.tags {
            match own.iter().find(|(known, _)| *known == &**name) {
                Some((_, carried)) if hard(carried) != hard(*version) => return Err(Fault::Fenced),
                Some(_) => {}
                None => new.push((&**name, *version)),
            }
        }
        Tags::new(own.iter().chain(new)).map_err(Fault::Failed)
    }

    /// Returns the tags whose records may expire before an entry that is stored now for `lifetime`.
    pub(super) fn early(&self, lifetime: Ttl, now: impl FnOnce() -> Timestamp) -> Vec<(Box<str>, Version)> {
        let is_early = self.kept.is_some_and(|kept| {
            lifetime
                .as_duration()
                .is_none_or(|lifetime| kept.saturating_since(now()) < lifetime)
        });
        if is_early { self.tags.clone() } else { Vec::new() }
    }
}

fn too_many() -> Error {
    let message = format!("it is made from entries with more than {MOST} tags, which is the most that it can carry");
    Error::new(ErrorKind::Other, message)
}

pub(super) fn foreign() -> Error {
    Error::new(
        ErrorKind::Other,
        "it is made from an entry with tags of another cache, whose invalidations would not reach it",
    )
}
