//! The commands of one call, in order, over one connection.
//!
//! The server runs the commands of a connection in order, and a token that it has told is valid as long as the connection:
//! a server that restarts counts tokens from one again, but has closed all connections.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Fault;
use crate::lifetime::GONE;
use crate::line::{Answers, Line, Unanswered};
use crate::pool::Pool;
use crate::protocol::{Answer, Command, Item};

/// How often a command is sent on another connection because its own had ended.
const ATTEMPTS: usize = 3;

/// A value with its token (`cas unique`), which a compare-and-swap names.
#[derive(Debug)]
pub(crate) struct CasValue {
    pub(crate) bytes: Bytes,
    pub(crate) token: u64,
}

#[derive(Debug)]
pub(crate) struct Session<'a> {
    pool: &'a Pool,
    line: Arc<Line>,
    /// Whether commands may no longer be sent on another connection.
    is_bound: bool,
}

impl<'a> Session<'a> {
    /// Returns a session on the connection that gathers calls now, or else on the one with the fewest.
    pub(crate) async fn new(pool: &'a Pool) -> Result<Self, Fault> {
        Ok(Self {
            line: pool.line().await?,
            pool,
            is_bound: false,
        })
    }

    /// Returns a session on this connection and no other.
    pub(crate) fn on(pool: &'a Pool, line: Arc<Line>) -> Self {
        Self {
            pool,
            line,
            is_bound: true,
        }
    }

    /// Returns the connection.
    pub(crate) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// Returns the values of `keys`, each with the place of its key, without the keys that have none. No key is there
    /// twice.
    pub(crate) async fn get(&mut self, keys: impl Iterator<Item = &str> + Clone) -> Result<Vec<Item>, Fault> {
        let answer = match self.ask_one(Command::get(keys.clone())).await {
            // Reading twice does no harm.
            Err(Fault::Lost(_)) if !self.is_bound => {
                self.line = self.pool.line().await?;
                self.ask_one(Command::get(keys)).await?
            }
            answer => answer?,
        };
        values(answer)
    }

    /// Returns the value of a key with its token, to replace it by a compare-and-swap.
    pub(crate) async fn gets(&mut self, key: &str) -> Result<Option<CasValue>, Fault> {
        match with_token(self.ask_one(Command::gets(key)).await?)? {
            // Every token is zero if memcached runs with `-C`.
            Some(CasValue { token: 0, .. }) => Err(Fault::NoCas),
            found => Ok(found),
        }
    }

    /// Writes if the key has no value. Returns whether it wrote.
    pub(crate) async fn add(&mut self, key: &str, value: &[u8], expiration: u32) -> Result<bool, Fault> {
        was_added(self.ask_one(Command::add(key, value, expiration)).await?)
    }

    /// Writes if the key has no value, and reads what is there then, with its token. Returns whether it wrote.
    ///
    /// If the server refused the value, and there is another one, that is what counts.
    pub(crate) async fn add_and_get(
        &mut self,
        key: &str,
        value: &[u8],
        expiration: u32,
    ) -> Result<(bool, Option<CasValue>), Fault> {
        let command = Command::add(key, value, expiration).then(Command::gets(key));
        let (added, found) = self.ask_two(command).await?;
        let added = was_added(added);
        match (added, with_token(found)?) {
            (Err(_), Some(found)) => Ok((false, Some(found))),
            (added, found) => Ok((added?, found)),
        }
    }

    /// Replaces the value that has this token. Returns whether it wrote.
    pub(crate) async fn swap(&mut self, key: &str, value: &[u8], token: u64, expiration: u32) -> Result<bool, Fault> {
        was_swapped(self.ask_one(Command::cas(key, value, token, expiration)).await?)
    }

    /// As [`swap`](Self::swap), on this connection and no other. Writes nothing if it has ended.
    pub(crate) async fn swap_if_open(
        &mut self,
        key: &str,
        value: &[u8],
        token: u64,
        expiration: u32,
    ) -> Result<bool, Fault> {
        match self.line.ask(Command::cas(key, value, token, expiration)).await {
            Ok(answers) => was_swapped(answers.first),
            Err(Unanswered::Unsent(..)) => Ok(false),
            Err(Unanswered::Failed(fault)) => Err(fault),
        }
    }

