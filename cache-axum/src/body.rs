//! The body of an answer that is collected while it passes.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

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

/// The body of an answer that is collected while it passes. No more than the largest body that is stored ever waits in
/// it for a slow client, since the rest comes from the source itself.
#[derive(Debug)]
pub(crate) struct PassingBody {
    ready: VecDeque<Bytes>,
    pieces: mpsc::UnboundedReceiver<Piece>,
    rest: Option<Body>,
    /// The bytes to come, where the source knew.
    expected: Option<u64>,
    ended: bool,
}

impl PassingBody {
    /// `ready` comes first, then `pieces`.
    pub(crate) fn new(ready: VecDeque<Bytes>, pieces: mpsc::UnboundedReceiver<Piece>, expected: Option<u64>) -> Self {
        Self {
            ready,
            pieces,
            rest: None,
            expected,
            ended: false,
        }
    }

    /// A body of `ready` and then `pieces`, all of which are known already.
    pub(crate) fn of(ready: VecDeque<Bytes>, pieces: Vec<Piece>, expected: Option<u64>) -> Self {
        let (send, receive) = mpsc::unbounded_channel();
        for piece in pieces {
            // The receiver is still there.
            let _ = send.send(piece);
        }
        Self::new(ready, receive, expected)
    }

    fn passed(&mut self, data: usize) {
        if let Some(expected) = &mut self.expected {
            *expected = expected.saturating_sub(data as u64);
        }
    }
}

impl http_body::Body for PassingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(data) = self.ready.pop_front() {
            self.passed(data.len());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        if self.rest.is_none() {
            match ready!(self.pieces.poll_recv(context)) {
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
