//! `#[invalidates]`: the entries that a write makes outdated are gone when the write has returned, whether it reported a
//! success or not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use cache_core::{ErrorKind, ManualClock};
use cache_engine::{Cache, cached, invalidates};
use futures_util::FutureExt;
use support::{Count, Fate, Gate, Log, Remote, local, over};

/// A table of one name, and the cache before it.
#[derive(Clone)]
struct Shop {
    cache: Cache,
    name: Arc<Mutex<String>>,
    reads: Count,
    gate: Gate,
}

impl Shop {
    fn over(cache: Cache) -> Self {
        let gate = Gate::closed();
        gate.open();
        Self {
            cache,
            name: Arc::new(Mutex::new("first".to_owned())),
            reads: Count::new(),
            gate,
        }
    }

    fn new() -> Self {
        Self::over(local(&ManualClock::new()).build())
    }

    fn read(&self) -> String {
        self.reads.up();
        self.name.lock().unwrap().clone()
    }

    fn write(&self, name: &str) {
        name.clone_into(&mut self.name.lock().unwrap());
    }

    #[cached(cache = self.cache, skip(self))]
    async fn item(&self, id: u32) -> String {
        let name = self.read();
        self.gate.pass().await;
        format!("{name} {id}")
    }

    #[invalidates(self.item(id))]
    async fn rename_item(&self, id: u32, name: String) -> Result<(), String> {
        self.write(&name);
        Ok(())
    }

    /// The row is written, but the answer to the commit is lost.
    #[invalidates(self.item(id))]
    async fn rename_item_uncertainly(&self, id: u32, name: &str) -> Result<(), String> {
        self.write(name);
        Err("the connection was lost during the commit".to_owned())
    }

    #[invalidates(self.item(id), unless_err)]
    async fn rename_item_if_named(&self, id: u32, name: &str) -> Result<(), String> {
        if name.is_empty() {
            return Err("no name".to_owned());
        }
        self.write(name);
        Ok(())
    }
}

#[cached(cache = shop.cache, skip(shop))]
async fn item_of(shop: &Shop, id: u32) -> String {
    format!("{} {id}", shop.read())
}

#[cached(cache = shop.cache, namespace = "lists", key = "all")]
async fn list(shop: &Shop) -> Vec<String> {
    vec![shop.read()]
}

#[invalidates(item_of(shop, id), list(shop))]
async fn rename(shop: &Shop, id: u32, name: &str) {
    shop.write(name);
}

#[tokio::test]
async fn the_entries_of_calls_are_gone_after_a_write() {
    let shop = Shop::new();
    assert_eq!(item_of(&shop, 1).await, "first 1");
    assert_eq!(item_of(&shop, 2).await, "first 2");
    assert_eq!(list(&shop).await, ["first"]);
    rename(&shop, 1, "second").await;
    assert_eq!(item_of(&shop, 1).await, "second 1");
    assert_eq!(item_of(&shop, 2).await, "first 2", "the entry of another call stays");
    assert_eq!(list(&shop).await, ["second"]);
}

#[tokio::test]
async fn the_entry_of_a_method_is_gone_after_a_success() {
    let shop = Shop::new();
    assert_eq!(shop.item(1).await, "first 1");
    shop.rename_item(1, "second".to_owned()).await.unwrap();
    assert_eq!(shop.item(1).await, "second 1");
}

#[tokio::test]
async fn after_an_error_the_write_may_have_taken_place() {
    let shop = Shop::new();
    assert_eq!(shop.item(1).await, "first 1");
    let error = shop.rename_item_uncertainly(1, "second").await.unwrap_err();
    assert_eq!(error, "the connection was lost during the commit");
    assert_eq!(
        shop.item(1).await,
        "second 1",
        "gone when the write has returned its error"
    );
}

#[tokio::test]
async fn an_error_after_which_nothing_was_written_invalidates_nothing() {
    let shop = Shop::new();
    assert_eq!(shop.item(1).await, "first 1");
    shop.rename_item_if_named(1, "").await.unwrap_err();
    assert_eq!(shop.item(1).await, "first 1");
    assert_eq!(shop.reads.get(), 1, "the entry is still there");
    shop.rename_item_if_named(1, "second").await.unwrap();
    assert_eq!(shop.item(1).await, "second 1");
}

