//! The content of a request, for requests whose content is part of the key.

use axum::body::Body;
use bytes::Bytes;
use cache_http::Framing;
use http_body::Body as _;

use crate::body::collect::{Collector, Progress};
use crate::body::tee::Bounds;

/// The result of reading a request's content.
pub(crate) enum Content {
    /// The whole content.
    Whole(Bytes),
    /// The content is too large or broken, or has trailers. The body is passed on as it came.
    Other(Body),
}

/// Reads content of up to `limit` bytes.
pub(crate) async fn take_content(body: Body, limit: usize) -> Content {
    let size = body.size_hint();
    if size.lower() > limit as u64 {
        return Content::Other(body);
    }
    let mut collector = Collector::new(body, Bounds::of_one_reader(limit));
    match collector.collect().await {
        Progress::Complete | Progress::Pending => Content::Whole(collector.into_bytes()),
        Progress::Over(ending, _) => {
            let body = collector.reader(size.exact());
            collector.end_with(ending);
            Content::Other(body)
        }
    }
}

/// Reads the body of a request that should have no content, to find out whether it has any. If the body does not show
/// it at once, the framing decides: a body without framing is not waited for.
pub(crate) async fn take_nothing(body: Body, framing: Framing) -> Content {
    if framing != Framing::Empty {
        return take_content(body, 0).await;
    }
    let mut collector = Collector::new(body, Bounds::of_one_reader(0));
    match collector.gather_ready().await {
        Progress::Complete | Progress::Pending => Content::Whole(Bytes::new()),
        Progress::Over(ending, _) => {
            let body = collector.reader(None);
            collector.end_with(ending);
            Content::Other(body)
        }
    }
}
