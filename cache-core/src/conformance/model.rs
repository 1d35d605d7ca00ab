//! Random calls, each compared with the result of a map.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;

use crate::backend::{GetOrAdd, SetMode, SetOptions, SetOutcome};
use crate::clock::{Clock, Timestamp};
use crate::conformance::trial::{HOUR, Stop, Trial, Verdict, ensure, failed, random_seed};
use crate::key::Key;
use crate::record::{Record, Value, Version};
use crate::ttl::Ttl;

pub(super) async fn random_calls_agree_with_a_map(trial: Trial) -> Verdict {
    let seed = std::env::var("CONFORMANCE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(random_seed);
    let mut model = Model::new(trial, seed);
    for step in 0..model.trial.subject.steps {
        if let Err(Stop::Failed(message)) = model.step().await {
            let last = &model.log[model.log.len().saturating_sub(12)..];
            return Err(failed(format!(
                "CONFORMANCE_SEED={seed}, step {step}: {message}\nthe last calls:\n  {}",
                last.join("\n  ")
            )));
        }
    }
    Ok(())
}

/// A record in the map.
struct Entry {
    value: Bytes,
    version: Version,
    deadline: Option<Timestamp>,
    /// Expired or written as a tombstone: absent, but a store may still count it when it clears.
    dead: bool,
}

struct Model {
    trial: Trial,
    rng: fastrand::Rng,
    keys: Vec<Key>,
    entries: HashMap<Key, Entry>,
    used: HashMap<Key, HashSet<Version>>,
    versions: Vec<Version>,
    writes: usize,
    log: Vec<String>,
}

impl Model {
    fn new(trial: Trial, seed: u64) -> Self {
        let mut keys = Vec::new();
        for namespace in ["a", "a:b"] {
            keys.extend(["x", "y", "", "x\r\ny"].map(|name| trial.namespace(namespace).key(name)));
        }
        Self {
            trial,
            rng: fastrand::Rng::with_seed(seed),
            keys,
            entries: HashMap::new(),
            used: HashMap::new(),
            versions: vec![Version::from_u128(0)],
            writes: 0,
            log: Vec::new(),
        }
    }

    async fn step(&mut self) -> Verdict {
        match self.rng.u8(..16) {
            0..3 => self.get().await,
            3..7 => self.set().await,
            7 => self.get_or_add().await,
            8..10 => self.delete().await,
            10 => self.delete_if().await,
            11 => self.get_many().await,
            12 => self.set_many().await,
            13 => self.delete_many().await,
            14 if self.trial.backend().capabilities().clear => self.clear().await,
            _ => self.wait().await,
        }
    }

    async fn get(&mut self) -> Verdict {
        let key = self.any_key();
        self.log.push(format!("get {key}"));
        let found = self.trial.get(&key).await?;
        self.agrees(&key, found.as_ref())
    }

    async fn set(&mut self) -> Verdict {
        let (key, value, options) = self.any_entry();
        self.log.push(format!("set {key} {value:?} {options:?}"));
        let outcome = self
            .trial
            .backend()
            .set(&key, Value::Bytes(value.clone()), options)
            .await?;
        self.was_set("set", &key, value, options, outcome)
    }

    async fn get_or_add(&mut self) -> Verdict {
        let (key, value, options) = self.any_entry();
        self.log.push(format!("get_or_add {key} {value:?} {options:?}"));
        let sent = Value::Bytes(value.clone());
        match self.trial.backend().get_or_add(&key, sent, options).await? {
            GetOrAdd::Found(record) => self.agrees(&key, Some(&record)),
            GetOrAdd::Added(version) => {
                let outcome = SetOutcome::Stored(version);
                self.was_set("get_or_add", &key, value, options.if_absent(), outcome)
            }
        }
    }

    async fn delete(&mut self) -> Verdict {
        let key = self.any_key();
        self.log.push(format!("delete {key}"));
        let removed = self.trial.backend().delete(&key).await?;
        let expected = self.removed(&key);
        ensure!(
            removed == expected,
            "a delete of {key:?} reports {removed}, and should {expected}"
        );
        Ok(())
    }

    async fn delete_if(&mut self) -> Verdict {
        let (key, version) = (self.any_key(), self.any_version());
        // Half of the time the right version, if there is one.
        let version = match self.entries.get(&key) {
            Some(entry) if self.rng.bool() => entry.version,
            _ => version,
        };
        self.log.push(format!("delete_if {key} {version:?}"));
        let removed = self.trial.backend().delete_if(&key, version).await?;
        let expected = self.live(&key).is_some_and(|entry| entry.version == version);
        ensure!(
            removed == expected,
            "a delete_if of {key:?} reports {removed}, and should {expected}"
        );
        if removed {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.dead = true;
            }
            self.trial.until_absent(&key, Duration::from_millis(1)).await?;
            self.bury();
        }
        Ok(())
    }

    async fn get_many(&mut self) -> Verdict {
        let keys = self.any_keys();
        self.log.push(format!("get_many {keys:?}"));
        let records = self.trial.backend().get_many(&keys).await?;
        ensure!(
            records.len() == keys.len(),
            "{} answers for {} keys",
            records.len(),
            keys.len()
        );
        for (key, record) in keys.iter().zip(&records) {
            self.agrees(key, record.as_ref())?;
        }
        Ok(())
    }

    async fn set_many(&mut self) -> Verdict {
        let mut entries: Vec<(Key, Bytes, SetOptions)> = Vec::new();
        for _ in 0..self.rng.usize(..6) {
            let entry = self.any_entry();
            if entries.iter().all(|(key, ..)| *key != entry.0) {
                entries.push(entry);
            }
        }
        self.log.push(format!("set_many {entries:?}"));
        let sent = entries
            .iter()
            .map(|(key, value, options)| (key.clone(), Value::Bytes(value.clone()), *options))
            .collect();
        let outcomes = self.trial.backend().set_many(sent).await?;
        ensure!(
            outcomes.len() == entries.len(),
            "{} answers for {} entries",
            outcomes.len(),
            entries.len()
        );
        for ((key, value, options), outcome) in entries.into_iter().zip(outcomes) {
            self.was_set("set_many", &key, value, options, outcome)?;
        }
        Ok(())
    }

    async fn delete_many(&mut self) -> Verdict {
        let mut keys = self.any_keys();
        keys.truncate(4);
        self.log.push(format!("delete_many {keys:?}"));
        let removed = self.trial.backend().delete_many(&keys).await?;
        let expected = keys.iter().filter(|key| self.removed(key)).count();
        ensure!(
            removed == expected as u64,
            "a batch delete counts {removed}, and should count {expected}"
        );
        Ok(())
    }

    async fn clear(&mut self) -> Verdict {
        let scope = self.any_key().namespace().scope();
        self.log.push(format!("clear {:?}", scope.as_str()));
        let removed = self.trial.backend().clear(&scope).await?;
        let (mut live, mut held) = (0, 0);
        for key in self.keys.clone() {
            if scope.contains(&key) {
                held += u64::from(self.entries.contains_key(&key));
                live += u64::from(self.removed(&key));
            }
        }
        ensure!(
            (live..=held).contains(&removed),
            "clear counts {removed}, and {live} records were there, {held} with the expired ones"
        );
        Ok(())
    }

    /// Lets time pass if there is a clock to move.
    async fn wait(&mut self) -> Verdict {
        if self.trial.subject.clock.is_some() {
            // Even here and odd in lifetimes, so that no deadline is ever now.
            let time = Duration::from_millis(2 * self.rng.u64(..1000));
            self.log.push(format!("wait {time:?}"));
            self.trial.pass(time).await;
            self.bury();
        }
        Ok(())
    }

    fn any_key(&mut self) -> Key {
        self.keys[self.rng.usize(..self.keys.len())].clone()
    }

    fn any_keys(&mut self) -> Vec<Key> {
        (0..self.rng.usize(..12)).map(|_| self.any_key()).collect()
    }

    /// Returns the version of any current or past record.
    fn any_version(&mut self) -> Version {
        self.versions[self.rng.usize(..self.versions.len())]
    }

    fn any_entry(&mut self) -> (Key, Bytes, SetOptions) {
        let key = self.any_key();
        self.writes += 1;
        let value = match self.rng.u8(..4) {
            0 => Bytes::new(),
            1 => Bytes::from(vec![self.rng.u8(..); self.rng.usize(..5000)]),
            _ => Bytes::from(format!("write {}", self.writes)),
        };
        let mut options = SetOptions::new(HOUR);
        if self.trial.subject.clock.is_some() {
            options.ttl = match self.rng.u8(..4) {
                0 => Ttl::FOREVER,
                1 => Ttl::from_millis(2 * self.rng.u64(..1000) + 1),
                _ => Ttl::from_millis(2 * self.rng.u64(..100_000) + 1),
            };
        }
        options.mode = match (self.rng.u8(..6), self.entries.get(&key)) {
            (0..2, _) => SetMode::Always,
            (2..4, _) => SetMode::IfAbsent,
            (4, Some(entry)) => SetMode::IfVersion(entry.version),
            _ => SetMode::IfVersion(self.any_version()),
        };
        (key, value, options)
    }

    /// Marks expired entries.
    fn bury(&mut self) {
        if let Some(clock) = &self.trial.subject.clock {
            let now = clock.now();
            for entry in self.entries.values_mut() {
                entry.dead |= entry.deadline.is_some_and(|deadline| deadline <= now);
            }
        }
    }

    fn live(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| !entry.dead)
    }

    /// Removes an entry, and returns whether it was live.
    fn removed(&mut self, key: &Key) -> bool {
        let live = self.live(key).is_some();
        // A later clear may still count an expired entry.
        if live {
            self.entries.remove(key);
        }
        live
    }

    fn was_set(&mut self, call: &str, key: &Key, value: Bytes, options: SetOptions, outcome: SetOutcome) -> Verdict {
        let current = self.live(key).map(|entry| entry.version);
        let allowed = match options.mode {
            SetMode::Always => true,
            SetMode::IfAbsent => current.is_none(),
            SetMode::IfVersion(version) => current == Some(version),
        };
        let SetOutcome::Stored(version) = outcome else {
            ensure!(
                !allowed,
                "a {call} with {:?} over {current:?} was refused",
                options.mode
            );
            return Ok(());
        };
        ensure!(
            allowed,
            "a {call} with {:?} over {current:?} was carried out",
            options.mode
        );
        ensure!(
            self.used.entry(key.clone()).or_default().insert(version),
            "{version:?} was used for {key:?} before"
        );
        self.versions.push(version);
        let lifetime = options.ttl.as_duration();
        let deadline = self
            .trial
            .subject
            .clock
            .as_ref()
            .and_then(|clock| lifetime.map(|lifetime| clock.now() + lifetime));
        let entry = Entry {
            value,
            version,
            deadline,
            dead: false,
        };
        self.entries.insert(key.clone(), entry);
        Ok(())
    }

    fn agrees(&self, key: &Key, found: Option<&Record>) -> Verdict {
        let found = found.map(|record| (record.value.as_bytes(), record.version));
        let expected = self.live(key).map(|entry| (Some(&entry.value), entry.version));
        ensure!(
            found == expected,
            "{key:?} holds {found:?}, and should hold {expected:?}"
        );
        Ok(())
    }
}
