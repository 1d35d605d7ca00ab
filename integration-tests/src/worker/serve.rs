//! The worker's side of the protocol.

use std::collections::HashMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use crate::worker::loads::Loads;
use crate::worker::node::Node;
use crate::worker::protocol::{CacheId, Order, Outcome, Report, Way};
use crate::worker::stores::Stores;

/// Carries out the orders on standard input with caches on the store at `url`, until the input ends.
///
/// # Errors
/// Fails if the store cannot be reached or a line cannot be parsed.
pub async fn serve(url: &str) -> Result<(), String> {
    let (reports, outgoing) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write(outgoing));
    let loads = Arc::new(Loads::new(reports.clone()));
    let mut stores = Stores::new(url);
    let mut nodes: HashMap<CacheId, Arc<Node>> = HashMap::new();
    // Fail at the start if the store is not there, and not at the first call.
    stores.backend(0, Way::Real).await.map_err(|error| error.to_string())?;
    let _ = reports.send(Report::Ready);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.map_err(|error| error.to_string())? {
        match serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))? {
            Order::Open { cache, settings } => {
                let node = Node::open(&mut stores, settings, Arc::clone(&loads)).await;
                nodes.insert(cache, Arc::new(node.map_err(|error| error.to_string())?));
            }
            Order::Do { cache, call, action } => {
                let node = Arc::clone(nodes.get(&cache).ok_or(format!("cache {cache} is not open"))?);
                let reports = reports.clone();
                tokio::spawn(async move {
                    let outcome = AssertUnwindSafe(node.perform(call, action)).catch_unwind().await;
                    let outcome = outcome.unwrap_or(Outcome::NoValue);
                    let _ = reports.send(Report::Done { call, outcome });
                });
            }
            Order::Answer { load, answer } => loads.answer(load, answer),
            Order::Close { cache, call, keys } => {
                let node = nodes.remove(&cache).ok_or(format!("cache {cache} is not open"))?;
                let reports = reports.clone();
                tokio::spawn(async move {
                    let outcome = node.close(&keys).await;
                    let _ = reports.send(Report::Done { call, outcome });
                });
            }
        }
    }
    writer.abort();
    Ok(())
}

async fn write(mut reports: mpsc::UnboundedReceiver<Report>) -> io::Result<()> {
    let mut stdout = tokio::io::stdout();
    let (mut batch, mut lines) = (Vec::new(), Vec::new());
    while reports.recv_many(&mut batch, 256).await > 0 {
        for report in batch.drain(..) {
            serde_json::to_writer(&mut lines, &report)?;
            lines.push(b'\n');
        }
        stdout.write_all(&lines).await?;
        stdout.flush().await?;
        lines.clear();
    }
    Ok(())
}
