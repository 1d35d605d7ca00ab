//! `#[cached]` on methods: which receivers share an entry, and which never do.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::future::Future;
use std::sync::Arc;

use cache_core::ManualClock;
use cache_engine::{Cache, cached};
use support::{Count, local};

#[derive(Clone)]
struct Users {
    cache: Cache,
    loads: Count,
    tenant: String,
}

#[derive(Clone)]
struct Orders {
    cache: Cache,
    loads: Count,
}

impl Users {
    fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            loads: Count::new(),
            tenant: "a".to_owned(),
        }
    }

    #[cached(cache = self.cache, skip(self))]
    async fn find(&self, id: u32) -> String {
        self.loads.up();
        format!("user {id}")
    }

    #[cached(cache = self.cache, key = format!("{}/{id}", self.tenant))]
    async fn find_of_tenant(&self, id: u32) -> String {
        self.loads.up();
        format!("user {id} of {}", self.tenant)
    }

    #[cached(cache = cache, skip(cache))]
    async fn named(cache: &Cache, id: u32) -> String {
        format!("user {id}")
    }

    #[cached(cache = self.cache, skip(self))]
    async fn of_an_arc(self: Arc<Self>, id: u32) -> usize {
        let this = self;
        this.loads.up() + id as usize
    }

    #[cached(cache = self.cache, skip(self))]
    async fn of_a_mutable(&mut self, id: u32) -> String {
        self.tenant = format!("{id}");
        self.tenant.clone()
    }
}

impl Orders {
    #[cached(cache = self.cache, skip(self))]
    async fn find(&self, id: u32) -> String {
        self.loads.up();
        format!("order {id}")
    }

    #[cached(cache = cache, skip(cache))]
    async fn named(cache: &Cache, id: u32) -> String {
        format!("order {id}")
    }
}

trait Find {
    fn find(&self, id: u32) -> impl Future<Output = String> + Send;
}

impl Find for Orders {
    #[cached(cache = self.cache, entry = false, skip(self))]
    async fn find(&self, id: u32) -> String {
        format!("order {id} of a trait")
    }
}

trait Named {
    const NAME: &str;

    fn cache(&self) -> &Cache;

    #[cached(cache = self.cache(), skip(self))]
    async fn name_of(&self, id: u32) -> String {
        format!("{} {id}", Self::NAME)
    }
}

impl Named for Users {
    const NAME: &str = "user";

    fn cache(&self) -> &Cache {
        &self.cache
    }
}

impl Named for Orders {
    const NAME: &str = "order";

    fn cache(&self) -> &Cache {
        &self.cache
    }
}

fn cache() -> Cache {
    local(&ManualClock::new()).build()
}

fn orders(cache: &Cache) -> Orders {
    Orders {
        cache: cache.clone(),
        loads: Count::new(),
    }
}

#[tokio::test]
async fn a_method_is_cached() {
    let users = Users::new(&cache());
    assert_eq!(users.find(1).await, "user 1");
    assert_eq!(users.find(1).await, "user 1");
    assert_eq!(users.loads.get(), 1);
}

#[tokio::test]
async fn the_type_is_in_the_key_even_if_self_is_not() {
    let cache = cache();
    let (first, second) = (Users::new(&cache), Users::new(&cache));
    assert_eq!(first.find(1).await, second.find(1).await);
    assert_eq!((first.loads.get(), second.loads.get()), (1, 0));
    assert_eq!(orders(&cache).find(1).await, "order 1");
}

#[tokio::test]
async fn a_key_may_be_made_of_self() {
    let cache = cache();
    let (first, mut second) = (Users::new(&cache), Users::new(&cache));
    second.tenant = "b".to_owned();
    assert_eq!(first.find_of_tenant(1).await, "user 1 of a");
    assert_eq!(second.find_of_tenant(1).await, "user 1 of b");
    assert_eq!(second.find_of_tenant(1).await, "user 1 of b");
    assert_eq!((first.loads.get(), second.loads.get()), (1, 1));
}

#[tokio::test]
async fn functions_of_two_types_share_nothing_even_without_self() {
    let cache = cache();
    assert_eq!(Users::named(&cache, 1).await, "user 1");
    assert_eq!(Orders::named(&cache, 1).await, "order 1");
}

#[tokio::test]
async fn a_method_and_that_of_a_trait_share_nothing() {
    let orders = orders(&cache());
    assert_eq!(orders.find(1).await, "order 1");
    assert_eq!(Find::find(&orders, 1).await, "order 1 of a trait");
    assert_eq!(Find::find(&orders, 1).await, "order 1 of a trait");
}

#[tokio::test]
async fn a_provided_method_is_cached_for_each_type() {
    let cache = cache();
    assert_eq!(Users::new(&cache).name_of(1).await, "user 1");
    assert_eq!(orders(&cache).name_of(1).await, "order 1");
}

#[tokio::test]
async fn other_receivers_work_too() {
    let mut users = Users::new(&cache());
    assert_eq!(users.of_a_mutable(1).await, "1");
    users.tenant.clear();
    assert_eq!(users.of_a_mutable(1).await, "1");
    assert_eq!(users.tenant, "", "a hit does not run the method");
    let users = Arc::new(users);
    assert_eq!(Arc::clone(&users).of_an_arc(1).await, 2);
    assert_eq!(users.of_an_arc(1).await, 2);
}

mod left {
    use super::{Cache, cached};

    #[cached(cache = cache, skip(cache))]
    pub(super) async fn side(cache: &Cache) -> String {
        "left".to_owned()
    }
}

mod right {
    use super::{Cache, cached};

    #[cached(cache = cache, skip(cache))]
    pub(super) async fn side(cache: &Cache) -> String {
        "right".to_owned()
    }
}

#[tokio::test]
async fn functions_of_two_modules_share_nothing() {
    let cache = cache();
    assert_eq!(left::side(&cache).await, "left");
    assert_eq!(right::side(&cache).await, "right");
}

#[tokio::test]
async fn functions_within_two_functions_share_nothing() {
    async fn one(cache: &Cache) -> u8 {
        #[cached(cache = cache, skip(cache))]
        async fn inner(cache: &Cache) -> u8 {
            1
        }
        inner(cache).await
    }

    async fn two(cache: &Cache) -> u8 {
        #[cached(cache = cache, skip(cache))]
        async fn inner(cache: &Cache) -> u8 {
            2
        }
        inner(cache).await
    }

    let cache = cache();
    assert_eq!((one(&cache).await, two(&cache).await), (1, 2));
}

#[tokio::test]
async fn a_free_functions_key_is_its_module_its_name_and_its_arguments() {
    use cache_engine::cache_core::{FunctionCall, HashedCall, KeyBuilder};

    let cache = cache();
    let call = FunctionCall::new(concat!(module_path!(), "::left"), "side");
    let name = HashedCall.build(&call).unwrap();
    assert_eq!(left::side_entry(&cache).key().unwrap(), &cache.key(name));
}
