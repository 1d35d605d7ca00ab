//! The record of a history, which decides which values a read may return.

use std::fmt::Write;
use std::time::{Duration, Instant};

/// The scope of an invalidation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One key.
    Key(usize),
    /// Every key that carries this tag.
    Tag(usize),
    /// All keys.
    All,
}

/// The oldest moments from which the value of a read may come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Floor {
    /// For any value.
    pub usable: u64,
    /// For a value that is reported as fresh.
    pub fresh: u64,
}

/// A reader, and what it may have missed.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// The node that reads.
    pub node: usize,
    /// When it reads.
    pub at: Instant,
    /// How long it may miss invalidations by other nodes.
    pub bound: Duration,
}

/// An invalidation that has returned.
#[derive(Debug, Clone, Copy)]
struct Raise {
    /// When it began.
    moment: u64,
    soft: bool,
    node: usize,
    /// When it returned.
    at: Instant,
}

/// A value, by the moment when its load read the source.
#[derive(Debug, Clone, Copy)]
struct Value {
    key: usize,
    /// `None` while it is being set, since the call may take effect at any time.
    moment: Option<u64>,
}

/// The events of a history, numbered by a logical clock.
///
/// It is conservative, so that delays of messages are never taken for a fault: a read begins here before the request is
/// sent to the worker, and an invalidation ends here after the worker has reported its end.
#[derive(Debug)]
pub struct Record {
    now: u64,
    /// The invalidations of each key.
    raises: Vec<Vec<Raise>>,
    /// The keys that carry each tag.
    tags: Vec<Vec<usize>>,
    values: Vec<Value>,
    /// The number of the first value.
    first: u64,
    trace: String,
    violations: Vec<String>,
}

impl Record {
    /// Makes a record of `keys` keys. `tags` has the keys of each tag. Values are numbered from `first`.
    #[must_use]
    pub fn new(keys: usize, tags: Vec<Vec<usize>>, first: u64) -> Self {
        Self {
            now: 0,
            raises: vec![Vec::new(); keys],
            tags,
            values: Vec::new(),
            first,
            trace: String::new(),
            violations: Vec::new(),
        }
    }

    /// Adds an event, and returns its moment.
    pub fn note(&mut self, what: impl std::fmt::Display) -> u64 {
        self.now += 1;
        let _ = writeln!(self.trace, "{:5}  {what}", self.now);
        self.now
    }

    /// Returns the floor of a read of `key` that begins now.
    #[must_use]
    pub fn floor(&self, key: usize, reader: Reader) -> Floor {
        let mut floor = Floor::default();
        for raise in &self.raises[key] {
            // A node notices its own changes at once.
            if raise.node == reader.node || reader.at.saturating_duration_since(raise.at) >= reader.bound {
                floor.fresh = floor.fresh.max(raise.moment);
                if !raise.soft {
                    floor.usable = floor.usable.max(raise.moment);
                }
            }
        }
        floor
    }

    /// Records that a load of `key` reads the source, and returns the value.
    pub fn load(&mut self, key: usize, moment: u64) -> u64 {
        self.value(key, Some(moment))
    }

    /// Returns the value of `key` that a caller begins to set.
    pub fn begin_set(&mut self, key: usize) -> u64 {
        self.value(key, None)
    }

    /// Records that a value was set by a call that began at `began`. From now on it counts as read now, since the call
    /// may have taken effect at any time. It also counts as an invalidation, since loads that began before must not
    /// replace it.
    pub fn end_set(&mut self, node: usize, value: u64, began: u64, now: u64) {
        let at = self.index(value).expect("a value of this history");
        self.values[at].moment = Some(now);
        self.end_invalidation(node, Scope::Key(self.values[at].key), began, false);
    }

    /// Records that an invalidation at a node, which began at `began`, has returned.
    pub fn end_invalidation(&mut self, node: usize, scope: Scope, began: u64, soft: bool) {
        let all: Vec<usize>;
        let keys: &[usize] = match &scope {
            Scope::Key(key) => std::slice::from_ref(key),
            Scope::Tag(tag) => &self.tags[*tag],
            Scope::All => {
                all = (0..self.raises.len()).collect();
                &all
            }
        };
        for &key in keys {
            self.raises[key].push(Raise {
                moment: began,
                soft,
                node,
                at: Instant::now(),
            });
        }
    }

    /// Checks a read of `key` that returned `value`, reported as fresh or not. `floor` is the floor when the read
    /// began. Returns whether the value is allowed.
    pub fn check(&mut self, key: usize, floor: Floor, value: u64, fresh: bool, who: &str) -> bool {
        let least = if fresh {
            floor.fresh.max(floor.usable)
        } else {
            floor.usable
        };
        let problem = match self.index(value).map(|at| self.values[at]) {
            None => format!("{value}, which is no value of this history"),
            Some(found) if found.key != key => format!("{value}, which is a value of key {}", found.key),
            Some(Value {
                moment: Some(moment), ..
            }) if moment < least => {
                let fresh = if fresh { ", as fresh" } else { "" };
                format!("{value}, which was read at {moment}{fresh}; what it may be given begins at {least}")
            }
            Some(_) => return true,
        };
        let violation = format!("{who} is given, for key {key}, {problem}");
        self.note(format_args!("VIOLATION: {violation}"));
        self.violations.push(violation);
        false
    }