#[invalidates(cache = shop.cache, key = "name", keys = [format!("item:{id}"), 7])]
async fn by_key(shop: &Shop, id: u32) -> Option<()> {
    None
}

#[invalidates(cache = shop.cache, namespace = "lists", key = "all")]
async fn by_key_in_a_namespace(shop: Shop) {
    drop(shop);
}

#[invalidates(cache = shop.cache, namespace = "tenant {tenant}")]
async fn by_namespace(shop: &Shop, tenant: u32) {}

#[tokio::test]
async fn keys_are_invalidated_by_name() {
    let shop = Shop::new();
    let lists = shop.cache.with_namespace("lists");
    for key in ["name", "item:3", "item:4", "7"] {
        shop.cache.set(key, 1_u8).await.unwrap();
    }
    lists.set("all", 1_u8).await.unwrap();
    lists.set("name", 1_u8).await.unwrap();
    by_key(&shop, 3).await;
    by_key_in_a_namespace(shop.clone()).await;
    let left = shop
        .cache
        .get_many::<u8, _>(["name", "item:3", "item:4", "7"])
        .await
        .unwrap();
    assert_eq!(
        left.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, false, true, false]
    );
    let left = lists.get_many::<u8, _>(["all", "name"]).await.unwrap();
    assert_eq!(left.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_namespace_without_keys_is_cleared() {
    let shop = Shop::new();
    let tenants = [1, 10].map(|tenant| shop.cache.with_namespace(&format!("tenant {tenant}")));
    for tenant in &tenants {
        tenant.set("a", 1_u8).await.unwrap();
        tenant.set("b", 1_u8).await.unwrap();
    }
    by_namespace(&shop, 1).await;
    assert!(tenants[0].get::<u8>("a").await.unwrap().is_none());
    assert!(tenants[0].get::<u8>("b").await.unwrap().is_none());
    assert!(tenants[1].get::<u8>("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_value_whose_load_began_before_the_write_is_not_found_after_it() {
    let shop = Shop {
        gate: Gate::closed(),
        ..Shop::new()
    };
    let mut loading = pin!(shop.item(1));
    assert!(
        loading
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    shop.gate.reached().await;
    shop.rename_item(1, "second".to_owned()).await.unwrap();
    shop.gate.open();
    assert_eq!(loading.await, "first 1", "the caller who began before has what it read");
    assert_eq!(shop.item(1).await, "second 1");
}

#[invalidates(item_of(shop, id))]
async fn slow_rename(shop: &Shop, id: u32, name: &str, gate: &Gate) -> Result<(), String> {
    shop.write(name);
    gate.pass().await;
    Err("the connection is gone".to_owned())
}

#[tokio::test]
async fn if_the_caller_goes_away_during_the_write_the_entry_is_gone_too() {
    let shop = Shop::new();
    item_of(&shop, 1).await;
    let gate = Gate::closed();
    {
        let mut writing = pin!(slow_rename(&shop, 1, "second", &gate));
        assert!(
            writing
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert_eq!(item_of(&shop, 1).await, "first 1");
    }
    shop.cache.shutdown().await;
    assert_eq!(item_of(&shop, 1).await, "second 1");
}

#[tokio::test(start_paused = true)]
async fn if_the_caller_goes_away_during_the_invalidation_it_is_carried_out_all_the_same() {
    let remote = Remote::new();
    let shop = Shop::over(over(&remote).build());
    item_of(&shop, 1).await;
    remote.once(Fate::Freeze, |call| call.is("delete"));
    {
        let mut writing = pin!(rename(&shop, 1, "second"));
        assert!(
            writing
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    shop.cache.shutdown().await;
    assert_eq!(item_of(&shop, 1).await, "second 1");
}

/// A panic and a caller that goes away are unknown outcomes, whatever an error means.
#[tokio::test]
async fn a_write_that_panics_or_is_cancelled_may_have_written() {
    #[invalidates(item_of(shop, 1))]
    async fn panics(shop: &Shop) {
        shop.write("second");
        panic!("after the write");
    }

    #[invalidates(item_of(shop, 1), unless_err)]
    async fn panics_unless_err(shop: &Shop) -> Result<(), String> {
        shop.write("second");
        panic!("after the write");
    }

    #[invalidates(item_of(shop, 1), unless_err)]
    async fn waits_unless_err(shop: &Shop) -> Result<(), String> {
        shop.write("second");
        std::future::pending().await
    }

    for way in 0..3 {
        let shop = Shop::new();
        item_of(&shop, 1).await;
        match way {
            0 => drop(AssertUnwindSafe(panics(&shop)).catch_unwind().await.unwrap_err()),
            1 => drop(
                AssertUnwindSafe(panics_unless_err(&shop))
                    .catch_unwind()
                    .await
                    .unwrap_err(),
            ),
            _ => assert!(waits_unless_err(&shop).now_or_never().is_none()),
        }
        shop.cache.shutdown().await;
        assert_eq!(item_of(&shop, 1).await, "second 1", "{way}");
    }
}

#[invalidates(item_of(shop, 1), list(shop))]
async fn with_anyhow(shop: &Shop) -> anyhow::Result<u8> {
    Ok(1)
}

#[invalidates(item_of(shop, 1))]
async fn with_text(shop: &Shop) -> Result<u8, String> {
    Ok(1)
}

#[tokio::test]
async fn an_invalidation_that_fails_is_an_error_where_there_can_be_one() {
    let (remote, log) = (Remote::new(), Log::new());
    let shop = Shop::over(over(&remote).observer(log.clone()).build());
    list(&shop).await;
    remote.once(Fate::Fail(ErrorKind::Rejected), |call| call.is("delete"));
    let error = with_anyhow(&shop).await.unwrap_err();
    assert_eq!(
        error.downcast_ref::<cache_core::Error>().unwrap().kind(),
        ErrorKind::Rejected
    );
    assert!(
        shop.cache
            .get::<Vec<String>>(list_entry(&shop).key().unwrap())
            .await
            .unwrap()
            .is_none()
    );

    log.take();
    remote.once(Fate::Fail(ErrorKind::Rejected), |call| call.is("delete"));
    assert_eq!(with_text(&shop).await, Ok(1), "the write itself succeeded");
    assert_eq!(log.take(), ["store_failed", "invalidation_pending"]);
}

#[invalidates(list(shop))]
async fn failing_with_anyhow(shop: &Shop) -> anyhow::Result<u8> {
    shop.write("second");
    anyhow::bail!("no answer to the commit")
}

/// The function's own error says more than that of the invalidation, which is pending.
#[tokio::test]
async fn if_both_fail_the_writes_error_is_returned_and_the_invalidation_is_pending() {
    let (remote, log) = (Remote::new(), Log::new());
    let shop = Shop::over(over(&remote).observer(log.clone()).build());
    list(&shop).await;
    log.take();
    remote.once(Fate::Fail(ErrorKind::Rejected), |call| call.is("delete"));
    let error = failing_with_anyhow(&shop).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer to the commit");
    assert_eq!(log.take(), ["store_failed", "invalidation_pending"]);
    assert_eq!(list(&shop).await, ["second"]);
}

/// The invalidation goes on if the caller goes away while it is carried out after an error.
#[tokio::test(start_paused = true)]
async fn after_an_error_too_the_invalidation_outlasts_its_caller() {
    let remote = Remote::new();
    let shop = Shop::over(over(&remote).build());
    list(&shop).await;
    remote.once(Fate::Freeze, |call| call.is("delete"));
    assert!(failing_with_anyhow(&shop).now_or_never().is_none());
    shop.cache.shutdown().await;
    assert_eq!(list(&shop).await, ["second"]);
}

#[tokio::test]
async fn several_attributes_add_up() {
    #[invalidates(cache = shop.cache, namespace = "lists")]
    #[invalidates(cache = shop.cache, key = "name")]
    async fn both(shop: &Shop) {}

    let shop = Shop::new();
    shop.cache.set("name", 1_u8).await.unwrap();
    list(&shop).await;
    both(&shop).await;
    assert!(shop.cache.get::<u8>("name").await.unwrap().is_none());
    list(&shop).await;
    assert_eq!(shop.reads.get(), 2);
}
