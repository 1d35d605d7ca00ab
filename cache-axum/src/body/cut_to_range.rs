//! One range of a body that is still streaming.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::Body;
use bytes::{Buf, Bytes};
use cache_http::ByteRange;
use http_body::{Frame, SizeHint};

/// The number of skipped pieces after which the task yields to others on the same thread.
const PIECES_AT_ONCE: usize = 32;

/// A part of a body. The body is dropped as soon as the part is complete.
#[derive(Debug)]
pub(crate) struct RangeBody {
    body: Option<Body>,
    skip: u64,
    left: u64,
}

impl RangeBody {
    pub(crate) fn of(body: Body, range: ByteRange) -> Self {
        Self {
            body: Some(body),
            skip: range.first,
            left: range.len(),
        }
    }

    /// Returns the bytes of a piece that belong to the part.
    fn cut(&mut self, mut data: Bytes) -> Bytes {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(data.len());
        data.advance(skipped);
        self.skip -= skipped as u64;
        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= data.len() as u64;
        data
    }
}

impl http_body::Body for RangeBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        for _ in 0..PIECES_AT_ONCE {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            let error = match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    let data = frame.into_data().map_or_else(|_| Bytes::new(), |data| self.cut(data));
                    if self.left == 0 {
                        self.body = None;
                    }
                    if data.is_empty() {
                        continue;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => error.into(),
                None => "the response was cut short".into(),
            };
            self.body = None;
            return Poll::Ready(Some(Err(error)));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
