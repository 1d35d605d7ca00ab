//! A listener that checks the guarantees of a subscription.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use cache_core::{Backend, Change, Key, Scope, Subscription};
use cache_redis::RedisBackend;

pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);

/// The time limit of a report.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Listener {
    subscription: Box<dyn Subscription>,
    /// The changes since [`forget`](Self::forget).
    pub(crate) changed: HashSet<Key>,
    pub(crate) everything: usize,
    pub(crate) lost: usize,
}

impl Listener {
    pub(crate) async fn start(redis: &RedisBackend, scope: &Scope) -> Self {
        Self {
            subscription: redis.subscribe(scope, HEARTBEAT).await.unwrap(),
            changed: HashSet::new(),
            everything: 0,
            lost: 0,
        }
    }

    pub(crate) async fn hear(&mut self) -> Change {
        let change = tokio::time::timeout(PATIENCE, self.subscription.next()).await;
        let change = change.expect("nothing is said").expect("the stream has ended");
        match &change {
            Change::Record(key) => drop(self.changed.insert(key.clone())),
            Change::Everything => self.everything += 1,
            Change::Lost(error) => {
                println!("lost: {error}");
                self.lost += 1;
            }
            _ => {}
        }
        change
    }

    pub(crate) fn forget(&mut self) {
        self.changed.clear();
        (self.everything, self.lost) = (0, 0);
    }

    /// Receives until all changes made before now have been reported.
    pub(crate) async fn catch_up(&mut self) {
        let now = Instant::now();
        self.catch_up_to(now).await;
    }

    pub(crate) async fn catch_up_to(&mut self, moment: Instant) {
        while !matches!(self.hear().await, Change::Heartbeat(told) if told >= moment) {}
    }

    /// Receives until nothing more comes of earlier changes, and forgets them.
    pub(crate) async fn settle(&mut self) {
        loop {
            self.forget();
            for _ in 0..3 {
                self.catch_up().await;
            }
            if self.everything == 0 {
                return;
            }
        }
    }

    /// Returns the keys that were reported since the last call. Fails if anything else was reported.
    pub(crate) async fn keys(&mut self) -> HashSet<Key> {
        self.catch_up().await;
        assert_eq!((self.everything, self.lost), (0, 0));
        std::mem::take(&mut self.changed)
    }

    /// Checks that a completed change is reported, by its key or as `Everything`, before a heartbeat of a later moment.
    pub(crate) async fn must_tell(&mut self, key: &Key) {
        self.catch_up().await;
        assert!(
            self.changed.contains(key) || self.everything > 0,
            "{key} was changed in silence"
        );
    }

    pub(crate) async fn until_lost(&mut self) -> Duration {
        let begun = Instant::now();
        while self.lost == 0 {
            self.hear().await;
            assert!(begun.elapsed() < PATIENCE, "the stream is not lost");
        }
        begun.elapsed()
    }

    /// Checks that the subscription reports `Lost`, then `Everything`, and only then a heartbeat.
    pub(crate) async fn is_back(&mut self) {
        self.until_lost().await;
        let mut last = Change::Everything;
        while self.everything == 0 {
            last = self.hear().await;
            assert!(!matches!(last, Change::Heartbeat(_)), "up to date while it is lost");
        }
        assert!(matches!(last, Change::Everything));
        self.catch_up().await;
    }
}

pub(crate) fn set<const N: usize>(keys: [&Key; N]) -> HashSet<Key> {
    keys.into_iter().cloned().collect()
}
