use cache_engine::{Cache, cached, invalidates};

#[cached]
async fn get_user(id: u32) -> u32 {
    id
}

#[invalidates(tag = "users")]
async fn unknown() {}

#[invalidates(key = "a", key = "b")]
async fn twice() {}

#[invalidates(keys = "a")]
async fn not_a_list() {}

#[invalidates(get_user)]
async fn not_a_call() {}

#[invalidates("all")]
async fn a_text() {}

#[invalidates(cache = cache, get_user(1))]
async fn needless_cache(cache: &Cache) {}

fn main() {}
