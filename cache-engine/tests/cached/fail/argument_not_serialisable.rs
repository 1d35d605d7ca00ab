use cache_engine::cached;

struct Db;

#[cached]
async fn find(db: &Db, id: u32) -> u32 {
    id
}

fn main() {}
