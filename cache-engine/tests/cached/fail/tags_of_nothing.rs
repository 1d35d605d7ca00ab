use cache_engine::cached;

#[cached(tags = ["user:{missing}"])]
async fn no_such_argument(id: u64) -> u64 {
    id
}

fn main() {}
