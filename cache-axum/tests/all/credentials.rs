//! If the response decides whether it may be shared, no request waits for the response to a request with credentials.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::support::{Gated, cache, gated, get, get_with, idle};
use axum::response::{IntoResponse, Response};
use cache_axum::CacheLayer;
use cache_axum::cache_engine::cache_core::ManualClock;

const ALICE: &[(&str, &str)] = &[("authorization", "alice")];
const BOB: &[(&str, &str)] = &[("authorization", "bob")];
const ANYONE: &[(&str, &str)] = &[];

/// A gateway to a handler that waits at a gate before it answers.
fn gateway(answer: impl Fn(usize) -> Response + Clone + Send + Sync + 'static) -> (Gated, ManualClock) {
    let (cache, clock) = cache();
    (gated(CacheLayer::shared(cache), answer), clock)
}

fn plain(call: usize) -> Response {
    ([("cache-control", "max-age=60")], call.to_string()).into_response()
}

fn public(call: usize) -> Response {
    ([("cache-control", "public, max-age=60")], call.to_string()).into_response()
}

#[tokio::test]
async fn nobody_waits_for_an_answer_that_may_be_for_one_user() {
    let (gated, _) = gateway(plain);
    let mut asking = gated.ask_with(&[ALICE]);
    idle().await;
    for asked in [BOB, ALICE, ANYONE] {
        let calls = gated.calls.count();
        let others = gated.ask_with(&[asked]);
        idle().await;
        assert_eq!(gated.calls.count(), calls + 1, "{asked:?} runs beside");
        asking.spawn(async move { others.join_all().await.remove(0) });
    }
    gated.gate.add_permits(4);
    let mut texts: Vec<_> = asking
        .join_all()
        .await
        .iter()
        .map(|reply| reply.text().to_owned())
        .collect();
    texts.sort();
    assert_eq!(texts, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn nobody_waits_from_then_on() {
    let (gated, clock) = gateway(plain);
    gated.gate.add_permits(1);
    get_with(&gated.app, "/", ALICE).await;
    // Also when what is remembered would be forgotten, as long as requests come.
    for _ in 0..4 {
        let calls = gated.calls.count();
        let asking = gated.ask_with(&[ALICE, BOB, BOB]);
        idle().await;
        assert_eq!(gated.calls.count(), calls + 3);
        gated.gate.add_permits(3);
        asking.join_all().await;
        clock.advance(Duration::from_secs(6));
    }
}

#[tokio::test]
async fn those_without_credentials_share_as_ever() {
    let (gated, _) = gateway(plain);
    gated.gate.add_permits(1);
    get_with(&gated.app, "/", ALICE).await;
    let asking = gated.ask_with(&[ANYONE; 5]);
    idle().await;
    assert_eq!(gated.calls.count(), 2);
    // What is for one user waits for none of them.
    let own = gated.ask_with(&[BOB]);
    idle().await;
    assert_eq!(gated.calls.count(), 3);
    gated.gate.add_permits(2);
    asking.join_all().await;
    own.join_all().await;
    // What was stored for all is for all.
    assert_eq!(get_with(&gated.app, "/", ALICE).await.x_cache(), "HIT");
    assert_eq!(gated.calls.count(), 3);
}

#[tokio::test]
async fn a_load_for_all_is_not_waited_for_and_stays_one() {
    let (gated, _) = gateway(plain);
    let first = gated.ask_with(&[ANYONE]);
    idle().await;
    let own = gated.ask_with(&[ALICE]);
    idle().await;
    assert_eq!(gated.calls.count(), 2);
    let more = gated.ask_with(&[ANYONE; 5]);
    idle().await;
    assert_eq!(gated.calls.count(), 2, "they share the first load");
    gated.gate.add_permits(2);
    for asking in [first, own, more] {
        asking.join_all().await;
    }
}

#[tokio::test]
async fn an_answer_for_one_user_says_nothing_of_those_for_others() {
    let (gated, _) = gateway(|call| match call {
        1 => ([("cache-control", "private")], "own").into_response(),
        _ => plain(call),
    });
    gated.gate.add_permits(1);
    get_with(&gated.app, "/", ALICE).await;
    let asking = gated.ask_with(&[ANYONE; 5]);
    idle().await;
    assert_eq!(gated.calls.count(), 2);
    gated.gate.add_permits(1);
    asking.join_all().await;
}

#[tokio::test]
async fn what_is_shared_by_its_own_word_is_stored() {
    let (gated, clock) = gateway(public);
    gated.gate.add_permits(1);
    assert_eq!(
        get_with(&gated.app, "/", ALICE).await.cache_status(),
        "cache; fwd=uri-miss; stored"
    );
    assert_eq!(get(&gated.app, "/").await.x_cache(), "HIT");
    assert_eq!(get_with(&gated.app, "/", BOB).await.text(), "1");
    // The next load, too.
    clock.advance(Duration::from_secs(60));
    gated.gate.add_permits(1);
    get_with(&gated.app, "/", BOB).await;
    assert_eq!(get(&gated.app, "/").await.text(), "2");
    assert_eq!(gated.calls.count(), 2);
}

#[tokio::test]
async fn a_url_that_is_shared_after_all_is_stored_again() {
    let (gated, _) = gateway(|call| if call == 1 { plain(call) } else { public(call) });
    gated.gate.add_permits(3);
    get_with(&gated.app, "/", ALICE).await;
    // Runs alone, and is found to be for all.
    get_with(&gated.app, "/", ALICE).await;
    get_with(&gated.app, "/", ALICE).await;
    assert_eq!(get(&gated.app, "/").await.text(), "3");
}
