use cache_engine::cached;

#[cached(expire = 60, tll = "60s", tag = "a")]
async fn find(id: u32) -> u32 {
    id
}

fn main() {}
