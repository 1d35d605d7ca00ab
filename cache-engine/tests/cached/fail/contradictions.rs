use cache_engine::cached;

#[cached(when = id > 1, unless = id > 2)]
async fn twice(id: u32) -> u32 {
    id
}

#[cached(key = "{id}", skip(id))]
async fn nothing_to_skip(id: u32) -> u32 {
    id
}

#[cached(ttl = "60s", ttl_of = |_| std::time::Duration::from_secs(1))]
async fn two_lifetimes(id: u32) -> u32 {
    id
}

fn main() {}
