//! Commands of callers that are ready at the same time, which are sent together.
//!
//! fred's task writes to the socket once it has no other command, and tokio runs that task as soon as one caller has sent
//! it a command. So callers that are ready at the same time would take a system call each, which is most of what a command
//! costs. Here they queue, and a task of their own hands all commands to fred at once.
//!
//! With few callers that is not done: the server would wait for the last of them, and they for the server, by turns.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::{Client, WithOptions};
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::Options;
use fred::types::{Expiration, SetOptions};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::reply::{Answer, Reply};
use crate::swap::{self, Sharding, Swap};

/// The number of other commands in flight from which on a command waits for those of other callers.
pub(crate) const MANY: usize = 24;

/// How long a turn may take before a later caller takes another one: the runtime of its task may stand still.
const LATE: Duration = Duration::from_millis(20);

/// A command that can be sent together with others.
#[derive(Debug)]
pub(crate) enum Command {
    /// Reads a string.
    Get { key: String },
    /// Reads the first bytes of a string.
    GetStart { key: String, bytes: usize },
    /// Writes a string.
    Set {
        key: String,
        string: Bytes,
        lifetime: Option<Expiration>,
        mode: Option<SetOptions>,
        /// Whether the string is answered that was there before.
        gets: bool,
    },
    /// Writes a string if the record under the key has a version. Not for a Cluster, whose keys are on several servers.
    Swap(Swap),
}

impl Command {
    async fn send(self, client: &WithOptions<Client>) -> Answer {
        match self {
            Self::Get { key } => client.get(key).await.map(Reply::String),
            Self::GetStart { key, bytes } => {
                let start = client.getrange(key, 0, bytes.saturating_sub(1)).await;
                start.map(Reply::String)
            }
            Self::Set {
                key,
                string,
                lifetime,
                mode,
                gets,
            } => client.set(key, string, lifetime, mode, gets).await.map(Reply::String),
            Self::Swap(swap) => swap.send(client).await,
        }
    }
}

struct Queued {
    command: Command,
    options: Options,
    reply: oneshot::Sender<Answer>,
}

/// The commands that wait to be sent by one client.
#[derive(Default)]
pub(crate) struct Gathering {
    queue: Mutex<Queue>,
    sharding: Sharding,
}

#[derive(Default)]
struct Queue {
    commands: Vec<Queued>,
    /// When the last turn to send them began.
    since: Option<Instant>,
}

/// Sends a command, and returns its answer. With `waits`, sends it together with those that the other tasks queue that are
/// ready now.
///
/// If the future is dropped, the command may be sent or not.
pub(crate) async fn ask(
    gathering: &Arc<Gathering>,
    client: Client,
    command: Command,
    options: &Options,
    waits: bool,
) -> Answer {
    let runtime = if waits { Handle::try_current().ok() } else { None };
    let Some(runtime) = runtime else {
        let client = client.with_options(options);
        // Boxed, since a call moves its whole future.
        return Box::pin(command.send(&client)).await;
    };
    let (reply, answer) = oneshot::channel();
    let takes_turn = {
        let mut queue = gathering.queue.lock();
        queue.commands.push(Queued {
            command,
            options: options.clone(),
            reply,
        });
        let takes_turn = queue.commands.len() == 1 || queue.since.is_none_or(|since| since.elapsed() >= LATE);
        if takes_turn {
            queue.since = Some(Instant::now());
        }
        takes_turn
    };
    if takes_turn {
        let turn = Turn {
            gathering: Arc::clone(gathering),
            is_taken: false,
        };
        runtime.spawn(send(turn, client));
    }
    // fred's own limit begins when the command is sent.
    match tokio::time::timeout(options.timeout.unwrap_or(Duration::MAX), answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(Error::new(ErrorKind::Canceled, "the runtime of the call ended")),
        Err(_) => Err(Error::new(ErrorKind::Timeout, "the command was not answered in time")),
    }
}

