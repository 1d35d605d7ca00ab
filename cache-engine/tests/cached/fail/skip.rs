use cache_engine::cached;

#[cached(skip(db, id, self))]
async fn find(id: u32) -> u32 {
    id
}

#[cached(skip = id)]
async fn find_again(id: u32) -> u32 {
    id
}

fn main() {}