    /// Records a violation other than an old value.
    pub fn violation(&mut self, what: String) {
        self.note(format_args!("VIOLATION: {what}"));
        self.violations.push(what);
    }

    /// Returns the violations.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Returns all events, one per line.
    #[must_use]
    pub fn trace(&self) -> &str {
        &self.trace
    }

    fn value(&mut self, key: usize, moment: Option<u64>) -> u64 {
        self.values.push(Value { key, moment });
        self.first + self.values.len() as u64 - 1
    }

    fn index(&self, value: u64) -> Option<usize> {
        let at = usize::try_from(value.checked_sub(self.first)?).ok()?;
        (at < self.values.len()).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that must notice everything.
    fn exact() -> Reader {
        Reader {
            node: 1,
            at: Instant::now(),
            bound: Duration::ZERO,
        }
    }

    /// A history in which key 0 was loaded, then invalidated.
    fn invalidated(soft: bool) -> (Record, u64) {
        let mut record = Record::new(2, vec![vec![0, 1]], 100);
        let moment = record.note("load");
        let value = record.load(0, moment);
        let began = record.note("invalidate");
        record.note("something else");
        record.end_invalidation(0, Scope::Key(0), began, soft);
        (record, value)
    }

    #[test]
    fn what_was_loaded_before_an_invalidation_began_is_too_old_once_it_has_returned() {
        let (mut record, old) = invalidated(false);
        let floor = record.floor(0, exact());
        assert!(!record.check(0, floor, old, false, "somebody"));
        assert_eq!(record.violations().len(), 1);
        // A read that began before may return it.
        assert!(record.check(0, Floor::default(), old, false, "somebody"));
    }

    #[test]
    fn what_is_loaded_while_an_invalidation_is_under_way_is_not() {
        let mut record = Record::new(1, Vec::new(), 1);
        let began = record.note("invalidate");
        let moment = record.note("load");
        let value = record.load(0, moment);
        record.end_invalidation(0, Scope::Key(0), began, false);
        let floor = record.floor(0, exact());
        assert!(record.check(0, floor, value, true, "somebody"));
    }

    #[test]
    fn after_a_soft_invalidation_the_old_value_may_be_given_if_it_is_not_called_fresh() {
        let (mut record, old) = invalidated(true);
        let floor = record.floor(0, exact());
        assert!(record.check(0, floor, old, false, "somebody"));
        assert!(!record.check(0, floor, old, true, "somebody"));
    }

    #[test]
    fn a_tag_covers_the_keys_that_carry_it() {
        let mut record = Record::new(3, vec![vec![0, 2]], 1);
        let began = record.note("invalidate");
        record.end_invalidation(0, Scope::Tag(0), began, false);
        let floors: Vec<u64> = (0..3).map(|key| record.floor(key, exact()).usable).collect();
        assert_eq!(floors, [began, 0, began]);
    }

    #[test]
    fn a_value_that_is_being_set_may_take_effect_late_but_not_after_its_call() {
        let mut record = Record::new(1, Vec::new(), 1);
        let set = record.note("set");
        let value = record.begin_set(0);
        let began = record.note("invalidate");
        record.end_invalidation(0, Scope::Key(0), began, false);
        let floor = record.floor(0, exact());
        assert!(record.check(0, floor, value, true, "somebody"));
        let now = record.note("set ends");
        record.end_set(0, value, set, now);
        assert!(record.check(0, floor, value, true, "somebody"));
        let began = record.note("invalidate");
        record.end_invalidation(0, Scope::Key(0), began, false);
        let floor = record.floor(0, exact());
        assert!(!record.check(0, floor, value, true, "somebody"));
    }

    #[test]
    fn a_load_that_began_before_a_set_must_not_replace_it() {
        let mut record = Record::new(1, Vec::new(), 1);
        let moment = record.note("load");
        let old = record.load(0, moment);
        let set = record.note("set");
        let value = record.begin_set(0);
        let now = record.note("set ends");
        record.end_set(0, value, set, now);
        let floor = record.floor(0, exact());
        assert!(record.check(0, floor, value, true, "somebody"));
        assert!(!record.check(0, floor, old, false, "somebody"));
    }

    #[test]
    fn a_value_of_another_key_or_of_nobody_is_a_violation() {
        let mut record = Record::new(2, Vec::new(), 10);
        let moment = record.note("load");
        let value = record.load(1, moment);
        assert!(!record.check(0, Floor::default(), value, false, "somebody"));
        assert!(!record.check(0, Floor::default(), 9, false, "somebody"));
        assert!(!record.check(0, Floor::default(), 11, false, "somebody"));
    }

    #[test]
    fn what_another_node_has_invalidated_may_go_unnoticed_within_the_bound() {
        let (record, _) = invalidated(false);
        let reader = |node, after| Reader {
            node,
            at: Instant::now() + Duration::from_secs(after),
            bound: Duration::from_secs(60),
        };
        assert_eq!(record.floor(0, reader(1, 0)), Floor::default());
        assert_ne!(record.floor(0, reader(1, 60)), Floor::default());
        // The reader knows what its own node did.
        assert_ne!(record.floor(0, reader(0, 0)), Floor::default());
    }
}
