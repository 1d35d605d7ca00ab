//! Pending invalidations in a file: an outdated value does not return after a restart.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use cache_engine::cache_core::{Error, ErrorKind, KeyName};
use cache_engine::{Cache, CacheBuilder};
use futures_util::future::join_all;
use support::{Fate, Log, MS, Remote, SEC, over};

/// A file that is not there yet.
fn file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pending-{name}"));
    for path in [path.clone(), damaged(&path)] {
        if path.exists() {
            fs::remove_file(path).unwrap();
        }
    }
    path
}

fn damaged(path: &Path) -> PathBuf {
    path.with_file_name(format!("{}.damaged", path.file_name().unwrap().to_str().unwrap()))
}

async fn load(cache: &Cache, value: u32) -> u32 {
    let key = cache.key(KeyName::with_identity("hash", *b"what was hashed"));
    *cache
        .get_or_load(&key, move || async move { Ok::<_, Infallible>(value) })
        .await
        .unwrap()
}

/// What is invalidated while the store is away.
#[derive(Debug, Clone, Copy)]
enum What {
    Key,
    Tag,
    Namespace,
    Everything,
}

const ALL: [What; 4] = [What::Key, What::Tag, What::Namespace, What::Everything];

async fn invalidate(cache: &Cache, what: What, soft: bool) -> Result<(), Error> {
    let set = if soft {
        cache.soft().invalidation()
    } else {
        cache.invalidation()
    };
    let set = match what {
        What::Key => set.add_key(cache.key(KeyName::with_identity("hash", *b"what was hashed"))),
        What::Tag => set.add_tag("tag: %\n"),
        What::Namespace => set.add_namespace("a:b"),
        What::Everything => set.add_everything(),
    };
    set.run().await.map(drop)
}

fn build(builder: CacheBuilder) -> Cache {
    builder
        .tag_namespaces(true)
        .namespace("a:b")
        .prefix("p!")
        .build()
        .with_tags(["tag: %\n"])
}

/// Loads 1, fails to invalidate it, and starts again, with `again`.
async fn restart(what: What, soft: bool, first: impl Fn(CacheBuilder) -> CacheBuilder) -> (Cache, Cache) {
    let remote = Remote::new();
    let here = build(first(over(&remote)));
    assert_eq!(load(&here, 1).await, 1);
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    invalidate(&here, what, soft).await.unwrap_err();
    drop(here);
    remote.always(Fate::Pass);
    (build(first(over(&remote))), build(over(&remote)))
}

#[tokio::test(start_paused = true)]
async fn the_old_value_does_not_return_after_a_restart() {
    let path = file("restart");
    for what in ALL {
        for soft in [false, true] {
            let (again, there) = restart(what, soft, |builder| builder.pending_file(&path)).await;
            assert_eq!(again.pending_invalidations(), 1, "{what:?}");
            assert_eq!(load(&again, 2).await, 2, "{what:?}, soft: {soft}");
            assert_eq!(again.pending_invalidations(), 0, "{what:?}");
            assert_eq!(load(&there, 3).await, 2, "{what:?}, soft: {soft}");
            let third = build(over(&Remote::new()).pending_file(&path));
            assert_eq!(third.pending_invalidations(), 0, "what was carried out is not kept");
        }
    }
}

/// The negative control.
#[tokio::test(start_paused = true)]
async fn without_a_file_it_does() {
    for what in ALL {
        let (again, _) = restart(what, false, |builder| builder).await;
        assert_eq!(load(&again, 2).await, 1, "{what:?}");
    }
}

/// Without a read, too.
#[tokio::test(start_paused = true)]
async fn it_is_carried_out_in_the_background() {
    let path = file("background");
    let (again, there) = restart(What::Key, false, |builder| builder.pending_file(&path)).await;
    tokio::time::sleep(SEC).await;
    assert_eq!(again.pending_invalidations(), 0);
    assert_eq!(load(&there, 2).await, 2);
}

/// A cache that is built outside of a runtime, as in a `static`, carries it out before it trusts the store.
#[test]
fn it_is_carried_out_if_there_was_no_runtime() {
    let path = file("runtime");
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let remote = runtime().block_on(async {
        let remote = Remote::new();
        let here = build(over(&remote).pending_file(&path));
        load(&here, 1).await;
        remote.always(Fate::Fail(ErrorKind::Unavailable));
        invalidate(&here, What::Key, false).await.unwrap_err();
        remote.always(Fate::Pass);
        remote
    });
    let again = build(over(&remote).pending_file(&path));
    assert_eq!(again.pending_invalidations(), 1);
    assert_eq!(runtime().block_on(load(&again, 2)), 2);
}

