//! Conditional writes of the same moment, sent as one call of their script.
//!
//! A call of a script costs fred a system call of its own, and the server as much as several plain commands. The loads that
//! wait for one answer of the server end together, and so do their writes. The first of them lets the other tasks that are
//! ready go first, and then sends what all of them have queued.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Key};
use fred::types::Resp3Frame;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clear::{integer, unexpected};
use crate::connection::Connection;
use crate::lane::Lane;
use crate::script;

/// The most writes in one call, which the server carries out without a pause.
const MOST: usize = 32;

/// A longer string is written by a call of its own.
const LONG: usize = 32 * 1024;

/// A string to write if there is a record of the expected version.
#[derive(Debug, Clone)]
pub(crate) struct Swap {
    pub(crate) key: Key,
    pub(crate) string: Bytes,
    /// In milliseconds, as text. Empty for none.
    pub(crate) lifetime: Bytes,
    /// The bytes of the version. Empty if there must be no record.
    pub(crate) expected: Bytes,
}

type Queued = (Swap, oneshot::Sender<Result<bool, Error>>);

/// The writes that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Swaps(Mutex<Vec<Queued>>);

impl Swaps {
    /// Writes if there is a record of the expected version. Returns whether the string is stored.
    pub(crate) async fn swap(&self, connection: &Connection, lane: &Arc<Lane>, swap: Swap) -> Result<bool, Error> {
        // In a Cluster, the keys are on several servers.
        if connection.is_clustered() || swap.string.len() > LONG {
            return alone(connection, lane, &swap).await;
        }
        let (reply, answer) = oneshot::channel();
        let (full, leads) = {
            let mut queue = self.0.lock();
            queue.push((swap.clone(), reply));
            let full = (queue.len() == MOST).then(|| std::mem::take(&mut *queue));
            (full, queue.len() == 1)
        };
        if let Some(full) = full {
            Box::pin(together(connection, lane, full)).await;
        } else if leads {
            let queue = Leading(Some(&self.0));
            GiveWay::default().await;
            let queued = queue.take();
            Box::pin(together(connection, lane, queued)).await;
        }
        match answer.await {
            Ok(answer) => answer,
            // The call that was to send it was dropped, or its batch failed. If it was carried out nevertheless, the
            // script answers so.
            Err(_) => alone(connection, lane, &swap).await,
        }
    }
}

async fn alone(connection: &Connection, lane: &Arc<Lane>, swap: &Swap) -> Result<bool, Error> {
    let Swap {
        key,
        string,
        lifetime,
        expected,
    } = swap.clone();
    let arguments = [string, lifetime, expected];
    let answer = connection.run(lane, &script::SET, key.as_str(), &arguments).await?;
    Ok(integer(&answer)? == 1)
}

/// Sends what was queued, and hands out the answers. Writes that get none are to be sent alone.
async fn together(connection: &Connection, lane: &Arc<Lane>, mut queued: Vec<Queued>) {
    // The calls of some may have been dropped.
    queued.retain(|(_, reply)| !reply.is_closed());
    let keys: Vec<&str> = queued.iter().map(|(swap, _)| swap.key.as_str()).collect();
    if keys.len() < 2 {
        return;
    }
    let arguments: Vec<Bytes> = queued
        .iter()
        .flat_map(|(swap, _)| [&swap.string, &swap.lifetime, &swap.expected])
        .cloned()
        .collect();
    let answers = match connection.run_on(lane, &script::SET, &keys, &arguments).await {
        Ok(Resp3Frame::Array { data, .. }) if data.len() == queued.len() => data,
        Ok(_) => return fail(queued, &unexpected("a conditional write")),
        // Waiting once more would take as long again.
        Err(error) if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable) => {
            return fail(queued, &error);
        }
        // One of them may have been refused, and each gets its own error.
        Err(_) => return,
    };
    for ((_, reply), answer) in queued.into_iter().zip(answers) {
        let _ = reply.send(integer(&answer).map(|answer| answer == 1));
    }
}

fn fail(queued: Vec<Queued>, error: &Error) {
    for (_, reply) in queued {
        let _ = reply.send(Err(error.clone()));
    }
}

/// The duty to send what is queued. Dropping it leaves each write to its own call.
struct Leading<'a>(Option<&'a Mutex<Vec<Queued>>>);

impl Leading<'_> {
    fn take(mut self) -> Vec<Queued> {
        self.0
            .take()
            .map(|queue| std::mem::take(&mut *queue.lock()))
            .unwrap_or_default()
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            queue.lock().clear();
        }
    }
}

/// Lets the other tasks that are ready go first.
#[derive(Default)]
struct GiveWay(bool);

impl Future for GiveWay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
