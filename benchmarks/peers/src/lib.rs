//! What the programs share.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

pub mod clients;
pub mod server;
pub mod trips;
pub mod turns;
pub mod zipf;

/// A JSON list of a hundred objects, about 4 KiB.
#[must_use]
pub fn objects() -> Bytes {
    let objects: Vec<Value> = (0..100)
        .map(|number| json!({"id": number, "name": format!("product {number:03}"), "ok": true}))
        .collect();
    Bytes::from(serde_json::to_vec(&objects).unwrap())
}

/// What was measured of each subject, or why it was not.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<String, Value>);

impl Figures {
    /// Notes a figure.
    pub fn note(&mut self, subject: &str, figure: impl Into<Value>) {
        self.0.insert(subject.to_owned(), figure.into());
    }

    /// Notes that a subject failed.
    pub fn note_failure(&mut self, subject: &str, reason: &str) {
        self.0.insert(subject.to_owned(), json!({ "failed": reason }));
    }

    /// Returns the figures of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Prints all as one line of JSON.
    pub fn print(self) {
        println!("{}", json!(self.0));
    }
}

/// Returns the median of the samples.
#[must_use]
pub fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Returns the message of a panic.
#[must_use]
pub fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panicked".to_owned())
}

/// Parses a number of seconds.
#[must_use]
pub fn seconds(argument: &str) -> Duration {
    Duration::from_secs_f64(argument.parse().expect("seconds are a number"))
}
