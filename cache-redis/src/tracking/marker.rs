//! The marker: a small record of the subscription's own, by which it notices that its database was replaced.
//!
//! `SWAPDB` exchanges two databases, which may change every record at once, and the server reports nothing. The marker is in
//! one of the two. So a heartbeat that still finds it was answered by the same database, and one that does not reports that
//! everything may have changed. The same holds for whatever else removes records without a report.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use cache_core::{Error, ErrorKind, Scope};

/// How long the marker outlives the subscription, in milliseconds.
const LIFETIME_MILLIS: u64 = 60_000;

/// How often the lifetime of the marker is renewed.
const RENEW_AFTER: Duration = Duration::from_secs(20);

/// Renews `KEYS[1]` if its value is still `ARGV[1]`, atomically. A plain write could put the marker into another
/// database and hide the swap.
const RENEW: &str = "local here = redis.call('GET', KEYS[1]) \
                     if here == ARGV[1] then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end \
                     return here";

/// Returns what the keys of all markers below the scope's prefix begin with. No key of a user's begins with it.
pub(super) fn markers_of(scope: &Scope) -> String {
    let prefix = scope.as_str().find(':').map_or("", |end| &scope.as_str()[..=end]);
    format!("{prefix}!subscription:")
}

fn random() -> String {
    format!("{:016x}", RandomState::new().hash_one(()))
}

pub(super) struct Marker {
    key: String,
    value: String,
    written: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was written.
    Standing,
    /// It was not written yet, or was removed. It is written next.
    Missing,
    /// The user may not write it.
    Forbidden,
}

/// A command about the marker.
pub(super) enum Command {
    Write(Vec<String>),
    Look(Vec<String>),
}

impl Marker {
    pub(super) fn new(scope: &Scope) -> Self {
        Self {
            key: format!("{}{}{}", markers_of(scope), random(), random()),
            value: String::new(),
            written: Instant::now(),
            state: State::Missing,
        }
    }

    /// Returns the next command: to write the marker, or to check that it is there, which also renews it from time to
    /// time.
    pub(super) fn command(&mut self) -> Option<Command> {
        let lifetime = LIFETIME_MILLIS.to_string();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        match self.state {
            State::Forbidden => None,
            State::Missing => {
                // A new value each time, since a swapped database may come back with the old marker in it.
                self.value = random();
                Some(Command::Write(words(&["SET", &self.key, &self.value, "PX", &lifetime])))
            }
            State::Standing if self.written.elapsed() < RENEW_AFTER => Some(Command::Look(words(&["GET", &self.key]))),
            State::Standing => {
                self.written = Instant::now();
                Some(Command::Look(words(&[
                    "EVAL",
                    RENEW,
                    "1",
                    &self.key,
                    &self.value,
                    &lifetime,
                ])))
            }
        }
    }

    /// Records that the marker was written. Earlier changes may have gone unreported.
    pub(super) fn was_written(&mut self) {
        self.written = Instant::now();
        self.state = State::Standing;
    }

    /// Records the value under the marker's key, and returns whether it is the marker's.
    pub(super) fn was_found(&mut self, answer: &str) -> bool {
        let is_there = answer == self.value;
        if !is_there {
            self.state = State::Missing;
        }
        is_there
    }

    /// Records that the server refused a command. A full server may accept it later; missing permissions stay missing.
    pub(super) fn was_refused(&mut self, error: &Error) {
        if error.kind() == ErrorKind::Auth {
            self.state = State::Forbidden;
        }
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{Key, Prefix};

    use super::*;

    #[test]
    fn a_marker_is_a_record_of_the_toolkits_own_below_the_prefix() {
        let prefix = Prefix::new("shop:a");
        for scope in [prefix.scope(), prefix.namespace("users").scope()] {
            let (one, other) = (Marker::new(&scope), Marker::new(&scope));
            let key = Key::parse(&one.key).unwrap();
            assert!(key.is_reserved() && prefix.scope().contains(&key), "{key}");
            assert!(!prefix.namespace("").scope().contains(&key));
            assert_ne!(one.key, other.key);
            assert!(one.key.starts_with(&markers_of(&scope)));
        }
    }

    #[test]
    fn a_marker_is_written_looked_for_and_written_again_when_it_is_gone() {
        let mut marker = Marker::new(&Prefix::new("shop").scope());
        let Some(Command::Write(words)) = marker.command() else {
            panic!("it must be written first");
        };
        let value = words[2].clone();
        assert_eq!((&*words[0], &words[1]), ("SET", &marker.key));
        marker.was_written();
        assert!(matches!(marker.command(), Some(Command::Look(words)) if words == ["GET", &marker.key]));
        assert!(marker.was_found(&value) && !marker.was_found(""));
        let again = marker.command();
        assert!(
            matches!(again, Some(Command::Write(words)) if words[2] != value),
            "the database may come back"
        );
        marker.was_refused(&Error::new(ErrorKind::Rejected, "OOM"));
        assert!(
            matches!(marker.command(), Some(Command::Write(_))),
            "there may be room later"
        );
        marker.was_refused(&Error::new(ErrorKind::Auth, "NOPERM"));
        assert!(marker.command().is_none());
    }

    #[test]
    fn a_marker_that_is_old_is_renewed_where_it_is_and_nowhere_else() {
        let mut marker = Marker::new(&Prefix::new("shop").scope());
        marker.was_written();
        marker.written -= RENEW_AFTER;
        assert!(matches!(marker.command(), Some(Command::Look(words)) if words[..3] == ["EVAL", RENEW, "1"]));
        assert!(
            matches!(marker.command(), Some(Command::Look(words)) if words[0] == "GET"),
            "for a while"
        );
    }
}
