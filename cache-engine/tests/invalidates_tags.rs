//! `#[invalidates(tags = […], soft)]`: a write invalidates tags, hard or softly.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use cache_core::{Error, ErrorKind, ManualClock};
use cache_engine::{Cache, Policy, cached, invalidates};
use support::{Count, Fate, Remote, SEC, local, over};

#[derive(Clone)]
struct Shop {
    cache: Cache,
    runs: Count,
}

impl Shop {
    fn over(cache: Cache) -> Self {
        Self {
            cache,
            runs: Count::new(),
        }
    }

    fn new() -> Self {
        let policy = Policy::new(60 * SEC).with_stale_if_error(60 * SEC);
        let cache = local(&ManualClock::new()).tag_namespaces(true).build();
        Self::over(cache.with_policy(policy))
    }

    /// Fails when it is run again, so that only a value that was kept can be answered.
    #[cached(cache = self.cache, namespace = "items", key = "item:{id}", tags = ["item:{id}", "items"])]
    async fn item(&self, id: u32) -> Result<usize, String> {
        match self.runs.up() {
            1 => Ok(1),
            run => Err(format!("run {run} of {id}")),
        }
    }

    #[invalidates(cache = self.cache, tags = ["item:{id}", "other"])]
    async fn hard(&self, id: u32, ok: bool) -> Result<(), String> {
        if ok { Ok(()) } else { Err("refused".to_owned()) }
    }

    #[invalidates(cache = self.cache, tags = ["item:{id}"], unless_err)]
    async fn refused(&self, id: u32) -> Result<(), String> {
        Err("refused".to_owned())
    }

    #[invalidates(cache = self.cache, tags = ["item:{id}"], soft = true)]
    async fn soft(&self, id: u32) {}

    #[invalidates(cache = self.cache, tags = tags, soft = false)]
    async fn of_a_list(&self, tags: &[String]) {}

    #[invalidates(soft, self.item(id))]
    async fn soft_call(&self, id: u32) {}

    #[invalidates(cache = self.cache, namespace = "items", key = "item:{id}", soft)]
    async fn soft_key(&self, id: u32) {}

    #[invalidates(cache = self.cache, namespace = "items", soft)]
    async fn soft_namespace(&self) -> Result<(), Error> {
        Ok(())
    }

    #[invalidates(cache = self.cache, tags = ["items"])]
    async fn reporting(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Runs the first call, then `write`, and tells what the second call gives, and how often the function ran.
async fn after(write: impl AsyncFnOnce(&Shop)) -> (Result<usize, String>, usize) {
    let shop = Shop::new();
    assert_eq!(shop.item(7).await, Ok(1));
    write(&shop).await;
    (shop.item(7).await, shop.runs.get())
}

#[tokio::test]
async fn a_hard_one_keeps_nothing() {
    let gone = (Err("run 2 of 7".to_owned()), 2);
    assert_eq!(after(async |shop| shop.hard(7, true).await.unwrap()).await, gone);
    let failed = async |shop: &Shop| drop(shop.hard(7, false).await.unwrap_err());
    assert_eq!(after(failed).await, gone, "the write may have taken place");
    assert_eq!(
        after(async |shop| shop.of_a_list(&["items".to_owned()]).await).await,
        gone
    );
}

#[tokio::test]
async fn a_write_that_is_refused_or_of_something_else_changes_nothing() {
    let kept = (Ok(1), 1);
    assert_eq!(
        after(async |shop| shop.refused(7).await.unwrap_err().clear()).await,
        kept
    );
    assert_eq!(after(async |shop| shop.hard(8, true).await.unwrap()).await, kept);
    assert_eq!(after(async |shop| shop.soft(8).await).await, kept);
    assert_eq!(after(async |shop| shop.of_a_list(&[]).await).await, kept);
}

#[tokio::test]
async fn a_soft_one_keeps_the_value_for_a_run_that_fails() {
    let kept_for_errors = (Ok(1), 2);
    assert_eq!(after(async |shop| shop.soft(7).await).await, kept_for_errors);
    assert_eq!(after(async |shop| shop.soft_call(7).await).await, kept_for_errors);
    assert_eq!(after(async |shop| shop.soft_key(7).await).await, kept_for_errors);
    let namespace = async |shop: &Shop| shop.soft_namespace().await.unwrap();
    assert_eq!(after(namespace).await, kept_for_errors);
    let entry = async |shop: &Shop| shop.item_entry(7).invalidate_soft().await.unwrap();
    assert_eq!(after(entry).await, kept_for_errors);
}

#[tokio::test]
async fn a_namespace_that_cannot_be_cleared_softly_is_an_error() {
    let shop = Shop::over(local(&ManualClock::new()).build());
    let error = shop.soft_namespace().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("tag_namespaces(true)"), "{error}");
}

#[tokio::test]
async fn an_invalidation_that_failed_is_an_error() {
    let remote = Remote::new();
    let shop = Shop::over(over(&remote).build());
    shop.reporting().await.unwrap();
    remote.plan(|_| Fate::Fail(ErrorKind::Unavailable));
    assert_eq!(shop.reporting().await.unwrap_err().kind(), ErrorKind::Unavailable);
}
