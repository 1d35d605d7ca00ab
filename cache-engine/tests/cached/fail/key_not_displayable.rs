use cache_engine::cached;

#[cached(key = (a, b))]
async fn find(a: u32, b: u32) -> u32 {
    a + b
}

fn main() {}
