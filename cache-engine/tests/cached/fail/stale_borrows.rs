use cache_engine::cached;

struct Db;

#[cached(stale_while_revalidate = "10s", skip(db))]
async fn cannot_be_cloned(db: &Db) -> u32 {
    1
}

#[cached(stale_while_revalidate = "10s")]
async fn borrows_within(name: Option<&str>) -> u32 {
    1
}

#[cached(stale_while_revalidate = "10s", skip(db))]
async fn mutable(db: &mut u32) -> u32 {
    *db
}

struct Users;

impl Users {
    #[cached(detached)]
    async fn find(&mut self) -> u32 {
        1
    }
}

fn main() {}
