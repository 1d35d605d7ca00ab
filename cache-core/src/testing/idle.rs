use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

/// Waits until all other tasks of a current-thread runtime have gone as far as they can.
///
/// Use it before you assert that something has *not* happened, where there is no event to wait for. It returns once the
/// runtime has had nothing to do, however many steps that takes. With a paused clock (`start_paused = true`) tokio's time
/// moves on by 1 ms; timers that end within it fire.
///
/// It does not wait for other threads: for `spawn_blocking`, for sockets, or for a multi-thread runtime.
///
/// # Panics
///
/// On a runtime with several worker threads, where "nothing to do" is not a property of one of them, and on a runtime
/// without timers.
pub async fn idle() {
    let metrics = Handle::current().metrics();
    assert_eq!(
        metrics.num_workers(),
        1,
        "`idle` needs a runtime with one worker thread: use `#[tokio::test]` without `flavor = \"multi_thread\"`"
    );
    let parked = metrics.worker_park_count(0);
    // The runtime parks only when no task can go on, and a paused clock moves only then.
    while metrics.worker_park_count(0) == parked {
        sleep(Duration::from_millis(1)).await;
    }
}
