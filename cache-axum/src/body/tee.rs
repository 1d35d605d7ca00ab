//! The body of an answer that is collected while it passes.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::body::buffer::Buffer;

/// What the one who collects hands to the one who answers.
pub(crate) enum Piece {
    Frame(Frame<Bytes>),
    /// That was all. A source that ends without it was cut short.
    End,
    /// It is not collected any further: take the rest from the source.
    Rest(Body),
    Failed(BoxError),
    Panicked(Box<dyn Any + Send>),
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frame(_) => "Frame",
            Self::End => "End",
            Self::Rest(_) => "Rest",
            Self::Failed(_) => "Failed",
            Self::Panicked(_) => "Panicked",
        })
    }
}

/// What is between the one who collects a body and the one who reads it.
#[derive(Debug, Default)]
pub(crate) struct Tee {
    pub(crate) buffer: Buffer,
    /// What comes after what was buffer.
    after: VecDeque<Piece>,
    /// Nothing comes any more.
    closed: bool,
    reader: Option<Waker>,
}

impl Tee {
    pub(crate) fn new() -> Arc<Mutex<Self>> {
        Arc::default()
    }

    /// Nothing that can panic runs under the lock, but the waker of a reader.
    pub(crate) fn of(tee: &Mutex<Self>) -> MutexGuard<'_, Self> {
        tee.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to wake after a change, once the lock is free.
    #[must_use]
    pub(crate) fn close(&mut self, after: Vec<Piece>) -> Option<Waker> {
        if !self.closed {
            self.closed = true;
            self.after.extend(after);
        }
        self.reader.take()
    }

    /// As [`close`](Self::close), when one more piece has come.
    #[must_use]
    pub(crate) fn push(&mut self, piece: Bytes) -> Option<Waker> {
        self.buffer.push(piece);
        self.reader.take()
    }
}

/// The body of an answer that is collected while it passes. It reads what is collected, so that nothing is kept for a
/// slow client beside that; the rest of what is not collected comes from the source itself.
#[derive(Debug)]
pub(crate) struct TeeBody {
    tee: Arc<Mutex<Tee>>,
    rest: Option<Body>,
    /// The bytes to come, where the source knew.
    expected: Option<u64>,
    ended: bool,
}

impl TeeBody {
    /// There is no more than one for a tee.
    pub(crate) fn new(tee: Arc<Mutex<Tee>>, expected: Option<u64>) -> Self {
        Self {
            tee,
            rest: None,
            expected,
            ended: false,
        }
    }

    fn passed(&mut self, data: usize) {
        if let Some(expected) = &mut self.expected {
            *expected = expected.saturating_sub(data as u64);
        }
    }

    fn next(&self, context: &Context<'_>) -> Poll<Option<Piece>> {
        let mut tee = Tee::of(&self.tee);
        if let Some(data) = tee.buffer.read() {
            return Poll::Ready(Some(Piece::Frame(Frame::data(data))));
        }
        let piece = tee.after.pop_front();
        if piece.is_none() && !tee.closed {
            tee.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(piece)
    }
}

impl http_body::Body for TeeBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.rest.is_none() {
            match ready!(self.next(context)) {
                Some(Piece::End) => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
                Some(Piece::Frame(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.passed(data.len());
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Piece::Failed(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(Some(Err("the response was cut short".into())));
                }
                Some(Piece::Panicked(panic)) => resume_unwind(panic),
                Some(Piece::Rest(body)) => self.rest = Some(body),
            }
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(context).map_err(Into::into),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.rest, self.expected) {
            (Some(rest), _) => rest.size_hint(),
            (None, Some(expected)) => SizeHint::with_exact(expected),
            (None, None) => SizeHint::default(),
        }
    }
}
