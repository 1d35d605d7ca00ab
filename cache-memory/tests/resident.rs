//! The resident memory of a process with a full store stays within a tenth of `max_bytes`.
//!
//! Each case runs in a process of its own, which does nothing else. Only Linux tells the resident memory.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use cache_core::{Backend, ManualClock, SetOptions, Ttl};
use cache_memory::MemoryBackend;
use futures_util::FutureExt;

use support::{key, sized};

const MAX_BYTES: u64 = 16 << 20;
const SMALL: usize = 10;
const MIDDLE: usize = 1024;
const LARGE: usize = 100 * 1024;
const MINUTE: Duration = Duration::from_secs(60);
/// Names the case that this process is to run.
const CASE: &str = "RESIDENT_CASE";

struct Filled {
    backend: MemoryBackend,
    clock: ManualClock,
}

impl Filled {
    fn new() -> Self {
        let clock = ManualClock::new();
        let backend = MemoryBackend::builder()
            .max_bytes(MAX_BYTES)
            .max_entries(usize::MAX)
            .clock(clock.clone())
            .build();
        Self { backend, clock }
    }

    fn put(&self, name: impl ToString, len: usize) {
        let (key, options) = (key(name), SetOptions::new(Ttl::from(MINUTE)));
        let set = self.backend.set(&key, sized(len), options);
        let _ = set.now_or_never().unwrap().unwrap();
    }

    /// Writes new entries of `len` bytes that are together one and a half times as large as the store.
    fn fill(&self, round: &str, len: usize) {
        for number in 0..MAX_BYTES as usize * 3 / 2 / (len + 140) {
            self.put(format!("{round} {number}"), len);
        }
    }

    /// Writes small, middle and large entries, about as many bytes of each.
    fn mix(&self, round: &str) {
        for number in 0..MAX_BYTES as usize / 2 / LARGE {
            self.put(format!("{round} large {number}"), LARGE);
            for middle in 0..LARGE / (MIDDLE + 140) {
                self.put(format!("{round} middle {number} {middle}"), MIDDLE);
            }
            for small in 0..LARGE / (SMALL + 140) {
                self.put(format!("{round} small {number} {small}"), SMALL);
            }
        }
    }

    fn expire(&self) {
        self.clock.advance(MINUTE);
        self.backend.purge_expired();
        assert!(self.backend.is_empty());
    }

    fn assert_full(&self) {
        let weight = self.backend.weight();
        assert!(weight > MAX_BYTES / 50 * 49, "{weight} bytes are not full");
    }
}

fn run(case: &str) -> Filled {
    let filled = Filled::new();
    match case {
        "small" => filled.fill("", SMALL),
        "middle" => filled.fill("", MIDDLE),
        "large" => filled.fill("", LARGE),
        "mixed" => filled.mix(""),
        "overwritten" => {
            // The same keys get values of all sizes in turn.
            let sizes = [SMALL, LARGE, MIDDLE, 300, 5_000, 40];
            for round in 0..4 {
                for number in 0..15_000 {
                    filled.put(number, sizes[(number + round) % sizes.len()]);
                }
            }
        }
        "expired" => {
            for round in ["a", "b", "c"] {
                filled.mix(round);
                filled.expire();
            }
            filled.mix("d");
        }
        "deleted" => {
            for round in 0..4 {
                filled.fill("", [SMALL, MIDDLE][round % 2]);
                for number in 0..MAX_BYTES as usize * 3 / 2 / (SMALL + 140) {
                    filled.backend.delete(&key(format!(" {number}"))).now_or_never();
                }
                assert!(filled.backend.is_empty());
            }
            filled.fill("", MIDDLE);
        }
        "small, large, small, middle" => {
            filled.fill("a", SMALL);
            filled.fill("b", LARGE);
            filled.fill("c", SMALL);
            filled.fill("d", MIDDLE);
        }
        _ => panic!("{case:?} is no case"),
    }
    filled.assert_full();
    filled
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_full_store_takes_max_bytes_of_resident_memory() {
    if let Ok(case) = env::var(CASE) {
        let before = resident();
        let _filled = run(&case);
        let share = (resident() - before) as f64 / MAX_BYTES as f64;
        println!("{case}: {share:.3} of max_bytes");
        assert!((0.9..1.1).contains(&share), "{share} with {case}");
        return;
    }
    let cases = [
        "small",
        "middle",
        "large",
        "mixed",
        "overwritten",
        "expired",
        "deleted",
        "small, large, small, middle",
    ];
    for case in cases {
        let status = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "a_full_store_takes_max_bytes_of_resident_memory",
                "--nocapture",
            ])
            .env(CASE, case)
            .status()
            .unwrap();
        assert!(status.success(), "{case}");
    }
}
