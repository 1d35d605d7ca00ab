use cache_engine::cached;

struct Id;

#[cached(key = "user:{id}")]
async fn find(id: Id) -> u32 {
    let _ = id;
    1
}

fn main() {}
