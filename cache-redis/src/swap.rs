//! Conditional writes, of which several are one call of their script.
//!
//! fred writes to the socket after each call of a script, and the server takes longer for one than for a plain command. So
//! the writes of callers that are ready at the same time share a call.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fred::clients::{Client, WithOptions};
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Resp3Frame, Value};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use crate::reply::{Answer, Reply, error_text};
use crate::script;

/// The most writes in one call, which the server carries out without a pause.
const MOST: usize = 32;

/// A longer string is written by a call of its own.
const LONG: usize = 32 * 1024;

/// A string to write if the record under the key has the expected version.
#[derive(Debug)]
pub(crate) struct Swap {
    pub(crate) key: Bytes,
    pub(crate) string: Bytes,
    /// In milliseconds.
    pub(crate) lifetime: Option<i64>,
    /// The bytes of the version.
    pub(crate) expected: Bytes,
}

/// What is known of the server's shards.
#[derive(Debug, Default)]
pub(crate) struct Sharding {
    /// Whether a call takes the keys of one shard only, as proxies of sharded servers have it.
    is_known: AtomicBool,
}

/// A write, and where its answer goes.
pub(crate) type Queued = (Swap, oneshot::Sender<Answer>);

impl Swap {
    /// Answers a string, which is empty, if this one is stored.
    pub(crate) async fn send(&self, client: &WithOptions<Client>) -> Answer {
        Ok(match call(client, &[self]).await? {
            Called::Answers(answers) => Reply::String(answers.starts_with(b"1").then(Bytes::new)),
            Called::Refused(text) => Reply::Error(text),
        })
    }
}

/// How the server answers a call of the script.
enum Called {
    /// A byte for each write: a 1 if its string is stored.
    Answers(Bytes),
    /// The error answer.
    Refused(String),
}

/// Sends writes of many callers, and hands out the answers.
pub(crate) async fn send_all(client: &WithOptions<Client>, queued: Vec<Queued>, sharding: &Sharding) {
    let is_sharded = sharding.is_known.load(Ordering::Relaxed);
    let is_alone = |swap: &Swap| is_sharded || swap.string.len() > LONG;
    let (long, mut short): (Vec<_>, Vec<_>) = queued.into_iter().partition(|(swap, _)| is_alone(swap));
    let mut calls: Vec<Vec<Queued>> = long.into_iter().map(|swap| vec![swap]).collect();
    while short.len() > MOST {
        calls.push(short.split_off(short.len() - MOST));
    }
    calls.push(short);
    // Boxed, since a future of fred's takes several kilobytes.
    join_all(
        calls
            .into_iter()
            .map(|queued| Box::pin(send_together(client, queued, sharding))),
    )
    .await;
}

async fn send_together(client: &WithOptions<Client>, queued: Vec<Queued>, sharding: &Sharding) {
    let mut answers = Bytes::new();
    if queued.len() > 1 {
        let swaps: Vec<&Swap> = queued.iter().map(|(swap, _)| swap).collect();
        match call(client, &swaps).await {
            Ok(Called::Answers(all)) => answers = all,
            // One of them may be what the server refuses, and each caller gets its own answer. A write that was carried out
            // nevertheless is answered by a 1.
            Ok(Called::Refused(text)) => {
                if text.starts_with("CROSSSLOT") || text.contains("same slot") {
                    sharding.is_known.store(true, Ordering::Relaxed);
                }
            }
            Err(error) => {
                for (_, reply) in queued {
                    let _ = reply.send(Err(error.clone()));
                }
                return;
            }
        }
    }
    let mut alone = Vec::new();
    for (at, (swap, reply)) in queued.into_iter().enumerate() {
        match answers.get(at) {
            Some(b'1') => {
                // The caller may have left meanwhile.
                let _ = reply.send(Ok(Reply::String(Some(Bytes::new()))));
            }
            // A proxy that goes by the first key alone finds no other key, so a refusal has to be confirmed.
            answer if !reply.is_closed() => alone.push((swap, reply, answer.is_some())),
            _ => {}
        }
    }
    let alone = alone.into_iter().map(|(swap, reply, was_refused)| {
        Box::pin(async move {
            let answer = swap.send(client).await;
            // A version does not come back, so the first call has looked in another shard.
            if was_refused && matches!(answer, Ok(Reply::String(Some(_)))) {
                sharding.is_known.store(true, Ordering::Relaxed);
            }
            let _ = reply.send(answer);
        })
    });
    join_all(alone).await;
}

/// Calls the script.
async fn call(client: &WithOptions<Client>, swaps: &[&Swap]) -> Result<Called, Error> {
    let script = &*script::SET;
    let mut answer = send(client, "EVALSHA", &script.hash, swaps).await?;
    // The script did not run, so it can be sent again.
    if error_text(&answer).is_some_and(|text| text.starts_with("NOSCRIPT")) {
        answer = Box::pin(send(client, "EVAL", script.source, swaps)).await?;
    }
    if let Some(text) = error_text(&answer) {
        return Ok(Called::Refused(text));
    }
    match answer {
        Resp3Frame::BlobString { data, .. } if data.len() == swaps.len() => Ok(Called::Answers(data)),
        _ => Err(Error::new(
            ErrorKind::Protocol,
            "unexpected answer to a conditional write",
        )),
    }
}

async fn send(
    client: &WithOptions<Client>,
    command: &'static str,
    script: &'static str,
    swaps: &[&Swap],
) -> Result<Resp3Frame, Error> {
    let count = i64::try_from(swaps.len()).unwrap_or(i64::MAX);
    let mut arguments = Vec::with_capacity(2 + 4 * swaps.len());
    arguments.extend([Value::from_static_str(script), Value::Integer(count)]);
    arguments.extend(swaps.iter().map(|swap| Value::Bytes(swap.key.clone())));
    for swap in swaps {
        let lifetime = swap.lifetime.map_or(Value::from_static_str(""), Value::Integer);
        arguments.extend([
            Value::Bytes(swap.string.clone()),
            lifetime,
            Value::Bytes(swap.expected.clone()),
        ]);
    }
    let command = CustomCommand::new_static(command, ClusterHash::Random, false);
    client.custom_raw(command, arguments).await
}
