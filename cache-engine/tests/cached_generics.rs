//! `#[cached]` on generic functions: each instance has its own entries.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::any::type_name;
use std::fmt::Display;
use std::marker::PhantomData;

use cache_core::ManualClock;
use cache_engine::{Cache, cached};
use serde::Serialize;
use serde::de::DeserializeOwned;
use support::{Remote, local, over};

fn cache() -> Cache {
    local(&ManualClock::new()).build()
}

trait Kind {
    const NAME: &str;
}

struct A;
struct B;

impl Kind for A {
    const NAME: &str = "a";
}

impl Kind for B {
    const NAME: &str = "b";
}

#[cached(cache = cache, skip(cache))]
async fn name_of<K: Kind>(cache: &Cache, id: u32) -> String {
    format!("{} {id}", K::NAME)
}

#[tokio::test]
async fn instances_of_a_function_share_nothing() {
    let cache = cache();
    for _ in 0..2 {
        assert_eq!(name_of::<A>(&cache, 1).await, "a 1");
        assert_eq!(name_of::<B>(&cache, 1).await, "b 1");
    }
    assert_ne!(
        name_of_entry::<A>(&cache, 1).key().unwrap(),
        name_of_entry::<B>(&cache, 1).key().unwrap()
    );
}

struct Repository<K>(PhantomData<K>);

impl<K: Kind> Repository<K> {
    #[cached(cache = cache, skip(cache))]
    async fn find(cache: &Cache, id: u32) -> String {
        format!("{} {id}", K::NAME)
    }

    #[cached(cache = cache, skip(self, cache))]
    async fn get<L: Kind>(&self, cache: &Cache) -> String {
        format!("{}{}", K::NAME, L::NAME)
    }
}

#[tokio::test]
async fn instances_of_a_type_share_nothing() {
    let cache = cache();
    for _ in 0..2 {
        assert_eq!(Repository::<A>::find(&cache, 1).await, "a 1");
        assert_eq!(Repository::<B>::find(&cache, 1).await, "b 1");
    }
    assert_eq!(Repository::<A>(PhantomData).get::<A>(&cache).await, "aa");
    assert_eq!(Repository::<A>(PhantomData).get::<B>(&cache).await, "ab");
    assert_eq!(Repository::<B>(PhantomData).get::<A>(&cache).await, "ba");
}

#[tokio::test]
async fn an_entry_is_that_of_its_instance() {
    let cache = cache();
    for key in [
        Repository::<A>::find_entry(&cache, 1).key(),
        Repository::<B>::find_entry(&cache, 1).key(),
    ] {
        assert!(cache.get::<String>(key.unwrap()).await.unwrap().is_none());
    }
    Repository::<A>::find(&cache, 1).await;
    let entry = Repository::<A>::find_entry(&cache, 1);
    assert!(cache.get::<String>(entry.key().unwrap()).await.unwrap().is_some());
    entry.invalidate().await.unwrap();
    assert!(cache.get::<String>(entry.key().unwrap()).await.unwrap().is_none());
}

#[cached(cache = cache, skip(cache))]
async fn sized<const N: usize>(cache: &Cache) -> usize {
    N
}

#[cached(cache = cache, skip(cache))]
async fn shown(cache: &Cache, value: impl Display + Serialize) -> String {
    value.to_string()
}

/// It serialises as the text does.
#[derive(Serialize)]
#[serde(transparent)]
struct Loud(&'static str);

impl Display for Loud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}!", self.0)
    }
}

#[tokio::test]
async fn constants_and_types_without_names_tell_instances_apart() {
    let cache = cache();
    assert_eq!((sized::<1>(&cache).await, sized::<2>(&cache).await), (1, 2));
    assert_eq!(shown(&cache, "hello").await, "hello");
    assert_eq!(shown(&cache, Loud("hello")).await, "hello!");
}

#[cached(cache = cache, skip(cache, load))]
async fn generic_result<T, E, F>(cache: &Cache, id: u32, load: F) -> Result<T, E>
where
    T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
    E: 'static,
    F: AsyncFnOnce(u32) -> Result<T, E>,
{
    load(id).await
}

#[tokio::test]
async fn what_a_function_returns_may_be_generic() {
    let cache = over(&Remote::new()).build();
    let ok = async |id| Ok::<_, String>(id);
    let text = async |id: u32| Ok::<_, String>(id.to_string());
    let fail = async |_| Err::<u64, _>("failed".to_owned());
    assert_eq!(generic_result(&cache, 1, ok).await, Ok(1));
    assert_eq!(generic_result(&cache, 1, ok).await, Ok(1));
    assert_eq!(
        generic_result(&cache, 1, text).await,
        Ok("1".to_owned()),
        "{}",
        type_name::<String>()
    );
    assert_eq!(generic_result(&cache, 1, fail).await, Err("failed".to_owned()));
}
