//! One connection, and the checks that the codec lacks.
//!
//! The codec takes whatever arrives next for the answer to its last command. So a session is *out of step* from the
//! moment an operation begins until its answer has been read in full. If that never happens, because the caller dropped
//! the future or the call timed out, the [pool](crate::pool) closes the connection, and nothing reads the late answer.

use std::fmt;
use std::io;

use memcache_async::ascii::Protocol;
use tokio::io::BufWriter;

use crate::error::Fault;
use crate::lifetime::GONE;
use crate::stream::{BoxedStream, Wire};

/// A token that no record has: memcached counts tokens up from one.
const NO_TOKEN: u64 = u64::MAX >> 1;

/// A value with its token (`cas unique`), which a compare-and-swap names.
#[derive(Debug)]
pub(crate) struct CasValue {
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

    /// Returns whether every command was answered in full.
    pub(crate) fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// Returns whether the session is in step and the connection is open, so that the next answer belongs to the next
    /// command.
    pub(crate) fn is_usable(&self) -> bool {
        self.in_step && self.wire.is_quiet()
    }

    /// Returns the values of `keys`, without the keys that have none.
    pub(crate) async fn get(&mut self, keys: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        self.in_step = false;
        let values = self.protocol.get_multi(keys).await.map_err(fault)?;
        // `get` is the one command whose answer names its keys.
        if let Some(stranger) = values.keys().find(|key| !keys.contains(&key.as_str())) {
            return Err(Fault::OutOfStep(format!(
                "an answer for the key {stranger:?}, which was not requested"
            )));
        }
        self.in_step = true;
        Ok(values.into_iter().collect())
    }

    /// Returns the value of a key with its token, to replace it by a compare-and-swap.
    pub(crate) async fn gets(&mut self, key: &str) -> Result<Option<CasValue>, Fault> {
        self.in_step = false;
        let found = match self.protocol.gets_cas(key).await {
            Ok((bytes, token)) => Some(CasValue { bytes, token }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fault(error)),
        };
        self.in_step = true;
        match found {
            // Every token is zero if memcached runs with `-C`.
            Some(CasValue { token: 0, .. }) => Err(Fault::NoCas),
            found => Ok(found),
        }
    }

    /// Writes if the key has no value. Returns whether it wrote.
    pub(crate) async fn add(&mut self, key: &str, value: &[u8], expiration: u32) -> Result<bool, Fault> {
        self.in_step = false;
        match self.protocol.add(key, value, expiration).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.answered(false),
            Err(error) => self.refused(error),
            Ok(()) => self.answered(true),
        }
    }

    /// Replaces the value that has this token. Returns whether it wrote.
    pub(crate) async fn swap(&mut self, key: &str, value: &[u8], token: u64, expiration: u32) -> Result<bool, Fault> {
        self.in_step = false;
        match self.protocol.cas(key, value, token, expiration).await {
            Ok(swapped) => self.answered(swapped),
            // The codec reports this answer as an error.
            Err(error) if error.to_string().starts_with("NOT_FOUND") => self.answered(false),
            Err(error) => self.refused(error),
        }
    }

    /// Removes the value that has this token. Returns whether it did.
    pub(crate) async fn swap_away(&mut self, key: &str, token: u64) -> Result<bool, Fault> {
        self.swap(key, b"", token, GONE).await
    }

    /// Writes the value whatever is there, and waits until the server has confirmed it.
    pub(crate) async fn put(&mut self, key: &str, value: &[u8], expiration: u32) -> Result<(), Fault> {
        self.in_step = false;
        // The codec sends `set` with `noreply`, so the server reports no failure. But a `set` that fails removes the
        // value that was there. So a swap that cannot succeed is sent after it: its answer shows whether there is a
        // value. Another writer's value in between does no harm: ours was stored before it, or might as well have been
        // evicted.
        self.protocol.set(key, value, expiration).await.map_err(fault)?;
        match self.protocol.cas(key, b"", NO_TOKEN, GONE).await {
            Ok(false) => self.answered(()),
            Err(error) if error.to_string().starts_with("NOT_FOUND") => {
                // The answer to an `add` names what is wrong with the value, or the `add` stores it. If there is a
                // value now, it is newer than ours.
                self.in_step = true;
                self.add(key, value, expiration).await.map(|_| ())
            }
            Ok(true) => Err(Fault::OutOfStep("a swap succeeded that cannot".to_owned())),
            Err(error) => Err(fault(error)),
        }
    }

    /// Removes whatever is there, and waits until the server has confirmed it.
    pub(crate) async fn remove(&mut self, key: &str) -> Result<(), Fault> {
        self.in_step = false;
        // `delete` has no answer of its own. The server runs commands in order, so the answer to the next one confirms
        // it.
        self.protocol.delete(key).await.map_err(fault)?;
        self.version().await
    }

    /// Waits until the server answers a `version` command.
    pub(crate) async fn version(&mut self) -> Result<(), Fault> {
        self.in_step = false;
        let version = self.protocol.version().await;
        version.map_err(fault)?;
        self.answered(())
    }

    /// Removes everything from the server.
    pub(crate) async fn flush_all(&mut self) -> Result<(), Fault> {
        self.in_step = false;
        self.protocol.flush().await.map_err(fault)?;
        self.answered(())
    }

    fn answered<T>(&mut self, answer: T) -> Result<T, Fault> {
        self.in_step = true;
        Ok(answer)
    }

    /// After `SERVER_ERROR` memcached has skipped the value and expects the next command. After any other error its
    /// state is unknown, so the session stays out of step.
    fn refused<T>(&mut self, error: io::Error) -> Result<T, Fault> {
        let fault = fault(error);
        self.in_step = matches!(&fault, Fault::Answer(text) if text.starts_with("SERVER_ERROR"));
        Err(fault)
    }
}

/// Classifies an error of the codec, which reports the server's errors as text.
fn fault(error: io::Error) -> Fault {
    let text = error.to_string();
    let text = text.trim_end();
    if ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"]
        .iter()
        .any(|word| text.starts_with(word))
    {
        return Fault::Answer(text.to_owned());
    }
    // Such as the server's refusal of the client's certificate, which arrives with the first answer.
    #[cfg(feature = "rustls")]
    if let Some(source) = error.get_ref().filter(|source| source.is::<rustls::Error>()) {
        let text = format!("TLS: {source}");
        return Fault::Io(io::Error::new(error.kind(), text));
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
