//! Caches downstream are told of invalidations, after the store was changed, until they have been told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cache_engine::cache_core::{Error, ErrorKind, async_trait};
use cache_engine::{Cache, CacheBuilder, Event, InvalidationTarget, Purge, Purger};
use support::{Fate, Gate, Remote, SEC, TokioClock, idle, local, over};

type Found = Result<Option<Arc<String>>, Error>;

/// A purger that notes what it is told, and what a cache holds at that time.
#[derive(Clone, Default)]
struct Cdn(Arc<Inner>);

#[derive(Default)]
struct Inner {
    told: Mutex<Vec<Purge>>,
    calls: Mutex<Vec<usize>>,
    fails: Mutex<Option<ErrorKind>>,
    panics: AtomicBool,
    gate: Mutex<Option<Gate>>,
    reads: OnceLock<Cache>,
    found: Mutex<Vec<Found>>,
    repeats_after: Option<Duration>,
}

impl Cdn {
    fn repeating(after: Duration) -> Self {
        Self(Arc::new(Inner {
            repeats_after: Some(after),
            ..Inner::default()
        }))
    }

    fn told(&self) -> Vec<Purge> {
        self.0.told.lock().unwrap().clone()
    }

    fn calls(&self) -> Vec<usize> {
        self.0.calls.lock().unwrap().clone()
    }

    fn fail(&self, kind: impl Into<Option<ErrorKind>>) {
        *self.0.fails.lock().unwrap() = kind.into();
    }
}

#[async_trait]
impl Purger for Cdn {
    async fn purge(&self, purges: &[Purge]) -> Result<(), Error> {
        self.0.calls.lock().unwrap().push(purges.len());
        if let Some(cache) = self.0.reads.get() {
            let found = cache.get::<String>("key").await;
            self.0.found.lock().unwrap().push(found);
        }
        let gate = self.0.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.pass().await;
        }
        assert!(!self.0.panics.load(Ordering::SeqCst), "a purger with a bug");
        if let Some(kind) = *self.0.fails.lock().unwrap() {
            return Err(Error::new(kind, "the CDN is away"));
        }
        self.0.told.lock().unwrap().extend_from_slice(purges);
        Ok(())
    }

    fn repeats_after(&self) -> Option<Duration> {
        self.0.repeats_after
    }
}

fn tag(tag: &str) -> Purge {
    Purge::new(InvalidationTarget::Tag(tag.into()), false)
}

