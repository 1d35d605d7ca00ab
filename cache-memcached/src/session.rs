//! One connection, and the armour around the codec.
//!
//! The codec reads whatever comes next as the answer to what it has just asked. So a session is out of step from the
//! moment an operation begins until its answer is read to the end. If that never happens, because the caller went away or
//! the time was over, the session is not used again: it is closed, and what comes late is read by nobody.

use std::fmt;
use std::io;

use memcache_async::ascii::Protocol;
use tokio::io::BufWriter;

use crate::error::Fault;
use crate::lifetime::GONE;
use crate::stream::{BoxedStream, Wire};

/// A token that no record ever has: memcached counts up from one.
const NO_TOKEN: u64 = u64::MAX >> 1;

/// A value, and the token that a compare-and-swap goes by.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    pub(crate) token: u64,
}

pub(crate) struct Session {
    protocol: Protocol<BufWriter<Wire>>,
    wire: Wire,
    in_step: bool,
}

impl Session {
    pub(crate) fn new(stream: BoxedStream) -> Self {
        let wire = Wire::new(stream);
        Self {
            // The codec writes a command in several pieces.
            protocol: Protocol::new(BufWriter::new(wire.clone())),
            wire,
            in_step: true,
        }
    }

    /// Whether every operation was carried through.
    pub(crate) fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// Whether the next answer will belong to the next question.
    pub(crate) fn is_usable(&self) -> bool {
        self.in_step && self.wire.is_quiet()
    }

    /// The values of some keys. Keys without a value are not among them.
    pub(crate) async fn get(&mut self, keys: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        self.in_step = false;
        let values = self.protocol.get_multi(keys).await.map_err(fault)?;
        // The one command whose answer names what it answers.
        if let Some(stranger) = values.keys().find(|key| !keys.contains(&key.as_str())) {
            return Err(Fault::OutOfStep(format!(
                "an answer for {stranger:?}, which was not asked for"
            )));
        }
        self.in_step = true;
        Ok(values.into_iter().collect())
    }

    /// The value of a key, to be replaced.
    pub(crate) async fn hold(&mut self, key: &str) -> Result<Option<Held>, Fault> {
        self.in_step = false;
        let held = match self.protocol.gets_cas(key).await {
            Ok((bytes, token)) => Some(Held { bytes, token }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fault(error)),
        };
        self.in_step = true;
        match held {
            // What memcached gives if it does not count.
            Some(Held { token: 0, .. }) => Err(Fault::NoCas),
            held => Ok(held),
        }
    }

    /// Writes where nothing is. Tells whether it did.
    pub(crate) async fn add(&mut self, key: &str, value: &[u8], expiration: u32) -> Result<bool, Fault> {
        self.in_step = false;
        match self.protocol.add(key, value, expiration).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.answered(false),
            Err(error) => self.refused(error),
            Ok(()) => self.answered(true),
        }
    }

    /// Writes over the value that has this token. Tells whether it did.
    pub(crate) async fn swap(&mut self, key: &str, value: &[u8], token: u64, expiration: u32) -> Result<bool, Fault> {
        self.in_step = false;
        match self.protocol.cas(key, value, token, expiration).await {
            Ok(swapped) => self.answered(swapped),
            // The codec takes this answer for an error.
            Err(error) if error.to_string().starts_with("NOT_FOUND") => self.answered(false),
            Err(error) => self.refused(error),
        }
    }

    /// Removes the value that has this token, for good. Tells whether it did.
    pub(crate) async fn swap_away(&mut self, key: &str, token: u64) -> Result<bool, Fault> {
        self.swap(key, b"", token, GONE).await
    }

    /// Writes, whatever is there, and has it confirmed.
    pub(crate) async fn put(&mut self, key: &str, value: &[u8], expiration: u32) -> Result<(), Fault> {
        self.in_step = false;
        // The codec sends `set` with `noreply`, so that a failure would stay unknown. When it fails, memcached removes
        // what was there before. So a question in the same breath tells: a swap that cannot succeed is answered
        // differently with and without a value there. What another writer put there in between does no harm: then ours
        // was written before it, or might as well have been evicted before it.
        self.protocol.set(key, value, expiration).await.map_err(fault)?;
        match self.protocol.cas(key, b"", NO_TOKEN, GONE).await {
            Ok(false) => self.answered(()),
            Err(error) if error.to_string().starts_with("NOT_FOUND") => {
                // An `add` says what is wrong with the value, or stores it after all. If there is a value now, it is
                // newer than ours.
                self.in_step = true;
                self.add(key, value, expiration).await.map(|_| ())
            }
            Ok(true) => Err(Fault::OutOfStep("a swap succeeded that cannot".to_owned())),
            Err(error) => Err(fault(error)),
        }
    }

    /// Removes whatever is there, and has it confirmed.
    pub(crate) async fn remove(&mut self, key: &str) -> Result<(), Fault> {
        self.in_step = false;
        // Without an answer of its own; commands are carried out in their order.
        self.protocol.delete(key).await.map_err(fault)?;
        self.version().await
    }

    /// A sign of life.
    pub(crate) async fn version(&mut self) -> Result<(), Fault> {
        self.in_step = false;
        let version = self.protocol.version().await;
        version.map_err(fault)?;
        self.answered(())
    }

    /// Removes everything that the server has.
    pub(crate) async fn flush_all(&mut self) -> Result<(), Fault> {
        self.in_step = false;
        self.protocol.flush().await.map_err(fault)?;
        self.answered(())
    }

    fn answered<T>(&mut self, answer: T) -> Result<T, Fault> {
        self.in_step = true;
        Ok(answer)
    }

    /// After `SERVER_ERROR` memcached has skipped the value and waits for the next command. After anything else nobody
    /// knows what it waits for.
    fn refused<T>(&mut self, error: io::Error) -> Result<T, Fault> {
        let fault = fault(error);
        self.in_step = matches!(&fault, Fault::Answer(text) if text.starts_with("SERVER_ERROR"));
        Err(fault)
    }
}

/// The codec hands on what the server says as the text of an error.
fn fault(error: io::Error) -> Fault {
    let text = error.to_string();
    let text = text.trim_end();
    if ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"]
        .iter()
        .any(|word| text.starts_with(word))
    {
        return Fault::Answer(text.to_owned());
    }
    match error.kind() {
        io::ErrorKind::InvalidData => Fault::OutOfStep(format!("an unexpected answer ({text})")),
        io::ErrorKind::Other => Fault::OutOfStep(format!("an unexpected answer: {text:?}")),
        _ => Fault::Io(error),
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("in_step", &self.in_step)
            .finish_non_exhaustive()
    }
}
