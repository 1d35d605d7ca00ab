//! What the key of a `#[cached]` call consists of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::non_minimal_cfg)]

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};

use cache_core::ManualClock;
use cache_engine::{Cache, cached};
use cache_memory::MemoryBackend;
use serde::Serialize;
use support::{Count, Remote, local, over};

fn cache() -> Cache {
    local(&ManualClock::new()).build()
}

#[derive(Serialize)]
struct Tenant {
    name: String,
    #[serde(skip)]
    cache: Cache,
}

impl Tenant {
    fn new(name: &str, cache: &Cache) -> Self {
        Self {
            name: name.to_owned(),
            cache: cache.clone(),
        }
    }

    #[cached(cache = self.cache)]
    async fn find(&self, id: u32) -> String {
        format!("user {id} of {}", self.name)
    }

    #[cached(cache = self.cache)]
    async fn find_mut(&mut self, id: u32) -> String {
        format!("user {id} of {}", self.name)
    }

    #[cached(cache = self.cache)]
    async fn find_shared(self: std::sync::Arc<Self>, id: u32) -> String {
        format!("user {id} of {}", self.name)
    }

    #[cached(cache = self.cache, skip(self))]
    async fn of_any(&self, id: u32) -> String {
        format!("user {id} of {}", self.name)
    }
}

#[tokio::test]
async fn self_is_in_the_key() {
    let cache = cache();
    let (mut a, mut b) = (Tenant::new("a", &cache), Tenant::new("b", &cache));
    assert_eq!(a.find(1).await, "user 1 of a");
    assert_eq!(b.find(1).await, "user 1 of b");
    assert_eq!(a.find_mut(1).await, "user 1 of a");
    assert_eq!(b.find_mut(1).await, "user 1 of b");
    assert_eq!(std::sync::Arc::new(a).find_shared(1).await, "user 1 of a");
    assert_eq!(std::sync::Arc::new(b).find_shared(1).await, "user 1 of b");
}

#[tokio::test]
async fn self_is_left_out_by_name() {
    let cache = cache();
    assert_eq!(Tenant::new("a", &cache).of_any(1).await, "user 1 of a");
    assert_eq!(Tenant::new("b", &cache).of_any(1).await, "user 1 of a");
}

#[derive(Serialize)]
struct Login {
    name: String,
    #[serde(skip)]
    password: String,
}

#[cached(cache = cache, skip(cache))]
async fn log_in(cache: &Cache, login: &Login) -> bool {
    login.password == "right"
}

/// The documentation warns of it.
#[tokio::test]
async fn a_field_that_serde_skips_is_not_in_the_key() {
    let cache = cache();
    let login = |password: &str| Login {
        name: "ada".to_owned(),
        password: password.to_owned(),
    };
    assert!(log_in(&cache, &login("right")).await);
    assert!(log_in(&cache, &login("wrong")).await);
}

#[cached(cache = cache, skip(cache, loads))]
async fn search(
    cache: &Cache,
    loads: &Count,
    words: HashSet<String>,
    filter: HashMap<String, HashSet<u32>>,
    ordered: Vec<u32>,
) -> usize {
    loads.up();
    words.len() + filter.len() + ordered.len()
}

#[tokio::test]
async fn sets_and_maps_in_any_order_are_one_key() {
    let (cache, loads) = (cache(), Count::new());
    let words = || (0..30).map(|n| n.to_string()).collect::<HashSet<_>>();
    let filter = || {
        (0..30)
            .map(|n| (n.to_string(), (0..30).collect::<HashSet<u32>>()))
            .collect::<HashMap<_, _>>()
    };
    for _ in 0..8 {
        search(&cache, &loads, words(), filter(), vec![1, 2]).await;
    }
    assert_eq!(loads.get(), 1);
    search(&cache, &loads, words(), filter(), vec![2, 1]).await;
    assert_eq!(loads.get(), 2, "the order of a list matters");
}

#[cached(cache = cache, skip(cache, loads))]
async fn length(cache: &Cache, loads: &Count, text: &str) -> usize {
    loads.up();
    text.len()
}

#[tokio::test]
async fn a_long_argument_is_kept_as_a_digest() {
    let text = "x".repeat(1 << 20);
    let remote = Remote::new();
    for cache in [cache(), over(&remote).build()] {
        let loads = Count::new();
        assert_eq!(length(&cache, &loads, &text).await, 1 << 20);
        assert_eq!(length(&cache, &loads, &text).await, 1 << 20);
        assert_eq!(length(&cache, &loads, &text[1..]).await, (1 << 20) - 1);
        assert_eq!(loads.get(), 2);
        let entry = length_entry(&cache, &loads, &text);
        let key = entry.key().unwrap();
        assert!(key.as_str().len() + key.identity().len() < 256);
    }
}