async fn send(mut turn: Turn, client: Client) {
    // The other tasks that are ready queue their commands first.
    tokio::task::yield_now().await;
    let commands = turn.take();
    // A caller that has left needs no command.
    let commands = commands.into_iter().filter(|queued| !queued.reply.is_closed());
    let mut plain = Vec::new();
    let mut swaps = Vec::new();
    let mut of_swaps = None;
    for Queued {
        command,
        options,
        reply,
    } in commands
    {
        match command {
            Command::Swap(swap) => {
                // They are not sent to a Cluster, and the options only differ there.
                of_swaps.get_or_insert(options);
                swaps.push((swap, reply));
            }
            command => {
                let client = client.with_options(&options);
                // Boxed, since a future of fred's takes several kilobytes.
                plain.push(Box::pin(async move {
                    // The caller may leave meanwhile.
                    let _ = reply.send(command.send(&client).await);
                }));
            }
        }
    }
    let swaps = async {
        if let Some(options) = of_swaps {
            swap::send_all(&client.with_options(&options), swaps, &turn.gathering.sharding).await;
        }
    };
    tokio::join!(join_all(plain), swaps);
}

/// The turn to send what is queued. If it ends before that, with its runtime, the callers that wait get no answer,
/// and the next one takes a turn.
struct Turn {
    gathering: Arc<Gathering>,
    is_taken: bool,
}

impl Turn {
    fn take(&mut self) -> Vec<Queued> {
        self.is_taken = true;
        std::mem::take(&mut self.gathering.queue.lock().commands)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_taken {
            drop(self.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use fred::types::Builder;

    use super::*;

    fn get() -> Command {
        Command::Get { key: "key".to_owned() }
    }

    fn queue(gathering: &Gathering) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let options = Options {
            fail_fast: true,
            ..Options::default()
        };
        gathering.queue.lock().commands.push(Queued {
            command: get(),
            options,
            reply,
        });
        answer
    }

    fn turn(gathering: &Arc<Gathering>) -> Turn {
        Turn {
            gathering: Arc::clone(gathering),
            is_taken: false,
        }
    }

    #[test]
    fn a_turn_that_ends_with_its_runtime_leaves_nobody_waiting() {
        let gathering = Arc::new(Gathering::default());
        let mut lost = queue(&gathering);
        drop(turn(&gathering));
        assert!(
            lost.try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Closed)
        );
        // The control: one that was taken leaves those who came later to the next turn.
        let mut taken = turn(&gathering);
        let _ = taken.take();
        let mut next = queue(&gathering);
        drop(taken);
        assert_eq!(next.try_recv().unwrap_err(), oneshot::error::TryRecvError::Empty);
    }

    #[tokio::test]
    async fn all_that_is_queued_is_answered() {
        let gathering = Arc::new(Gathering::default());
        // It is not connected, so each command fails at once.
        let client = Builder::default_centralized().build().unwrap();
        let options = Options {
            fail_fast: true,
            ..Options::default()
        };
        let asked = (0..40).map(|_| ask(&gathering, client.clone(), get(), &options, true));
        for answer in join_all(asked).await {
            assert!(answer.is_err());
        }
        assert!(gathering.queue.lock().commands.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_on_a_runtime_that_stands_still_holds_nobody_up_for_long() {
        let gathering = Arc::new(Gathering::default());
        let client = Builder::default_centralized().build().unwrap();
        let options = Options {
            fail_fast: true,
            timeout: Some(Duration::from_secs(1)),
            ..Options::default()
        };
        let held = turn(&gathering);
        let first = queue(&gathering);
        gathering.queue.lock().since = Some(Instant::now());
        let begun = Instant::now();
        // Behind the turn that does not come, a call has its own limit.
        let second = ask(&gathering, client.clone(), get(), &options, true).await;
        assert_eq!(*second.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(begun.elapsed().as_secs(), 1);
        // The next one takes a turn for all.
        let begun = Instant::now();
        let third = ask(&gathering, client, get(), &options, true).await;
        assert_ne!(*third.unwrap_err().kind(), ErrorKind::Timeout);
        assert!(begun.elapsed() < LATE);
        assert!(first.await.unwrap().is_err());
        drop(held);
    }
}