/// A store that the last attempt of a shutdown does not reach either.
#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_the_rest_in_the_file() {
    let path = file("shutdown");
    let remote = Remote::new();
    let here = build(over(&remote).pending_file(&path));
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    invalidate(&here, What::Key, false).await.unwrap_err();
    here.shutdown().await;
    let again = build(over(&remote).pending_file(&path));
    assert_eq!(again.pending_invalidations(), 1);
    remote.always(Fate::Pass);
    again.shutdown().await;
    assert_eq!(again.pending_invalidations(), 0);
    assert_eq!(build(over(&remote).pending_file(&path)).pending_invalidations(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_set_aside() {
    let path = file("damaged");
    drop(restart(What::Key, false, |builder| builder.pending_file(&path)).await);
    let good = fs::read(&path).unwrap();
    let mut bad: Vec<Vec<u8>> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
    bad.extend((0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    }));
    bad.push(b"no such file".to_vec());
    for bytes in bad {
        fs::write(&path, &bytes).unwrap();
        let log = Log::new();
        let again = build(over(&Remote::new()).pending_file(&path).observer(log.clone()));
        assert_eq!(log.take(), ["pending_file_failed"]);
        assert_eq!(again.pending_invalidations(), 0);
        assert!(!path.exists());
        assert_eq!(fs::read(damaged(&path)).unwrap(), bytes);
    }
    // The control.
    fs::write(&path, &good).unwrap();
    let again = build(over(&Remote::new()).pending_file(&path));
    assert_eq!(again.pending_invalidations(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_file_of_another_cache_is_set_aside() {
    let path = file("other");
    drop(restart(What::Everything, false, |builder| builder.pending_file(&path)).await);
    let log = Log::new();
    let other = over(&Remote::new())
        .prefix("other")
        .pending_file(&path)
        .observer(log.clone())
        .build();
    assert_eq!(log.take(), ["pending_file_failed"]);
    assert_eq!(other.pending_invalidations(), 0);
    assert!(damaged(&path).exists());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_written_is_an_event() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("no such directory")
        .join("file");
    let remote = Remote::new();
    let log = Log::new();
    let here = build(over(&remote).pending_file(path).observer(log.clone()));
    assert_eq!(log.take(), [] as [&str; 0], "a file that is not there is an empty one");
    load(&here, 1).await;
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    invalidate(&here, What::Key, false).await.unwrap_err();
    assert_eq!(log.count("pending_file_failed"), 1);
    assert_eq!(here.pending_invalidations(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_file_is_bounded() {
    let path = file("bounded");
    let remote = Remote::new();
    let here = build(over(&remote).pending_file(&path));
    load(&here, 1).await;
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    let failed = join_all((0..10_001).map(|number| here.invalidate(number.to_string()))).await;
    assert!(failed.iter().all(Result::is_err));
    assert_eq!(here.pending_invalidations(), 1, "the namespace");
    drop(here);
    remote.always(Fate::Pass);
    let again = build(over(&remote).pending_file(&path));
    assert_eq!(again.pending_invalidations(), 1);
    assert_eq!(load(&again, 2).await, 2);
}

/// The store may have carried it out or not.
#[tokio::test(start_paused = true)]
async fn an_invalidation_that_its_caller_gives_up_is_pending() {
    let path = file("given-up");
    for what in ALL {
        for soft in [false, true] {
            let remote = Remote::new();
            let log = Log::new();
            let here = build(over(&remote).pending_file(&path).observer(log.clone()));
            assert_eq!(load(&here, 1).await, 1);
            remote.always(Fate::Freeze);
            {
                let given_up = async {
                    match what {
                        What::Key if soft => here.soft().invalidate("key").await,
                        What::Key => here.invalidate("key").await,
                        What::Tag if soft => here.soft().invalidate_tag("tag").await,
                        What::Tag => here.invalidate_tag("tag").await,
                        What::Namespace if soft => here.soft().clear("a:b").await,
                        What::Namespace => here.clear("a:b").await.map(drop),
                        What::Everything if soft => here.soft().clear_all().await,
                        What::Everything => here.clear_all().await.map(drop),
                    }
                };
                tokio::time::timeout(10 * MS, given_up).await.unwrap_err();
            }
            assert_eq!(here.pending_invalidations(), 1, "{what:?}, soft: {soft}");
            assert_eq!(log.count("invalidation_pending"), 1);
            remote.always(Fate::Pass);
            tokio::time::sleep(3 * SEC).await;
            assert_eq!(here.pending_invalidations(), 0, "{what:?}, soft: {soft}");
        }
    }
}

/// A runtime that ends in the middle of an invalidation has no thread left that may block.
#[test]
fn an_invalidation_that_the_end_of_its_runtime_cuts_off_is_in_the_file() {
    let path = file("runtime-ends");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let remote = Remote::new();
    let here = build(over(&remote).pending_file(&path));
    runtime.block_on(async {
        load(&here, 1).await;
        remote.always(Fate::Freeze);
        here.invalidation().add_key("one").add_key("other").run_in_background();
    });
    drop(runtime);
    drop(here);
    let again = build(over(&remote).pending_file(&path));
    assert_eq!(again.pending_invalidations(), 2);
}

/// As in a rolling deploy, where the new process begins before the old one has ended.
#[tokio::test(start_paused = true)]
async fn two_processes_with_one_file_lose_nothing() {
    let path = file("shared");
    let remote = Remote::new();
    let logs = [Log::new(), Log::new()];
    let [one, other] =
        [&logs[0], &logs[1]].map(|log| build(over(&remote).pending_file(&path).observer((*log).clone())));
    assert_eq!(load(&one, 1).await, 1);
    remote.always(Fate::Fail(ErrorKind::Unavailable));
    invalidate(&one, What::Key, false).await.unwrap_err();
    invalidate(&other, What::Tag, false).await.unwrap_err();
    assert_eq!(logs[1].count("pending_file_failed"), 1, "it is reported");
    assert_eq!(other.pending_invalidations(), 2, "and taken over");
    // The first one ends, and the other one is killed.
    drop((one, other));
    let again = build(over(&remote).pending_file(&path));
    assert_eq!(again.pending_invalidations(), 2);
    remote.always(Fate::Pass);
    assert_eq!(load(&again, 2).await, 2);
    assert_eq!(build(over(&remote).pending_file(&path)).pending_invalidations(), 0);
}
