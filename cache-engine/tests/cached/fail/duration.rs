use cache_engine::cached;

#[cached(ttl = "1 hour", stale_while_revalidate = "5x")]
async fn words(id: u32) -> u32 {
    id
}

#[cached(ttl = 60)]
async fn no_unit(id: u32) -> u32 {
    id
}

#[cached(ttl = "60")]
async fn no_unit_in_the_text(id: u32) -> u32 {
    id
}

#[cached(ttl = ttl)]
async fn not_a_time(id: u32, ttl: u64) -> u32 {
    id
}

fn main() {}
