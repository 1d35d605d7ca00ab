//! A handler that panics does so for its own caller, as without the layer, and for no other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use crate::support::{app, get, idle, layer, request, start};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use http::Method;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

#[tokio::test]
async fn the_panic_goes_on_in_the_caller_and_the_next_request_runs() {
    let (app, calls) = app(layer(), |call, _| {
        assert!(call > 1, "the first one fails");
        call.to_string()
    });
    let panic = AssertUnwindSafe(get(&app, "/")).catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the first one fails"));
    assert_eq!(get(&app, "/").await.text(), "2");
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    assert_eq!(calls.count(), 2);
}

#[tokio::test]
async fn those_who_wait_go_on_alone() {
    let gate = Arc::new(Semaphore::new(0));
    let calls = crate::support::Calls::default();
    let (inner, counter) = (Arc::clone(&gate), calls.clone());
    let handler = move || {
        let (gate, call) = (Arc::clone(&inner), counter.add());
        async move {
            gate.acquire().await.unwrap().forget();
            assert!(call > 1, "the first one fails");
            "…"
        }
    };
    let app = Router::new().fallback(handler).layer(layer());
    let mut asking: Vec<_> = (0..5)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { get(&app, "/").await })
        })
        .collect();
    idle().await;
    assert_eq!(calls.count(), 1);
    gate.add_permits(5);
    assert!(asking.remove(0).await.unwrap_err().is_panic());
    for other in asking {
        assert_eq!(other.await.unwrap().text(), "…");
    }
}

#[tokio::test]
async fn a_body_that_panics_does_so_for_the_client_and_is_not_stored() {
    let (app, calls) = app(layer(), |call, _| {
        let mut polls = 0;
        let stream = futures_util::stream::poll_fn(move |context| {
            polls += 1;
            assert!(call > 1 || polls < 3, "the body fails");
            match polls {
                1 => Some(Ok::<_, std::io::Error>(Bytes::from_static(b"one"))).into(),
                2 => {
                    context.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
                _ => None.into(),
            }
        });
        Body::from_stream(stream)
    });
    let response = start(&app, request(Method::GET, "/", &[])).await;
    let read = AssertUnwindSafe(response.into_body().collect()).catch_unwind().await;
    assert_eq!(read.unwrap_err().downcast_ref::<&str>(), Some(&"the body fails"));
    idle().await;
    assert_eq!(get(&app, "/").await.text(), "one");
    idle().await;
    assert_eq!(get(&app, "/").await.x_cache(), "HIT");
    assert_eq!(calls.count(), 2);
}