#[cached(cache = cache, skip(cache))]
async fn with_attributes(
    cache: &Cache,
    #[allow(unused_variables)] unused: u8,
    #[cfg(any())] absent: Absent,
    #[cfg(all())] present: u8,
    #[cfg(any())] none: impl Send,
) -> u8 {
    #[cfg(all())]
    return present;
}

#[cached(cache = cache, skip(cache), detached)]
async fn detached_with_attributes(cache: &Cache, #[cfg(any())] absent: &Absent, #[cfg(all())] present: &str) -> String {
    present.to_owned()
}

#[tokio::test]
async fn arguments_may_have_attributes() {
    let cache = cache();
    assert_eq!(with_attributes(&cache, 0, 1).await, 1);
    assert_eq!(with_attributes(&cache, 0, 2).await, 2);
    assert_eq!(with_attributes(&cache, 1, 2).await, 2);
    assert_ne!(
        with_attributes_entry(&cache, 0, 1).key().unwrap(),
        with_attributes_entry(&cache, 0, 2).key().unwrap()
    );
    assert_eq!(detached_with_attributes(&cache, "a").await, "a");
}

#[cached(cache = cache, key = "rate:{from}", version = 2)]
async fn rate(cache: &Cache, loads: &Count, from: &str) -> usize {
    loads.up()
}

mod old {
    use super::*;

    #[cached(cache = cache, key = "rate:{from}", version = 1)]
    pub(super) async fn rate(cache: &Cache, loads: &Count, from: &str) -> usize {
        loads.up()
    }
}

#[tokio::test]
async fn another_version_is_a_miss_and_its_invalidation_reaches_all() {
    for cache in [cache(), over(&Remote::new()).build()] {
        let loads = Count::new();
        assert_eq!(old::rate(&cache, &loads, "EUR").await, 1);
        assert_eq!(old::rate(&cache, &loads, "EUR").await, 1);
        assert_eq!(
            rate(&cache, &loads, "EUR").await,
            2,
            "the value of version 1 is not found"
        );
        assert_eq!(rate(&cache, &loads, "EUR").await, 2);
        old::rate_entry(&cache, &loads, "EUR").invalidate().await.unwrap();
        assert_eq!(rate(&cache, &loads, "EUR").await, 3, "version 1 invalidates version 2");
    }
}

#[cached(cache = cache, key = "list:{of}", version = 2, stale_while_revalidate = "1h", negative_ttl = "1h")]
async fn list(cache: &Cache, loads: &Count, of: u8) -> Option<usize> {
    let load = loads.up();
    (of > 0).then_some(load)
}

mod old_list {
    use super::*;

    #[cached(cache = cache, key = "list:{of}", stale_while_revalidate = "1h", negative_ttl = "1h")]
    pub(super) async fn list(cache: &Cache, loads: &Count, of: u8) -> Option<usize> {
        let load = loads.up();
        (of > 0).then_some(load)
    }
}

#[tokio::test]
async fn versions_share_all_but_their_values() {
    let near = over(&Remote::new())
        .near(MemoryBackend::default())
        .near_max_age(std::time::Duration::from_secs(60))
        .build();
    for cache in [cache(), over(&Remote::new()).build(), near] {
        let loads = Count::new();
        assert_eq!(old_list::list(&cache, &loads, 1).await, Some(1));
        old_list::list_entry(&cache, &loads, 1).invalidate_soft().await.unwrap();
        assert_eq!(
            list(&cache, &loads, 1).await,
            Some(2),
            "a stale value of another version is a miss too"
        );
        assert_eq!(list(&cache, &loads, 1).await, Some(2));
        cache.soft().invalidate("list:1").await.unwrap();
        assert_eq!(
            list(&cache, &loads, 1).await,
            Some(2),
            "it is kept, by whomever it is softly invalidated"
        );
        cache.shutdown().await;

        assert_eq!(old_list::list(&cache, &loads, 0).await, None);
        let before = loads.get();
        assert_eq!(list(&cache, &loads, 0).await, None);
        assert_eq!(loads.get(), before + 1, "that there is no value is of a version too");
        assert_eq!(list(&cache, &loads, 0).await, None);
        assert_eq!(loads.get(), before + 1);
    }
}