    /// Removes the value that has this token. Returns whether it did.
    pub(crate) async fn swap_away(&mut self, key: &str, token: u64) -> Result<bool, Fault> {
        self.swap(key, b"", token, GONE).await
    }

    /// Writes the value whatever is there. If the server refuses it, the value that was there is gone.
    pub(crate) async fn put(&mut self, key: &str, value: &[u8], expiration: u32) -> Result<(), Fault> {
        match self.ask_one(Command::set(key, value, expiration)).await? {
            Answer::Stored => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Removes whatever is there. Returns whether there was something.
    pub(crate) async fn remove(&mut self, key: &str) -> Result<bool, Fault> {
        was_removed(self.ask_one(Command::delete(key)).await?)
    }

    /// Reads the value, and removes it or what another writer has put in its place since. Returns the value, and whether
    /// something was removed.
    pub(crate) async fn take(&mut self, key: &str) -> Result<(Option<Bytes>, bool), Fault> {
        let (found, removed) = self
            .ask_two(Command::get([key].into_iter()).then(Command::delete(key)))
            .await?;
        let removed = was_removed(removed)?;
        // Removing needs no reading.
        let found = values(found).unwrap_or_default().pop();
        Ok((found.map(|item| item.value), removed))
    }

    /// Waits until the server answers a `version` command.
    pub(crate) async fn version(&mut self) -> Result<(), Fault> {
        match self.ask_one(Command::version()).await? {
            Answer::Version => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Removes everything from the server.
    pub(crate) async fn flush_all(&mut self) -> Result<(), Fault> {
        match self.ask_one(Command::flush_all()).await? {
            Answer::Flushed => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    async fn ask_one(&mut self, command: Command) -> Result<Answer, Fault> {
        Ok(self.ask(command).await?.first)
    }

    async fn ask_two(&mut self, command: Command) -> Result<(Answer, Answer), Fault> {
        match self.ask(command).await? {
            Answers {
                first,
                second: Some(second),
            } => Ok((first, second)),
            Answers { first, second: None } => Err(unexpected(first)),
        }
    }

    async fn ask(&mut self, mut command: Command) -> Result<Answers, Fault> {
        let mut attempt = 1;
        loop {
            match self.line.ask(command).await {
                Ok(answers) => {
                    self.is_bound = true;
                    return Ok(answers);
                }
                Err(Unanswered::Failed(fault)) => return Err(fault),
                Err(Unanswered::Unsent(_, fault)) if self.is_bound || attempt == ATTEMPTS => return Err(fault),
                Err(Unanswered::Unsent(unsent, _)) => {
                    self.line = self.pool.line().await?;
                    command = unsent;
                    attempt += 1;
                }
            }
        }
    }
}

fn values(answer: Answer) -> Result<Vec<Item>, Fault> {
    match answer {
        Answer::Values(items) => Ok(items),
        other => Err(unexpected(other)),
    }
}

fn with_token(answer: Answer) -> Result<Option<CasValue>, Fault> {
    let Some(item) = values(answer)?.pop() else {
        return Ok(None);
    };
    match item.token {
        Some(token) => Ok(Some(CasValue {
            bytes: item.value,
            token,
        })),
        None => Err(Fault::OutOfStep("a value without its token".to_owned())),
    }
}

fn was_added(answer: Answer) -> Result<bool, Fault> {
    match answer {
        Answer::Stored => Ok(true),
        Answer::NotStored => Ok(false),
        other => Err(unexpected(other)),
    }
}

fn was_swapped(answer: Answer) -> Result<bool, Fault> {
    match answer {
        Answer::Stored => Ok(true),
        Answer::Exists | Answer::NotFound | Answer::NotStored => Ok(false),
        other => Err(unexpected(other)),
    }
}

fn was_removed(answer: Answer) -> Result<bool, Fault> {
    match answer {
        Answer::Deleted => Ok(true),
        Answer::NotFound => Ok(false),
        other => Err(unexpected(other)),
    }
}

/// Returns the fault of an answer that means that the command was not carried out.
fn unexpected(answer: Answer) -> Fault {
    match answer {
        Answer::Error(text) => Fault::Answer(text),
        other => Fault::OutOfStep(format!("an unexpected answer: {other:?}")),
    }
}
