use cache_engine::cached;

#[cached(ttl = "1s", ttl = "2s")]
async fn find(id: u32) -> u32 {
    id
}

#[cached(ttl)]
async fn find_again(id: u32) -> u32 {
    id
}

fn main() {}
