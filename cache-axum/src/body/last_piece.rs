//! A body whose last piece waits.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// A body whose last piece is sent only once something else has ended. Each piece waits for the next one, which shows
/// that it is not the last.
pub(crate) struct LastPiece {
    body: Body,
    held: Option<Frame<Bytes>>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// How the body has ended.
    end: Option<Result<(), axum::Error>>,
}

impl LastPiece {
    pub(crate) fn new(body: Body, until: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            body,
            held: None,
            waiting: Some(Box::pin(until)),
            end: None,
        }
    }
}

impl http_body::Body for LastPiece {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.end.is_none() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Some(earlier) = self.held.replace(frame) {
                        return Poll::Ready(Some(Ok(earlier)));
                    }
                }
                Some(Err(error)) => self.end = Some(Err(error)),
                None => self.end = Some(Ok(())),
            }
        }
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        if let Some(last) = self.held.take() {
            return Poll::Ready(Some(Ok(last)));
        }
        let end = self.end.replace(Ok(()));
        Poll::Ready(end.and_then(Result::err).map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.end.as_ref().is_some_and(Result::is_ok) && self.waiting.is_none() && self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

impl fmt::Debug for LastPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastPiece").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;

    use axum::body::Body;
    use bytes::Bytes;
    use futures_util::{FutureExt, stream};
    use http_body::Body as _;
    use http_body_util::BodyExt;
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::LastPiece;

    fn body(pieces: &[&'static str], breaks: bool) -> Body {
        let pieces = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let error = breaks.then(|| Err(io::Error::other("broken")));
        Body::from_stream(stream::iter(pieces.chain(error).collect::<Vec<_>>()))
    }

    async fn piece(body: &mut LastPiece) -> Bytes {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test]
    async fn only_the_last_piece_waits() {
        let (end, ended) = oneshot::channel::<()>();
        let mut body = LastPiece::new(body(&["a", "b", "c"], false), async { drop(ended.await) });
        assert_eq!(piece(&mut body).await, "a");
        assert_eq!(piece(&mut body).await, "b");
        assert!(body.frame().now_or_never().is_none());
        assert!(!body.is_end_stream());
        end.send(()).unwrap();
        assert_eq!(piece(&mut body).await, "c");
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_error_comes_after_the_last_piece_that_waited() {
        let mut body = LastPiece::new(body(&["a"], true), async {});
        assert_eq!(piece(&mut body).await, "a");
        assert!(!body.is_end_stream());
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }

    proptest! {
        #[test]
        fn the_length_is_that_of_what_is_left(text in "[a-z]{0,20}", taken in 0_usize..4) {
            let whole = Body::from(text.clone());
            let mut body = LastPiece::new(whole, async {});
            for _ in 0..taken {
                let _ = body.frame().now_or_never();
            }
            let left = body.size_hint().exact().unwrap();
            let rest = body.collect().now_or_never().unwrap().unwrap().to_bytes();
            prop_assert_eq!(rest.len() as u64, left);
        }
    }
}
