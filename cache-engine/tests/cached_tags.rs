//! `#[cached(tags = […])]`: the entries of calls carry tags.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::{Arc, Mutex};

use cache_core::ManualClock;
use cache_engine::{Cache, cached, tagged};
use support::{Count, Gate, Remote, SEC, TokioClock, idle, local, over};

#[derive(Clone)]
struct Shop {
    cache: Cache,
    tenant: String,
    name: Arc<Mutex<String>>,
    runs: Count,
    gate: Gate,
}

impl Shop {
    fn over(cache: Cache) -> Self {
        let gate = Gate::closed();
        gate.open();
        Self {
            cache,
            tenant: "acme".to_owned(),
            name: Arc::new(Mutex::new("first".to_owned())),
            runs: Count::new(),
            gate,
        }
    }

    fn new() -> Self {
        Self::over(local(&ManualClock::new()).build())
    }

    fn name(&self) -> String {
        self.runs.up();
        self.name.lock().unwrap().clone()
    }

    #[cached(cache = self.cache, tags = ["item:{id}", "items", format!("{}/all", self.tenant), id + 1000], skip(self))]
    async fn item(&self, id: u32) -> String {
        let name = self.name();
        self.gate.pass().await;
        format!("{name} {id}")
    }

    #[cached(cache = self.cache, tags = words.split(' '), skip(self))]
    async fn listed(&self, words: String) -> String {
        // The body owns what its tags are made of.
        let owned: String = words;
        self.name() + &owned
    }

    #[cached(cache = self.cache, key = "page:{id}", tags = ["page:{id}"])]
    async fn page(&self, id: u32) -> Result<String, String> {
        let name = tagged(["names"], || async { self.name() }).await;
        Ok(format!("{name} {id}"))
    }

    #[cached(cache = self.cache, tags = ["item:{id}"], when = id != 0, skip(self))]
    async fn past_the_cache(&self, id: u32) -> String {
        tagged(["names"], || async { self.name() }).await
    }

    #[cached(cache = self.cache, ttl = "10s", stale_while_revalidate = "10s", tags = ["item:{id}"], skip(self))]
    async fn refreshed(&self, id: &str) -> String {
        format!("{} {id}", self.name())
    }
}

#[tokio::test]
async fn an_invalidated_tag_makes_the_call_run_again() {
    let shop = Shop::new();
    for tag in ["item:7", "items", "acme/all", "1007"] {
        shop.item(7).await;
        let before = shop.runs.get();
        shop.item(7).await;
        shop.cache.invalidate_tag("item:8").await.unwrap();
        shop.item(7).await;
        assert_eq!(shop.runs.get(), before, "found, whatever becomes of other tags");
        shop.cache.invalidate_tag(tag).await.unwrap();
        shop.item(7).await;
        assert_eq!(shop.runs.get(), before + 1, "{tag}");
    }
}

#[tokio::test]
async fn an_expression_gives_any_number_of_tags() {
    let shop = Shop::new();
    let call = || shop.listed("red green".to_owned());
    call().await;
    shop.cache.invalidate_tag("green").await.unwrap();
    call().await;
    shop.cache.invalidate_tag("blue").await.unwrap();
    call().await;
    assert_eq!(shop.runs.get(), 2);
}

#[tokio::test]
async fn the_body_adds_tags() {
    let shop = Shop::new();
    for tag in ["page:1", "names"] {
        let before = shop.runs.get();
        shop.page(1).await.unwrap();
        shop.page(1).await.unwrap();
        shop.cache.invalidate_tag(tag).await.unwrap();
        shop.page(1).await.unwrap();
        assert_eq!(shop.runs.get(), before + if before == 0 { 2 } else { 1 }, "{tag}");
    }
}

#[tokio::test]
async fn a_call_past_the_cache_has_no_use_for_tags() {
    let shop = Shop::new();
    assert_eq!(shop.past_the_cache(0).await, "first");
    assert_eq!(shop.past_the_cache(0).await, "first");
    assert_eq!(shop.runs.get(), 2);
}

#[tokio::test]
async fn a_run_that_is_under_way_is_fenced() {
    let remote = Remote::new();
    let mut shop = Shop::over(over(&remote).build());
    shop.gate = Gate::closed();
    let ask = |shop: &Shop| {
        let shop = shop.clone();
        tokio::spawn(async move { shop.item(7).await })
    };
    let old = ask(&shop);
    shop.gate.reached().await;
    "second".clone_into(&mut shop.name.lock().unwrap());
    shop.cache.invalidate_tag("items").await.unwrap();
    let new = ask(&shop);
    idle().await;
    shop.gate.open();
    assert_eq!(old.await.unwrap(), "first 7", "the one who began before may keep it");
    assert_eq!(new.await.unwrap(), "second 7");
    assert_eq!(shop.item(7).await, "second 7");
}

#[tokio::test(start_paused = true)]
async fn a_soft_invalidation_refreshes_behind_the_callers_back() {
    let shop = Shop::over(local(&TokioClock::new()).build());
    assert_eq!(shop.refreshed("7").await, "first 7");
    tokio::time::advance(SEC).await;
    "second".clone_into(&mut shop.name.lock().unwrap());
    shop.cache.soft().invalidate_tag("item:7").await.unwrap();
    assert_eq!(shop.refreshed("7").await, "first 7", "answered at once");
    idle().await;
    assert_eq!(shop.refreshed("7").await, "second 7");
    // The control: a hard one keeps nothing.
    "third".clone_into(&mut shop.name.lock().unwrap());
    shop.cache.invalidate_tag("item:7").await.unwrap();
    assert_eq!(shop.refreshed("7").await, "third 7");
}

#[cached(cache = cache, skip(cache, count))]
async fn untagged(cache: &Cache, count: &Count, id: u32) -> u32 {
    count.up();
    id
}

#[cached(cache = cache, skip(cache, count), tags = ["item:{id}"])]
async fn with_a_tag(cache: &Cache, count: &Count, id: u32) -> u32 {
    count.up();
    id
}

#[tokio::test]
async fn a_hit_without_tags_asks_for_none() {
    let remote = Remote::new();
    let cache = over(&remote).build();
    let count = Count::new();
    untagged(&cache, &count, 1).await;
    with_a_tag(&cache, &count, 1).await;
    remote.take_calls();
    untagged(&cache, &count, 1).await;
    let calls: Vec<_> = remote.take_calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(calls, ["get"]);
    with_a_tag(&cache, &count, 1).await;
    let calls: Vec<_> = remote.take_calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(calls, ["get", "get_many"], "the control: one round trip more");
    assert_eq!(count.get(), 2);
}
