//! The byte form of stored responses, through a cache over a store that takes bytes only.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cache_axum::cache_engine::Cache;
use cache_axum::cache_engine::cache_core::{Coder, ManualClock};
use cache_axum::{CacheLayer, ResponseCoder, StoreFor, Stored};
use proptest::prelude::*;
use support::{app, bytes_only, get};

/// What a layer stores of an answer.
fn stored(status: u16, headers: Vec<(String, String)>, body: Vec<u8>, vary: bool) -> Vec<Arc<Stored>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (cache, _) = support::cache();
        let (app, _) = app(CacheLayer::new(cache.clone()), move |_, _| {
            let mut response = Response::builder().status(status);
            for (name, value) in &headers {
                response = response.header(name, value.trim());
            }
            if vary {
                response = response.header("vary", "accept, x-a");
            }
            let store_for = StoreFor::new(Duration::from_millis(1500)).stale_if_error(Duration::from_millis(7));
            let store_for = if vary { store_for.namespace("ns") } else { store_for };
            (store_for, response.body(Body::from(body.clone())).unwrap())
        });
        get(&app, "/").await;
        let stored = cache
            .with_coder(ResponseCoder)
            .get::<Stored>("GET test/")
            .await
            .unwrap();
        vec![stored.unwrap()]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        status in prop::sample::select(vec![200_u16, 203, 204]),
        headers in prop::collection::vec(("x-[a-c]", "[ -~]{0,8}"), 0..8),
        body in prop::collection::vec(any::<u8>(), 0..64),
        vary: bool,
    ) {
        for value in stored(status, headers, body, vary) {
            prop_assert_eq!(matches!(&*value, Stored::Variants(_)), vary);
            let bytes = ResponseCoder.encode(&value).unwrap();
            prop_assert_eq!(bytes.len(), ResponseCoder.encoded_len(&value).unwrap());
            let read = ResponseCoder.decode(&bytes).unwrap();
            if let (Stored::Response(read), Stored::Response(written)) = (&read, &*value) {
                prop_assert!(read.headers().iter().eq(written.headers().iter()));
                // A slice of what was read, and no copy.
                let end = bytes.as_ptr_range().end;
                prop_assert_eq!(read.body().as_ptr_range().end, if read.body().is_empty() {
                    read.body().as_ptr_range().end
                } else {
                    end
                });
            }
            prop_assert_eq!(&read, &*value);
            // Any part of it is not mistaken for the whole, as far as its head goes.
            if vary {
                for len in 0..bytes.len() {
                    prop_assert!(ResponseCoder.decode(&bytes.slice(..len)).is_err());
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes: Vec<u8>, kind in 0_u8..3) {
        let _ = ResponseCoder.decode(&Bytes::from(bytes.clone()));
        let mut bytes = bytes;
        bytes.insert(0, kind);
        let _ = ResponseCoder.decode(&Bytes::from(bytes));
    }
}

#[tokio::test]
async fn a_store_of_bytes_gives_the_same_answers() {
    let clock = ManualClock::new();
    let backend = bytes_only(&clock);
    let cache = Cache::builder(backend).clock(clock.clone()).build();
    let (app, calls) = app(CacheLayer::new(cache).ttl(Duration::from_secs(60)), |call, parts| {
        let vary = if parts.uri.path() == "/vary" { "accept" } else { "" };
        ([("vary", vary), ("x-call", "yes")], format!("{call}"))
    });
    for path in ["/", "/vary"] {
        let miss = get(&app, path).await;
        clock.advance(Duration::from_secs(3));
        let hit = get(&app, path).await;
        assert_eq!(
            (miss.x_cache(), hit.x_cache()),
            ("MISS", "HIT"),
            "{path} {}",
            hit.cache_status()
        );
        assert_eq!(
            (hit.text(), hit.header("x-call"), hit.header("etag")),
            (miss.text(), "yes", miss.header("etag"))
        );
        assert_eq!((hit.header("age"), hit.header("date")), ("3", miss.header("date")));
    }
    assert_eq!(calls.count(), 2);
}
