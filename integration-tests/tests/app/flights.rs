//! Concurrent requests for a response that is not stored yet.

use axum::Router;
use axum::routing::get;

use crate::server::{App, Calls, Gate, Reply, layer, until};
use crate::store::Store;

/// Sends concurrent requests to several applications on one store, whose handler waits until all requests have arrived.
async fn ask_at_once(store: &Store, processes: usize, requests: usize) -> (Vec<Reply>, Calls) {
    let (gate, calls) = (Gate::new(), Calls::default());
    gate.arm();
    let mut apps = Vec::new();
    for _ in 0..processes {
        let (gate, calls) = (gate.clone(), calls.clone());
        let handler = move || async move {
            let call = calls.add();
            gate.pass().await;
            call.to_string()
        };
        let router = Router::new().route("/", get(handler)).layer(layer(store).await);
        apps.push(App::start(router).await);
    }
    let share = requests / processes;
    let asking: Vec<_> = apps.iter().map(|app| app.get_at_once(share, "/")).collect();
    until("all have come in", async || {
        let arrived: usize = apps.iter().map(|app| app.arrived()).sum();
        (arrived == requests).then_some(())
    })
    .await;
    gate.reached().await;
    gate.open();
    let mut replies = Vec::new();
    for asking in asking {
        replies.extend(asking.join_all().await);
    }
    (replies, calls)
}

fn all_have_the_first(replies: &[Reply], calls: &Calls) {
    assert_eq!(replies.len(), 100);
    assert!(replies.iter().all(|reply| reply.text() == "1"), "{replies:?}");
    let missed = replies.iter().filter(|reply| reply.x_cache() == "MISS").count();
    assert_eq!((missed, calls.count()), (1, 1));
}

pub async fn a_hundred_first_requests_run_the_handler_once(store: Store) {
    let (replies, calls) = ask_at_once(&store, 1, 100).await;
    all_have_the_first(&replies, &calls);
}

pub async fn a_hundred_first_requests_of_two_processes_run_the_handler_once(store: Store) {
    let (replies, calls) = ask_at_once(&store, 2, 100).await;
    all_have_the_first(&replies, &calls);
}

pub async fn what_one_process_stores_the_other_finds(store: Store) {
    let (here, _) = App::answering(layer(&store).await, |_, _| ([("x-made", "here")], "here")).await;
    let (there, calls) = App::answering(layer(&store).await, |_, _| "there").await;
    let miss = here.get("/").await;
    let hit = there.get("/").await;
    assert_eq!((hit.x_cache(), &hit.body), ("HIT", &miss.body));
    assert_eq!(hit.lines(), miss.lines());
    assert_eq!(calls.count(), 0);
    // Another prefix is another application.
    let (other, _) = App::answering(layer(&store.elsewhere()).await, |_, _| "other").await;
    assert_eq!(other.get("/").await.text(), "other");
}
