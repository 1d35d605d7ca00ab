//! Collects a body while it is passed on.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use crate::body::tee::{Bounds, Ending, Tee};

/// The number of immediately available pieces after which the task yields to others on the same thread.
const PIECES_AT_ONCE: usize = 32;

/// The number of immediately available pieces that are collected before a body counts as slow.
const READY_PIECES: usize = 1024;

/// A body, and what has been collected of it.
#[derive(Debug)]
pub(crate) struct Collector {
    body: Body,
    tee: Arc<Tee>,
    len: usize,
    limit: usize,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.tee.abandon();
    }
}

/// The state of a body.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More data may follow.
    Pending,
    /// It is complete.
    Complete,
    /// The body will not be collected. Contains how it continues, and why.
    Over(Ending, Cause),
}

/// Why a body is not collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    TooLarge,
    TooSlow,
    Trailers,
    Broken,
}

impl Cause {
    /// Returns whether the next response is likely to be refused for the same reason.
    pub(crate) fn is_lasting(self) -> bool {
        self != Self::Broken
    }
}

impl Collector {
    /// Creates a collector for up to `bounds.kept` bytes.
    pub(crate) fn new(body: Body, bounds: Bounds) -> Self {
        Self {
            body,
            tee: Tee::new(bounds),
            len: 0,
            limit: bounds.kept,
        }
    }

    /// Collects one more piece. Returns `None` at the end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<()>, (Ending, Cause)>> {
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(context)));
        Poll::Ready(match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(None)) => Ok(None),
            Ok(Poll::Ready(Some(Ok(frame)))) => match frame.into_data() {
                // An empty piece has no effect, and would never reach any limit.
                Ok(data) if data.is_empty() => Ok(Some(())),
                Ok(data) => {
                    let fits = data.len() <= self.limit - self.len;
                    if fits {
                        self.len += data.len();
                    }
                    self.tee.push(data);
                    if fits {
                        Ok(Some(()))
                    } else {
                        Err((self.take_rest(), Cause::TooLarge))
                    }
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    Err((Ending::Trailers(trailers), Cause::Trailers))
                }
            },
            Ok(Poll::Ready(Some(Err(error)))) => Err((Ending::Failed(error.into_inner()), Cause::Broken)),
            Err(panic) => Err((Ending::Panicked(panic), Cause::Broken)),
        })
    }

    pub(crate) fn take_rest(&mut self) -> Ending {
        Ending::Rest(std::mem::take(&mut self.body))
    }

    /// Collects what is available, without waiting for more, up to a maximum number of pieces.
    pub(crate) async fn gather_ready(&mut self) -> Progress {
        for pieces in 1..=READY_PIECES {
            match poll_fn(|context| Poll::Ready(self.poll_piece(context))).await {
                Poll::Pending => return Progress::Pending,
                Poll::Ready(Ok(Some(()))) => {}
                Poll::Ready(Ok(None)) => return Progress::Complete,
                Poll::Ready(Err((ending, cause))) => return Progress::Over(ending, cause),
            }
            give_way(pieces).await;
        }
        Progress::Pending
    }

    /// Collects the rest. Never waits for a reader: a reader that is slow or has disconnected delays nobody. Continues
    /// without any reader, because other requests will need the response.
    pub(crate) async fn collect(&mut self) -> Progress {
        for pieces in 1_usize.. {
            match poll_fn(|context| self.poll_piece(context)).await {
                Ok(Some(())) => {}
                Ok(None) => return Progress::Complete,
                Err((ending, cause)) => return Progress::Over(ending, cause),
            }
            give_way(pieces).await;
        }
        Progress::Pending
    }

    /// Returns the tee, which the readers share.
    pub(crate) fn tee(&self) -> &Arc<Tee> {
        &self.tee
    }

    /// Returns a body that reads what is collected.
    pub(crate) fn reader(&self, expected: Option<u64>) -> Body {
        self.tee.read_along(expected).map_or_else(Body::empty, Body::new)
    }

    /// Ends the body for its readers, after the collected part. Without a reader, the handler's body is dropped.
    pub(crate) fn end_with(self, ending: Ending) {
        self.tee.end(ending);
    }

    /// Ends the body as complete, and returns all of it. A body of one piece is not copied.
    pub(crate) fn into_bytes(self) -> Bytes {
        let mut pieces = self.tee.pieces();
        let whole = if pieces.len() <= 1 {
            pieces.pop_front().unwrap_or_default()
        } else {
            let mut whole = BytesMut::with_capacity(self.len);
            for piece in &pieces {
                whole.extend_from_slice(piece);
            }
            whole.freeze()
        };
        self.tee.complete(whole.clone());
        whole
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

async fn give_way(pieces: usize) {
    if pieces.is_multiple_of(PIECES_AT_ONCE) {
        tokio::task::yield_now().await;
    }
}
