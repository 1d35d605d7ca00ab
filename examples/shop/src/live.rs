//! Changes as server-sent events. They are outside of the cache: such a response never ends.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;

use crate::state::App;

pub(crate) async fn changes(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let watched = (app.changes.subscribe(), app.stopping.subscribe());
    let events = stream::unfold(watched, async |(mut changes, mut stopping)| {
        let change = tokio::select! {
            change = changes.recv() => change,
            // A graceful shutdown waits for responses to end.
            _ = stopping.wait_for(|stopping| *stopping) => return None,
        };
        let event = match change {
            Ok(item) => Event::default().event("item").data(item.id.to_string()),
            // Too slow for some changes: anything may have changed.
            Err(RecvError::Lagged(_)) => Event::default().event("everything"),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), (changes, stopping)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