fn build(cdn: &Cdn) -> Cache {
    local(&TokioClock::new()).purger(cdn.clone()).build()
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_invalidation_is_told() {
    let cdn = Cdn::default();
    let cache = local(&TokioClock::new())
        .tag_namespaces(true)
        .purger(cdn.clone())
        .build();
    cache.invalidate("key").await.unwrap();
    cache.settled().await;
    cache.soft().invalidate_tags(["one", "two"]).await.unwrap();
    cache.settled().await;
    cache.clear("pages").await.unwrap();
    cache.settled().await;
    cache.soft().clear_all().await.unwrap();
    cache.settled().await;
    let told = cdn.told();
    assert_eq!(told[0], Purge::new(InvalidationTarget::Key(cache.key("key")), false));
    let mut tags = told[1..3].to_vec();
    tags.sort_by_key(|purge| format!("{purge:?}"));
    let softly = |tag: &str| Purge::new(InvalidationTarget::Tag(tag.into()), true);
    assert_eq!(tags, [softly("one"), softly("two")]);
    let pages = cache.with_namespace("pages").namespace().clone();
    assert_eq!(told[3], Purge::new(InvalidationTarget::Namespace(pages), false));
    assert_eq!(told[4], Purge::new(InvalidationTarget::Everything, true));
    assert_eq!((told.len(), cache.pending_purges()), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_told_finds_the_store_changed() {
    for soft in [false, true] {
        let cdn = Cdn::default();
        let remote = Remote::new();
        let cache = over(&remote).purger(cdn.clone()).build().with_tags(["tag"]);
        cdn.0.reads.set(over(&remote).build()).ok().unwrap();
        cache.set("key", "old".to_owned()).await.unwrap();
        if soft {
            cache.soft().invalidate_tag("tag").await.unwrap();
        } else {
            cache.invalidate_tag("tag").await.unwrap();
        }
        cache.settled().await;
        assert!(matches!(cdn.0.found.lock().unwrap()[..], [Ok(None)]), "soft: {soft}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_meanwhile_is_told_together() {
    let cdn = Cdn::default();
    let cache = build(&cdn);
    let gate = Gate::closed();
    *cdn.0.gate.lock().unwrap() = Some(gate.clone());
    cache.invalidate_tag("first").await.unwrap();
    gate.reached().await;
    for number in 0..20 {
        cache.invalidate_tag(format!("tag {number}")).await.unwrap();
        // Also the first one once more, since it was invalidated again.
        cache.invalidate_tag("first").await.unwrap();
    }
    assert_eq!(cache.pending_purges(), 21);
    gate.open();
    cache.settled().await;
    assert_eq!(cdn.calls(), [1, 21]);
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_fails_is_tried_until_it_succeeds() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Rejected] {
        let cdn = Cdn::default();
        let events = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&events);
        let cache = local(&TokioClock::new())
            .purger(cdn.clone())
            .observer(move |event: &Event<'_>| {
                if let Event::PurgeFailed { .. } | Event::Purged { .. } = event {
                    log.lock().unwrap().push(event.to_string());
                }
            })
            .build();
        cdn.fail(kind);
        cache.invalidate_tag("tag").await.unwrap();
        cache.settled().await;
        assert_eq!((cache.pending_purges(), cdn.told().len()), (1, 0));
        tokio::time::sleep(10 * SEC).await;
        assert_eq!(cache.pending_purges(), 1);
        let tried = cdn.calls().len();
        assert!((4..20).contains(&tried), "with pauses that grow, not {tried} times");
        cdn.fail(None);
        tokio::time::sleep(31 * SEC).await;
        assert_eq!((cache.pending_purges(), cdn.told()), (0, vec![tag("tag")]));
        let events = events.lock().unwrap();
        let failed = &events[0];
        assert!(
            failed.contains("told again") && failed.contains("the CDN is away"),
            "{failed}"
        );
        assert_eq!(events.last().unwrap(), "the purger was told of invalidations: 1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_purger_that_hangs_is_given_up() {
    let cdn = Cdn::default();
    let cache = build(&cdn);
    *cdn.0.gate.lock().unwrap() = Some(Gate::closed());
    cache.invalidate_tag("tag").await.unwrap();
    cache.settled().await;
    assert_eq!(cache.pending_purges(), 1);
    *cdn.0.gate.lock().unwrap() = None;
    cache.settled().await;
    assert_eq!((cache.pending_purges(), cdn.told()), (0, vec![tag("tag")]));
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_that_the_store_has_not_carried_out_is_told_when_it_has() {
    let cdn = Cdn::default();
    let remote = Remote::new();
    let cache = over(&remote).purger(cdn.clone()).build();
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    cache.invalidate_tag("tag").await.unwrap_err();
    tokio::time::sleep(3 * SEC).await;
    assert_eq!((cdn.told(), cache.pending_invalidations()), (Vec::new(), 1));
    remote.always(Fate::Pass);
    tokio::time::sleep(5 * SEC).await;
    assert_eq!((cdn.told(), cache.pending_invalidations()), (vec![tag("tag")], 0));
}

#[tokio::test(start_paused = true)]
async fn a_purge_is_repeated_once_for_what_was_under_way() {
    let cdn = Cdn::repeating(2 * SEC);
    let cache = build(&cdn);
    cache.invalidate_tag("tag").await.unwrap();
    tokio::time::sleep(SEC).await;
    assert_eq!(cdn.told().len(), 1);
    tokio::time::sleep(60 * SEC).await;
    assert_eq!(cdn.told(), vec![tag("tag"); 2]);
    // At a shutdown there is no later.
    cache.invalidate_tag("tag").await.unwrap();
    cache.shutdown().await;
    assert_eq!(cdn.told().len(), 4);
    // A time beyond all clocks is never.
    let cdn = Cdn::repeating(Duration::MAX);
    let cache = build(&cdn);
    cache.invalidate_tag("tag").await.unwrap();
    cache.shutdown().await;
    assert_eq!((cdn.told().len(), cache.pending_purges()), (1, 0));
}

/// The panic reaches neither a caller who waits for the purger, nor a shutdown, and the purge is tried again.
#[tokio::test(start_paused = true)]
async fn a_purger_that_panics_has_failed() {
    let cdn = Cdn::default();
    cdn.0.panics.store(true, Ordering::SeqCst);
    let foreground = local(&TokioClock::new()).purger(cdn.clone()).foreground(true).build();
    foreground.invalidate_tag("tag").await.unwrap();
    foreground.shutdown().await;
    assert_eq!(foreground.pending_purges(), 1);

    let background = build(&cdn);
    background.invalidate_tag("tag").await.unwrap();
    tokio::time::sleep(SEC).await;
    assert_eq!((background.pending_purges(), cdn.told()), (1, Vec::new()));
    cdn.0.panics.store(false, Ordering::SeqCst);
    tokio::time::sleep(31 * SEC).await;
    assert!(cdn.told().contains(&tag("tag")));
    assert_eq!(background.pending_purges(), 0);
}

/// Several servers, each told on its own.
struct Servers(Vec<Cdn>);

#[async_trait]
impl Purger for Servers {
    async fn purge(&self, _: &[Purge]) -> Result<(), Error> {
        unreachable!("each server is told on its own")
    }

    fn by_server(&self) -> Vec<Arc<dyn Purger>> {
        let one = |cdn: &Cdn| -> Arc<dyn Purger> { Arc::new(cdn.clone()) };
        self.0.iter().map(one).collect()
    }
}

fn names(told: &[Purge]) -> Vec<String> {
    let mut names: Vec<_> = told.iter().map(|purge| format!("{:?}", purge.target)).collect();
    names.sort_unstable();
    names
}

/// What a healthy server is told: everything, at once, and once, while another one is frozen or refuses.
#[tokio::test(start_paused = true)]
async fn servers_are_independent() {
    for frozen in [true, false] {
        let (bad, good) = (Cdn::default(), Cdn::default());
        if frozen {
            *bad.0.gate.lock().unwrap() = Some(Gate::closed());
        } else {
            bad.fail(ErrorKind::Unavailable);
        }
        let servers = Servers(vec![bad.clone(), good.clone()]);
        let cache = local(&TokioClock::new()).purger(servers).build();
        cache
            .invalidate_tags((0..100).map(|n| format!("tag {n}")))
            .await
            .unwrap();
        tokio::time::sleep(SEC / 10).await;
        assert_eq!(good.told().len(), 100, "frozen: {frozen}");
        // Also what comes later.
        tokio::time::sleep(100 * SEC).await;
        cache.invalidate_tag("later").await.unwrap();
        tokio::time::sleep(SEC / 10).await;
        assert_eq!((good.told().len(), good.told()[100].clone()), (101, tag("later")));
        assert_eq!((cache.pending_purges(), bad.told().len()), (101, 0));
        *bad.0.gate.lock().unwrap() = None;
        bad.fail(None);
        tokio::time::sleep(45 * SEC).await;
        assert_eq!((cache.pending_purges(), good.told().len()), (0, 101));
        assert_eq!(names(&bad.told()), names(&good.told()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_purge_does_not_wait_for_the_pause_after_a_failure() {
    let cdn = Cdn::default();
    let cache = build(&cdn);
    cdn.fail(ErrorKind::Unavailable);
    cache.invalidate_tag("old").await.unwrap();
    // The pauses are 30 s long by then.
    tokio::time::sleep(200 * SEC).await;
    cdn.fail(None);
    cache.invalidate_tag("new").await.unwrap();
    tokio::time::sleep(SEC).await;
    assert_eq!(names(&cdn.told()), names(&[tag("new"), tag("old")]));
}

/// Whoever invalidates waits no longer than a purger may take, however many others wait for it.
#[tokio::test(start_paused = true)]
async fn many_callers_wait_for_a_frozen_purger_no_longer_than_one() {
    let cdn = Cdn::default();
    *cdn.0.gate.lock().unwrap() = Some(Gate::closed());
    let cache = local(&TokioClock::new()).purger(cdn.clone()).foreground(true).build();
    let begun = tokio::time::Instant::now();
    let writes = (0..20).map(|number| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.invalidate_tag(format!("tag {number}")).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    assert!(begun.elapsed() <= 11 * SEC, "{:?}", begun.elapsed());
    assert_eq!(cache.pending_purges(), 20);
}

/// While an attempt runs, all that come meanwhile share the next one.
#[tokio::test(start_paused = true)]
async fn callers_that_come_during_an_attempt_share_the_next() {
    let cdn = Cdn::default();
    let gate = Gate::closed();
    *cdn.0.gate.lock().unwrap() = Some(gate.clone());
    let cache = local(&TokioClock::new()).purger(cdn.clone()).foreground(true).build();
    let write = |name: String| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.invalidate_tag(name).await })
    };
    let mut writes = vec![write("first".to_owned())];
    gate.reached().await;
    writes.extend((0..20).map(|number| write(format!("tag {number}"))));
    idle().await;
    gate.open();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!((cdn.told().len(), cdn.calls()), (21, vec![1, 20]));
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_waits_for_the_purger_in_the_foreground_only() {
    let cdn = Cdn::default();
    let cache = build(&cdn);
    cache.invalidate_tag("tag").await.unwrap();
    assert_eq!(cdn.told(), []);
    let cache = local(&TokioClock::new()).purger(cdn.clone()).foreground(true).build();
    cache.invalidate_tag("tag").await.unwrap();
    assert!(!cdn.told().is_empty());
    // Nobody waits for a purger that fails more than once.
    cdn.fail(ErrorKind::Unavailable);
    cache.invalidate_tag("tag").await.unwrap();
    assert_eq!(cache.pending_purges(), 1);
}

/// The servers may be in another order after a restart.
#[tokio::test(start_paused = true)]
async fn what_one_of_several_servers_was_not_told_survives_a_restart() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("purges of servers");
    for suffix in ["purges", "purges-1"] {
        let _ = fs::remove_file(path.with_extension(suffix));
    }
    let (bad, good) = (Cdn::default(), Cdn::default());
    let build = |servers: [&Cdn; 2]| {
        let servers = Servers(servers.map(Clone::clone).into());
        local(&TokioClock::new()).purger(servers).pending_file(&path).build()
    };
    bad.fail(ErrorKind::Unavailable);
    let cache = build([&good, &bad]);
    cache.invalidate_tag("tag").await.unwrap();
    cache.shutdown().await;
    assert_eq!((cache.pending_purges(), good.told().len()), (1, 1));
    drop(cache);
    bad.fail(None);
    let cache = build([&bad, &good]);
    cache.settled().await;
    assert_eq!((bad.told(), cache.pending_purges()), (vec![tag("tag")], 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_told_survives_a_restart() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("purges");
    let _ = fs::remove_file(path.with_extension("purges"));
    let builder = |cdn: &Cdn| -> CacheBuilder { local(&TokioClock::new()).purger(cdn.clone()).pending_file(&path) };
    let cdn = Cdn::default();
    cdn.fail(ErrorKind::Unavailable);
    let cache = builder(&cdn).build();
    cache.invalidate_tag("tag").await.unwrap();
    cache.shutdown().await;
    assert_eq!(cache.pending_purges(), 1);
    drop(cache);
    cdn.fail(None);
    let cache = builder(&cdn).build();
    assert_eq!(cache.pending_purges(), 1);
    cache.settled().await;
    assert_eq!((cdn.told(), cache.pending_purges()), (vec![tag("tag")], 0));
    drop(cache);
    idle().await;
    assert_eq!(builder(&cdn).build().pending_purges(), 0);
}
