//! Calls of a server by many tasks at once, several subjects in turns.

use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};

use crate::{Figures, median, message};

/// The calls of one task of a turn: the task's number, and the numbers of its calls, which are new in each turn.
type Work = Box<dyn Fn(u64, std::ops::Range<u64>) -> BoxFuture<'static, ()>>;

/// Subjects that take turns.
#[derive(Default)]
pub struct Turns(Vec<(String, u64, u64, Work)>);

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(subject, ..)| subject))
            .finish()
    }
}

impl Turns {
    /// Adds a subject. In each turn, `tasks` tasks at once make `calls` calls each.
    pub fn add<F>(
        &mut self,
        subject: &str,
        (tasks, calls): (u64, u64),
        work: impl Fn(u64, std::ops::Range<u64>) -> F + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let work: Work = Box::new(move |task, numbers| Box::pin(work(task, numbers)));
        self.0.push((subject.to_owned(), tasks, calls, work));
    }

    /// Lets the subjects take turns until the time is over. Returns the median of the microseconds per call.
    pub async fn run(self, time: Duration) -> Figures {
        let mut figures = Figures::default();
        let mut samples = vec![Vec::new(); self.0.len()];
        let mut failed = vec![false; self.0.len()];
        // No turn, and no other process, has had these numbers.
        let mut next = fastrand::u64(..u64::MAX / 2);
        let begun = Instant::now();
        let mut turns = 0;
        while begun.elapsed() < time || turns < 5 {
            for (at, (subject, tasks, calls, work)) in self.0.iter().enumerate() {
                if failed[at] {
                    continue;
                }
                let begun = Instant::now();
                let running = (0..*tasks).map(|task| {
                    let from = next + task * calls;
                    tokio::spawn(work(task, from..from + calls))
                });
                let results = join_all(running).await;
                let took = begun.elapsed();
                next += tasks * calls;
                if let Some(error) = results.into_iter().find_map(Result::err) {
                    failed[at] = true;
                    let reason = error
                        .try_into_panic()
                        .map_or_else(|error| error.to_string(), |panic| message(&*panic));
                    figures.note_failure(subject, &reason);
                } else if turns >= 2 {
                    // The first turns are a warm-up.
                    samples[at].push(took.as_secs_f64() * 1e6 / (tasks * calls) as f64);
                }
            }
            turns += 1;
        }
        for (at, (subject, ..)) in self.0.iter().enumerate() {
            if !failed[at] {
                figures.note(subject, median(&mut samples[at]));
            }
        }
        figures
    }
}
