//! Collecting a body while it passes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use tokio::sync::mpsc;

use crate::body::Piece;

/// A body, and what has been collected of it.
#[derive(Debug)]
pub(crate) struct Collector {
    body: Body,
    chunks: VecDeque<Bytes>,
    len: usize,
    limit: usize,
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
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::TooSlow => "too-slow",
            Self::Trailers => "trailers",
            Self::Broken => "incomplete",
        }
    }

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
            chunks: VecDeque::new(),
            len: 0,
            limit,
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Follows>> {
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(context)));
        Poll::Ready(match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(None)) => Ok(None),
            Ok(Poll::Ready(Some(Ok(frame)))) => match frame.into_data() {
                Ok(data) if data.len() <= self.limit - self.len => {
                    self.len += data.len();
                    self.chunks.push_back(data.clone());
                    Ok(Some(data))
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

    /// Collects what is there, without waiting for more.
    pub(crate) async fn gather_ready(&mut self) -> Progress {
        poll_fn(|context| {
            Poll::Ready(loop {
                match self.poll_piece(context) {
                    Poll::Pending => break Progress::Pending,
                    Poll::Ready(Ok(Some(_))) => {}
                    Poll::Ready(Ok(None)) => break Progress::Complete,
                    Poll::Ready(Err((pieces, cause))) => break Progress::Over(pieces, cause),
                }
            })
        })
        .await
    }

    /// Collects the rest, and hands on each piece at once. Never waits for the one who takes them: who reads slowly, or
    /// has gone away, holds nobody up.
    pub(crate) async fn collect(&mut self, pieces: &mpsc::UnboundedSender<Piece>) -> Progress {
        loop {
            match poll_fn(|context| self.poll_piece(context)).await {
                Ok(Some(data)) => {
                    // Nobody there is no reason to stop: others will ask for it.
                    let _ = pieces.send(Piece::Frame(http_body::Frame::data(data)));
                }
                Ok(None) => return Progress::Complete,
                Err((pieces, cause)) => return Progress::Over(pieces, cause),
            }
        }
    }

    /// What has been collected so far, piece by piece.
    pub(crate) fn chunks(&self) -> VecDeque<Bytes> {
        self.chunks.clone()
    }

    pub(crate) fn into_chunks(self) -> VecDeque<Bytes> {
        self.chunks
    }

    /// The whole. A body of one piece is not copied.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        match self.chunks.len() {
            0 => Bytes::new(),
            1 => self.chunks.pop_front().unwrap_or_default(),
            _ => {
                let mut whole = BytesMut::with_capacity(self.len);
                for chunk in &self.chunks {
                    whole.extend_from_slice(chunk);
                }
                whole.freeze()
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}
