//! Collecting a body while it passes.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use crate::body::tee::{Piece, Tee, TeeBody};

/// After so many pieces that were there at once, others on the same thread have their turn.
const PIECES_AT_ONCE: usize = 32;

/// How many pieces that are there at once are taken before a body counts as one that takes its time.
const READY_PIECES: usize = 1024;

/// A body, and what has been collected of it.
#[derive(Debug)]
pub(crate) struct Collector {
    body: Body,
    tee: Arc<Mutex<Tee>>,
    len: usize,
    limit: usize,
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Whoever reads sees that it was cut short, unless it has been told how it ends.
        let reader = Tee::of(&self.tee).close(Vec::new());
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// How far a body has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// There is more to come.
    Pending,
    /// It is complete.
    Complete,
    /// It will not be collected; these pieces are what follows.
    Over(Vec<Piece>, Cause),
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
    /// Whether the next answer is likely to be refused for the same reason.
    pub(crate) fn is_lasting(self) -> bool {
        self != Self::Broken
    }
}

/// What follows on what has been collected, and why it is not.
type Follows = (Vec<Piece>, Cause);

impl Collector {
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        Self {
            body,
            tee: Tee::new(),
            len: 0,
            limit,
        }
    }

    /// Collects one more piece; `None` at the end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<()>, Follows>> {
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(context)));
        Poll::Ready(match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(None)) => Ok(None),
            Ok(Poll::Ready(Some(Ok(frame)))) => match frame.into_data() {
                // It means nothing, and no limit would ever be reached by it.
                Ok(data) if data.is_empty() => Ok(Some(())),
                Ok(data) if data.len() <= self.limit - self.len => {
                    self.len += data.len();
                    let reader = Tee::of(&self.tee).push(data);
                    if let Some(reader) = reader {
                        reader.wake();
                    }
                    Ok(Some(()))
                }
                Ok(data) => Err((self.followed_by_rest(http_body::Frame::data(data)), Cause::TooLarge)),
                Err(frame) => Err((self.followed_by_rest(frame), Cause::Trailers)),
            },
            Ok(Poll::Ready(Some(Err(error)))) => Err((vec![Piece::Failed(error.into_inner())], Cause::Broken)),
            Err(panic) => Err((vec![Piece::Panicked(panic)], Cause::Broken)),
        })
    }

    fn followed_by_rest(&mut self, frame: http_body::Frame<Bytes>) -> Vec<Piece> {
        vec![Piece::Frame(frame), self.take_rest()]
    }

    pub(crate) fn take_rest(&mut self) -> Piece {
        Piece::Rest(std::mem::take(&mut self.body))
    }

    /// Collects what is there, without waiting for more, up to a number of pieces.
    pub(crate) async fn gather_ready(&mut self) -> Progress {
        for pieces in 1..=READY_PIECES {
            match poll_fn(|context| Poll::Ready(self.poll_piece(context))).await {
                Poll::Pending => return Progress::Pending,
                Poll::Ready(Ok(Some(()))) => {}
                Poll::Ready(Ok(None)) => return Progress::Complete,
                Poll::Ready(Err((pieces, cause))) => return Progress::Over(pieces, cause),
            }
            give_way(pieces).await;
        }
        Progress::Pending
    }

    /// Collects the rest. Never waits for the one who reads it: who reads slowly, or has gone away, holds nobody up.
    /// Nobody there is no reason to stop either, since others will ask for it.
    pub(crate) async fn collect(&mut self) -> Progress {
        for pieces in 1_usize.. {
            match poll_fn(|context| self.poll_piece(context)).await {
                Ok(Some(())) => {}
                Ok(None) => return Progress::Complete,
                Err((pieces, cause)) => return Progress::Over(pieces, cause),
            }
            give_way(pieces).await;
        }
        Progress::Pending
    }

    /// The body for the one who reads what is collected. There is one at most.
    pub(crate) fn reader(&self, expected: Option<u64>) -> TeeBody {
        TeeBody::new(Arc::clone(&self.tee), expected)
    }

    /// Ends it with what follows on what has been collected, for the one who reads. With nobody there, that is dropped,
    /// and the handler's body with it.
    pub(crate) fn end_with(self, pieces: Vec<Piece>) {
        let reader = {
            let mut tee = Tee::of(&self.tee);
            tee.buffer.pass();
            tee.close(pieces)
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Ends it as complete, and gives the whole. A body of one piece is not copied.
    pub(crate) fn into_bytes(self) -> Bytes {
        let (mut pieces, reader) = {
            let mut tee = Tee::of(&self.tee);
            (tee.buffer.pieces(), tee.close(vec![Piece::End]))
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        if pieces.len() <= 1 {
            return pieces.pop_front().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.len);
        for piece in &pieces {
            whole.extend_from_slice(piece);
        }
        let whole = whole.freeze();
        // Whoever reads slowly holds no pieces of its own.
        Tee::of(&self.tee).buffer.replace(whole.clone());
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