#[tokio::test]
async fn the_version_is_stored_beside_the_coder() {
    let remote = Remote::new();
    let (cache, loads) = (over(&remote).build(), Count::new());
    rate(&cache, &loads, "EUR").await;
    let stored = remote.peek(&cache.key("rate:EUR")).await.unwrap();
    assert_eq!((&*stored.coder, stored.type_version), ("json", 2));
    let versioned = cache.with_coder(cache_core::Versioned::new(cache_core::Json, 2));
    assert!(versioned.get::<usize>("rate:EUR").await.unwrap().is_some());
    assert!(cache.get::<usize>("rate:EUR").await.unwrap().is_none());
}

#[cached(cache = cache, skip(cache))]
async fn by_map(cache: &Cache, map: BTreeMap<(u8, u8), Option<f64>>) -> usize {
    map.len()
}

#[tokio::test]
async fn a_map_may_have_keys_of_any_type() {
    let cache = cache();
    assert_eq!(by_map(&cache, BTreeMap::from([((1, 2), None)])).await, 1);
}

/// Defines a function with an argument of this type, which returns the name of its key.
macro_rules! displayed {
    ($($name:ident: $type:ty,)*) => {$(
        #[cached(cache = cache, key = "<{id}> of {{{id}}}")]
        async fn $name(cache: &Cache, id: $type) -> String {
            format!("<{id}> of {{{id}}}")
        }
    )*};
}

displayed! {
    of_u8: u8, of_u16: u16, of_u32: u32, of_u64: u64, of_u128: u128, of_usize: usize,
    of_i8: i8, of_i16: i16, of_i32: i32, of_i64: i64, of_i128: i128, of_isize: isize,
    of_ref: &&u64, of_non_zero: std::num::NonZeroU64, of_char: char, of_bool: bool, of_float: f64,
    of_str: &str, of_refs: &&str, of_string: String, of_string_ref: &String, of_box: Box<str>, of_arc: std::sync::Arc<str>,
    of_cow: std::borrow::Cow<'_, str>, of_dyn: &(dyn std::fmt::Display + Sync), of_own: Shown, of_named: Named,
}

#[cached(cache = cache, key = "<{id}> of {{{id}}}")]
async fn of_generic<T: std::fmt::Display + Send + Sync>(cache: &Cache, id: T) -> String {
    format!("<{id}> of {{{id}}}")
}

#[cached(cache = cache, key = "<{id}> of {{{id}}}")]
async fn of_impl(cache: &Cache, id: impl std::fmt::Display + Send + Sync) -> String {
    format!("<{id}> of {{{id}}}")
}

/// Holds another text than it displays.
#[derive(Clone)]
struct Shown(&'static str);

impl std::ops::Deref for Shown {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad("shown ")?;
        f.write_str(&self.0.to_uppercase())
    }
}

/// Has methods that could be mistaken for those of the attribute.
#[derive(Clone)]
struct Named(u32);

impl Named {
    #[allow(dead_code, clippy::unused_self)]
    fn text(&self) -> &'static str {
        "other"
    }
}

trait Labelled {
    #[allow(dead_code)]
    fn text(&self) -> String;
}

impl<T: std::fmt::Debug + ?Sized> Labelled for T {
    fn text(&self) -> String {
        format!("{self:?}")
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "n{}", self.0)
    }
}

#[tokio::test]
async fn the_name_of_a_key_is_what_the_format_string_makes() {
    let cache = cache();
    macro_rules! check {
        ($($name:ident: $($id:expr),+;)*) => {$($(
            let shown = $name(&cache, $id).await;
            let found = cache.get::<String>(shown.as_str()).await.unwrap();
            assert_eq!(found.as_deref(), Some(&shown), stringify!($name));
        )+)*};
    }
    check! {
        of_u8: u8::MIN, u8::MAX; of_u16: u16::MAX; of_u32: u32::MAX; of_u64: u64::MAX; of_u128: u128::MAX; of_usize: usize::MAX;
        of_i8: i8::MIN, i8::MAX; of_i16: i16::MIN; of_i32: i32::MIN; of_i64: i64::MIN; of_i128: i128::MIN; of_isize: isize::MIN;
        of_ref: &&7; of_non_zero: std::num::NonZeroU64::MAX; of_char: 'ß'; of_bool: true; of_float: 1.5, f64::INFINITY, -0.0;
        of_str: "", "a:b!%{c}", &"é".repeat(300); of_refs: &"a"; of_string: "a".to_owned(); of_string_ref: &"a".to_owned();
        of_box: "a".into(); of_arc: "a".into(); of_cow: "a".into(); of_dyn: &7, &"a"; of_own: Shown("a");
        of_named: Named(7); of_generic: 7, "a", Named(8), "x".repeat(200); of_impl: 7, "a", Shown("b");
    }
}
