use cache_core::{Clock, Timestamp};
use tokio::time::Instant;

/// A clock that follows tokio's, so that a paused runtime moves both.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    start: Instant,
}

impl TokioClock {
    /// All clocks of one runtime show the same time.
    pub fn new() -> Self {
        thread_local! {
            static START: std::cell::Cell<Option<Instant>> = const { std::cell::Cell::new(None) };
        }
        let now = Instant::now();
        // A test thread may run several runtimes; an earlier start only means a later date.
        let start = START.get().filter(|start| *start <= now).unwrap_or(now);
        START.set(Some(start));
        Self { start }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_704_067_200_000) + self.start.elapsed()
    }
}
