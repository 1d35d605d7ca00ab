//! The loads of a worker. The process that started the worker decides their results.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::worker::protocol::{Answer, Report};

/// The loads that wait for a result.
#[derive(Debug)]
pub(super) struct Loads {
    reports: mpsc::UnboundedSender<Report>,
    pending: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    next: AtomicU64,
}

impl Loads {
    pub(super) fn new(reports: mpsc::UnboundedSender<Report>) -> Self {
        Self {
            reports,
            pending: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    pub(super) async fn ask(&self, call: u64) -> Answer {
        let load = self.next.fetch_add(1, Ordering::Relaxed);
        let (send, receive) = oneshot::channel();
        self.pending().insert(load, send);
        let _ = self.reports.send(Report::Load { call, load });
        receive.await.unwrap_or(Answer::Error)
    }

    pub(super) fn answer(&self, load: u64, answer: Answer) {
        if let Some(send) = self.pending().remove(&load) {
            // The load may have been cancelled.
            let _ = send.send(answer);
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a load.
#[derive(Debug)]
pub(super) struct NotLoaded;
